"""Bybit's figures as text: with all digits of the tick and step on contracts, without needless zeros on spot.

All units are whole numbers; what is rounded is rounded once, and the ledger is written from the same whole number.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import NAMESPACE_OID, uuid5

from services.exchange_simulator.generator.candles import INTERVALS_US
from services.exchange_simulator.generator.events import FullTickerEvent, TickerEvent
from services.exchange_simulator.generator.figures import kept, percent_units, rounded, text_of, trimmed
from services.exchange_simulator.generator.market import Trade
from services.exchange_simulator.generator.names import Listing
from services.exchange_simulator.generator.statistics import FINE_DIGITS

INTERVALS = {
    **{str(us // 60_000_000): name for name, us in INTERVALS_US.items() if name not in ("8h", "1d")},
    "D": "1d",
}
"""The exchange's names of candle intervals -> the generator's; what is not generated is not there."""
NAME_OF = {name: wire for wire, name in INTERVALS.items()}

PERCENT_DIGITS = 4
"""Digits of a change in per cent: as a fraction, which the exchange tells, it has two more."""
DOLLAR_DIGITS = 2
_TICKER_DIGITS = 4
_MOST_VALUE_DIGITS = 8
_SPOT_IDS_FROM = 2_290_000_000_000_000_000


def trade_id(listing: Listing, trade: Trade) -> str:
    """Return a trade's id: on spot rising by one, on contracts a UUID of version 5, which tells of no order."""
    if listing.market == "spot":
        return str(_SPOT_IDS_FROM + trade.aggregate_id)
    return str(uuid5(NAMESPACE_OID, f"{listing.wire_symbol}:{trade.aggregate_id}"))


def change_units(event: TickerEvent) -> int:
    """Return how far the price went in 24 hours, in per cent, in units of 10^-4, rounded towards zero."""
    return percent_units(event.bar.close - event.before_ticks, event.before_ticks, PERCENT_DIGITS)


def mark_units(listing: Listing, price: int) -> int:
    """Return a mark or index price, given in 10^-8, in units of the last price digit."""
    return rounded(price, FINE_DIGITS, listing.price_digits)


def value_units(listing: Listing, value: int, most: int = _MOST_VALUE_DIGITS) -> tuple[int, int]:
    """Return a value in ticks x steps in quote currency as (units, digits): exactly, up to `most` digits."""
    digits = listing.quantity_digits + listing.price_digits
    fewer = min(digits, most)
    return rounded(value * listing.step_units * listing.tick_units, digits, fewer), fewer


def turnover_units(listing: Listing, value: int) -> tuple[int, int]:
    """Return a 24 hour turnover, given in ticks x steps, as (units, digits): up to four digits on contracts."""
    return value_units(listing, value, _MOST_VALUE_DIGITS if listing.market == "spot" else _TICKER_DIGITS)


def interest_value_units(event: FullTickerEvent, sides: int) -> int:
    """Return what the open interest of one or both sides is worth at the mark price, in units of 10^-2."""
    listing = event.listing
    units = sides * event.open_interest * listing.step_units * mark_units(listing, event.mark.mark)
    return rounded(units, listing.quantity_digits + listing.price_digits, DOLLAR_DIGITS)


class Figures:
    """Writes one listing's numbers, without the quotes that they stand in."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        write = trimmed if listing.market == "spot" else text_of
        self.price = kept(lambda ticks: write(ticks * listing.tick_units, listing.price_digits))
        """Write a price given in ticks."""
        self.candle_price = kept(lambda ticks: trimmed(ticks * listing.tick_units, listing.price_digits))
        """Write a price of a candle, which never has needless zeros."""
        self.size = kept(lambda steps: write(steps * listing.step_units, listing.quantity_digits))
        """Write a size given in steps."""

    def volume(self, steps: int) -> str:
        """Write a volume of candles, given in steps."""
        return trimmed(steps * self.listing.step_units, self.listing.quantity_digits)

    def day_volume(self, steps: int) -> str:
        """Write a 24 hour volume, given in steps: with at least four digits on contracts."""
        if self.listing.market == "spot":
            return self.volume(steps)
        digits = max(_TICKER_DIGITS, self.listing.quantity_digits)
        return text_of(rounded(steps * self.listing.step_units, self.listing.quantity_digits, digits), digits)

    def mark(self, price: int) -> str:
        """Write a mark or index price, given in 10^-8."""
        return text_of(mark_units(self.listing, price), self.listing.price_digits)

    def levels(self, levels: Sequence[tuple[int, int]]) -> str:
        """Write book levels in the order given; a size of nothing is `0`."""
        price, size = self.price, self.size
        return ",".join([f'["{price(ticks)}","{size(steps) if steps else 0}"]' for ticks, steps in levels])
