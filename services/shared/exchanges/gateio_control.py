"""Gate.io's control messages, spot and USDT futures alike, and what a received frame is about.

A stream's name is the channel, a colon, and what it is subscribed with: `spot.trades:BTC_USDT`,
`futures.candlesticks:1m:BTC_USDT`. The names are tapeline's own; a message holds streams of one channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from schemas.errors import BadFrame
from services.shared.exchanges.declaration import Limits, Notice, Pong, Reply, StreamName

SPEED = "100ms"
LEVEL = "100"
"""Levels a side that `futures.order_book_update` keeps."""

LIMITS = Limits(
    streams_per_connection=300,
    streams_per_message=1,
    messages_per_s=50,
    connects_per_5_min=300,
    lifetime_s=7 * 24 * 3_600,
    connections=300,
)
"""Of the first three Gate.io states none, of connections 300 at a time, of their life nothing."""

_encode = msgspec.json.Encoder().encode
_BOOKS = {"spot.order_book_update": (SPEED,), "futures.order_book_update": (SPEED, LEVEL)}
_CANDLES = ("spot.candlesticks", "futures.candlesticks")
_PONGS = ("spot.pong", "futures.pong")
_DATA = ("update", "all")
_ANSWERS = ("subscribe", "unsubscribe")


def stream(channel: str, interval: str = "") -> Callable[[str], str]:
    """Return what makes a stream's name of the exchange's symbol."""
    prefix = f"{channel}:{interval}:" if interval else f"{channel}:"
    return lambda symbol: prefix + symbol


def subscribe(streams: Sequence[str], request_id: int) -> bytes:
    """Return the message that asks for these streams. Raises ValueError when one message cannot hold them."""
    return _message("subscribe", streams, request_id)


def stamp(message: bytes, now_ms: int) -> bytes:
    """Put the time of sending into a message: Gate.io refuses one that is 60 s off its own clock."""
    return b'{"time":%d,' % (now_ms // 1_000) + message.removeprefix(b"{")


HEADERS = {"X-Gate-Size-Decimal": "1"}
"""Without it Gate.io rounds fractional sizes of contracts down."""


def unsubscribe(streams: Sequence[str], request_id: int) -> bytes:
    """Return the message that ends these streams. Raises ValueError when one message cannot hold them."""
    return _message("unsubscribe", streams, request_id)


def _message(event: str, streams: Sequence[str], request_id: int) -> bytes:
    channels = {name.partition(":")[0] for name in streams}
    if len(channels) != 1:
        raise ValueError(f"a message is about one channel; asked for are {', '.join(sorted(channels)) or 'none'}")
    (channel,) = channels
    own = [name.partition(":")[2] for name in streams]
    if channel not in _BOOKS and channel not in _CANDLES:
        payload = own
    elif len(own) == 1:
        payload = [*own, *_BOOKS[channel]] if channel in _BOOKS else own[0].split(":")
    else:
        raise ValueError(f"a message holds one stream of {channel}; asked for are {', '.join(streams)}")
    return _encode({"id": request_id, "channel": channel, "event": event, "payload": payload})


class _Subject(msgspec.Struct, gc=False):
    s: str | None = None
    n: str | None = None
    contract: str | None = None
    currency_pair: str | None = None


class _Error(msgspec.Struct, gc=False):
    code: int
    message: str = ""


class _Any(msgspec.Struct, gc=False):
    """The keys by which any frame is told apart."""

    channel: str = ""
    event: str = ""
    result: _Subject | list[_Subject] | None = None
    id: int | str | None = None
    payload: list[str] | None = None
    error: _Error | None = None
    type: str = ""
    msg: str = ""


_decode_any = msgspec.json.Decoder(_Any).decode


def sort(frame: bytes) -> StreamName | Reply | Notice | Pong:
    """Say what a frame is about: a data stream, the answer to a request, a notice, or a pong. Raises BadFrame.

    A list of rows is named by its first. An answer names its streams only where it has no id; those of 2021 to 2023
    have neither id nor payload.
    """
    try:
        found = _decode_any(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"not a frame of Gate.io: {error}") from None
    if found.event in _DATA:
        return StreamName(_name(found, frame))
    if found.type == "upgrade":
        return Notice(found.msg or found.type, reconnect=True)
    if found.channel in _PONGS:
        return Pong()
    if found.event not in _ANSWERS and found.error is None:
        raise BadFrame(f"neither data nor an answer: {frame[:100]!r}")
    request_id = found.id if isinstance(found.id, int) else None
    refusal = None if found.error is None else f"{found.error.code}: {found.error.message}"
    return Reply(request_id, refusal, _names(found) if request_id is None else ())


def _name(found: _Any, frame: bytes) -> str:
    result = found.result
    row = result if isinstance(result, _Subject) else result[0] if result else None
    if row is not None:
        if row.n is not None and found.channel in _CANDLES:
            interval, _, symbol = row.n.partition("_")
            return f"{found.channel}:{interval}:{symbol}"
        symbol = row.s or row.contract or row.currency_pair or ""
        if symbol:
            return f"{found.channel}:{symbol}"
    raise BadFrame(f"data that names no instrument: {frame[:100]!r}")


def _names(found: _Any) -> tuple[str, ...]:
    payload = found.payload or []
    if found.channel in _BOOKS:
        payload = payload[:1]
    elif found.channel in _CANDLES:
        payload = [":".join(payload)] if payload else []
    return tuple(f"{found.channel}:{symbol}" for symbol in payload)
