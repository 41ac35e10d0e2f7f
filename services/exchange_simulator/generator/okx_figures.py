"""OKX's figures: how its prices, sizes and volumes are counted, rounded and written.

Sizes are base currency on spot, contracts elsewhere. Derived figures are whole numbers of 10^-8 or 10^-4 here, so that
frames and ledger round alike.
"""

from __future__ import annotations

from collections.abc import Callable

from services.exchange_simulator.generator.candles import Bar
from services.exchange_simulator.generator.figures import ten_to, text_of, trimmed, value_units
from services.exchange_simulator.generator.names import Listing
from services.exchange_simulator.generator.statistics import FINE_DIGITS

KINDS = {"spot": "SPOT", "perp": "SWAP", "future": "FUTURES"}
"""Our market -> the exchange's instrument type."""

VALUE_DIGITS = 8
"""Of volumes in quote currency."""
BASE_DIGITS = 4
"""Of what inverse contracts are worth in base currency: volumes and open interest."""
DOLLAR_DIGITS = 2
_MOST_TEXTS = 50_000


def quote_volume_units(listing: Listing, bar: Bar) -> int:
    """Return a bar's volume in quote currency, in units of 10^-8, rounded half up."""
    if listing.inverse:
        return worth_units(listing, bar.volume, VALUE_DIGITS)
    return value_units(listing, bar.value, VALUE_DIGITS)


def base_volume_units(listing: Listing, bar: Bar) -> int:
    """Return an inverse contract's volume in base currency, in units of 10^-4: its value at the average price."""
    if not bar.volume:
        return 0
    return base_units(listing, bar.volume, bar.value // bar.volume)


def base_units(listing: Listing, steps: int, ticks: int) -> int:
    """Return so many inverse contracts in base currency at a price, in units of 10^-4, cut off."""
    worth = worth_units(listing, steps, BASE_DIGITS + listing.price_digits)
    return worth // (ticks * listing.tick_units)


def worth_units(listing: Listing, steps: int, digits: int) -> int:
    """Return so many contracts times their size in units of 10^-digits: dollars of inverse ones, base of others."""
    own = listing.quantity_digits + listing.contract_digits
    units = steps * listing.step_units * listing.contract_units
    return units * ten_to(digits - own) if digits >= own else units // ten_to(own - digits)


def dollar_units(listing: Listing, steps: int, ticks: int) -> int:
    """Return what so many contracts are worth in US dollars, in cents; a USDT is one."""
    if listing.inverse:
        return worth_units(listing, steps, DOLLAR_DIGITS)
    return value_units(listing, steps * ticks, DOLLAR_DIGITS)


class Figures:
    """Writes one listing's numbers as the exchange does; texts that come again are kept."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._own_digits = listing.quantity_digits + listing.contract_digits
        self.price = _kept(lambda ticks: trimmed(ticks * listing.tick_units, listing.price_digits))
        """Write a price given in ticks."""
        self.size = _kept(lambda steps: trimmed(steps * listing.step_units, listing.quantity_digits))
        """Write a size given in steps."""

    def padded_price(self, ticks: int) -> str:
        """Write a price with all digits of the tick."""
        return text_of(ticks * self._listing.tick_units, self._listing.price_digits)

    def fine(self, units: int) -> str:
        """Write a mark or index price given in units of 10^-8."""
        return trimmed(units, FINE_DIGITS)

    def second_volume(self, bar: Bar) -> str:
        """Write `volCcy`: quote currency on spot, base currency on contract markets."""
        listing = self._listing
        if listing.contract_size is None:
            return trimmed(quote_volume_units(listing, bar), VALUE_DIGITS)
        if listing.inverse:
            return trimmed(base_volume_units(listing, bar), BASE_DIGITS)
        return trimmed(worth_units(listing, bar.volume, self._own_digits), self._own_digits)

    def quote_volume(self, bar: Bar) -> str:
        """Write `volCcyQuote`: always quote currency."""
        return text_of(quote_volume_units(self._listing, bar), VALUE_DIGITS)

    def worth(self, steps: int, ticks: int) -> tuple[str, str]:
        """Write what so many contracts are worth: base currency, US dollars."""
        listing = self._listing
        dollars = trimmed(dollar_units(listing, steps, ticks), DOLLAR_DIGITS)
        if listing.inverse:
            return trimmed(base_units(listing, steps, ticks), BASE_DIGITS), dollars
        return trimmed(worth_units(listing, steps, self._own_digits), self._own_digits), dollars


def _kept(write: Callable[[int], str]) -> Callable[[int], str]:
    """Keep what was written."""
    texts: dict[int, str] = {}

    def find(number: int) -> str:
        text = texts.get(number)
        if text is None:
            if len(texts) >= _MOST_TEXTS:
                texts.clear()
            text = texts[number] = write(number)
        return text

    return find
