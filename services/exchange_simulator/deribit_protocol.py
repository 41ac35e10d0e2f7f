"""Deribit's WebSocket control protocol (JSON-RPC 2.0, API v2), without I/O.

One `Control` is one connection: from its text messages it knows which channels the client has subscribed, answers in
the exchange's own form, and asks for a sign of life once the client has asked to be asked.
Source: Deribit's documentation of 2025-11, live acknowledgements of 2026-08, a recorded session of 2021-07.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import orjson

from services.exchange_simulator.venue import Closing, KeepAlive, Refused

PATH = "/ws/api/v2"
KEEP_ALIVE = KeepAlive(ping_every_s=24 * 3_600.0, pong_within_s=24 * 3_600.0)
"""Deribit sends no ping frames: it asks in JSON."""

_MAX_BYTES = 32_000
_LEAST_HEARTBEAT_S = 10
_OF_INSTRUMENT = re.compile(
    r"(trades|book|ticker|perpetual)\.(?P<name>[^.]+)\.(100ms|agg2)"
    r"|(quote|incremental_ticker)\.(?P<quoted>[^.]+)"
    r"|book\.(?P<grouped>[^.]+)\.[^.]+\.(1|10|20)\.(100ms|agg2)"
    r"|chart\.trades\.(?P<charted>[^.]+)\.(1|3|5|10|15|30|60|120|180|360|720|1D)"
)
_OF_NO_INSTRUMENT = re.compile(
    r"platform_state(\.public_methods_state)?|instrument\.state\.[a-z_]+\.[a-zA-Z]+"
    r"|deribit_(price_index|price_ranking|price_statistics)\.[a-z]+_[a-z]+|deribit_volatility_index\.(btc|eth)_usd"
    r"|(trades|markprice|estimated_expiration_price)\.[a-z_]+(\.[A-Za-z]+\.(100ms|agg2))?"
)

_METHOD_NOT_FOUND = (-32601, "Method not found")
_RAW_REFUSED = (13778, "raw_subscriptions_not_available_for_unauthorized")


_RAW = ".raw"


@dataclass(frozen=True, slots=True)
class Change:
    """What one message brought: replies in order, and the channels that came or went with it."""

    replies: tuple[bytes, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class Control:
    """The control protocol of one connection; times are integer microseconds UTC."""

    def __init__(self, path: str, listed: Container[str]) -> None:
        """Open a connection; `listed` are the known instruments. Raises Refused for another path than `PATH`."""
        if path != PATH:
            raise Refused(404, f"no WebSocket at {path!r} on Deribit; there is {PATH}")
        self.channels: dict[str, None] = {}
        """The channels subscribed, in order."""
        self._listed = listed
        self._beat_us: int | None = None
        self._every_us = 0
        self._unanswered = False

    def receive(self, message: bytes, now_us: int) -> Change:
        """Take one text message: its replies, and the change it made. A request without an id has no reply."""
        if len(message) > _MAX_BYTES:
            return Change((failure(None, -32600, "request entity too large", now_us),))
        try:
            request = orjson.loads(message)
        except orjson.JSONDecodeError:
            return Change((failure(None, -32700, "Parse error", now_us),))
        if not isinstance(request, dict) or request.get("jsonrpc") != "2.0" or "method" not in request:
            return Change((failure(None, -32600, "Invalid Request", now_us),))
        params = request.get("params", {})
        change = self._answer(request["method"], params if isinstance(params, dict) else {}, request.get("id"), now_us)
        return change if "id" in request else Change((), change.added, change.removed)

    def _answer(self, method: object, params: dict[str, Any], ident: Any, now_us: int) -> Change:
        match method:
            case "public/subscribe" | "public/unsubscribe":
                channels = params.get("channels")
                if not isinstance(channels, list) or not all(isinstance(name, str) for name in channels):
                    data = {"reason": "must be a list of channels", "param": "channels"}
                    return Change((failure(ident, -32602, "Invalid params", now_us, data),))
                if method == "public/subscribe":
                    return self._subscribe(channels, ident, now_us)
                return self._unsubscribe(channels, ident, now_us)
            case "public/unsubscribe_all":
                gone = self._unsubscribe(list(self.channels), ident, now_us)
                return Change((result(ident, "ok", now_us),), removed=gone.removed)
            case "public/set_heartbeat":
                return self._set_heartbeat(params.get("interval"), ident, now_us)
            case "public/disable_heartbeat":
                self._beat_us = None
                return Change((result(ident, "ok", now_us),))
            case "public/test" | "public/hello":
                self._unanswered = False
                return Change((result(ident, {"version": "1.2.26"}, now_us),))
            case "public/get_time":
                return Change((result(ident, now_us // 1_000, now_us),))
        return Change((failure(ident, *_METHOD_NOT_FOUND, now_us),))

    def _subscribe(self, channels: list[str], ident: Any, now_us: int) -> Change:
        """Subscribe what exists; the reply lists that, and what does not exist is just missing from it."""
        if any(name.endswith(_RAW) for name in channels):
            return Change((failure(ident, *_RAW_REFUSED, now_us),))
        taken = [name for name in dict.fromkeys(channels) if self._exists(name)]
        added = tuple(name for name in taken if name not in self.channels)
        self.channels.update(dict.fromkeys(added))
        return Change((result(ident, sorted(taken, reverse=True), now_us),), added=added)

    def _unsubscribe(self, channels: list[str], ident: Any, now_us: int) -> Change:
        gone = tuple(name for name in dict.fromkeys(channels) if name in self.channels)
        for name in gone:
            del self.channels[name]
        return Change((result(ident, sorted(gone, reverse=True), now_us),), removed=gone)

    def _exists(self, channel: str) -> bool:
        match = _OF_INSTRUMENT.fullmatch(channel)
        if match is None:
            return _OF_NO_INSTRUMENT.fullmatch(channel) is not None
        named = match["name"] or match["quoted"] or match["grouped"] or match["charted"]
        return named in self._listed

    def _set_heartbeat(self, interval: object, ident: Any, now_us: int) -> Change:
        if not isinstance(interval, int) or interval < _LEAST_HEARTBEAT_S:
            data = {"reason": f"must be at least {_LEAST_HEARTBEAT_S}", "param": "interval"}
            return Change((failure(ident, -32602, "Invalid params", now_us, data),))
        self._every_us = interval * 1_000_000
        self._beat_us = now_us + self._every_us
        self._unanswered = False
        return Change((result(ident, "ok", now_us),))

    def beat_due_us(self) -> int | None:
        """When the client is to be asked for a sign of life again; None while it has not asked for that."""
        return self._beat_us

    def beat(self, now_us: int) -> tuple[bytes, ...]:
        """Return the question if it is due. Raises Closing when the last one had no answer."""
        if self._beat_us is None or now_us < self._beat_us:
            return ()
        if self._unanswered:
            raise Closing(1000, "test_request was not answered")
        self._unanswered = True
        self._beat_us = now_us + self._every_us
        return (b'{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}',)


def result(ident: Any, value: object, now_us: int) -> bytes:
    """Return the answer to a request."""
    body: dict[str, object] = {"jsonrpc": "2.0"}
    if ident is not None:
        body["id"] = ident
    times = {"usIn": str(now_us), "usOut": str(now_us), "usDiff": 0, "testnet": False}
    return orjson.dumps(body | {"result": value} | times)


def failure(ident: Any, code: int, text: str, now_us: int, data: object = None) -> bytes:
    """Return the exchange's refusal of a request."""
    body: dict[str, object] = {"jsonrpc": "2.0"}
    if ident is not None:
        body["id"] = ident
    error: dict[str, object] = {"message": text, "code": code}
    if data is not None:
        error["data"] = data
    return orjson.dumps(body | {"error": error, "usIn": now_us, "usOut": now_us, "usDiff": 0, "testnet": False})
