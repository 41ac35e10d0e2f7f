"""What the signal is asked to look for: trade sizes, thresholds, ages, fees, and which coins are not the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.arbitrage_signal.exact import DIGITS, RATE_DIGITS, whole

SECOND = 1_000_000

HORIZONS = ((100_000, "net_after_100ms"), (SECOND, "net_after_1s"), (5 * SECOND, "net_after_5s"))
"""After how many microseconds it is noted what is left of an opportunity, and in which field."""

MEMORY_US = 180 * SECOND
"""What the core knows of a market follows from the records of so long a time, besides terms, open opportunities and
suspensions: a warm-up of that length makes two cores agree. It must exceed the age limit, and twice the time after
which a pair is suspended: so long ago may have begun what suspends it still."""

MARKETS = ("spot", "perp")
"""Markets whose instruments are paired. A dated future's price differs from the spot's by right."""

TRADING = "trading"
"""The status of an instrument that can be traded now."""


@dataclass(frozen=True)
class Terms:
    """The settings of a run, live or in hindsight. Times are microseconds, rates whole numbers of 10^-9."""

    sizes: tuple[str, ...] = ("100", "1000", "10000", "50000")
    """Trade sizes, money in quote currency, rising."""
    threshold: int = whole("0.005", RATE_DIGITS)
    """Least net spread of an opportunity, as a share of its cost."""
    confirm_us: int = 5 * SECOND
    age_us: int = 2 * SECOND
    update_us: int = SECOND
    spread_us: int = SECOND
    """Grid of the spreads that are told for charts; 0 tells none."""
    apart_percent: int = 20
    suspend_us: int = 60 * SECOND
    jump_us: int = 10 * SECOND
    fees: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """`exchange.market` -> tier -> taker fee as a share."""
    tiers: Mapping[str, str] = field(default_factory=dict)
    """Exchange -> tier, where it is not `regular`."""
    comparable: tuple[tuple[str, ...], ...] = (("USDT", "USDC"),)
    """Groups of quote currencies whose units are taken to be worth the same."""
    different: frozenset[tuple[str, str, str]] = frozenset()
    """(asset, exchange, other exchange or empty for all others): names that two exchanges use for different coins."""

    def taker_fee(self, exchange: str, market: str) -> int:
        """Return the taker fee as a rate. Raises LookupError when no fee is known for the exchange's tier."""
        tier = self.tiers.get(exchange, "regular")
        found = self.fees.get(f"{exchange}.{market}", {}).get(tier)
        if found is None:
            raise LookupError(f"no taker fee of tier {tier!r} is set for {exchange}.{market}")
        return whole(found, RATE_DIGITS)

    def amounts(self) -> tuple[int, ...]:
        """Return the trade sizes as amounts of money, rising."""
        return tuple(sorted(whole(size, 2 * DIGITS) for size in self.sizes))

    def worth_the_same(self, quote: str, other: str) -> bool:
        """Tell whether prices in two quote currencies may be compared."""
        return quote == other or any(quote in group and other in group for group in self.comparable)

    def same_coin(self, asset: str, exchange: str, other: str) -> bool:
        """Tell whether two exchanges mean the same coin by a name."""
        found = ((exchange, other), (other, exchange), (exchange, ""), (other, ""))
        return exchange == other or not any((asset, *names) in self.different for names in found)
