"""Bybit v5's control messages, and what a received frame is about."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from schemas.errors import BadFrame
from services.shared.exchanges.declaration import KeepAlive, Pong, Reply, StreamName
from services.shared.exchanges.shared_answers import UNREADABLE

_encode = msgspec.json.Encoder().encode
_TOPIC = b'{"topic":"'


def subscribe(topics: Sequence[str], request_id: int) -> bytes:
    """Return the message that asks for these topics; it is answered as a whole, by its id."""
    return _encode({"req_id": str(request_id), "op": "subscribe", "args": list(topics)})


def unsubscribe(topics: Sequence[str], request_id: int) -> bytes:
    """Return the message that ends these topics."""
    return _encode({"req_id": str(request_id), "op": "unsubscribe", "args": list(topics)})


def _ping(request_id: int) -> bytes:
    return _encode({"req_id": str(request_id), "op": "ping"})


KEEP_ALIVE = KeepAlive(every_s=20, message=_ping)


class _Any(msgspec.Struct, gc=False):
    """The keys by which any frame is told apart."""

    topic: str | None = None
    op: str | None = None
    success: bool | None = None
    ret_msg: str = ""
    req_id: str = ""


_decode = msgspec.json.Decoder(_Any).decode


def sort(frame: bytes) -> StreamName | Reply | Pong:
    """Say what a frame is about: a topic's data, the answer to a request, or to a ping. Raises BadFrame.

    Data frames begin with their topic, on both markets: no more is read of them. The text of a refusal varies, so that
    only `success` decides.
    """
    if frame.startswith(_TOPIC):
        end = frame.find(b'"', len(_TOPIC))
        if end > 0:
            try:
                return StreamName(frame[len(_TOPIC) : end].decode())
            except UnicodeDecodeError as error:
                raise BadFrame(f"topic is not UTF-8: {error}") from None
    try:
        found = _decode(frame)
    except UNREADABLE as error:
        raise BadFrame(f"not a frame of Bybit: {error}") from None
    if found.topic is not None:
        return StreamName(found.topic)
    if found.op in ("ping", "pong"):
        return Pong()
    if found.success is None or found.op not in ("subscribe", "unsubscribe"):
        raise BadFrame(f"neither data nor an answer: {frame[:100]!r}")
    request_id = int(found.req_id) if found.req_id.isdecimal() and len(found.req_id) < 19 else None
    return Reply(request_id, None if found.success else found.ret_msg or "refused without a reason")
