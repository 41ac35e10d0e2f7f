"""Binance's WebSocket control protocol, spot and USD-M futures, without I/O.

One `Control` is one connection: from its path, query and text messages it knows which streams the client has asked for,
which of them this connection can ever hear, and whether payloads are wrapped; it answers control messages in the
exchange's own form. Where frames come from is the business of the session that holds it. Source: Binance's "WebSocket
Streams" pages (spot 2026-07, USD-M futures 2026-07 with the routed paths of 2026-04).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson

from services.exchange_simulator.venue import Closing, KeepAlive, Refused

_SYMBOL = r"[^@!/]+@"
_SPOT_STREAMS = re.compile(
    rf"{_SYMBOL}(trade|aggTrade|bookTicker|avgPrice|ticker|miniTicker|depth(5|10|20)?(@100ms)?|ticker_(1h|4h|1d)"
    r"|kline_(1s|[135]m|15m|30m|[12468]h|12h|[13]d|1w|1M)(@\+08:00)?)|!miniTicker@arr|!ticker_(1h|4h|1d)@arr"
)
_PUBLIC_STREAMS = re.compile(
    rf"{_SYMBOL}(bookTicker|depth(5|10|20)?(@(100|500)ms)?|rpiDepth(@500ms)?)|!bookTicker",
)
_MARKET_STREAMS = re.compile(
    rf"{_SYMBOL}(aggTrade|markPrice(@1s)?|ticker|miniTicker|forceOrder|compositeIndex"
    r"|(kline|continuousKline)_([135]m|15m|30m|[12468]h|12h|[13]d|1w|1M))"
    r"|!(markPrice@arr(@1s)?|ticker@arr|miniTicker@arr|forceOrder@arr|contractInfo|assetIndex@arr)|tradingSession"
)
_NOTHING = re.compile(r"(?!)")

_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_FIELDS = {"method", "params", "id"}
_MAX_ID_CHARS = 36
_MAX_ID = 2**64 - 1
_WINDOW_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Market:
    """What differs between Binance's markets: limits, keep-alive, and which streams each route of the path serves."""

    name: str
    messages_per_s: int
    streams_per_connection: int
    keep_alive: KeepAlive
    routes: dict[str, re.Pattern[str]] = field(repr=False)


SPOT = Market("spot", 5, 1024, KeepAlive(ping_every_s=20.0, pong_within_s=60.0), {"": _SPOT_STREAMS})
"""Spot: `/ws` and `/stream`; 5 incoming messages per second, pings and pongs among them."""

PERP = Market(
    "perp",
    10,
    1024,
    KeepAlive(ping_every_s=180.0, pong_within_s=600.0),
    {"": _NOTHING, "public": _PUBLIC_STREAMS, "market": _MARKET_STREAMS, "private": _NOTHING},
)
"""USD-M futures since 2026-04-23: the unrouted path still connects and acknowledges, but no market stream speaks there.
`<symbol>@trade`, undocumented on futures, is acknowledged and silent on every route."""


def wrap(stream: str, payload: bytes) -> bytes:
    """Return the combined-stream frame of a payload: `{"stream":"btcusdt@trade","data":{...}}`."""
    return b'{"stream":"' + stream.encode() + b'","data":' + payload + b"}"


@dataclass(frozen=True, slots=True)
class Change:
    """What one control message brought: replies in order, and the audible streams that came or went with it.

    Audible: the route of this connection serves streams of that form. Whether the symbol exists is not looked at.
    """

    replies: tuple[bytes, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class Control:
    """The control protocol of one connection; times are integer microseconds UTC.

    `combined` says whether data frames must be wrapped now; `streams` holds every stream asked for, in order, also
    those that will stay silent (a wrong route, a misspelt symbol: the exchange acknowledges both).
    """

    def __init__(self, market: Market, path: str, query: str) -> None:
        """Open a connection on the exchange's path (`/public/ws/a@depth`) and raw query string. Raises Refused."""
        self.market = market
        route, self.combined, in_path = _take_path(market, path)
        self._served = market.routes[route]
        self.route = route
        self.streams: dict[str, None] = {}
        self._heard_us: deque[int] = deque()
        parameters = dict(parse_qsl(query, keep_blank_values=True))
        if "timeUnit" in parameters:
            raise Refused(400, f"timeUnit={parameters['timeUnit']} is not simulated: times are milliseconds here")
        asked = parameters.get("streams", "").split("/") if self.combined else in_path
        self.streams.update(dict.fromkeys(stream for stream in asked if stream))
        if len(self.streams) > market.streams_per_connection:
            raise Refused(400, f"{len(self.streams)} streams in the URL; at most {market.streams_per_connection}")

    def audible(self) -> tuple[str, ...]:
        """Return the subscribed streams that this connection's route can serve, in the order of subscription."""
        return tuple(stream for stream in self.streams if self._hears(stream))

    def heard(self, now_us: int) -> None:
        """Count one incoming message (text, ping or pong) against the limit per second. Raises Closing above it."""
        heard = self._heard_us
        while heard and heard[0] <= now_us - _WINDOW_US:
            heard.popleft()
        heard.append(now_us)
        if len(heard) > self.market.messages_per_s:
            raise Closing(1008, "Too many requests")

    def receive(self, message: bytes, now_us: int) -> Change:
        """Take one text message of the client: its replies and the change it made. Raises Closing above the limit."""
        self.heard(now_us)
        try:
            request = orjson.loads(message)
        except orjson.JSONDecodeError as error:
            return _error(3, f"Invalid JSON: expected value at line {error.lineno} column {error.colno}")
        if not isinstance(request, dict):
            return _error(2, "Invalid request: expected an object")
        ident = request.get("id")
        if not _valid_id(ident):
            return _error(2, "Invalid request: request ID must be an unsigned integer")
        if unknown := sorted(request.keys() - _FIELDS):
            return _error(2, f"Invalid request: unknown field `{unknown[0]}`, expected `method`, `params` or `id`")
        if "method" not in request:
            return _error(2, f"Invalid request: missing field `method` at line 1 column {len(message)}")
        return self._answer(request["method"], request.get("params"), ident)

    def _answer(self, method: Any, params: Any, ident: int | str | None) -> Change:
        if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
            if not isinstance(params, list) or not all(isinstance(stream, str) for stream in params):
                return _error(2, "Invalid request: `params` must be a list of strings")
            return self._subscribe(params, ident) if method == "SUBSCRIBE" else self._unsubscribe(params, ident)
        if method == "LIST_SUBSCRIPTIONS":
            if params:
                return _error(2, "Invalid request: too many parameters")
            return _result(list(self.streams), ident)
        if method in ("SET_PROPERTY", "GET_PROPERTY"):
            return self._property(method, params, ident)
        known = ", ".join(f"`{name}`" for name in _METHODS)
        return _error(2, f"Invalid request: unknown variant `{method}`, expected one of {known}")

    def _subscribe(self, params: Sequence[str], ident: int | str | None) -> Change:
        new = [stream for stream in dict.fromkeys(params) if stream not in self.streams]
        limit = self.market.streams_per_connection
        if len(self.streams) + len(new) > limit:
            return _error(2, f"Invalid request: too many streams, at most {limit} per connection")
        self.streams.update(dict.fromkeys(new))
        return _result(None, ident, added=tuple(stream for stream in new if self._hears(stream)))

    def _unsubscribe(self, params: Sequence[str], ident: int | str | None) -> Change:
        gone = [stream for stream in dict.fromkeys(params) if stream in self.streams]
        for stream in gone:
            del self.streams[stream]
        return _result(None, ident, removed=tuple(stream for stream in gone if self._hears(stream)))

    def _property(self, method: str, params: Any, ident: int | str | None) -> Change:
        wanted = 2 if method == "SET_PROPERTY" else 1
        if not isinstance(params, list) or not params or not isinstance(params[0], str):
            return _error(2, "Invalid request: property name must be a string")
        if len(params) > wanted:
            return _error(2, "Invalid request: too many parameters")
        if params[0] != "combined":
            return Change((orjson.dumps({"code": 0, "msg": "Unknown property", "id": ident}),))
        if method == "GET_PROPERTY":
            return _result(self.combined, ident)
        if len(params) < wanted or not isinstance(params[1], bool):
            return _error(1, "Invalid value type: expected Boolean")
        self.combined = params[1]
        return _result(None, ident)

    def _hears(self, stream: str) -> bool:
        return self._served.fullmatch(stream) is not None and _lower_case(stream)


def _take_path(market: Market, path: str) -> tuple[str, bool, list[str]]:
    """Split `/market/ws/a/b` into its route, whether it is the combined form, and the streams named in it."""
    parts = path.removeprefix("/").split("/")
    route = parts.pop(0) if parts[0] in market.routes and parts[0] else ""
    form = parts.pop(0) if parts else ""
    if form == "ws":
        return route, False, parts
    if form == "stream" and not any(parts):
        return route, True, []
    raise Refused(404, f"no WebSocket at {path!r} on Binance {market.name}")


def _lower_case(stream: str) -> bool:
    """Symbols are written in lower case in stream names; any other spelling is acknowledged and silent."""
    symbol = stream.split("@", 1)[0]
    return stream.startswith("!") or symbol == "tradingSession" or symbol == symbol.lower()


def _valid_id(ident: Any) -> bool:
    if isinstance(ident, str):
        return len(ident) <= _MAX_ID_CHARS
    return ident is None or (isinstance(ident, int) and not isinstance(ident, bool) and 0 <= ident <= _MAX_ID)


def _result(
    result: object, ident: int | str | None, added: tuple[str, ...] = (), removed: tuple[str, ...] = ()
) -> Change:
    return Change((orjson.dumps({"result": result, "id": ident}),), added, removed)


def _error(code: int, text: str) -> Change:
    """Refuse a request; of the documented errors only code 0 repeats the request's id."""
    return Change((orjson.dumps({"code": code, "msg": text}),))
