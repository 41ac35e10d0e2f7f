"""A recorded Gate.io session, spot or USDT futures, served as the exchange would serve it.

Frames go out as recorded, on whichever connection has subscribed to their stream; the first book asked for of a symbol
is the recorded one as it is, later ones are that book rolled forward by the changes sent since.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from services.exchange_simulator import gateio_protocol as protocol
from services.exchange_simulator import gateio_rest
from services.exchange_simulator.book import Book, Level
from services.exchange_simulator.recordings import BadRecording, RecordedAnswer, Recording, in_time_order
from services.exchange_simulator.timeline import Cursor, Entry, Timeline
from services.exchange_simulator.venue import Answer

GRACE_US = 2_000_000
"""How long a paced replay waits for the subscriptions that have not come yet."""


@dataclass(frozen=True, slots=True)
class _Face:
    """What differs between the markets' REST faces."""

    market: protocol.Market
    prefix: str
    instruments: str
    key: str
    parameter: str
    unknown: str


_FACES = {
    "spot": _Face(protocol.SPOT, "/api/v4/spot", "currency_pairs", "id", "currency_pair", "INVALID_CURRENCY_PAIR"),
    "perp": _Face(protocol.PERP, "/api/v4/futures/usdt", "contracts", "name", "contract", "CONTRACT_NOT_FOUND"),
}


class GateioReplay:
    """One recorded Gate.io market as a `Venue`."""

    exchange = "gateio"

    def __init__(self, recording: Recording, market: str, pace: float, patience_s: float) -> None:
        """Serve a recording as Gate.io `market` (`spot` or `perp`). Raises BadRecording for what cannot be served."""
        self.market = market
        self._face = face = _FACES[market]
        self.keep_alive = face.market.keep_alive
        listed = _answers(recording, recording.setup, f"{face.prefix}/{face.instruments}")[0]
        self._listed_raw = listed.payload
        self._listed = {row[face.key] for row in _json(listed, list)}
        self._symbols = _symbols(recording, self._listed)
        self.timeline = _timeline(recording, pace, patience_s)
        self._books: dict[str, _Depth] = {}
        for answer in _answers(recording, recording.answers, f"{face.prefix}/order_book"):
            symbol = dict(parse_qsl(urlsplit(answer.url).query)).get(face.parameter, "")
            stream = f"{face.market.prefix}.order_book_update {symbol}"
            self._books.setdefault(symbol, _Depth(answer, self.timeline, stream))
        self._connections = itertools.count(1)
        self._rest = gateio_rest.Rest(
            {
                "/api/v4/spot/time": lambda query, now_us: orjson.dumps({"server_time": now_us // 1000}),
                f"{face.prefix}/{face.instruments}": lambda query, now_us: self._listed_raw,
                f"{face.prefix}/order_book": self._order_book,
            }
        )

    def symbols(self) -> Sequence[str]:
        """The recorded symbols, as the recording's configuration names them, in the exchange's own spelling."""
        return self._symbols

    def connect(self, path: str, query: str, now_us: int) -> ReplaySession:
        """Open a session on the market's path. Raises Refused."""
        control = protocol.Control(self._face.market, path, self._listed, next(self._connections))
        return ReplaySession(control, self.timeline.open())

    def get(self, path: str, query: Mapping[str, str], now_us: int) -> Answer:
        """Answer the time, the instrument list and books; any other path was not recorded and is 404."""
        return self._rest.get(path, query, now_us)

    def finished(self, now_us: int) -> bool:
        """Whether every recorded frame has been handed out or missed."""
        return self.timeline.finished(now_us)

    def missed(self) -> int:
        """Frames that fell due while nobody was subscribed to their stream."""
        return self.timeline.missed

    def _order_book(self, query: gateio_rest.Query, now_us: int) -> bytes:
        symbol = gateio_rest.required(query, self._face.parameter)
        limit = gateio_rest.levels(query)
        if symbol not in self._books:  # listed or not: of this symbol no book was recorded
            raise gateio_rest.ApiError(self._face.unknown, f"{symbol} is not known")
        return self._books[symbol].answer(limit, query.get("with_id") == "true", now_us)


class ReplaySession:
    """One client's connection to a recorded Gate.io market, as a `Session`."""

    def __init__(self, control: protocol.Control, cursor: Cursor) -> None:
        self._control = control
        self._cursor = cursor

    def receive(self, message: bytes, now_us: int) -> Sequence[bytes]:
        """Take one control message and return the replies."""
        change = self._control.receive(message, now_us)
        if change.removed:
            self._cursor.unsubscribe(change.removed, now_us)
        if change.added:
            self._cursor.subscribe(change.added, now_us)
        return change.replies

    def heard(self, now_us: int) -> None:
        """Gate.io states no limit on pings and pongs."""

    def frames(self, now_us: int, limit: int) -> Sequence[bytes]:
        """Return the recorded frames due now, byte for byte."""
        return self._cursor.take(now_us, limit)

    def next_due_us(self) -> int | None:
        """When the next recorded frame is due on this connection, or None."""
        return self._cursor.next_due_us()

    def close(self, now_us: int) -> None:
        """Give up the streams of this connection."""
        self._cursor.close(now_us)


class _Depth:
    """The book of one symbol: the recorded one, and the same rolled forward by the frames that have passed."""

    def __init__(self, answer: RecordedAnswer, timeline: Timeline, stream: str) -> None:
        self._raw = answer.payload
        self._timeline = timeline
        self._stream = stream
        self._fields = _json(answer, dict)
        try:
            self._recorded_id: int = self._fields["id"]
            sides = self._fields["bids"], self._fields["asks"]
            self._levels = max(map(len, sides))
            self._objects = any(isinstance(level, dict) for side in sides for level in side)
            self._book = Book(_pairs(sides[0]), _pairs(sides[1]))
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise BadRecording(f"{answer.file}:{answer.line}: not an order book with id: {error!r}") from error
        self._applied = 0
        self._served = False

    def answer(self, limit: int, with_id: bool, now_us: int) -> bytes:
        """Return the book with at most `limit` levels per side: the first time the recorded one, byte for byte."""
        if self._served:
            self._roll(now_us)
        self._served = True
        if self._fields["id"] == self._recorded_id and self._levels <= limit and with_id:
            return self._raw
        made = {
            **self._fields,
            "bids": [self._level(level) for level in self._book.bids(limit)],
            "asks": [self._level(level) for level in self._book.asks(limit)],
        }
        if not with_id:
            del made["id"]
        return orjson.dumps(made)

    def _level(self, level: Level) -> Level | dict[str, Any]:
        return {"s": int(level[1]), "p": level[0]} if self._objects else level

    def _roll(self, now_us: int) -> None:
        passed = self._timeline.passed(self._stream, now_us)
        for frame in passed[self._applied :]:
            try:
                event = orjson.loads(frame)["result"]
            except orjson.JSONDecodeError:
                continue  # a frame damaged by hand: nobody can apply it, and the next event shows the break
            if event["u"] > self._fields["id"]:
                self._book.apply(_pairs(event["b"]), _pairs(event["a"]))
                self._fields["id"] = event["u"]
        self._applied = len(passed)


def _pairs(levels: Sequence[Any]) -> list[Level]:
    """Return levels as `[price, size]`: futures have them as objects with a number for the size."""
    return [[level["p"], str(level["s"])] if isinstance(level, dict) else list(level) for level in levels]


def _timeline(recording: Recording, pace: float, patience_s: float) -> Timeline:
    entries: list[Entry] = []
    for file, frame in in_time_order(recording.connections):
        try:
            found = orjson.loads(frame.payload)
            if found["event"] in ("subscribe", "unsubscribe"):
                continue  # each client gets answers of its own
            entries.append(Entry(frame.at_us, protocol.stream_of(found), frame.payload))
        except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, StopIteration) as error:
            raise BadRecording(f"{file}:{frame.line}: not a frame of Gate.io: {frame.payload[:80]!r}") from error
    if not entries:
        raise BadRecording(f"{recording.folder}: session {recording.name} has no frame")
    opened_us = min(connection.opened_us for connection in recording.connections)
    return Timeline(entries, opened_us, pace, int(patience_s * 1_000_000), GRACE_US)


def _answers(recording: Recording, answers: Sequence[RecordedAnswer], path: str) -> list[RecordedAnswer]:
    found = [answer for answer in answers if urlsplit(answer.url).path == path]
    if not found:
        raise BadRecording(f"{recording.folder}: session {recording.name} has no recorded answer of {path}")
    return found


def _json(answer: RecordedAnswer, form: type[Any]) -> Any:
    try:
        value = orjson.loads(answer.payload)
    except orjson.JSONDecodeError as error:
        raise BadRecording(f"{answer.file}:{answer.line}: the answer is not JSON: {error}") from error
    if not isinstance(value, form):
        raise BadRecording(f"{answer.file}:{answer.line}: the answer is not a JSON {form.__name__}")
    return value


def _symbols(recording: Recording, listed: set[str]) -> tuple[str, ...]:
    """Translate the recorder's names (`BTC-USDT`, `BTC-USDT-PERP`)."""
    recorded = dict.fromkeys(name for names in recording.configuration.values() for name in names)
    found = {name: name.removesuffix("-PERP").replace("-", "_") for name in recorded}
    if unknown := [name for name, own in found.items() if own not in listed]:
        raise BadRecording(f"{recording.folder}: {recording.name}.0 configures {unknown[0]}, which its list has not")
    return tuple(found.values())
