"""What a futures market publishes besides its book and trades: mark and index price, funding, liquidations, open
interest, long/short ratios. Pure functions of market time, like everything else here.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.exchange_simulator.generator.market import EPOCH_US, Market
from services.exchange_simulator.generator.noise import Noise, mix

FUNDING_INTERVAL_US = 8 * 3_600_000_000
FINE_DIGITS = 8
"""Digits of mark prices, index prices and funding rates on the wire."""
RATIO_DIGITS = 4

_FINE: int = 10**FINE_DIGITS
_HOUR_US = 3_600_000_000
_BUSY_RANKS = 5
_BUSY_SLOT_US = 20_000_000
_QUIET_SLOT_US = 30_000_000
_COMMON_RATE = 10_000
_RATE_SWING = 15_000.0
_OPEN_INTEREST_VALUE = 40_000_000.0


@dataclass(frozen=True, slots=True)
class Mark:
    """Mark, index and settlement prices in units of 10^-8, the funding rate estimate in the same, and its due time."""

    mark: int
    mark_average: int
    index: int
    settlement: int
    rate: int
    next_funding_us: int


@dataclass(frozen=True, slots=True)
class Liquidation:
    """One forced order: filled quantity and last fill in steps, its limit and average price in ticks."""

    time_us: int
    buy: bool
    limit_ticks: int
    average_ticks: int
    steps: int
    last_steps: int


@dataclass(frozen=True, slots=True)
class Ratio:
    """Shares of long and short and their quotient, in units of 10^-4."""

    long: int
    short: int
    quotient: int


class Statistics:
    """The statistics of one futures instrument."""

    def __init__(self, market: Market) -> None:
        self._market = market
        key = mix(market.key, 3)
        self._key = key
        self._marking = Noise(mix(key, 1), ((7_000_000, 1.0e-5),))
        self._settling = Noise(mix(key, 2), ((_HOUR_US, 1.0e-4),))
        self._funding = Noise(mix(key, 3), ((_HOUR_US, 0.3), (FUNDING_INTERVAL_US * 3, 0.7)))
        self._interest = Noise(mix(key, 4), ((_HOUR_US // 4, 0.02), (_HOUR_US * 24, 0.2)))
        self._ratios = {
            name: Noise(mix(key, 10 + n), ((_HOUR_US, 0.05), (_HOUR_US * 30, 0.12))) for n, name in enumerate(RATIOS)
        }
        self.slot_us = _BUSY_SLOT_US if market.listing.rank < _BUSY_RANKS else _QUIET_SLOT_US

    def mark(self, time_us: int) -> Mark:
        """Return mark and index price and the funding estimate at a time."""
        index = round(self._market.process.index_at(time_us) * self._market.listing.multiplier * _FINE)
        marks = [self._mark_price(time_us - back * 10_000_000) for back in range(3)]
        return Mark(
            mark=marks[0],
            mark_average=sum(marks) // len(marks),
            index=index,
            settlement=round(index * (1.0 + self._settling.at(time_us - EPOCH_US))),
            rate=self.funding_rate(time_us),
            next_funding_us=(time_us // FUNDING_INTERVAL_US + 1) * FUNDING_INTERVAL_US,
        )

    def _mark_price(self, time_us: int) -> int:
        wobble = 1.0 + self._marking.at(time_us - EPOCH_US)
        return round(self._market.price_at(time_us) * wobble * _FINE)

    def funding_rate(self, time_us: int) -> int:
        """Return the funding rate as estimated at a time, in 10^-8; at a funding time that is the rate settled."""
        return _COMMON_RATE + round(_RATE_SWING * self._funding.at(time_us - EPOCH_US))

    def open_interest(self, time_us: int) -> int:
        """Return the open interest in steps."""
        listing = self._market.listing
        level = _OPEN_INTEREST_VALUE * listing.events_per_s / listing.step_value
        return round(level * (1.0 + self._interest.at(time_us - EPOCH_US)))

    def ratio(self, name: str, time_us: int) -> Ratio:
        """Return a long/short ratio, one of `RATIOS`, as it stood at the end of a period."""
        long = round((0.55 + self._ratios[name].at(time_us - EPOCH_US)) * 10**RATIO_DIGITS)
        short = 10**RATIO_DIGITS - long
        return Ratio(long, short, long * 10**RATIO_DIGITS // short)

    def liquidation(self, slot: int) -> Liquidation:
        """Return the forced order of a slot of `slot_us`: one in each, at least a second apart."""
        market = self._market
        bits = mix(self._key, slot + 1_000)
        time_us = slot * self.slot_us + 1_000_000 + (bits >> 8) % (self.slot_us - 2_000_000)
        buy = bool(bits & 1)
        touch = market.touch(market.step_at(time_us))
        steps = market.lot * (1 + (bits >> 40) % 60)
        average = touch.ask + (bits >> 50) % 3 if buy else touch.bid - (bits >> 50) % 3
        away = max(1, touch.bid // 150)
        return Liquidation(
            time_us=time_us,
            buy=buy,
            limit_ticks=average + away if buy else average - away,
            average_ticks=average,
            steps=steps,
            last_steps=1 + (bits >> 20) % steps,
        )


RATIOS = ("top_positions", "top_accounts", "all_accounts")
"""The long/short ratios: of the top traders' positions, of their accounts, of all accounts."""
