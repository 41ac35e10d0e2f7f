"""Market events as a client is told of them, still as whole numbers: what both the encoder and the ledger read.

`sent_us` is the exchange's event time; times are whole milliseconds in us UTC, as most exchanges state them.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from services.exchange_simulator.generator.book import Level
from services.exchange_simulator.generator.candles import Bar
from services.exchange_simulator.generator.market import Touch, Trade
from services.exchange_simulator.generator.names import Listing
from services.exchange_simulator.generator.statistics import Liquidation, Mark, Ratio


class Message(msgspec.Struct, kw_only=True, gc=False):
    """What goes out in one frame. Keeps it encoded, so that all who hear it on one stream share the bytes."""

    payload: bytes | None = None
    stream: str = ""
    """The stream that `payload` was encoded for."""


class Event(Message, gc=False):
    """One thing that happened on one instrument."""

    KIND: ClassVar[str]

    listing: Listing
    sent_us: int


class TradeEvent(Event, gc=False):
    """An aggregate trade."""

    KIND: ClassVar[str] = "trade"

    trade: Trade


class FillEvent(Event, gc=False):
    """One fill of an aggregate trade, by its place among them."""

    KIND: ClassVar[str] = "fill"

    trade: Trade
    place: int


class BookEvent(Event, gc=False):
    """A book change: ids first, last, and the last of the event before; levels with prices rising.

    `new_bids` and `new_asks` are the prices among them that came into view, where a stream tells of so many levels.
    """

    KIND: ClassVar[str] = "book_change"

    time_us: int
    first_id: int
    last_id: int
    previous_id: int
    bids: list[Level]
    asks: list[Level]
    new_bids: frozenset[int] = frozenset()
    new_asks: frozenset[int] = frozenset()


class BookSnapshotEvent(Event, gc=False):
    """The whole book with which a stream begins, true at `last_id`; levels best first."""

    KIND: ClassVar[str] = "book_snapshot"

    time_us: int
    last_id: int
    bids: list[Level]
    asks: list[Level]


class QuoteEvent(Event, gc=False):
    """A new best bid or ask."""

    KIND: ClassVar[str] = "quote"

    time_us: int
    update_id: int
    touch: Touch


class CandleEvent(Event, gc=False):
    """A candle as it stands, or its final version."""

    KIND: ClassVar[str] = "candle_update"

    interval: str
    open_us: int
    close_us: int
    bar: Bar
    closed: bool


class TickerEvent(Event, gc=False):
    """Statistics of the 24 hours up to `close_us`, the last trade, the trade before the window, and the touch."""

    KIND: ClassVar[str] = "ticker"

    open_us: int
    close_us: int
    bar: Bar
    last_steps: int
    before_ticks: int
    touch: Touch


class MiniTickerEvent(TickerEvent, gc=False):
    """The same, for streams that tell less of it."""


class FullTickerEvent(TickerEvent, gc=False):
    """The same on contract markets that tell prices, funding and open interest (in steps) along with it."""

    mark: Mark
    open_interest: int


class ChangedTickerEvent(FullTickerEvent, gc=False):
    """The same, for streams that tell only what has changed since `before`; None: the whole, with which they begin."""

    before: FullTickerEvent | None


class MarkEvent(Event, gc=False):
    """Mark and index price and the funding estimate."""

    KIND: ClassVar[str] = "index_price"

    mark: Mark


class FundingEvent(MarkEvent, gc=False):
    """The same, for streams of their own about funding."""

    KIND: ClassVar[str] = "funding_rate"


class IndexEvent(MarkEvent, gc=False):
    """The same, for streams that tell the index price alone."""


class OpenInterestEvent(Event, gc=False):
    """Open interest, in steps, and the best bid at that time, in ticks."""

    KIND: ClassVar[str] = "open_interest"

    steps: int
    ticks: int


class PositionsEvent(Event, gc=False):
    """Open interest (in steps) and long/short ratios by name as they stood at `time_us`."""

    KIND: ClassVar[str] = "positions"

    time_us: int
    steps: int
    ratios: dict[str, Ratio]


class LiquidationEvent(Event, gc=False):
    """A forced order."""

    KIND: ClassVar[str] = "liquidation"

    order: Liquidation


class Bundle(Message, gc=False):
    """Several events in one frame, as streams about a whole market have them."""

    events: list[Event]
