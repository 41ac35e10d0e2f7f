"""Gate.io's WebSocket control protocol v4, spot and USDT futures, without I/O.

One `Control` is one connection: from its text messages it knows which streams the client has asked for, and it answers
in the exchange's own form of 2026. Where frames come from is the business of the session that holds it. Source:
Gate.io's "Spot WebSocket v4" and "Futures WebSocket v4" pages of 2026-06, acknowledgements and refusals of 2026-08.

A stream is named here by its channel and what it is about: `spot.trades BTC_USDT`, `spot.candlesticks 1m_BTC_USDT`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from services.exchange_simulator.venue import KeepAlive, Refused

_SKEW_S = 60
_SPEEDS = ("20ms", "100ms")
_INTERVALS = ("10s", "1m", "5m", "15m", "30m", "1h", "4h", "8h", "1d", "7d")
_STATISTICS = ("1m", "5m", "15m", "30m", "1h", "4h", "8h", "1d", "3d", "7d")

_ECHOED = ("id", "channel", "event", "payload")

INVALID_BODY = 1
INVALID_ARGUMENT = 2


class _Wrong(Exception):
    """A payload that the exchange refuses; the text is its message."""


Named = list[tuple[str, str]]
"""(what the stream is about, its symbol) of each stream of a payload."""
Reading = Callable[[Sequence[str]], Named]


def _symbols(payload: Sequence[str]) -> Named:
    if not payload:
        raise _Wrong("payload is empty")
    return [(symbol, symbol) for symbol in payload]


def _candles(payload: Sequence[str]) -> Named:
    if len(payload) != 2 or payload[0] not in _INTERVALS:
        raise _Wrong(f"invalid candlestick payload: {list(payload)}")
    return [(f"{payload[0]}_{payload[1]}", payload[1].removeprefix("mark_").removeprefix("index_"))]


def _statistics(payload: Sequence[str]) -> Named:
    if len(payload) != 2 or payload[1] not in _STATISTICS:
        raise _Wrong(f"invalid contract stats payload: {list(payload)}")
    return [(payload[0], payload[0])]


def _changes(*levels: str) -> Reading:
    def read(payload: Sequence[str]) -> Named:
        """Book changes: symbol, speed, and on futures the level, which older clients leave out."""
        known = len(payload) >= 2 and payload[1] in _SPEEDS
        if not known or len(payload) > 2 + bool(levels) or any(level not in levels for level in payload[2:]):
            raise _Wrong(f"invalid order book payload: {list(payload)}")
        about = payload[0] if payload[1] == "100ms" else " ".join(payload)
        return [(about, payload[0])]

    return read


def _levels(payload: Sequence[str]) -> Named:
    if len(payload) != 3:
        raise _Wrong(f"invalid order book payload: {list(payload)}")
    return [(" ".join(payload), payload[0])]


def _in_stream(payload: Sequence[str]) -> Named:
    parts = [text.split(".") for text in payload]
    if not parts or any(len(part) != 3 or part[0] != "ob" or part[2] not in ("50", "400") for part in parts):
        raise _Wrong(f"invalid obu payload: {list(payload)}")
    return [(text, part[1]) for text, part in zip(payload, parts, strict=True)]


@dataclass(frozen=True, slots=True)
class Market:
    """What differs between the markets: path, the prefix of channels, what is called unknown, and the channels."""

    name: str
    path: str
    prefix: str
    unknown: str
    channels: Mapping[str, Reading] = field(repr=False)
    keep_alive: KeepAlive = field(default=KeepAlive(ping_every_s=20.0, pong_within_s=60.0))


SPOT = Market(
    "spot",
    "/ws/v4/",
    "spot",
    "unknown currency pair",
    {
        "trades": _symbols,
        "tickers": _symbols,
        "book_ticker": _symbols,
        "candlesticks": _candles,
        "order_book_update": _changes(),
        "order_book": _levels,
        "obu": _in_stream,
    },
)
PERP = Market(
    "perp",
    "/v4/ws/usdt",
    "futures",
    "unknown contract",
    {
        "trades": _symbols,
        "tickers": _symbols,
        "book_ticker": _symbols,
        "public_liquidates": _symbols,
        "candlesticks": _candles,
        "contract_stats": _statistics,
        "order_book_update": _changes("100", "50", "20"),
        "order_book": _levels,
        "obu": _in_stream,
    },
)


@dataclass(frozen=True, slots=True)
class Change:
    """What one control message brought: replies in order, and the streams that came or went with it."""

    replies: tuple[bytes, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class Control:
    """The control protocol of one connection; times are integer microseconds UTC."""

    def __init__(self, market: Market, path: str, listed: Container[str], connection: int) -> None:
        """Open a connection on the exchange's path; `listed` are the symbols there are. Raises Refused."""
        if path.strip("/") != market.path.strip("/"):
            raise Refused(404, f"no WebSocket at {path!r} on Gate.io {market.name}; there is one at {market.path}")
        self.market = market
        self.streams: dict[str, None] = {}
        self._listed = listed
        self._connection = connection
        self._requests = 0

    def receive(self, message: bytes, now_us: int) -> Change:
        """Take one text message of the client: its replies and the change it made."""
        self._requests += 1
        try:
            request = orjson.loads(message)
        except orjson.JSONDecodeError:
            request = None
        if not isinstance(request, dict) or not isinstance(request.get("channel"), str):
            return Change((self._frame({}, now_us, _error(INVALID_BODY, "invalid request body")),))
        channel = request["channel"]
        if channel == f"{self.market.prefix}.ping":
            pong = {"channel": f"{self.market.prefix}.pong", "event": ""}
            return Change((self._frame(pong, now_us, {"result": None}),))
        time_s = request.get("time")
        if time_s is not None and not (isinstance(time_s, int) and abs(now_us // 1_000_000 - time_s) <= _SKEW_S):
            return self._refused(request, now_us, INVALID_ARGUMENT, "time is not within 60 s of the server's")
        try:
            named = self._read(channel, request.get("payload"))
        except _Wrong as error:
            return self._refused(request, now_us, INVALID_ARGUMENT, str(error))
        event = request.get("event")
        if event not in ("subscribe", "unsubscribe"):
            return self._refused(request, now_us, INVALID_ARGUMENT, f"unknown event {event}")
        names = tuple(f"{channel} {about}" for about, _ in named)
        if event == "unsubscribe":
            removed = tuple(name for name in names if name in self.streams)
            for name in removed:
                del self.streams[name]
            return Change((self._accepted(request, now_us),), removed=removed)
        if channel.endswith(".obu") and (
            twice := [about for about, _ in named if f"{channel} {about}" in self.streams]
        ):
            return self._refused(request, now_us, INVALID_ARGUMENT, f"Alert sub {twice[0]}")
        added = tuple(name for name in dict.fromkeys(names) if name not in self.streams)
        self.streams.update(dict.fromkeys(added))
        return Change((self._accepted(request, now_us),), added=added)

    def _read(self, channel: str, payload: Any) -> Named:
        prefix, _, kind = channel.partition(".")
        reading = self.market.channels.get(kind) if prefix == self.market.prefix else None
        if reading is None:
            raise _Wrong(f"unknown channel {channel}")
        if not isinstance(payload, list) or not all(isinstance(item, str) for item in payload):
            raise _Wrong("payload must be a list of strings")
        named = reading(payload)
        for _, symbol in named:
            if symbol not in self._listed:
                raise _Wrong(f"{self.market.unknown}: {symbol}")
        return named

    def _accepted(self, request: dict[str, Any], now_us: int) -> bytes:
        about: dict[str, Any] = {name: request[name] for name in _ECHOED if name in request}
        about |= {"conn_id": f"{self._connection:016x}", "trace_id": f"{self._requests:032x}"}
        return self._frame(about, now_us, {"result": {"status": "success"}})

    def _refused(self, request: dict[str, Any], now_us: int, code: int, text: str) -> Change:
        about: dict[str, Any] = {name: request[name] for name in ("channel", "event") if name in request}
        return Change((self._frame(about, now_us, _error(code, text)),))

    def _frame(self, about: dict[str, Any], now_us: int, outcome: dict[str, Any]) -> bytes:
        return orjson.dumps({"time": now_us // 1_000_000, "time_ms": now_us // 1_000, **about, **outcome})


def _error(code: int, text: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": text}, "result": None}


def stream_of(frame: dict[str, Any]) -> str:
    """Return the stream of a recorded data frame. Raises KeyError, IndexError or TypeError when it is none."""
    channel, result = frame["channel"], frame["result"]
    row = result[0] if isinstance(result, list) else result
    if channel.endswith(".candlesticks"):
        return f"{channel} {row['n']}"
    about = next(row[key] for key in ("s", "contract", "currency_pair") if key in row)
    return f"{channel} {about}"
