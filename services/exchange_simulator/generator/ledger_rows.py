"""The ledger's columns, the unit in which its rows count prices and quantities, and the parts that rows have in common.

Columns are the fields of the records (`schemas.records`), but for what only the receiver knows. The rows themselves are
each dialect's own.
"""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pyarrow as pa

from schemas.records import BY_KIND, Levels, Micros, Number, Record
from services.exchange_simulator.generator.candles import Bar
from services.exchange_simulator.generator.events import BookEvent
from services.exchange_simulator.generator.figures import ten_to, value_units
from services.exchange_simulator.generator.market import Touch
from services.exchange_simulator.generator.names import Listing

NUMBER = pa.decimal128(38, 18)
MOST_DIGITS = 18
_FEW_DIGITS = 8
_TIME = pa.timestamp("us", tz="UTC")
_LEVEL = pa.list_(pa.field("element", NUMBER, nullable=False))
LEVELS = pa.list_(pa.field("element", _LEVEL, nullable=False))

KINDS = (
    *("trade", "fill", "book_change", "quote", "candle_update", "ticker", "index_price", "funding_rate"),
    *("open_interest", "liquidation", "lsr_top_position", "lsr_all_account", "volatility_index"),
)
"""The kinds of record that streams tell of."""

_RECEIVERS = frozenset({"timestamp_source", "received_at", "source", "in_step", "overlaps", "stream_sequence"})
"""Fields that whoever receives fills in."""


def columns_of(record: type[Record]) -> dict[str, pa.DataType]:
    """Return the ledger's columns for a record. Raises KeyError for a field of a type that it cannot write."""
    hints = get_type_hints(record, include_extras=True)
    fields = {name: hints[name] for name in record.__struct_fields__ if name not in _RECEIVERS}
    return {name: _arrow(hint) for name, hint in fields.items()}


def _arrow(hint: Any) -> pa.DataType:
    known = {Micros: _TIME, Number: NUMBER, Levels: LEVELS, int: pa.int64(), bool: pa.bool_(), str: pa.string()}
    choices = [hint, *(choice for choice in get_args(hint) if choice is not type(None))]
    found = next((known[choice] for choice in choices if choice in known), None)
    return pa.string() if found is None else found


def schema_of(kind: str) -> pa.Schema:
    """Return the Parquet schema of a kind."""
    own = columns_of(BY_KIND[kind])
    return pa.schema({**own, "connection": pa.int64(), "handed_out_at": _TIME, "fault": pa.string()})


FAULT_SCHEMA = pa.schema(
    {
        **dict.fromkeys(("exchange", "market", "symbol", "fault", "stream", "kind", "detail"), pa.string()),
        **dict.fromkeys(("connection", "frame", "first_id", "last_id"), pa.int64()),
        "timestamp": _TIME,
    }
)
"""Of the rows about faults."""


def digits_needed(listing: Listing) -> int:
    """Return with how many digits every figure of a listing is a whole number: few where they suffice."""
    if listing.inverse:
        return MOST_DIGITS
    own = listing.quantity_digits + listing.contract_digits
    return _FEW_DIGITS if max(listing.price_digits, own) <= _FEW_DIGITS else MOST_DIGITS


class Scales:
    """Turns one listing's whole numbers into units of 10^-digits, the unit of every number in a row."""

    def __init__(self, listing: Listing, digits: int) -> None:
        self.listing = listing
        self.digits = digits
        self.price = listing.tick_units * ten_to(digits - listing.price_digits)
        """One tick."""
        self.quantity = listing.step_units * ten_to(digits - listing.quantity_digits)
        """One step as the wire has it: base currency on spot, contracts elsewhere."""
        self.head = {"exchange": listing.exchange, "market": listing.market, "symbol": listing.symbol}
        self._linear = (
            listing.step_units
            * listing.contract_units
            * ten_to(digits - listing.quantity_digits - listing.contract_digits)
            if not listing.inverse
            else 0
        )

    def base(self, steps: int, ticks: int) -> int:
        """Return a quantity in base currency; of inverse contracts at this price, rounded half to even."""
        if not self.listing.inverse:
            return steps * self._linear
        listing = self.listing
        worth = steps * listing.step_units * listing.contract_units * ten_to(self.digits + listing.price_digits)
        return _half_even(worth, ticks * listing.tick_units * ten_to(listing.quantity_digits + listing.contract_digits))

    def contracts(self, steps: int) -> int | None:
        """Return a number of contracts, None where there are none."""
        return None if self.listing.contract_size is None else steps * self.quantity

    def level(self, ticks: int, steps: int) -> tuple[int, ...]:
        """Return a level of the book: price, base quantity, and contracts where there are any."""
        pair = (ticks * self.price, self.base(steps, ticks))
        return pair if self.listing.contract_size is None else (*pair, steps * self.quantity)

    def value(self, value: int) -> int:
        """Return a value in quote currency, given in ticks x steps."""
        return value_units(self.listing, value, self.digits)

    def fine(self, units: int, digits: int) -> int:
        """Return a number of units of 10^-digits."""
        return units * ten_to(self.digits - digits)


def best(touch: Touch, scales: Scales) -> dict[str, int]:
    """Return the columns of the best bid and ask, quantities in base currency."""
    return {
        "bid_price": touch.bid * scales.price,
        "bid_quantity": scales.base(touch.bid_steps, touch.bid),
        "ask_price": touch.ask * scales.price,
        "ask_quantity": scales.base(touch.ask_steps, touch.ask),
    }


def prices(bar: Bar, scales: Scales) -> dict[str, int]:
    """Return the columns of a candle's four prices."""
    return {
        "open_price": bar.open * scales.price,
        "high_price": bar.high * scales.price,
        "low_price": bar.low * scales.price,
        "close_price": bar.close * scales.price,
    }


def day(bar: Bar, scales: Scales) -> dict[str, int]:
    """Return a ticker's columns of the prices in its window, but for the opening one, which exchanges differ about."""
    return {
        "last_price": bar.close * scales.price,
        "high_price": bar.high * scales.price,
        "low_price": bar.low * scales.price,
    }


def sides(event: BookEvent, scales: Scales) -> dict[str, list[tuple[int, ...]]]:
    """Return the columns of a book change's levels, the best first on both sides."""
    return {
        "bids": [scales.level(ticks, steps) for ticks, steps in event.bids[::-1]],
        "asks": [scales.level(ticks, steps) for ticks, steps in event.asks],
    }


def _half_even(number: int, divisor: int) -> int:
    whole, rest = divmod(number, divisor)
    return whole + (2 * rest > divisor or (2 * rest == divisor and whole % 2 == 1))
