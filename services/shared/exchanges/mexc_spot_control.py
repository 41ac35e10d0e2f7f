"""MEXC spot's control messages, which are text, and what a received frame is about."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from schemas.errors import BadFrame
from services.shared.exchanges.declaration import KeepAlive, Pong, Reply, StreamName
from services.shared.exchanges.shared_answers import UNREADABLE

_encode = msgspec.json.Encoder().encode
_STREAM = "spot@"
_CHANNEL_TAG = 0x0A
"""Field 1 of the wrapper, of wire type "length and bytes": what every data frame begins with."""


def subscribe(streams: Sequence[str], request_id: int) -> bytes:
    """Return the message that asks for these streams."""
    return _encode({"method": "SUBSCRIPTION", "params": list(streams), "id": request_id})


def unsubscribe(streams: Sequence[str], request_id: int) -> bytes:
    """Return the message that ends these streams."""
    return _encode({"method": "UNSUBSCRIPTION", "params": list(streams), "id": request_id})


def _ping(request_id: int) -> bytes:
    return b'{"method":"PING"}'


KEEP_ALIVE = KeepAlive(every_s=15, message=_ping)


class _Reply(msgspec.Struct, gc=False):
    code: int
    msg: str


_decode = msgspec.json.Decoder(_Reply).decode
_refused = re.compile(r"Not Subscribed successfully! \[([^\]]*)\]").search


def sort(frame: bytes) -> StreamName | Reply | Pong:
    """Say what a frame is about: a stream's data (binary), or an answer (text). Raises BadFrame."""
    if frame[:1] == b"{":
        return _reply(frame)
    try:
        # The channel's length: one byte, or two from 128 on.
        tag, length, at = frame[0], frame[1], 2
        if length >= 0x80:
            length, at = (length & 0x7F) | frame[2] << 7, 3
        name = frame[at : at + length].decode()
    except (IndexError, UnicodeDecodeError):
        raise BadFrame(f"not a frame of MEXC: {frame[:100]!r}") from None
    if tag != _CHANNEL_TAG or at + length > len(frame) or not name.startswith(_STREAM):
        raise BadFrame(f"neither data nor an answer: {frame[:100]!r}")
    return StreamName(name)


def _reply(frame: bytes) -> Reply | Pong:
    """Read an answer. A refusal has code 0 too: only the text that names the streams, and nothing else, confirms."""
    try:
        found = _decode(frame)
    except UNREADABLE as error:
        raise BadFrame(f"not an answer of MEXC: {error}") from None
    if found.code == 0 and found.msg == "PONG":
        return Pong()
    names = tuple(name.strip() for name in found.msg.split(","))
    if found.code == 0 and all(name.startswith(_STREAM) and " " not in name for name in names):
        return Reply(None, None, names)
    refused = _refused(found.msg)
    if refused is not None:
        return Reply(None, found.msg.strip(), tuple(name.strip() for name in refused[1].split(",")))
    return Reply(None, f"{found.code}: {found.msg}")
