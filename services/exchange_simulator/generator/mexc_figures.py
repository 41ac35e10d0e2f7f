"""MEXC's figures as text. Sizes of contracts are whole numbers of contracts, and on the wire bare JSON numbers.

All units are whole numbers; what is rounded is rounded once, and the ledger is written from the same whole number.
"""

from __future__ import annotations

from services.exchange_simulator.generator.events import TickerEvent
from services.exchange_simulator.generator.figures import kept, percent_units, rounded, text_of, trimmed, value_units
from services.exchange_simulator.generator.market import Trade
from services.exchange_simulator.generator.names import Listing
from services.exchange_simulator.generator.statistics import FINE_DIGITS

INTERVALS = {
    "Min1": "1m",
    "Min5": "5m",
    "Min15": "15m",
    "Min30": "30m",
    "Min60": "1h",
    "Hour4": "4h",
    "Hour8": "8h",
    "Day1": "1d",
}
"""The exchange's names of candle intervals -> the generator's; what is not generated is not there."""
NAME_OF = {name: wire for wire, name in INTERVALS.items()}

PERCENT_DIGITS = 2
"""Digits of a change in per cent: as a fraction, which the exchange tells, it has two more."""
RATE_DIGITS = 6
"""Digits of funding rates."""
VALUE_DIGITS = 8
"""The most digits of values in quote currency."""
_IDS_FROM = 731_900_000_000_000_000
_LONG_TAIL = "." + "0" * 30


def spot_trade_id(trade: Trade) -> str:
    """Return what spot calls a deal: two numbers that count nothing for whoever reads them."""
    number = _IDS_FROM + 2 * trade.aggregate_id
    return f"{number}X0_{number + 1}X0"


def change_units(event: TickerEvent) -> int:
    """Return how far the price went in 24 hours, in per cent, in units of 10^-2, rounded towards zero."""
    return percent_units(event.bar.close - event.before_ticks, event.before_ticks, PERCENT_DIGITS)


def change_text(event: TickerEvent) -> str:
    """Write that as the fraction that the exchange tells."""
    return trimmed(change_units(event), PERCENT_DIGITS + 2)


def mark_units(listing: Listing, price: int) -> int:
    """Return a fair or index price, given in 10^-8, in units of the last price digit."""
    return rounded(price, FINE_DIGITS, listing.price_digits)


def rate_units(rate: int) -> int:
    """Return a funding rate, given in 10^-8, in units of its last digit on the wire."""
    return rounded(rate, FINE_DIGITS, RATE_DIGITS)


def with_exponent(units: int, digits: int) -> str:
    """Write a number of units of 10^-digits as Java writes a decimal without zeros at its end: 97500 is `9.75E+4`."""
    plain = trimmed(units, digits)
    if "." in plain or not plain.endswith("0") or plain == "0":
        return plain
    significant = plain.rstrip("0")
    rest = f".{significant[1:]}" if len(significant) > 1 else ""
    return f"{significant[0]}{rest}E+{len(plain) - 1}"


class Figures:
    """Writes one listing's numbers, without the quotes that some stand in."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        tick, step, digits = listing.tick_units, listing.step_units, listing.price_digits
        self.price = kept(lambda ticks: trimmed(ticks * tick, digits))
        """Write a price given in ticks."""
        self.level_price = kept(lambda ticks: text_of(ticks * tick, digits))
        """Write a price of a level of spot's book, with all its digits."""
        self.amount = kept(lambda steps: trimmed(steps * step, listing.quantity_digits))
        """Write a size given in steps: of contracts their number."""
        self.level_amount = kept(lambda steps: text_of(steps * step, listing.quantity_digits))
        """Write a size of a level of spot's book, with all its digits."""

    def value(self, value: int) -> str:
        """Write a value in quote currency, given in ticks x steps."""
        return trimmed(value_units(self.listing, value, VALUE_DIGITS), VALUE_DIGITS)

    def mark(self, price: int) -> str:
        """Write a fair or index price, given in 10^-8."""
        return trimmed(mark_units(self.listing, price), self.listing.price_digits)

    def rate(self, rate: int) -> str:
        """Write a funding rate, given in 10^-8."""
        return trimmed(rate_units(rate), RATE_DIGITS)

    def contract_level(self, ticks: int, steps: int) -> str:
        """Write a level of a contract's book: price, contracts, and how many orders those are.

        A price that ends in zeros before its point has an exponent, and its contracts a long tail of zeros.
        """
        price = with_exponent(ticks * self.listing.tick_units, self.listing.price_digits)
        return f"[{price},{steps}{_LONG_TAIL if 'E' in price else ''},{orders(steps)}]"


def orders(steps: int) -> int:
    """Return of how many orders a level consists: none where nothing is left of it."""
    return steps and 1 + steps % 7
