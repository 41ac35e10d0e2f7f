"""What the core reads of each record: the same fields from the bus and from the tables, of the same names.

Only the fields that are needed are decoded; a test holds them to the records' own declaration.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Pairs = list[list[str]]
"""Levels as they are sent: price, quantity, and on contract markets the contracts."""


class Timed(msgspec.Struct, gc=False):
    """A record that tells the time."""

    timestamp: int
    timestamp_source: str
    received_at: int
    source: str


class QuoteInput(Timed, gc=False):
    """Best bid and ask; a side without a price is empty."""

    bid_price: str | None = None
    bid_quantity: str | None = None
    ask_price: str | None = None
    ask_quantity: str | None = None


class OrderBookInput(Timed, gc=False):
    """The best levels of a book that is in step."""

    sequence: int
    bids: Pairs
    asks: Pairs


class BookChangeInput(Timed, gc=False):
    """Levels with their new quantity, 0 where there is none any more."""

    last_sequence: int
    in_step: bool
    bids: Pairs
    asks: Pairs


class InstrumentInput(msgspec.Struct, gc=False):
    """What is traded."""

    asset: str
    multiplier: str
    quote: str
    status: str
    source: str
    quantity_step: str | None = None


class ClockOffsetInput(msgspec.Struct, gc=False):
    """How far an exchange's clock is ahead of ours, microseconds."""

    offset_us: int


class GapInput(msgspec.Struct, gc=False):
    """Something is missing."""

    kind: str
    status: Literal["open", "filling", "filled", "partly_filled", "unavailable", "merged"]
    interval: str | None = None


quote = msgspec.json.Decoder(QuoteInput).decode
orderbook = msgspec.json.Decoder(OrderBookInput).decode
book_change = msgspec.json.Decoder(BookChangeInput).decode
instrument = msgspec.json.Decoder(InstrumentInput).decode
clock_offset = msgspec.json.Decoder(ClockOffsetInput).decode
gap = msgspec.json.Decoder(GapInput).decode
