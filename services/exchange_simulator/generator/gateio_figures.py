"""Gate.io's figures as text: on spot without needless zeros, on futures with the digits of the tick; sizes as counts.

On futures a step is one contract, `quanto_multiplier` of base currency, so sizes on the wire are steps. All units are
whole numbers; what is rounded is rounded once, and the ledger is written from the same whole number.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.exchange_simulator.generator.figures import ten_to, text_of
from services.exchange_simulator.generator.names import Listing
from services.exchange_simulator.generator.statistics import FINE_DIGITS, RATIOS

PERCENT_DIGITS = 4
RATE_DIGITS = 6
"""Digits of funding rates."""
MOST_VALUE_DIGITS = 8
"""Digits of values in quote currency."""

TOP_POSITIONS, TOP_ACCOUNTS, ALL_ACCOUNTS = RATIOS

_MOST_TEXTS = 50_000


def trimmed(units: int, digits: int) -> str:
    """Write a whole number of units of 10^-digits as a plain decimal without zeros at its end."""
    text = text_of(units, digits)
    return text.rstrip("0").rstrip(".") if digits else text


def rounded(units: int, digits: int, fewer: int) -> int:
    """Return units of 10^-digits in units of 10^-fewer, rounded half up; more digits are filled with zeros."""
    if fewer >= digits:
        return units * ten_to(fewer - digits)
    return (units + ten_to(digits - fewer) // 2) // ten_to(digits - fewer)


def rate_units(rate: int) -> int:
    """Return a funding rate, given in 10^-8, in units of its last digit on the wire."""
    return rounded(rate, FINE_DIGITS, RATE_DIGITS)


def mark_units(listing: Listing, price: int) -> int:
    """Return a mark or index price, given in 10^-8, in units of the last price digit."""
    return rounded(price, FINE_DIGITS, listing.price_digits)


def percent_units(part: int, whole: int) -> int:
    """Return part / whole in per cent, in units of 10^-4, rounded towards zero."""
    units = abs(part) * 100 * ten_to(PERCENT_DIGITS) // whole
    return units if part >= 0 else -units


def amount_units(listing: Listing, steps: int) -> tuple[int, int]:
    """Return a quantity in base currency as (units, digits): a size in contracts times the contract."""
    return steps * listing.step_units * listing.contract_units, listing.quantity_digits + listing.contract_digits


def quote_units(listing: Listing, value: int) -> tuple[int, int]:
    """Return a value in ticks x steps in quote currency as (units, digits): exactly, up to eight digits."""
    units, digits = amount_units(listing, value)
    units, digits = units * listing.tick_units, digits + listing.price_digits
    fewer = min(digits, MOST_VALUE_DIGITS)
    return rounded(units, digits, fewer), fewer


class Figures:
    """Writes one listing's prices and quantities; texts that come again are kept."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self._spot = listing.market == "spot"
        self._write = trimmed if self._spot else text_of
        self._prices: dict[int, str] = {}
        self._amounts: dict[int, str] = {}

    def price(self, ticks: int) -> str:
        """Write a price, without its quotes."""
        text = self._prices.get(ticks)
        if text is None:
            if len(self._prices) >= _MOST_TEXTS:
                self._prices.clear()
            text = self._write(ticks * self.listing.tick_units, self.listing.price_digits)
            self._prices[ticks] = text
        return text

    def amount(self, steps: int) -> str:
        """Write a quantity in base currency, without its quotes."""
        text = self._amounts.get(steps)
        if text is None:
            if len(self._amounts) >= _MOST_TEXTS:
                self._amounts.clear()
            text = self._amounts[steps] = trimmed(*amount_units(self.listing, steps))
        return text

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
