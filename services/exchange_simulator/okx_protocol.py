"""OKX's WebSocket control protocol (v5), public and business, without I/O.

One `Control` is one connection: from its path and text messages it knows which streams the client has asked for, and
answers in the exchange's own form: one acknowledgement for each argument of a request. A stream is called
`<channel>:<instrument>` here, or `<channel>:<type>`, or by its channel alone. Source: OKX's v5 pages, mirrors of
2025-08 to 2026-06, and live acknowledgements of 2026-08.
"""

from __future__ import annotations

import re
import zlib
from collections import deque
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from services.exchange_simulator.venue import Closing, KeepAlive, Refused

_BARS = r"(1m|3m|5m|15m|30m|[124]H|(6H|12H|[1235]D|1W|[13]M)(utc)?)"
_ROUTES = {
    "/ws/v5/public": re.compile(
        r"trades|books5?|bbo-tbt|tickers|mark-price|index-tickers|funding-rate|open-interest|price-limit"
        r"|liquidation-orders|instruments|status"
    ),
    "/ws/v5/business": re.compile(rf"trades-all|(mark-price-|index-)?candle{_BARS}"),
}
_BY_TYPE = ("liquidation-orders", "instruments")
_TYPES = ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION")
_ALONE = ("status",)

_REQUESTS_PER_HOUR = 480
_HOUR_US = 3_600_000_000
_MAX_BYTES = 64 * 1024

KEEP_ALIVE = KeepAlive(ping_every_s=24 * 3_600.0, pong_within_s=24 * 3_600.0)
"""OKX sends no ping frames: it answers the client's text `ping`."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one message brought: replies in order, and the streams that came or went with it."""

    replies: tuple[bytes, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class Control:
    """The control protocol of one connection; times are integer microseconds UTC. `streams` are those asked for."""

    def __init__(self, path: str, listed: Container[str], now_us: int) -> None:
        """Open a connection on `/ws/v5/public` or `/ws/v5/business`; `listed` are the known instruments and indices.

        Raises Refused for another path.
        """
        if path not in _ROUTES:
            raise Refused(404, f"no WebSocket at {path!r} on OKX; there are {', '.join(_ROUTES)}")
        self._served = _ROUTES[path]
        self._listed = listed
        self._requests_us: deque[int] = deque()
        self.id = f"{zlib.crc32(f'{path}{now_us}'.encode()):08x}"
        self.streams: dict[str, None] = {}

    def receive(self, message: bytes, now_us: int) -> Change:
        """Take one text message of the client. Raises Closing for one that is too large."""
        if len(message) > _MAX_BYTES:
            raise Closing(1009, "Request message exceeds the maximum frame length")
        if message == b"ping":
            return Change((b"pong",))
        try:
            request = orjson.loads(message)
        except orjson.JSONDecodeError:
            return self._error("60012", f"Invalid request: {message.decode(errors='replace')}", None)
        operation = request.get("op") if isinstance(request, dict) else None
        if operation not in ("subscribe", "unsubscribe"):
            return self._error("60012", f"Invalid request: {message.decode(errors='replace')}", None)
        ident = request.get("id")
        if self._too_many(now_us):
            return self._error("60014", "Requests too frequent", ident)
        args = request.get("args")
        if not isinstance(args, list) or not args or not all(isinstance(arg, dict) for arg in args):
            return self._error("60013", "Invalid args", ident)
        return self._take(operation, args, ident)

    def _too_many(self, now_us: int) -> bool:
        """Count a request against the limit per hour."""
        made = self._requests_us
        while made and made[0] <= now_us - _HOUR_US:
            made.popleft()
        made.append(now_us)
        return len(made) > _REQUESTS_PER_HOUR

    def _take(self, operation: str, args: Sequence[dict[str, Any]], ident: object) -> Change:
        replies: list[bytes] = []
        added: list[str] = []
        removed: list[str] = []
        for arg in args:
            name = self._stream(arg)
            if name is None:
                key = "instType" if arg.get("channel") in _BY_TYPE else "instId"
                text = (
                    f"Wrong URL or channel:{arg.get('channel')},{key}:{arg.get(key)} doesn't exist. "
                    "Please use the correct URL, channel and parameters referring to API document."
                )
                replies += self._error("60018", text, ident).replies
                continue
            if operation == "subscribe" and name not in self.streams:
                self.streams[name] = None
                added.append(name)
            elif operation == "unsubscribe" and name in self.streams:
                del self.streams[name]
                removed.append(name)
            replies.append(self._say(ident, event=operation, arg=arg))
        return Change(tuple(replies), tuple(added), tuple(removed))

    def _stream(self, arg: dict[str, Any]) -> str | None:
        """Return the stream that an argument asks for, or None where this URL has no such stream."""
        channel = arg.get("channel")
        if not isinstance(channel, str) or self._served.fullmatch(channel) is None:
            return None
        if channel in _ALONE:
            return channel
        if channel in _BY_TYPE:
            return f"{channel}:{arg['instType']}" if arg.get("instType") in _TYPES else None
        instrument = arg.get("instId")
        if not isinstance(instrument, str) or instrument not in self._listed:
            return None
        return f"{channel}:{instrument}"

    def _error(self, code: str, text: str, ident: object) -> Change:
        return Change((self._say(ident, event="error", code=code, msg=text),))

    def _say(self, ident: object, **fields: object) -> bytes:
        head = {} if ident is None else {"id": ident}
        return orjson.dumps({**head, **fields, "connId": self.id})
