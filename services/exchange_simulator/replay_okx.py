"""A recorded OKX session, served as the exchange would serve it: one venue for each market it holds.

Frames go out as recorded, on whichever connection has subscribed to their stream. `books` begins with a whole book: the
recorded one, or for whoever subscribes later that one rolled forward by the changes sent since.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from services.exchange_simulator import okx_protocol
from services.exchange_simulator.okx_book import OkxBook
from services.exchange_simulator.recordings import BadRecording, RecordedAnswer, Recording, in_time_order
from services.exchange_simulator.timeline import Cursor, Entry, Timeline
from services.exchange_simulator.venue import Answer

_STREAM = re.compile(rb'\{"arg":\{"channel":"(?P<channel>[^"]+)","instId":"(?P<instrument>[^"]+)"\}')
_EVENT = b'{"event":'
_INSTRUMENTS, _TIME, _BOOKS = "/api/v5/public/instruments", "/api/v5/public/time", "/api/v5/market/books"
_MOST_LEVELS = 400

MARKETS = {"spot": "SPOT", "perp": "SWAP", "future": "FUTURES"}
"""Our market -> the exchange's instrument type."""

GRACE_US = 2_000_000
"""How long a paced replay waits for the subscriptions that have not come yet."""


class OkxReplay:
    """One market of a recorded OKX session as a `Venue`."""

    exchange = "okx"
    keep_alive = okx_protocol.KEEP_ALIVE

    def __init__(self, recording: Recording, market: str, pace: float, patience_s: float) -> None:
        """Serve what a recording holds of `market`. Raises BadRecording for what cannot be served."""
        self.market = market
        self._lists = _instrument_lists(recording)
        if MARKETS[market] not in self._lists:
            raise BadRecording(f"{recording.folder}: session {recording.name} has no list of {MARKETS[market]}")
        listed = _rows(self._lists[MARKETS[market]])
        self._own = {row["instId"] for row in listed}
        self._listed = self._own | {row["uly"] for row in listed if row["uly"]}
        self.timeline = _timeline(recording, self._own, pace, patience_s)
        self._symbols = tuple(dict.fromkeys(entry.stream.split(":")[1] for entry in self.timeline.entries))
        self._books = {
            symbol: _Rolled(symbol, self.timeline)
            for symbol in self._symbols
            if any(entry.stream == f"books:{symbol}" for entry in self.timeline.entries)
        }

    def symbols(self) -> Sequence[str]:
        """The recorded instruments of this market, in the exchange's own spelling."""
        return self._symbols

    def connect(self, path: str, query: str, now_us: int) -> OkxReplaySession:
        """Open a session on the exchange's path. Raises Refused."""
        control = okx_protocol.Control(path, self._listed, now_us)
        return OkxReplaySession(control, self.timeline.open(), self._books)

    def get(self, path: str, query: Mapping[str, str], now_us: int) -> Answer:
        """Answer instruments, time and books; any other path was not recorded and is 404."""
        if path == _INSTRUMENTS:
            return self._instruments(query)
        if path == _TIME:
            return _answer([{"ts": str(now_us // 1_000)}])
        if path == _BOOKS:
            return self._book(query, now_us)
        return _error(404, "404", f"{path} was not recorded")

    def finished(self, now_us: int) -> bool:
        """Whether every recorded frame has been handed out or missed."""
        return self.timeline.finished(now_us)

    def missed(self) -> int:
        """Frames that fell due while nobody was subscribed to their stream."""
        return self.timeline.missed

    def _instruments(self, query: Mapping[str, str]) -> Answer:
        kind = query.get("instType", "")
        recorded = self._lists.get(kind)
        if recorded is None:
            return _error(400, "51000", "Parameter instType error")
        if "instId" not in query:
            return Answer(200, recorded.payload)
        found = [row for row in _rows(recorded) if row["instId"] == query["instId"]]
        return _answer(found) if found else _error(200, "51001", "Instrument ID does not exist")

    def _book(self, query: Mapping[str, str], now_us: int) -> Answer:
        rolled = self._books.get(query.get("instId", ""))
        if rolled is None:
            return _error(200, "51001", "Instrument ID does not exist")
        limit = query.get("sz", "1")
        if not limit.isdecimal() or not 1 <= int(limit) <= _MOST_LEVELS:
            return _error(400, "51000", "Parameter sz error")
        book = rolled.book(now_us)
        if not book.last:
            return _error(503, "50001", "Service temporarily unavailable. Try again later.")
        row = {"asks": book.asks(int(limit)), "bids": book.bids(int(limit)), "ts": book.last["ts"]}
        return _answer([row | {name: book.last[name] for name in ("seqId",) if name in book.last}])


class OkxReplaySession:
    """One client's connection to a recorded OKX market, as a `Session`."""

    def __init__(self, control: okx_protocol.Control, cursor: Cursor, books: Mapping[str, _Rolled]) -> None:
        self._control = control
        self._cursor = cursor
        self._books = books
        self._begun: deque[bytes] = deque()
        """Whole books for streams that are subscribed after their recorded beginning has passed."""

    def receive(self, message: bytes, now_us: int) -> Sequence[bytes]:
        """Take one text message. Raises Closing."""
        change = self._control.receive(message, now_us)
        if change.removed:
            self._cursor.unsubscribe(change.removed, now_us)
        if change.added:
            for name in change.added:
                channel, _, instrument = name.partition(":")
                if channel == "books" and instrument in self._books:
                    book = self._books[instrument].book(now_us)
                    if book.last:
                        self._begun.append(orjson.dumps(book.snapshot()))
            self._cursor.subscribe(change.added, now_us)
        return change.replies

    def heard(self, now_us: int) -> None:
        """Take a ping or pong frame of the client: OKX does not limit them."""

    def frames(self, now_us: int, limit: int) -> Sequence[bytes]:
        """Return the frames due now: whole books first, then what was recorded."""
        begun = [self._begun.popleft() for _ in range(min(limit, len(self._begun)))]
        return [*begun, *self._cursor.take(now_us, limit - len(begun))]

    def next_due_us(self) -> int | None:
        """When the next frame is due on this connection, or None."""
        return 0 if self._begun else self._cursor.next_due_us()

    def close(self, now_us: int) -> None:
        """Give up the streams of this connection."""
        self._cursor.close(now_us)


class _Rolled:
    """The book of one instrument as of the frames that have passed."""

    def __init__(self, instrument: str, timeline: Timeline) -> None:
        self._book = OkxBook(instrument)
        self._timeline = timeline
        self._stream = f"books:{instrument}"
        self._applied = 0

    def book(self, now_us: int) -> OkxBook:
        passed = self._timeline.passed(self._stream, now_us)
        for frame in passed[self._applied :]:
            try:
                self._book.take(orjson.loads(frame))
            except orjson.JSONDecodeError:
                continue  # a frame damaged by hand: nobody can apply it
        self._applied = len(passed)
        return self._book


def _timeline(recording: Recording, own: set[str], pace: float, patience_s: float) -> Timeline:
    """Put the frames about this market's instruments on a clock; acknowledgements are made anew for each client."""
    entries: list[Entry] = []
    for file, frame in in_time_order(recording.connections):
        if frame.payload.startswith(_EVENT):
            continue
        match = _STREAM.match(frame.payload)
        if match is None:
            raise BadRecording(f"{file}:{frame.line}: neither an event nor a push: {frame.payload[:80]!r}")
        instrument = match["instrument"].decode()
        if instrument in own:
            entries.append(Entry(frame.at_us, f"{match['channel'].decode()}:{instrument}", frame.payload))
    if not entries:
        raise BadRecording(f"{recording.folder}: session {recording.name} has no frame of this market")
    opened_us = min(connection.opened_us for connection in recording.connections)
    return Timeline(entries, opened_us, pace, int(patience_s * 1_000_000), GRACE_US)


def _instrument_lists(recording: Recording) -> dict[str, RecordedAnswer]:
    """Return the last recorded list of each instrument type; options, which come by underlying, are left out."""
    found: dict[str, RecordedAnswer] = {}
    for answer in recording.setup:
        url = urlsplit(answer.url)
        query = dict(parse_qsl(url.query))
        if url.path == _INSTRUMENTS and query.keys() == {"instType"}:
            found[query["instType"]] = answer
    return found


def _rows(answer: RecordedAnswer) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = orjson.loads(answer.payload)["data"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise BadRecording(f"{answer.file}:{answer.line}: not an instrument list: {error!r}") from error
    return rows


def _answer(rows: Sequence[object]) -> Answer:
    return Answer(200, orjson.dumps({"code": "0", "msg": "", "data": rows}))


def _error(status: int, code: str, text: str) -> Answer:
    return Answer(status, orjson.dumps({"code": code, "msg": text, "data": []}))
