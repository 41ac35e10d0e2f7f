"""A recorded Deribit session, served as the exchange would serve it: one venue for each market in its lists.

Frames go out as recorded, on whichever connection has subscribed to their channel; those of interval `raw`, which needs
a login today, go to whoever subscribed to `100ms`. `book` begins with a whole book: the recorded one, or for whoever
subscribes later that one rolled forward by what was sent since. A market that was listed but not recorded is silent.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw

from services.exchange_simulator import deribit_protocol
from services.exchange_simulator.deribit_book import DeribitBook
from services.exchange_simulator.recordings import BadRecording, RecordedAnswer, Recording, in_time_order
from services.exchange_simulator.timeline import Cursor, Entry, Timeline
from services.exchange_simulator.venue import Answer

_PUSH = re.compile(rb'\{"jsonrpc":"2\.0","method":"subscription","params":\{"channel":"(?P<channel>[^"]+)"')
_REPLY = re.compile(rb'\{"jsonrpc":"2\.0","id":[0-9]+,')
_OF_INSTRUMENT = re.compile(
    r"(?P<stream>(trades|book|ticker|quote|chart\.trades|perpetual)\.(?P<instrument>[^.]+)(\.(?!raw)[^.]+)?)(?P<raw>\.raw)?"
)
_INTERVAL = ".100ms"
_PUBLIC = "/api/v2/public/"
_INSTRUMENTS = f"{_PUBLIC}get_instruments"
_BOOK = "book."

GRACE_US = 2_000_000
"""How long a paced replay waits for the subscriptions that have not come yet."""


class _Row(msgspec.Struct):
    instrument_name: str
    kind: str
    base_currency: str
    quote_currency: str
    settlement_period: str = ""

    def market(self) -> str:
        """Our market of this instrument, or its kind where we have none."""
        if self.kind == "future":
            return "perp" if self.settlement_period == "perpetual" else "future"
        return self.kind


class _Listed(msgspec.Struct):
    """One row of a recorded list: what is asked of it, and its bytes."""

    row: _Row
    text: Raw


class _List(msgspec.Struct):
    result: list[Raw]


class DeribitReplay:
    """One market of a recorded Deribit session as a `Venue`."""

    exchange = "deribit"
    keep_alive = deribit_protocol.KEEP_ALIVE

    def __init__(self, recording: Recording, market: str, pace: float, patience_s: float) -> None:
        """Serve what a recording holds of `market` (`perp`, `future`, `option`). Raises BadRecording."""
        self.market = market
        self._rows = [item for answer in recording.setup for item in _listed(answer)]
        self._names = {item.row.instrument_name for item in self._rows}
        own = {item.row.instrument_name for item in self._rows if item.row.market() == market}
        if not own:
            raise BadRecording(f"{recording.folder}: session {recording.name} lists no instrument of market {market}")
        self.timeline = _timeline(recording, own, pace, patience_s)
        streams = dict.fromkeys(entry.stream for entry in self.timeline.entries)
        told = {match["instrument"] for stream in streams if (match := _OF_INSTRUMENT.fullmatch(stream)) is not None}
        self._symbols = tuple(sorted(told))
        self._books = {stream: _Rolled(stream, self.timeline) for stream in streams if stream.startswith(_BOOK)}

    def symbols(self) -> Sequence[str]:
        """The recorded instruments of this market, in the exchange's own spelling."""
        return self._symbols

    def connect(self, path: str, query: str, now_us: int) -> DeribitReplaySession:
        """Open a session on the exchange's path. Raises Refused."""
        control = deribit_protocol.Control(path, self._names)
        return DeribitReplaySession(control, self.timeline.open(), self._books)

    def get(self, path: str, query: Mapping[str, str], now_us: int) -> Answer:
        """Answer get_instruments, get_time and test; any other method was not recorded and is not found."""
        match path.removeprefix(_PUBLIC):
            case "get_instruments":
                return self._instruments(query, now_us)
            case "get_time":
                return Answer(200, deribit_protocol.result(None, now_us // 1_000, now_us))
            case "test":
                return Answer(200, deribit_protocol.result(None, {"version": "1.2.26"}, now_us))
        return Answer(400, deribit_protocol.failure(None, -32601, "Method not found", now_us))

    def finished(self, now_us: int) -> bool:
        """Whether every recorded frame has been handed out or missed."""
        return self.timeline.finished(now_us)

    def missed(self) -> int:
        """Frames that fell due while nobody was subscribed to their stream."""
        return self.timeline.missed

    def _instruments(self, query: Mapping[str, str], now_us: int) -> Answer:
        """Return the recorded rows of a currency (or `any`) and kind, each byte for byte."""
        currency, kind = query.get("currency", ""), query.get("kind", "any")
        known = {name for item in self._rows for name in (item.row.base_currency, item.row.quote_currency)}
        if currency not in known | {"any"}:
            data = {"reason": "not a currency", "param": "currency"}
            return Answer(400, deribit_protocol.failure(None, -32602, "Invalid params", now_us, data))
        rows = [
            bytes(item.text)
            for item in self._rows
            if kind in ("any", item.row.kind)
            and (currency == "any" or currency in (item.row.base_currency, item.row.quote_currency))
        ]
        head, tail = b'{"jsonrpc":"2.0","result":[', b'],"usIn":%d,"usOut":%d,"usDiff":0,"testnet":false}'
        return Answer(200, head + b",".join(rows) + tail % (now_us, now_us))


class DeribitReplaySession:
    """One client's connection to a recorded Deribit market, as a `Session`."""

    def __init__(self, control: deribit_protocol.Control, cursor: Cursor, books: Mapping[str, _Rolled]) -> None:
        self._control = control
        self._cursor = cursor
        self._books = books
        self._begun: deque[bytes] = deque()
        """Whole books for streams that are subscribed after their recorded beginning has passed."""

    def receive(self, message: bytes, now_us: int) -> Sequence[bytes]:
        """Take one text message."""
        change = self._control.receive(message, now_us)
        if change.removed:
            self._cursor.unsubscribe(change.removed, now_us)
        if change.added:
            for stream in change.added:
                book = self._books[stream].book(now_us) if stream in self._books else None
                if book is not None and book.last is not None:
                    self._begun.append(book.snapshot())
            self._cursor.subscribe(change.added, now_us)
        return change.replies

    def heard(self, now_us: int) -> None:
        """Take a ping or pong frame of the client: Deribit does not limit them."""

    def frames(self, now_us: int, limit: int) -> Sequence[bytes]:
        """Return the frames due now: a sign of life asked for, whole books, what was recorded. Raises Closing."""
        asked = self._control.beat(now_us)
        begun = [self._begun.popleft() for _ in range(min(limit, len(self._begun)))]
        return [*asked, *begun, *self._cursor.take(now_us, limit - len(begun))]

    def next_due_us(self) -> int | None:
        """When the next frame is due on this connection, or None.

        Behind the last recorded frame nothing more is due: no sign of life is asked for any more.
        """
        if self._begun:
            return 0
        due_us, beat_us = self._cursor.next_due_us(), self._control.beat_due_us()
        return due_us if due_us is None or beat_us is None else min(due_us, beat_us)

    def close(self, now_us: int) -> None:
        """Give up the streams of this connection."""
        self._cursor.close(now_us)


class _Rolled:
    """The book of one stream as of the frames that have passed."""

    def __init__(self, stream: str, timeline: Timeline) -> None:
        self._book = DeribitBook()
        self._timeline = timeline
        self._stream = stream
        self._applied = 0

    def book(self, now_us: int) -> DeribitBook:
        passed = self._timeline.passed(self._stream, now_us)
        for frame in passed[self._applied :]:
            try:
                self._book.take(frame)
            except (msgspec.DecodeError, ArithmeticError):
                continue  # a frame damaged by hand: nobody can apply it, and the next event shows the break
        self._applied = len(passed)
        return self._book


def _timeline(recording: Recording, own: set[str], pace: float, patience_s: float) -> Timeline:
    """Put the frames about this market's instruments on a clock; acknowledgements are made anew for each client."""
    entries: list[Entry] = []
    for file, frame in in_time_order(recording.connections):
        match = _PUSH.match(frame.payload)
        if match is None:
            if _REPLY.match(frame.payload):
                continue
            raise BadRecording(f"{file}:{frame.line}: neither a push nor a reply: {frame.payload[:80]!r}")
        channel = match["channel"].decode()
        named = _OF_INSTRUMENT.fullmatch(channel)
        if named is None:
            raise BadRecording(f"{file}:{frame.line}: channel {channel!r} cannot be replayed")
        if named["instrument"] in own:
            entries.append(Entry(frame.at_us, named["stream"] + (_INTERVAL if named["raw"] else ""), frame.payload))
    opened_us = min(connection.opened_us for connection in recording.connections)
    return Timeline(entries, opened_us, pace, int(patience_s * 1_000_000), GRACE_US)


_decode_list = msgspec.json.Decoder(_List).decode
_decode_row = msgspec.json.Decoder(_Row).decode


def _listed(answer: RecordedAnswer) -> list[_Listed]:
    """Return the rows of one recorded list. Raises BadRecording."""
    if urlsplit(answer.url).path != _INSTRUMENTS:
        raise BadRecording(f"{answer.file}:{answer.line}: {answer.url} is no list of instruments")
    try:
        return [_Listed(_decode_row(text), text) for text in _decode_list(answer.payload).result]
    except msgspec.DecodeError as error:
        raise BadRecording(f"{answer.file}:{answer.line}: not an instrument list: {error}") from error
