"""MEXC contracts' control messages, and what a received frame is about.

A stream's name, which the exchange does not have, is the channel and its parameters: `deal@BTC_USDT`,
`kline@Min1@BTC_USDT`. One message asks for one stream; the answer names no symbol, and answers come in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from schemas.errors import BadFrame
from services.shared.exchanges.declaration import KeepAlive, Notice, Pong, Reply, StreamName
from services.shared.exchanges.shared_answers import UNREADABLE

_encode = msgspec.json.Encoder().encode
QUOTE_LEVELS = 5
"""The fewest levels of a whole book there are: its best ones are the quote."""

_PARAMETERS: dict[str, dict[str, Any]] = {
    "depth": {"compress": False},  # one version a frame, not merged
    "depth.full": {"limit": QUOTE_LEVELS},
}
_UNSUBSCRIBE = {"depth.full": "usub.depth.full"}
"""As documented (sic)."""
_CLOSES = "close the channel"


def _message(verb: str, names: Sequence[str]) -> bytes:
    if len(names) != 1:
        raise ValueError(f"{len(names)} streams in one message; allowed is 1")
    channel, *interval, symbol = names[0].split("@")
    param = {"symbol": symbol} | _PARAMETERS.get(channel, {}) | ({"interval": interval[0]} if interval else {})
    method = _UNSUBSCRIBE.get(channel, f"unsub.{channel}") if verb == "unsub" else f"sub.{channel}"
    return _encode({"method": method, "param": param, "gzip": False})


def subscribe(names: Sequence[str], request_id: int) -> bytes:
    """Return the message that asks for one stream. Raises ValueError when there are more."""
    return _message("sub", names)


def unsubscribe(names: Sequence[str], request_id: int) -> bytes:
    """Return the message that ends one stream. Raises ValueError when there are more."""
    return _message("unsub", names)


def _ping(request_id: int) -> bytes:
    return b'{"method":"ping"}'


KEEP_ALIVE = KeepAlive(every_s=15, message=_ping)


class _Any(msgspec.Struct, gc=False):
    channel: str
    symbol: str = ""
    data: msgspec.Raw = msgspec.Raw()


class _Interval(msgspec.Struct, gc=False):
    interval: str


_decode = msgspec.json.Decoder(_Any).decode
_decode_interval = msgspec.json.Decoder(_Interval).decode
_decode_text = msgspec.json.Decoder(str).decode


def sort(frame: bytes) -> StreamName | Reply | Notice | Pong:
    """Say what a frame is about. Raises BadFrame."""
    try:
        found = _decode(frame)
        channel = found.channel
        if channel.startswith("push."):
            kind = channel.removeprefix("push.")
            if kind == "kline":
                kind = f"kline@{_decode_interval(found.data).interval}"
            return StreamName(f"{kind}@{found.symbol}")
        if channel == "pong":
            return Pong()
        if not channel.startswith("rs."):
            raise BadFrame(f"neither data nor an answer: {frame[:100]!r}")
        said = _decode_text(found.data)
    except UNREADABLE as error:
        raise BadFrame(f"not a frame of MEXC contracts: {error}") from None
    if channel == "rs.error" and _CLOSES in said:
        return Notice(said, reconnect=True)
    return Reply(None, None if channel != "rs.error" and said == "success" else said)
