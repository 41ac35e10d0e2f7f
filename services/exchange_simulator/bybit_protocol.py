"""Bybit v5's WebSocket control protocol, spot and linear, without I/O.

One `Control` is one connection: from its text messages it knows which topics the client has asked for, and it answers
each request once, as a whole: one topic that is not there fails all of them. Source: Bybit's v5 pages of 2026-07, and
live acknowledgements of 2026-08.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

import orjson

from services.exchange_simulator.venue import KeepAlive, Refused

_INTERVALS = "1|3|5|15|30|60|120|240|360|720|D|W|M"
_COMMON = rf"publicTrade|tickers|kline\.({_INTERVALS})|orderbook\.(1|50|200|1000|rpi)"
MOST_CHARACTERS = 21_000
"""Of all topics of a connection together."""

KEEP_ALIVE = KeepAlive(ping_every_s=24 * 3_600.0, pong_within_s=24 * 3_600.0)
"""Bybit sends no ping frames: it answers the client's message `ping`."""


@dataclass(frozen=True, slots=True)
class Market:
    """What differs between the markets: path, topics, how many of them a message may name, the texts of answers."""

    name: str
    path: str
    topics: re.Pattern[str] = field(repr=False)
    most_args: int | None
    echoes: bool
    """Whether an acknowledgement's `ret_msg` repeats what was asked for; else it is empty."""


SPOT = Market("spot", "/v5/public/spot", re.compile(rf"({_COMMON}|orderbook\.full)\.(?P<symbol>[^.]+)"), 10, True)
LINEAR = Market(
    "linear",
    "/v5/public/linear",
    re.compile(rf"({_COMMON}|allLiquidation|priceLimit|adlAlert|insurance)\.(?P<symbol>[^.]+)"),
    None,
    False,
)
_OF_A_COIN = ("adlAlert.", "insurance.")
"""Topics about a settlement coin instead of a symbol."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one message brought: replies in order, and the streams that came or went with it."""

    replies: tuple[bytes, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class Control:
    """The control protocol of one connection. `topics` are those asked for."""

    def __init__(self, market: Market, path: str, listed: Container[str], number: int) -> None:
        """Open the `number`-th connection on the exchange's path; `listed` are its symbols. Raises Refused."""
        if path != market.path:
            raise Refused(404, f"no WebSocket at {path!r} on Bybit {market.name}; there is one at {market.path}")
        self._market = market
        self._listed = listed
        self.id = f"{zlib.crc32(f'{path}{number}'.encode()):08x}-{number:x}"
        self.topics: dict[str, None] = {}

    def receive(self, message: bytes) -> Change:
        """Take one text message of the client: its reply and the change it made."""
        try:
            request = orjson.loads(message)
        except orjson.JSONDecodeError:
            request = None
        if not isinstance(request, dict):
            return self._reply({}, False, "Request is not JSON")
        operation, args = request.get("op"), request.get("args")
        if operation == "ping":
            return self._reply(request, True, "pong")
        if operation not in ("subscribe", "unsubscribe"):
            return self._reply(request, False, f"Invalid op: {operation}")
        if not isinstance(args, list) or not args or not all(isinstance(arg, str) for arg in args):
            return self._reply(request, False, "Params Error")
        if self._market.most_args is not None and len(args) > self._market.most_args:
            return self._reply(request, False, f"args size >{self._market.most_args}")
        if wrong := [arg for arg in args if not self._is_served(arg)]:
            return self._reply(request, False, f"Invalid symbol :[{wrong[0]}]")
        said = operation if self._market.echoes else ""
        if operation == "unsubscribe":
            removed = tuple(arg for arg in dict.fromkeys(args) if arg in self.topics)
            for arg in removed:
                del self.topics[arg]
            return Change(self._reply(request, True, said).replies, removed=removed)
        added = tuple(arg for arg in dict.fromkeys(args) if arg not in self.topics)
        if sum(map(len, (*self.topics, *added))) > MOST_CHARACTERS:
            return self._reply(request, False, f"args length >{MOST_CHARACTERS}")
        self.topics.update(dict.fromkeys(added))
        return Change(self._reply(request, True, said).replies, added=added)

    def _is_served(self, topic: str) -> bool:
        found = self._market.topics.fullmatch(topic)
        return found is not None and (topic.startswith(_OF_A_COIN) or found["symbol"] in self._listed)

    def _reply(self, request: dict[str, Any], success: bool, text: str) -> Change:
        ident = request.get("req_id", "")
        said = {"success": success, "ret_msg": text, "conn_id": self.id, "req_id": str(ident), "op": request.get("op")}
        return Change((orjson.dumps(said),))
