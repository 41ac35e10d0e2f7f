"""Deribit's control messages (JSON-RPC), and what a received frame is about.

A stream's name is the exchange's own channel name, `trades.BTC-PERPETUAL.100ms`. Frames of interval `raw`, which needs
a login today and did not in 2021, go by the name that the same channel has at `100ms`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, Raw, UnsetType

from schemas.errors import BadFrame
from services.shared.exchanges.declaration import Ask, Notice, Pong, Reply, StreamName

INTERVAL = "100ms"
HEARTBEAT_S = 30
"""The exchange then asks for a sign of life this often, and closes a connection that gives none. At least 10."""

_RAW = ".raw"
_PLATFORM = "platform_state"
_PUSH = b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"'
_encode = msgspec.json.Encoder().encode


def _request(method: str, params: dict[str, object], ident: int | str) -> bytes:
    return _encode({"jsonrpc": "2.0", "id": ident, "method": method, "params": params})


def subscribe(streams: Sequence[str], request_id: int) -> bytes:
    """Return the message that asks for these streams."""
    return _request("public/subscribe", {"channels": list(streams)}, request_id)


def unsubscribe(streams: Sequence[str], request_id: int) -> bytes:
    """Return the message that ends these streams."""
    return _request("public/unsubscribe", {"channels": list(streams)}, request_id)


GREETING = (
    _request("public/set_heartbeat", {"interval": HEARTBEAT_S}, "heartbeat"),
    _request("public/subscribe", {"channels": [_PLATFORM]}, "platform"),
)
"""Requests of our own have ids that are words, so that their answers are never taken for a subscription's."""

_TEST = Ask(_request("public/test", {}, "test"))


class _Error(msgspec.Struct, gc=False):
    code: int
    message: str = ""
    data: Raw = Raw()


class _Params(msgspec.Struct, gc=False):
    channel: str | None = None
    type: str | None = None
    data: Raw = Raw()


class _Any(msgspec.Struct, gc=False):
    """The keys by which any frame is told apart."""

    method: str | None = None
    params: _Params | None = None
    id: int | str | None = None
    result: Raw | UnsetType = UNSET
    error: _Error | None = None


_decode = msgspec.json.Decoder(_Any).decode
_decode_names = msgspec.json.Decoder(list[str]).decode


def sort(frame: bytes) -> StreamName | Reply | Notice | Pong | Ask:
    """Say what a frame is about. Raises BadFrame.

    A notification names its channel in its first bytes, which is all that is read of it as a rule.
    """
    if frame.startswith(_PUSH):
        end = frame.find(b'"', len(_PUSH))
        if end > 0 and not frame.startswith(_PLATFORM.encode(), len(_PUSH)):
            try:
                return StreamName(stream_of(frame[len(_PUSH) : end].decode()))
            except UnicodeDecodeError as error:
                raise BadFrame(f"channel name is not UTF-8: {error}") from None
    try:
        found = _decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"not a frame of Deribit: {error}") from None
    if found.method == "subscription" and found.params is not None and found.params.channel is not None:
        channel = found.params.channel
        if channel.startswith(_PLATFORM):
            return Notice(f"{channel}: {_shown(found.params.data)}", reconnect=False)
        return StreamName(stream_of(channel))
    if found.method == "heartbeat" and found.params is not None:
        return _TEST if found.params.type == "test_request" else Pong()
    if found.method is None and (found.error is not None or found.result is not UNSET):
        return _answer(found)
    raise BadFrame(f"neither data nor an answer: {frame[:100]!r}")


def stream_of(channel: str) -> str:
    """Return the name of the stream that a channel of the exchange is."""
    return f"{channel.removesuffix(_RAW)}.{INTERVAL}" if channel.endswith(_RAW) else channel


def _answer(found: _Any) -> Reply | Notice | Pong:
    own = isinstance(found.id, str)
    request_id = found.id if isinstance(found.id, int) else None
    error = found.error
    if error is not None and found.id is None:
        return Notice(f"{error.code}: {error.message} {_shown(error.data)}".rstrip(), reconnect=False)
    if error is not None:
        return Reply(request_id, f"{error.code}: {error.message} {_shown(error.data)}".rstrip())
    if own:
        return Pong()
    assert isinstance(found.result, Raw)
    try:
        names = _decode_names(found.result)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadFrame(f"an answer to request {found.id!r} without channels: {_shown(found.result)}") from None
    if not names:
        return Reply(request_id, "none of these channels exists")
    return Reply(request_id, None, tuple(stream_of(name) for name in names))


def _shown(raw: Raw) -> str:
    return bytes(raw)[:200].decode(errors="replace")
