"""Gate.io's figures as text: on spot without needless zeros, on futures with the digits of the tick; sizes as counts.

On futures a step is one contract, `quanto_multiplier` of base currency, so sizes on the wire are steps. All units are
whole numbers; what is rounded is rounded once, and the ledger is written from the same whole number.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.exchange_simulator.generator.candles import Bar
from services.exchange_simulator.generator.figures import amount_units, kept, percent_units, rounded, text_of, trimmed
from services.exchange_simulator.generator.names import Listing
from services.exchange_simulator.generator.statistics import FINE_DIGITS, RATIOS

PERCENT_DIGITS = 4
RATE_DIGITS = 6
"""Digits of funding rates."""
MOST_VALUE_DIGITS = 8
"""Digits of values in quote currency."""

TOP_POSITIONS, TOP_ACCOUNTS, ALL_ACCOUNTS = RATIOS


def rate_units(rate: int) -> int:
    """Return a funding rate, given in 10^-8, in units of its last digit on the wire."""
    return rounded(rate, FINE_DIGITS, RATE_DIGITS)


def mark_units(listing: Listing, price: int) -> int:
    """Return a mark or index price, given in 10^-8, in units of the last price digit."""
    return rounded(price, FINE_DIGITS, listing.price_digits)


def change_units(bar: Bar) -> int:
    """Return how far the price went in a span, in per cent, in units of 10^-4, rounded towards zero."""
    return percent_units(bar.close - bar.open, bar.open, PERCENT_DIGITS)


def quote_units(listing: Listing, value: int) -> tuple[int, int]:
    """Return a value in ticks x steps in quote currency as (units, digits): exactly, up to eight digits."""
    units, digits = amount_units(listing, value)
    units, digits = units * listing.tick_units, digits + listing.price_digits
    fewer = min(digits, MOST_VALUE_DIGITS)
    return rounded(units, digits, fewer), fewer


class Figures:
    """Writes one listing's numbers, without the quotes that some stand in."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self._spot = listing.market == "spot"
        write = trimmed if self._spot else text_of
        self.price = kept(lambda ticks: write(ticks * listing.tick_units, listing.price_digits))
        """Write a price given in ticks."""
        self.amount = kept(lambda steps: trimmed(*amount_units(listing, steps)))
        """Write a size given in steps, in base currency."""

    def value(self, value: int) -> str:
        """Write a value in quote currency, given in ticks x steps, exactly."""
        return trimmed(*quote_units(self.listing, value))

    def whole_value(self, value: int) -> int:
        """Return a value given in ticks x steps in whole units of quote currency, rounded half up."""
        return rounded(*quote_units(self.listing, value), 0)

    def levels(self, levels: Sequence[tuple[int, int]]) -> str:
        """Write book levels in the order given: pairs of texts on spot, objects with contracts on futures."""
        if self._spot:
            return ",".join([f'["{self.price(ticks)}","{self.amount(steps)}"]' for ticks, steps in levels])
        return ",".join([f'{{"p":"{self.price(ticks)}","s":{steps}}}' for ticks, steps in levels])
