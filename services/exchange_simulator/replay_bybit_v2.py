"""The recorded session of Bybit's withdrawn v2, served as the exchange did: linear and inverse contracts on two paths.

Frames go out as recorded, on whichever connection has subscribed to their topic. A book begins whole: with the recorded
one, or for whoever subscribes later with that one rolled forward by the changes sent since.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson

from services.exchange_simulator.recordings import BadRecording, Recording, in_time_order
from services.exchange_simulator.timeline import Cursor, Entry, Timeline
from services.exchange_simulator.venue import Answer, KeepAlive, Refused

_TOPIC = re.compile(rb'\{"topic":"(?P<topic>[^"]+)"')
_SYMBOLS, _TIME = "/v2/public/symbols", "/v2/public/time"
_BOOK = "orderBookL2_25."

GRACE_US = 2_000_000
"""How long a paced replay waits for the subscriptions that have not come yet."""


class BybitV2Replay:
    """The recorded session as a `Venue`."""

    exchange = "bybit_v2"
    market = "perp"
    keep_alive = KeepAlive(ping_every_s=24 * 3_600.0, pong_within_s=24 * 3_600.0)
    """The exchange sent no ping frames: it answered the client's own."""

    def __init__(self, recording: Recording, pace: float, patience_s: float) -> None:
        """Serve a recording. Raises BadRecording for what cannot be served."""
        listed = [answer for answer in recording.setup if urlsplit(answer.url).path == _SYMBOLS]
        if not listed:
            raise BadRecording(f"{recording.folder}: session {recording.name} has no answer of {_SYMBOLS}")
        self._listed = listed[-1]
        self._topics: dict[str, set[str]] = {}
        """Path -> the topics that were recorded on it."""
        entries: list[Entry] = []
        paths = {connection.file: urlsplit(connection.url).path for connection in recording.connections}
        for file, frame in in_time_order(recording.connections):
            match = _TOPIC.match(frame.payload)
            if match is not None:
                topic = match["topic"].decode()
                self._topics.setdefault(paths[file], set()).add(topic)
                entries.append(Entry(frame.at_us, topic, frame.payload))
            elif not frame.payload.startswith(b'{"success":'):
                raise BadRecording(f"{file}:{frame.line}: neither an answer nor a topic's: {frame.payload[:80]!r}")
        opened_us = min(connection.opened_us for connection in recording.connections)
        self.timeline = Timeline(entries, opened_us, pace, int(patience_s * 1_000_000), GRACE_US)
        self._books = {entry.stream: _Rolled(entry.stream) for entry in entries if entry.stream.startswith(_BOOK)}

    def symbols(self) -> Sequence[str]:
        """The recorded contracts, in the exchange's own spelling."""
        return tuple(dict.fromkeys(entry.stream.partition(".")[2] for entry in self.timeline.entries))

    def connect(self, path: str, query: str, now_us: int) -> BybitV2Session:
        """Open a session on one of the recorded paths. Raises Refused."""
        if path not in self._topics:
            raise Refused(404, f"no WebSocket at {path!r}; there are {', '.join(self._topics)}")
        return BybitV2Session(self._topics[path], self.timeline, self._books)

    def get(self, path: str, query: Mapping[str, str], now_us: int) -> Answer:
        """Answer the list and the time; any other path was not recorded and is 404."""
        if path == _SYMBOLS:
            return Answer(200, self._listed.payload)
        if path == _TIME:
            return Answer(200, b'{"ret_code":0,"ret_msg":"OK","result":{},"time_now":"%.6f"}' % (now_us / 1_000_000))
        return Answer(404, orjson.dumps({"ret_code": 404, "ret_msg": f"{path} was not recorded"}))

    def finished(self, now_us: int) -> bool:
        """Whether every recorded frame has been handed out or missed."""
        return self.timeline.finished(now_us)

    def missed(self) -> int:
        """Frames that fell due while nobody was subscribed to their topic."""
        return self.timeline.missed


class BybitV2Session:
    """One client's connection, as a `Session`. A topic of the other path, or none at all, is refused."""

    def __init__(self, topics: set[str], timeline: Timeline, books: Mapping[str, _Rolled]) -> None:
        self._topics = topics
        self._timeline = timeline
        self._cursor: Cursor = timeline.open()
        self._books = books
        self._begun: deque[bytes] = deque()
        """Whole books for topics that are subscribed after their recorded beginning has passed."""

    def receive(self, message: bytes, now_us: int) -> Sequence[bytes]:
        """Take one text message; each is answered with what it asked for."""
        try:
            request = orjson.loads(message)
            op, args = request["op"], request.get("args") or []
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            return [_reply({}, "error:bad request")]
        if op == "ping":
            return [_reply(request | {"args": None}, None, "pong")]
        unknown = [topic for topic in args if topic not in self._topics]
        if op not in ("subscribe", "unsubscribe") or unknown:
            return [_reply(request, f"error:unknown topic {unknown}")]
        if op == "unsubscribe":
            self._cursor.unsubscribe(args, now_us)
            return [_reply(request, None)]
        for topic in args:
            passed = self._timeline.passed(topic, now_us)
            if topic in self._books and passed:
                self._begun.append(self._books[topic].whole(passed))
        self._cursor.subscribe(args, now_us)
        return [_reply(request, None)]

    def heard(self, now_us: int) -> None:
        """Take a ping or pong frame of the client: they were not limited."""

    def frames(self, now_us: int, limit: int) -> Sequence[bytes]:
        """Return the frames due now: whole books first, then what was recorded."""
        begun = [self._begun.popleft() for _ in range(min(limit, len(self._begun)))]
        return [*begun, *self._cursor.take(now_us, limit - len(begun))]

    def next_due_us(self) -> int | None:
        """When the next frame is due on this connection, or None."""
        return 0 if self._begun else self._cursor.next_due_us()

    def close(self, now_us: int) -> None:
        """Give up the topics of this connection."""
        self._cursor.close(now_us)


class _Rolled:
    """One book as of the frames that have passed."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._levels: dict[tuple[str, str], Any] = {}
        self._last: dict[str, Any] = {}
        self._bare = False
        self._applied = 0

    def whole(self, passed: Sequence[bytes]) -> bytes:
        """Return a snapshot at the last of the frames that have passed, in the form of the recorded one."""
        for frame in passed[self._applied :]:
            told = orjson.loads(frame)
            data = told["data"]
            if told["type"] == "snapshot":
                self._bare = isinstance(data, list)
                self._levels = {}
                data = {"delete": [], "update": [], "insert": data if self._bare else data["order_book"]}
            for row in data["delete"]:
                self._levels.pop((row["side"], row["price"]), None)
            for row in (*data["update"], *data["insert"]):
                self._levels[row["side"], row["price"]] = row
            self._last = told
        self._applied = len(passed)
        rows = list(self._levels.values())
        head = {"topic": self._topic, "type": "snapshot", "data": rows if self._bare else {"order_book": rows}}
        return orjson.dumps(head | {name: self._last[name] for name in ("cross_seq", "timestamp_e6")})


def _reply(request: Mapping[str, Any], error: str | None, text: str = "") -> bytes:
    told = {"success": error is None, "ret_msg": error or text, "conn_id": "replay", "request": request}
    return orjson.dumps(told)
