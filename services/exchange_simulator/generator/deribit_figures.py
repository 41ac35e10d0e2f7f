"""Deribit's figures: JSON numbers in the form of a float, amounts in the unit of the instrument, and derived figures.

A step is one contract (inverse: so many US dollars; linear: so much base currency) or, of options, the least amount.
All units are whole numbers; what is rounded is rounded once, and the ledger is written from the same whole number.
"""

from __future__ import annotations

from services.exchange_simulator.generator.candles import Bar
from services.exchange_simulator.generator.figures import amount_units, kept, percent_units, rounded, ten_to, trimmed
from services.exchange_simulator.generator.names import Listing
from services.exchange_simulator.generator.statistics import FINE_DIGITS

PERCENT_DIGITS = 4
MOST_VALUE_DIGITS = 8
BASE_VOLUME_DIGITS = 8
"""Digits of a volume in base currency that is derived from US dollars."""
_LEAST_PLAIN = 4
"""A number below 10^-4 is written with an exponent."""


def number(units: int, digits: int) -> str:
    """Write units of 10^-digits as the exchange writes a float: `20.0`, `63344.5`, `2.081e-05`."""
    sign, units = ("-", -units) if units < 0 else ("", units)
    text = trimmed(units, digits)
    if not units or units * ten_to(_LEAST_PLAIN) >= ten_to(digits):
        return f"{sign}{text}" if "." in text else f"{sign}{text}.0"
    mantissa = str(units).rstrip("0")
    exponent = digits - len(str(units)) + 1
    point = f".{mantissa[1:]}" if len(mantissa) > 1 else ""
    return f"{sign}{mantissa[0]}{point}e-{exponent:02d}"


def mark_digits(listing: Listing) -> int:
    """Return the digits of mark and index prices: cents for US dollars, two more than a tick's for an option.

    Others have one more than a tick, as far as a mark price has digits.
    """
    if listing.market == "option":
        return listing.price_digits + 2
    return 2 if listing.inverse else max(listing.price_digits, min(listing.price_digits + 1, FINE_DIGITS))


def mark_units(listing: Listing, price: int) -> int:
    """Return a mark price, given in 10^-8, in units of its last digit on the wire."""
    return rounded(price, FINE_DIGITS, mark_digits(listing))


def index_digits(listing: Listing) -> int:
    """Return the digits of the price of the asset itself, which an option has too."""
    return 2 if listing.market == "option" else mark_digits(listing)


def index_units(listing: Listing, price: int) -> int:
    """Return an index price, given in 10^-8, in units of its last digit on the wire."""
    return rounded(price, FINE_DIGITS, index_digits(listing))


def change_units(bar: Bar) -> int:
    """Return how far the price went in a span, in per cent, in units of 10^-4, rounded towards zero."""
    return percent_units(bar.close - bar.open, bar.open, PERCENT_DIGITS)


def contracts_units(listing: Listing, steps: int) -> tuple[int, int]:
    """Return a size in contracts as (units, digits)."""
    return steps * listing.step_units, listing.quantity_digits


def value_units(listing: Listing, value: int) -> tuple[int, int]:
    """Return ticks x steps in the currency of the price as (units, digits), up to eight; not of inverse contracts."""
    units, digits = amount_units(listing, value)
    units, digits = units * listing.tick_units, digits + listing.price_digits
    fewer = min(digits, MOST_VALUE_DIGITS)
    return rounded(units, digits, fewer), fewer


def base_volume(listing: Listing, bar: Bar) -> tuple[int, int]:
    """Return a bar's volume in base currency as (units, digits).

    That of a contract in US dollars is its dollars at the bar's volume-weighted price, to 8 digits: a little more than
    the sum over its trades would be, which cannot be had without walking through them.
    """
    units, digits = amount_units(listing, bar.volume)
    if not listing.inverse:
        return units, digits
    if not bar.volume:
        return 0, BASE_VOLUME_DIGITS
    shift = BASE_VOLUME_DIGITS - digits + listing.price_digits
    dividend, divisor = units * bar.volume * ten_to(shift), bar.value * listing.tick_units
    return (dividend + divisor // 2) // divisor, BASE_VOLUME_DIGITS


def turnover(listing: Listing, bar: Bar) -> tuple[int, int]:
    """Return a bar's turnover as (units, digits): US dollars of an inverse contract, else the currency of the price."""
    return amount_units(listing, bar.volume) if listing.inverse else value_units(listing, bar.value)


class Figures:
    """Writes one listing's numbers."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.price = kept(lambda ticks: number(ticks * listing.tick_units, listing.price_digits))
        """Write a price given in ticks."""
        self.amount = kept(lambda steps: number(*amount_units(listing, steps)))
        """Write a size given in steps, in the unit of the instrument's amounts."""
