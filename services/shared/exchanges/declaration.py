"""What an exchange market's module declares, for the collector and the normaliser alike.

A module holds one `Market`: where it is, what it offers, its limits, and pure functions between bytes and meaning. The
collector asks which streams to subscribe and what a frame is about; the normaliser asks what a frame says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from msgspec import Raw

from schemas.frames import RawFrame
from schemas.records import Instrument, Record, TimestampSource
from services.shared.exchanges.forms import Forms
from services.shared.exchanges.rest_rules import RestRules


@dataclass(frozen=True, slots=True)
class Limits:
    """What the exchange allows one address and one connection. None: it names no such limit."""

    streams_per_connection: int
    streams_per_message: int
    messages_per_s: float
    connects_per_5_min: int
    lifetime_s: float
    subscriptions_per_hour: int | None = None
    """Messages that ask for streams or end them, on one connection."""
    connects_per_s: int | None = None
    connections: int | None = None
    """At the same time from one address, of all markets of the exchange."""


class Listing:
    """The instruments of one market, by the exchange's own symbol and by ours."""

    def __init__(self, instruments: Sequence[Instrument] = ()) -> None:
        self.by_exchange_symbol: dict[str, Instrument] = {item.exchange_symbol: item for item in instruments}
        self.by_symbol: dict[str, Instrument] = {item.symbol: item for item in instruments}


Parser = Callable[[RawFrame, Listing], Sequence["Record | BookSnapshot"]]
"""Turn one frame into records. Pure; raises only BadFrame (UnknownSymbol among them)."""


@dataclass(frozen=True, slots=True)
class BookSnapshot:
    """A whole book at `sequence`; `limit` levels on a side means: cut off there, what lies beyond is unknown.

    The sides are JSON, `[["price","quantity"],...]`, the exchange's own digits, checked by `numbers.levels`; on
    contract markets triples, by `numbers.contract_levels`. A stream that keeps its best levels up to date by itself (it
    sends what comes into view) leaves nothing unknown: its `limit` is above what it shows.

    One out of a stream gives the exchange's time of it (microseconds) and where that is from: it is a book as it stood.
    """

    symbol: str
    sequence: int
    bids: Raw
    asks: Raw
    limit: int
    timestamp: int | None = None
    timestamp_source: TimestampSource = "push"
    sent_at: int | None = None


AUDIT = "depth_audit"
"""The name of the poll, where a market has one, whose snapshot is not taken for our book but compared with it."""


class Numbering(Enum):
    """What an exchange's trade ids say of the trades before them. A number is a trade's `sequence`."""

    CONTIGUOUS = "contiguous"
    """Each number is one above the last: a jump is a gap."""
    SPANS = "spans"
    """A trade merges several ids, its number is the last of them, and they follow the last trade's number without a
    hole: the first is `first_trade_id`, or lies `trade_count` - 1 below the number."""
    RISING = "rising"
    """Numbers rise, with holes that mean nothing."""
    NONE = "none"
    """No numbers: a trade is known by its time, price, quantity, side and id if any, and how many such came before."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One WebSocket channel: `kinds` are what it yields, the one that tells how it is numbered first.

    `stream` makes the exchange's stream name of its symbol; an empty name says that the symbol has no such stream.
    """

    name: str
    kinds: tuple[str, ...]
    stream: Callable[[str], str]
    parse: Parser
    route: str | Callable[[str], str] = ""
    """Or what makes it of the exchange's symbol, where a market's instruments are spread over several paths."""
    default: bool = True
    interval: str | None = None
    """Of a candle channel."""
    closes_itself: bool = True
    """Whether a candle channel always says which candle is final. If not, a candle is closed, as it was last seen, by
    the next one's open, unless a `Candle` has said it before."""
    numbering: Numbering = Numbering.CONTIGUOUS
    """Of a trade channel. (Liquidations are known by their values, as with `NONE`.)"""
    merge: Callable[[bytes | None, bytes], bytes] | None = None
    """Of a channel whose frames tell only what has changed: makes the whole of the last whole of the same connection
    (None: nothing came before) and the next frame. `parse` reads the whole. Raises BadFrame."""
    form: Forms | None = None
    """How its frames are written as a rule; says what `parse` says, faster."""
    per_symbol: bool = True
    """If not, one stream carries every instrument of the market: `stream` is given an empty symbol and asked for once,
    its frames are filed under `_all`."""

    def route_of(self, symbol: str) -> str:
        """Return the route of the exchange's symbol's stream."""
        return self.route if isinstance(self.route, str) else self.route(symbol)


@dataclass(frozen=True, slots=True)
class Poll:
    """One REST endpoint. `path` with `{symbol}` is asked per instrument; `every_s` None means on demand only.

    `{start_ms}` and `{end_ms}` in a path are the last `span_s` seconds at the time of asking, milliseconds UTC.
    """

    name: str
    kinds: tuple[str, ...]
    path: str
    weight: int
    parse: Parser
    every_s: float | None = None
    default: bool = True
    span_s: float = 10_800

    @property
    def endpoint(self) -> str:
        """The path without its query, as a request budget counts it: the same for every symbol."""
        return self.path.partition("?")[0]

    @property
    def per_symbol(self) -> bool:
        """Whether each instrument is asked for on its own."""
        return "{symbol}" in self.path

    def filled(self, symbol: str, now_ms: int) -> str:
        """Return the path to ask for; `symbol` is the exchange's own, percent-encoded where it needs it."""
        start_ms = now_ms - round(self.span_s * 1_000)
        path = self.path.replace("{symbol}", symbol)
        return path.replace("{start_ms}", str(start_ms)).replace("{end_ms}", str(now_ms))


class Reply(NamedTuple):
    """The exchange's answer to a subscription: `error` is None when it was accepted.

    It says which one by the request's id, or, where the exchange answers stream by stream, by the streams' `names`.
    """

    request_id: int | None
    error: str | None
    names: tuple[str, ...] = ()


class StreamName(NamedTuple):
    """A data frame of this stream, in the exchange's words."""

    name: str


class Notice(NamedTuple):
    """A frame that is neither data nor an answer: `reconnect` when the exchange says that it is about to close."""

    text: str
    reconnect: bool


class Pong(NamedTuple):
    """The exchange's answer to a `KeepAlive` message: the connection lives."""


class Ask(NamedTuple):
    """The exchange asks for a sign of life: `answer` is to be sent back at once."""

    answer: bytes


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """The message that keeps a connection open where WebSocket's own pings do not count; `message` takes an id."""

    every_s: float
    message: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a book's rule says of a change: apply it, ignore it as older than the book, or the chain is broken."""

    apply: bool
    broken: bool


APPLY = Verdict(apply=True, broken=False)
IGNORE = Verdict(apply=False, broken=False)
BROKEN = Verdict(apply=False, broken=True)


@dataclass(frozen=True, slots=True)
class BookRule:
    """An exchange's own rule for keeping a book, over (first, last, previous) sequences of a change.

    `first(snapshot, first, last, previous)` judges the first change after a snapshot, `following(book, first, last,
    previous)` each later one; `snapshot` and `book` are the sequence the book is true at. Behind a snapshot out of the
    stream itself every change is a following one.
    """

    first: Callable[[int, int, int, int | None], Verdict]
    following: Callable[[int, int, int, int | None], Verdict]


@dataclass(frozen=True)
class Market:
    """One exchange market, declared. `routes` maps a route's name to its path behind `ws_url`."""

    exchange: str
    market: str
    ws_url: str
    rest_url: str
    routes: Mapping[str, str]
    limits: Limits
    channels: Mapping[str, Channel]
    polls: Mapping[str, Poll]
    instruments: Poll
    """The instrument list; its parser yields `Instrument` records."""
    book_channel: str
    book_snapshot: Poll | None
    """Asked for after each subscription of `book_channel` and after each break. None: the channel itself begins with a
    snapshot (its parser yields a `BookSnapshot`), and does so again when it is subscribed anew."""
    book_rule: BookRule
    subscribe: Callable[[Sequence[str], int], bytes]
    """(stream names, request id) -> the message to send."""
    unsubscribe: Callable[[Sequence[str], int], bytes]
    sort: Callable[[bytes], StreamName | Reply | Notice | Pong | Ask]
    """What a received frame is about, cheaply. Raises BadFrame when it is none of these."""
    rest: RestRules
    """What may be asked by REST. Markets of an exchange that share a pool share the rules, the object itself."""
    time: Poll | None = None
    """The exchange's clock (`server_time.time_poll`); it is among `polls` too."""
    starter: Sequence[str] = field(default=())
    """The symbols (ours) of the universe `starter`."""
    keep_alive: KeepAlive | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent along when a connection is opened and with each request."""
    stamp: Callable[[bytes, int], bytes] | None = None
    """Puts the time of sending (milliseconds UTC) into a control message, where the exchange asks for it."""
    next_page: Callable[[bytes], str | None] | None = None
    """Where the exchange tells its instruments in pages: the path of the page after this one, None after the last."""
    greeting: Sequence[bytes] = ()
    """Messages sent right after the connection is open, before any subscription."""
    withdrawn: bool = False
    """The exchange speaks so no more: recordings do. What the README lists and `precheck` asks is without it."""
