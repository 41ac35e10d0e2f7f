"""Market events as a client is told of them, still as whole numbers: what both the encoder and the ledger read.

`sent_us` is the exchange's event time; all times are whole milliseconds in us UTC, as Binance states them.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from services.exchange_simulator.generator.book import Level
from services.exchange_simulator.generator.candles import Bar
from services.exchange_simulator.generator.market import Touch, Trade
from services.exchange_simulator.generator.names import Listing
from services.exchange_simulator.generator.statistics import Liquidation, Mark


class _Encoded(msgspec.Struct, kw_only=True, gc=False):
    """Keeps the encoded frame, so that all who hear of an event share it."""

    payload: bytes | None = None


class Event(_Encoded, gc=False):
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
    """A book change: ids first, last, and the last of the event before; levels with prices rising."""

    KIND: ClassVar[str] = "book_change"

    time_us: int
    first_id: int
    last_id: int
    previous_id: int
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
    """The same in the short form of `@miniTicker`."""


class MarkEvent(Event, gc=False):
    """Mark and index price and the funding estimate."""

    KIND: ClassVar[str] = "index_price"

    mark: Mark


class LiquidationEvent(Event, gc=False):
    """A forced order."""

    KIND: ClassVar[str] = "liquidation"

    order: Liquidation
