"""A recorded Binance session, spot or USD-M futures, served as the exchange would serve it.

Frames go out as recorded, on whichever connection has subscribed to their stream; the first depth request of a symbol
gets the recorded snapshot as it is, later ones that snapshot rolled forward by the changes sent since.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from services.exchange_simulator import binance_protocol, binance_rest
from services.exchange_simulator.book import Book
from services.exchange_simulator.recordings import BadRecording, RecordedAnswer, Recording, in_time_order
from services.exchange_simulator.timeline import Cursor, Entry, Timeline
from services.exchange_simulator.venue import Answer

_WRAPPED = re.compile(rb'\{"stream":"(?P<stream>[^"]+)","data":')
_DIFF_DEPTH = re.compile(r"[^@]+@depth(@(100|500)ms)?")
_MARKETS = {"spot": (binance_protocol.SPOT, binance_rest.SPOT), "perp": (binance_protocol.PERP, binance_rest.PERP)}


GRACE_US = 2_000_000
"""How long a paced replay waits for the subscriptions that have not come yet."""


class BinanceReplay:
    """One recorded Binance market as a `Venue`."""

    exchange = "binance"

    def __init__(self, recording: Recording, market: str, pace: float, patience_s: float) -> None:
        """Serve a recording as Binance `market` (`spot` or `perp`). Raises BadRecording for what cannot be served."""
        self.market = market
        self._protocol, limits = _MARKETS[market]
        self.keep_alive = self._protocol.keep_alive
        info = _find(recording, recording.setup, f"{limits.prefix}/exchangeInfo")[0]
        self._info_raw = info.payload
        self._info = _json(info)
        self._symbols = _symbols(recording, self._info, market)
        self.timeline = _timeline(recording, pace, patience_s)
        recorded = {entry.stream for entry in self.timeline.entries}
        self._books: dict[str, _Depth] = {}
        for answer in _find(recording, recording.answers, f"{limits.prefix}/depth"):
            depth = _Depth(answer, self.timeline, recorded)
            self._books.setdefault(depth.symbol, depth)
        self._limits = limits
        self._rest = binance_rest.Rest(
            limits, {f"{limits.prefix}/exchangeInfo": self._exchange_info, f"{limits.prefix}/depth": self._depth}
        )

    def symbols(self) -> Sequence[str]:
        """The recorded symbols, as the recording's configuration names them, in the exchange's own spelling."""
        return self._symbols

    def connect(self, path: str, query: str, now_us: int) -> ReplaySession:
        """Open a session; streams named in the URL are subscribed at once. Raises Refused."""
        return ReplaySession(binance_protocol.Control(self._protocol, path, query), self.timeline.open(), now_us)

    def get(self, path: str, query: Mapping[str, str], now_us: int) -> Answer:
        """Answer ping, time, exchangeInfo and depth; any other path was not recorded and is 404."""
        return self._rest.get(path, query, now_us)

    def finished(self, now_us: int) -> bool:
        """Whether every recorded frame has been handed out or missed."""
        return self.timeline.finished(now_us)

    def missed(self) -> int:
        """Frames that fell due while nobody was subscribed to their stream."""
        return self.timeline.missed

    def _exchange_info(self, query: binance_rest.Query, now_us: int) -> bytes:
        if self.market != "spot" or not query.keys() & {"symbol", "symbols"}:
            return self._info_raw
        try:
            asked = orjson.loads(query["symbols"]) if "symbols" in query else [binance_rest.required_symbol(query)]
        except orjson.JSONDecodeError:
            raise binance_rest.ApiError(-1100, "Illegal characters found in parameter 'symbols'.") from None
        listed = {row["symbol"]: row for row in self._info["symbols"]}
        if not isinstance(asked, list) or not all(isinstance(name, str) and name in listed for name in asked):
            raise binance_rest.invalid_symbol()
        return orjson.dumps({**self._info, "symbols": [listed[name] for name in asked]})

    def _depth(self, query: binance_rest.Query, now_us: int) -> bytes:
        symbol = binance_rest.required_symbol(query)
        limit = binance_rest.depth_limit(self._limits, query)
        if symbol not in self._books:
            raise binance_rest.invalid_symbol()  # listed or not: of this symbol no book was recorded
        return self._books[symbol].answer(limit, now_us)


class ReplaySession:
    """One client's connection to a recorded Binance market, as a `Session`."""

    def __init__(self, control: binance_protocol.Control, cursor: Cursor, now_us: int) -> None:
        self._control = control
        self._cursor = cursor
        cursor.subscribe(control.audible(), now_us)

    def receive(self, message: bytes, now_us: int) -> Sequence[bytes]:
        """Take one control message. Raises Closing above the message limit."""
        change = self._control.receive(message, now_us)
        if change.removed:
            self._cursor.unsubscribe(change.removed, now_us)
        if change.added:
            self._cursor.subscribe(change.added, now_us)
        return change.replies

    def heard(self, now_us: int) -> None:
        """Count a ping or pong of the client. Raises Closing above the message limit."""
        self._control.heard(now_us)

    def frames(self, now_us: int, limit: int) -> Sequence[bytes]:
        """Return the recorded frames due now: verbatim on a combined connection, else without their wrapper."""
        taken = self._cursor.take(now_us, limit)
        return taken if self._control.combined else [_unwrap(frame) for frame in taken]

    def next_due_us(self) -> int | None:
        """When the next recorded frame is due on this connection, or None."""
        return self._cursor.next_due_us()

    def close(self, now_us: int) -> None:
        """Give up the streams of this connection."""
        self._cursor.close(now_us)


class _Depth:
    """The book of one symbol: the recorded snapshot, and the same rolled forward by the frames that have passed."""

    def __init__(self, answer: RecordedAnswer, timeline: Timeline, recorded: set[str]) -> None:
        self.symbol = _query(answer).get("symbol", "")
        self._raw = answer.payload
        self._timeline = timeline
        self._fields = _json(answer)
        try:
            self._recorded_id: int = self._fields["lastUpdateId"]
            self._levels = max(len(self._fields["bids"]), len(self._fields["asks"]))
            self._book = Book(self._fields["bids"], self._fields["asks"])
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise BadRecording(f"{answer.file}:{answer.line}: not an order book: {error!r}") from error
        streams = (name for name in sorted(recorded) if name.split("@")[0] == self.symbol.lower())
        self._stream = next((name for name in streams if _DIFF_DEPTH.fullmatch(name)), "")
        self._applied = 0
        self._served = False

    def answer(self, limit: int, now_us: int) -> bytes:
        """Return the book with at most `limit` levels per side: the first time the recorded one, byte for byte."""
        if self._served:
            self._roll(now_us)
        self._served = True
        if self._fields["lastUpdateId"] == self._recorded_id and self._levels <= limit:
            return self._raw
        return orjson.dumps({**self._fields, "bids": self._book.bids(limit), "asks": self._book.asks(limit)})

    def _roll(self, now_us: int) -> None:
        passed = self._timeline.passed(self._stream, now_us)
        for frame in passed[self._applied :]:
            try:
                event = orjson.loads(_unwrap(frame))
            except orjson.JSONDecodeError:
                continue  # a frame damaged by hand: nobody can apply it, and the next event shows the break
            if event["u"] > self._fields["lastUpdateId"]:
                self._book.apply(event["b"], event["a"])
                self._fields["lastUpdateId"] = event["u"]
                self._fields.update((name, event[name]) for name in ("E", "T") if name in self._fields)
        self._applied = len(passed)


def _timeline(recording: Recording, pace: float, patience_s: float) -> Timeline:
    for connection in recording.connections:
        if not urlsplit(connection.url).path.endswith("/stream"):
            raise BadRecording(
                f"{connection.file}:1: {connection.url}: only combined streams (/stream) can be replayed"
            )
    entries: list[Entry] = []
    for file, frame in in_time_order(recording.connections):
        match = _WRAPPED.match(frame.payload)
        if match is None:
            raise BadRecording(f"{file}:{frame.line}: not a combined-stream frame: {frame.payload[:80]!r}")
        entries.append(Entry(frame.at_us, match["stream"].decode(), frame.payload))
    if not entries:
        raise BadRecording(f"{recording.folder}: session {recording.name} has no frame")
    opened_us = min(connection.opened_us for connection in recording.connections)
    return Timeline(entries, opened_us, pace, int(patience_s * 1_000_000), GRACE_US)


def _unwrap(frame: bytes) -> bytes:
    """Return the payload of a combined-stream frame (also of a truncated one, as far as it goes)."""
    match = _WRAPPED.match(frame)
    start = match.end() if match else 0
    return frame[start:-1] if frame.endswith(b"}}") else frame[start:]


def _find(recording: Recording, answers: Sequence[RecordedAnswer], path: str) -> list[RecordedAnswer]:
    found = [answer for answer in answers if urlsplit(answer.url).path == path]
    if not found:
        raise BadRecording(f"{recording.folder}: session {recording.name} has no recorded answer of {path}")
    return found


def _query(answer: RecordedAnswer) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(answer.url).query))


def _json(answer: RecordedAnswer) -> dict[str, Any]:
    try:
        value = orjson.loads(answer.payload)
    except orjson.JSONDecodeError as error:
        raise BadRecording(f"{answer.file}:{answer.line}: the answer is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadRecording(f"{answer.file}:{answer.line}: the answer is not a JSON object")
    return value


def _symbols(recording: Recording, info: dict[str, Any], market: str) -> tuple[str, ...]:
    """Translate the recorder's names (`BTC-USDT`, `BTC-USDT-PERP`) by the recorded instrument list."""
    names: dict[str, str] = {}
    for row in info["symbols"]:
        if market == "spot":
            names[f"{row['baseAsset']}-{row['quoteAsset']}"] = row["symbol"]
        elif row["contractType"] == "PERPETUAL":
            names[f"{row['baseAsset']}-{row['quoteAsset']}-PERP"] = row["symbol"]
    recorded = dict.fromkeys(name for listed in recording.configuration.values() for name in listed)
    if unknown := [name for name in recorded if name not in names]:
        raise BadRecording(f"{recording.folder}: {recording.name}.0 configures {unknown[0]}, which its list has not")
    return tuple(names[name] for name in recorded)
