"""Figures as the exchange states them: whole numbers to texts, and the roundings of derived figures."""

from __future__ import annotations

from collections.abc import Callable

from services.exchange_simulator.generator.events import TickerEvent
from services.exchange_simulator.generator.names import Listing

PERCENT_DIGITS = 3
_MOST_TEXTS = 50_000


def ten_to(digits: int) -> int:
    """Return ten to a power that is not negative."""
    return int(10**digits)


def text_of(units: int, digits: int) -> str:
    """Write a whole number of units of 10^-digits as a plain decimal with exactly that many digits."""
    sign, units = ("-", -units) if units < 0 else ("", units)
    if digits == 0:
        return f"{sign}{units}"
    whole, rest = divmod(units, ten_to(digits))
    return f"{sign}{whole}.{rest:0{digits}d}"


def trimmed(units: int, digits: int) -> str:
    """Write a whole number of units of 10^-digits as a plain decimal without zeros at its end."""
    text = text_of(units, digits)
    return text.rstrip("0").rstrip(".") if digits else text


def kept(write: Callable[[int], str]) -> Callable[[int], str]:
    """Return a writer of numbers that keeps its texts: the same ones come again and again."""
    texts: dict[int, str] = {}

    def find(number: int) -> str:
        text = texts.get(number)
        if text is None:
            if len(texts) >= _MOST_TEXTS:
                texts.clear()
            text = texts[number] = write(number)
        return text

    return find


def rounded(units: int, digits: int, wanted: int) -> int:
    """Return units of 10^-digits in units of 10^-wanted, rounded half up where the digits do not reach."""
    if wanted >= digits:
        return units * ten_to(wanted - digits)
    return (units + ten_to(digits - wanted) // 2) // ten_to(digits - wanted)


def amount_units(listing: Listing, steps: int) -> tuple[int, int]:
    """Return a size times what a contract is worth, exactly, as (units, digits): of inverse contracts US dollars."""
    return steps * listing.step_units * listing.contract_units, listing.quantity_digits + listing.contract_digits


def value_units(listing: Listing, value: int, digits: int) -> int:
    """Return a value in ticks x steps as units of 10^-digits of quote currency, rounded half up.

    Not of inverse contracts, whose number alone says what they are worth.
    """
    units, own = amount_units(listing, value)
    return rounded(units * listing.tick_units, own + listing.price_digits, digits)


def ticker_value_digits(listing: Listing) -> int:
    """Return the digits of a 24 hour quote volume: two on futures."""
    return 8 if listing.market == "spot" else 2


def percent_units(part: int, whole: int, digits: int = PERCENT_DIGITS) -> int:
    """Return part / whole in per cent, in units of 10^-digits, rounded towards zero."""
    units = abs(part) * 100 * ten_to(digits) // whole
    return units if part >= 0 else -units


def average_units(event: TickerEvent) -> int:
    """Return the weighted average price in units of the last price digit, cut off."""
    bar, listing = event.bar, event.listing
    return bar.value * listing.tick_units // bar.volume if bar.volume else bar.close * listing.tick_units
