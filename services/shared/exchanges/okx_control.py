"""OKX's control messages, and what a received frame is about.

tapeline names a stream `<channel>:<instrument>` (`trades:BTC-USDT`), or `<channel>:<type>` for the channels that carry
every instrument of a type (`liquidation-orders:SWAP`). The exchange acknowledges stream by stream, with the id of the
request where it has one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from schemas.errors import BadFrame
from services.shared.exchanges.declaration import KeepAlive, Notice, Pong, Reply, StreamName

BY_TYPE = frozenset({"liquidation-orders"})
"""Channels that are asked for by instrument type."""

UPGRADE = "64008"
"""The notice that the connection is about to close for an upgrade of the exchange's own."""

_encode = msgspec.json.Encoder().encode
_begins = re.compile(rb'\{"arg":\{"channel":"([a-zA-Z0-9-]+)","inst(?:Id|Type)":"([^"\\]+)"').match
_wrong_stream = re.compile(r"channel:([^,\s]+),inst(?:Id|Type):([^,\s]+)").search


def stream(channel: str) -> Callable[[str], str]:
    """Return what makes a stream's name of the exchange's symbol."""
    return lambda symbol: f"{channel}:{symbol}"


def _request(operation: str, streams: Sequence[str], request_id: int) -> bytes:
    args = []
    for name in streams:
        channel, _, subject = name.partition(":")
        args.append({"channel": channel, "instType" if channel in BY_TYPE else "instId": subject})
    return _encode({"id": str(request_id), "op": operation, "args": args})


def subscribe(streams: Sequence[str], request_id: int) -> bytes:
    """Return the message that asks for these streams."""
    return _request("subscribe", streams, request_id)


def unsubscribe(streams: Sequence[str], request_id: int) -> bytes:
    """Return the message that ends these streams."""
    return _request("unsubscribe", streams, request_id)


def _ping(request_id: int) -> bytes:
    return b"ping"


KEEP_ALIVE = KeepAlive(every_s=20, message=_ping)
"""The exchange closes a connection on which it has neither sent nor received anything for 30 s. Its own data count, but
on quiet streams only our text `ping` keeps it."""


class _Arg(msgspec.Struct, gc=False):
    channel: str
    instId: str = ""
    instType: str = ""


class _Any(msgspec.Struct, gc=False):
    """The keys by which any frame is told apart."""

    arg: _Arg | None = None
    event: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    code: str = ""
    msg: str = ""
    id: str = ""


_decode_any = msgspec.json.Decoder(_Any).decode


def sort(frame: bytes) -> StreamName | Reply | Notice | Pong:
    """Say what a frame is about: a data stream, an acknowledgement, a notice, the answer to a ping. Raises BadFrame.

    Of a data frame only the first bytes are read, where it names its stream.
    """
    begin = _begins(frame)
    if begin is not None:
        try:
            return StreamName(f"{begin[1].decode()}:{begin[2].decode()}")
        except UnicodeDecodeError as error:
            raise BadFrame(f"stream name is not UTF-8: {error}") from None
    if frame == b"pong":
        return Pong()
    try:
        found = _decode_any(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"not a frame of OKX: {error}") from None
    if found.event is not None:
        return _event(found, frame)
    if found.arg is not None and bytes(found.data):
        if found.arg.channel == "status":
            return Notice(f"status: {bytes(found.data)[:200].decode(errors='replace')}", reconnect=False)
        return StreamName(_name(found.arg))
    raise BadFrame(f"neither data nor an answer: {frame[:100]!r}")


def _name(arg: _Arg) -> str:
    return f"{arg.channel}:{arg.instId or arg.instType}"


def _event(found: _Any, frame: bytes) -> Reply | Notice:
    request_id = int(found.id) if found.id.isascii() and found.id.isdigit() and len(found.id) < 19 else None
    if found.event in ("subscribe", "unsubscribe"):
        if found.arg is None:
            raise BadFrame(f"an acknowledgement of nothing: {frame[:100]!r}")
        return Reply(request_id, None, (_name(found.arg),))
    if found.event == "error":
        wrong = _wrong_stream(found.msg)
        names = () if wrong is None else (f"{wrong[1]}:{wrong[2]}",)
        return Reply(request_id, f"{found.code}: {found.msg}", names)
    if found.event == "notice":
        return Notice(f"{found.code}: {found.msg}", reconnect=found.code == UPGRADE)
    if found.event == "channel-conn-count":
        return Notice(found.event, reconnect=False)
    raise BadFrame(f"event {found.event!r} is not known: {frame[:100]!r}")
