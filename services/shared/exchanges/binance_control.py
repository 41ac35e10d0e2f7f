"""Binance's control messages, spot and USD-M futures alike, and what a received frame is about."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from schemas.errors import BadFrame
from services.shared.exchanges.declaration import Notice, Reply, StreamName

_encode = msgspec.json.Encoder().encode
_COMBINED = b'{"stream":"'
_SHUTDOWN = "serverShutdown"


def subscribe(streams: Sequence[str], request_id: int) -> bytes:
    """Return the message that asks for these streams."""
    return _encode({"method": "SUBSCRIBE", "params": list(streams), "id": request_id})


def unsubscribe(streams: Sequence[str], request_id: int) -> bytes:
    """Return the message that ends these streams."""
    return _encode({"method": "UNSUBSCRIBE", "params": list(streams), "id": request_id})


class _Error(msgspec.Struct, gc=False):
    code: int
    msg: str = ""


class _Inner(msgspec.Struct, gc=False):
    s: str | None = None
    i: str | None = None


class _Any(msgspec.Struct, gc=False):
    """The keys by which any frame is told apart; which of them are there says what it is."""

    stream: str | None = None
    e: str | None = None
    s: str | None = None
    u: int | None = None
    b: msgspec.Raw = msgspec.Raw()
    k: _Inner | None = None
    o: msgspec.Raw = msgspec.Raw()
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    id: int | str | None = None
    code: int | None = None
    msg: str = ""
    error: _Error | None = None


_decode_any = msgspec.json.Decoder(_Any).decode
_decode_inner = msgspec.json.Decoder(_Inner).decode

_BARE_SUFFIX = {
    "aggTrade": "aggTrade",
    "trade": "trade",
    "depthUpdate": "depth@100ms",
    "bookTicker": "bookTicker",
    "24hrTicker": "ticker",
    "markPriceUpdate": "markPrice@1s",
}
"""Event type -> the stream it is taken for when no wrapper names it: the form tapeline itself subscribes to."""


def sort(frame: bytes) -> StreamName | Reply | Notice:
    """Say what a frame is about: a data stream, the answer to a request, or a notice. Raises BadFrame.

    A frame of a combined connection names its stream in its first bytes, which is all that is read of it. A bare one is
    named by its event and symbol; partial books carry neither and can be told apart on combined connections only.
    """
    if frame.startswith(_COMBINED):
        end = frame.find(b'"', len(_COMBINED))
        if end > len(_COMBINED):
            try:
                return _stream(frame[len(_COMBINED) : end].decode())
            except UnicodeDecodeError as error:
                raise BadFrame(f"stream name is not UTF-8: {error}") from None
    try:
        found = _decode_any(frame)
        inner = _decode_inner(found.o) if found.e == "forceOrder" else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"not a frame of Binance: {error}") from None
    if found.stream:
        return _stream(found.stream)
    if found.e == _SHUTDOWN:
        return Notice(_SHUTDOWN, reconnect=True)
    if inner is not None and inner.s is not None:
        return StreamName(f"{inner.s.lower()}@forceOrder")
    name = _bare(found)
    if name is not None:
        return StreamName(name)
    reply = _reply(found)
    if reply is None:
        raise BadFrame(f"neither data nor an answer: {frame[:100]!r}")
    return reply


def _stream(name: str) -> StreamName | Notice:
    if name == f"!{_SHUTDOWN}":
        return Notice(_SHUTDOWN, reconnect=True)
    return StreamName(name)


def _bare(found: _Any) -> str | None:
    if found.s is None:
        return None
    symbol = found.s.lower()
    if found.e == "kline" and found.k is not None and found.k.i is not None:
        return f"{symbol}@kline_{found.k.i}"
    if found.e is None:  # spot's bookTicker is the only event without a type
        return f"{symbol}@bookTicker" if found.u is not None and bytes(found.b) else None
    suffix = _BARE_SUFFIX.get(found.e)
    return f"{symbol}@{suffix}" if suffix else None


def _reply(found: _Any) -> Reply | None:
    request_id = found.id if isinstance(found.id, int) else None
    error = found.error
    if error is not None:
        return Reply(request_id, f"{error.code}: {error.msg}")
    if found.code is not None:
        return Reply(request_id, f"{found.code}: {found.msg}")
    if found.result is not msgspec.UNSET:
        return Reply(request_id, None)
    return None
