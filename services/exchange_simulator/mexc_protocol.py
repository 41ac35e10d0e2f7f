"""MEXC's WebSocket control protocols, spot and contracts, without I/O: two servers that have little in common.

One `SpotControl` or `ContractControl` is one connection; times are integer microseconds UTC. Control messages are JSON
text on both. A stream of spot is called by its channel; one of contracts, which have no such names, by its channel and
parameters: `deal@BTC_USDT`, `depth.full@5@BTC_USDT`, `kline@Min1@BTC_USDT`, `tickers`. Source: MEXC's pages of 2025-11,
acknowledgements and refusals of 2026-09.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import orjson

from services.exchange_simulator.venue import Closing, KeepAlive, Refused

SPOT_PATH, CONTRACT_PATH = "/ws", "/edge"
MOST_STREAMS = 30
"""Streams of a spot connection."""
_SPOT_IDLE_US = 30_000_000
_MESSAGES_PER_S = 100
_SECOND_US = 1_000_000
_CONTRACT_IDLE_US = 60_000_000

KEEP_ALIVE = KeepAlive(ping_every_s=24 * 3_600.0, pong_within_s=24 * 3_600.0)
"""MEXC sends no ping frames: it answers the client's messages, and cuts who sends none."""

INTERVALS = ("Min1", "Min5", "Min15", "Min30", "Min60", "Hour4", "Hour8", "Day1", "Week1", "Month1")
_ANY_INTERVAL = "|".join(INTERVALS)
_SPOT_STREAM = re.compile(
    r"spot@public\.(?:"
    r"aggre\.(?:deals|depth|bookTicker)\.v3\.api\.pb@(?:100|10)ms@(?P<aggregated>[^@]+)"
    rf"|kline\.v3\.api\.pb@(?P<charted>[^@]+)@(?:{_ANY_INTERVAL})"
    r"|limit\.depth\.v3\.api\.pb@(?P<cut>[^@]+)@(?:5|10|20)"
    r"|bookTicker\.batch\.v3\.api\.pb@(?P<batched>[^@]+)"
    r"|miniTicker\.v3\.api\.pb@(?P<small>[^@]+)@[^@]+"
    r"|miniTickers\.v3\.api\.pb@[^@]+)"
)


@dataclass(frozen=True, slots=True)
class Change:
    """What one message brought: replies in order, and the streams that came or went with it."""

    replies: tuple[bytes, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def _request(message: bytes) -> dict[str, Any]:
    """Read a message; one that is no JSON object is empty."""
    try:
        request = orjson.loads(message)
    except orjson.JSONDecodeError:
        return {}
    return request if isinstance(request, dict) else {}


class SpotControl:
    """The control protocol of one spot connection. A refusal has code 0 too: its text alone tells it."""

    def __init__(self, path: str, listed: Container[str], now_us: int) -> None:
        """Open a connection at `now_us`; `listed` are the symbols there are. Raises Refused for another path."""
        if path != SPOT_PATH:
            raise Refused(404, f"no WebSocket at {path!r} on MEXC spot; there is one at {SPOT_PATH}")
        self._listed = listed
        self._idle_since_us = now_us
        self._received_us: deque[int] = deque()
        self.streams: dict[str, None] = {}

    def receive(self, message: bytes, now_us: int) -> Change:
        """Take one text message of the client. Raises Closing for the one above the limit per second."""
        received = self._received_us
        while received and received[0] <= now_us - _SECOND_US:
            received.popleft()
        if len(received) >= _MESSAGES_PER_S:
            raise Closing(1008, f"more than {_MESSAGES_PER_S} messages in a second")
        received.append(now_us)
        request = _request(message)
        ident, method, params = request.get("id", 0), request.get("method"), request.get("params")
        if method == "PING":
            return Change((_say(ident, "PONG"),))
        if method not in ("SUBSCRIPTION", "UNSUBSCRIPTION"):
            return Change((_say(ident, "msg format invalid"),))
        if not isinstance(params, list) or not params or not all(isinstance(name, str) for name in params):
            return Change((_say(ident, "params format invalid"),))
        names = tuple(dict.fromkeys(params))
        if method == "UNSUBSCRIPTION":
            removed = tuple(name for name in names if name in self.streams)
            for name in removed:
                del self.streams[name]
            if not self.streams:
                self._idle_since_us = now_us
            return Change((_say(ident, ",".join(names)),), removed=removed)
        return self._subscribe(ident, names)

    def _subscribe(self, ident: object, names: tuple[str, ...]) -> Change:
        """Take what there is and has room; one message confirms those, another one refuses the others."""
        taken: list[str] = []
        added: list[str] = []
        refused: dict[str, list[str]] = {}
        for name in names:
            if not self._is_served(name):
                refused.setdefault("Blocked! ", []).append(name)
            elif name not in self.streams and len(self.streams) >= MOST_STREAMS:
                refused.setdefault(f"Subscription limit {MOST_STREAMS} exceeded! ", []).append(name)
            else:
                taken.append(name)
                if name not in self.streams:
                    added.append(name)
                    self.streams[name] = None
        replies = [_say(ident, ",".join(taken))] if taken else []
        replies += [
            _say(ident, f"Not Subscribed successfully! [{','.join(about)}].  Reason\N{FULLWIDTH COLON} {why}")
            for why, about in refused.items()
        ]
        return Change(tuple(replies), added=tuple(added))

    def _is_served(self, name: str) -> bool:
        found = _SPOT_STREAM.fullmatch(name)
        if found is None:
            return False
        symbol = next((text for text in found.groupdict().values() if text is not None), None)
        return symbol is None or symbol in self._listed

    def cut_us(self) -> int | None:
        """When a connection without any subscription is cut; None while there is one."""
        return None if self.streams else self._idle_since_us + _SPOT_IDLE_US

    def cut(self, now_us: int) -> None:
        """Raise Closing when that time has come."""
        cut_us = self.cut_us()
        if cut_us is not None and cut_us <= now_us:
            raise Closing(1005, "no valid subscription")


def _say(ident: object, text: str) -> bytes:
    return orjson.dumps({"id": ident, "code": 0, "msg": text})


_ALONE = ("tickers", "contract")
_OF_A_SYMBOL = ("deal", "depth", "depth.full", "ticker", "kline", "funding.rate", "index.price", "fair.price")
_MISSPELT = {"usub.depth.full": "unsub.depth.full"}
"""As the documentation has it, and both are taken."""
_LEVELS = (5, 10, 20)
MERGED = "depth.merged"
"""What `depth` is called where the client did not decline merging."""


class ContractControl:
    """The control protocol of one connection to contracts. An acknowledgement names no symbol."""

    def __init__(self, path: str, listed: Container[str], now_us: int) -> None:
        """Open a connection at `now_us`; `listed` are the contracts there are. Raises Refused for another path."""
        if path != CONTRACT_PATH:
            raise Refused(404, f"no WebSocket at {path!r} on MEXC contracts; there is one at {CONTRACT_PATH}")
        self._listed = listed
        self._pinged_us = now_us
        self._warned = False
        self.streams: dict[str, None] = {}

    def receive(self, message: bytes, now_us: int) -> Change:
        """Take one text message of the client."""
        request = _request(message)
        method, param = request.get("method"), request.get("param", {})
        if method == "ping":
            self._pinged_us = now_us
            return Change((_push("pong", now_us // 1_000, now_us),))
        if not isinstance(method, str) or not isinstance(param, dict):
            return self._error("Request format error", now_us)
        method = _MISSPELT.get(method, method)
        verb, _, channel = method.partition(".")
        if verb not in ("sub", "unsub") or channel not in (*_ALONE, *_OF_A_SYMBOL):
            return self._error(f"Method [{method}] not exists", now_us)
        if channel in _OF_A_SYMBOL and param.get("symbol") not in self._listed:
            return self._error(f"Contract [{param.get('symbol')}] not exists", now_us)
        name = _stream(channel, param)
        if name is None:
            return self._error("Parameter error", now_us)
        reply = (_push(f"rs.{method}", "success", now_us),)
        if verb == "unsub":
            removed = tuple(one for one in self.streams if one == name or _is_about(one, channel, param))
            for one in removed:
                del self.streams[one]
            return Change(reply, removed=removed)
        added = () if name in self.streams else (name,)
        self.streams[name] = None
        return Change(reply, added=added)

    def _error(self, text: str, now_us: int) -> Change:
        return Change((_push("rs.error", text, now_us),))

    def cut_us(self) -> int:
        """When a client that sends no more pings is told so; it is cut right behind that."""
        return self._pinged_us + _CONTRACT_IDLE_US

    def warning(self, now_us: int) -> tuple[bytes, ...]:
        """Return what the client is told then. Raises Closing when it has been told."""
        if self.cut_us() > now_us:
            return ()
        if self._warned:
            raise Closing(1000, "no ping")
        self._warned = True
        return (_push("rs.error", "more than 60 seconds no response, close the channel", now_us),)


def _stream(channel: str, param: dict[str, Any]) -> str | None:
    """Return the name of the stream that is asked for; None for a parameter that is not allowed."""
    if channel in _ALONE:
        return channel
    symbol = param["symbol"]
    if channel == "kline":
        interval = param.get("interval")
        return f"kline@{interval}@{symbol}" if interval in INTERVALS else None
    if channel == "depth.full":
        limit = param.get("limit", _LEVELS[-1])
        return f"depth.full@{limit}@{symbol}" if limit in _LEVELS else None
    if channel == "depth" and param.get("compress") is not False:
        return f"{MERGED}@{symbol}"
    return f"{channel}@{symbol}"


def _is_about(name: str, channel: str, param: dict[str, Any]) -> bool:
    """Whether a book stream is ended by a message that does not repeat its parameters."""
    kind, _, rest = name.partition("@")
    return (
        channel in ("depth", "depth.full")
        and kind in (channel, MERGED if channel == "depth" else channel)
        and (rest.rpartition("@")[2] == param["symbol"])
    )


def _push(channel: str, data: object, now_us: int) -> bytes:
    return orjson.dumps({"channel": channel, "data": data, "ts": now_us // 1_000})
