"""A raw frame on the bus: the exchange's bytes untouched, and the headers that say where they came from.

At high rates one message carries several frames of one connection and partition (`pack`). Its body is, for each frame,
one line of text `<channel> <symbol> <number> <received_at> <length>` and then the frame's own bytes and a line end.
A body over `COMPRESS_OVER` bytes is compressed and says so, since NATS refuses messages over 1 MiB by default.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

import msgspec

from schemas import subjects
from schemas.errors import BadFrame

COLLECTOR = "Tape-Collector"
CONNECTION = "Tape-Connection"
NUMBER = "Tape-Number"
RECEIVED = "Tape-Received"
ORIGIN = "Tape-Origin"
REQUEST = "Tape-Request"
REQUESTED = "Tape-Requested"
WANTED = "Tape-Wanted"
DONE = "Tape-Done"
ENCODING = "Tape-Encoding"
DEFLATE = "deflate"

COMPRESS_OVER = 900_000
"""Bytes. NATS's default limit for a message is 1 MiB, headers included."""

_LINE_END = 10

Origin = Literal["ws", "rest", "backfill"]


class RawFrame(msgspec.Struct, frozen=True, gc=False):
    """One frame of an exchange, or one REST answer, with its origin.

    `connection` is new per connect; `number` counts the frames of that connection from 1, so that a frame that was
    published twice is known by (connection, number). `received_at` and `requested_at` are our clock, UTC microseconds.

    An answer of origin `backfill` says which of its rows were missing: `wanted`, the text of `schemas.spans.Spans` over
    ids or times (microseconds). `done` is what earlier answers brought for the gaps that are still being filled: who
    goes on after a crash need not ask for it again.
    """

    exchange: str
    market: str
    channel: str
    symbol: str
    collector: str
    connection: str
    number: int
    received_at: int
    origin: Origin
    body: bytes
    request: str | None = None
    requested_at: int | None = None
    wanted: str | None = None
    done: str | None = None


class RawMessage(NamedTuple):
    """What goes on the bus: subject, headers and body."""

    subject: str
    headers: dict[str, str]
    body: bytes


def message(frame: RawFrame, part: int | None = None) -> RawMessage:
    """Return the message of one frame; `part` files it under another partition than its symbol's own."""
    headers = {
        COLLECTOR: frame.collector,
        CONNECTION: frame.connection,
        NUMBER: str(frame.number),
        RECEIVED: str(frame.received_at),
        ORIGIN: frame.origin,
    }
    if frame.request is not None:
        headers[REQUEST] = frame.request
    if frame.requested_at is not None:
        headers[REQUESTED] = str(frame.requested_at)
    if frame.wanted is not None:
        headers[WANTED] = frame.wanted
    if frame.done:
        headers[DONE] = frame.done
    body = frame.body
    if len(body) > COMPRESS_OVER:
        body = zlib.compress(body, 6)
        headers[ENCODING] = DEFLATE
    subject = subjects.raw(frame.exchange, frame.market, frame.channel, frame.symbol, part)
    return RawMessage(subject, headers, body)


def pack(frames: list[RawFrame], part: int) -> RawMessage:
    """Return one message for several WebSocket frames of one connection and partition, in their order."""
    first = frames[0]
    if len(frames) == 1:
        return message(first, part)
    pieces: list[bytes] = []
    for frame in frames:
        line = f"{frame.channel} {frame.symbol} {frame.number} {frame.received_at} {len(frame.body)}\n"
        pieces += (line.encode(), frame.body, b"\n")
    headers = {
        COLLECTOR: first.collector,
        CONNECTION: first.connection,
        NUMBER: str(first.number),
        RECEIVED: str(first.received_at),
        ORIGIN: first.origin,
    }
    subject = subjects.raw(first.exchange, first.market, subjects.PACKED, subjects.ALL, part)
    return RawMessage(subject, headers, b"".join(pieces))


def unpack(subject: str, headers: Mapping[str, str] | None, body: bytes) -> list[RawFrame]:
    """Return the frames of a message, in order. Raises BadFrame when headers or body are not of this form."""
    try:
        name = subjects.parse_raw(subject)
        if headers is None:
            raise BadFrame("a raw frame without headers")
        if headers.get(ENCODING) == DEFLATE:
            body = zlib.decompress(body)
        collector = headers[COLLECTOR]
        connection = headers[CONNECTION]
        origin = headers[ORIGIN]
        if origin not in ("ws", "rest", "backfill"):
            raise BadFrame(f"header {ORIGIN} is {origin!r}; allowed are ws, rest and backfill")
        if name.channel == subjects.PACKED:
            return _unpack(name, collector, connection, origin, body)  # type: ignore[arg-type]
        requested = headers.get(REQUESTED)
        return [
            RawFrame(
                name.exchange,
                name.market,
                name.channel,
                name.symbol,
                collector,
                connection,
                _whole(headers[NUMBER]),
                _whole(headers[RECEIVED]),
                origin,  # type: ignore[arg-type]
                body,
                headers.get(REQUEST),
                _whole(requested) if requested is not None else None,
                headers.get(WANTED),
                headers.get(DONE),
            )
        ]
    except KeyError as error:
        raise BadFrame(f"a raw frame without header {error.args[0]}") from None
    except (ValueError, zlib.error) as error:
        raise BadFrame(f"not a raw frame: {error}") from None


def _whole(text: str) -> int:
    """Return a number that can be saved in 64 bits. Raises ValueError."""
    number = int(text)
    if not 0 <= number < 1 << 63:
        raise ValueError(f"{text[:40]!r} where a number from 0 to 2**63 - 1 is allowed")
    return number


def _unpack(name: subjects.RawSubject, collector: str, connection: str, origin: Origin, body: bytes) -> list[RawFrame]:
    found = []
    exchange, market = name.exchange, name.market
    at, size = 0, len(body)
    while at < size:
        end = body.index(b"\n", at)
        channel, symbol, number, received, length = body[at:end].decode().split(" ")
        if not length.isdecimal():
            raise BadFrame(f"a packed message with a length of {length!r}")
        start = end + 1
        at = start + int(length)
        if at >= size or body[at] != _LINE_END:
            raise BadFrame("a packed message whose lengths do not add up")
        found.append(
            RawFrame(
                exchange,
                market,
                channel,
                symbol,
                collector,
                connection,
                _whole(number),
                _whole(received),
                origin,
                body[start:at],
            )
        )
        at += 1
    return found


Saved = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
"""A number that can be saved in 64 bits."""


class Count(NamedTuple):
    """Frames of one stream: so many in the time that is told of, and so many since the connection was opened."""

    frames: Saved
    total: Saved


class SessionEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of a frame of channel `_session`: what happened to a connection. Written by the collector.

    Published into every partition that has symbols on the connection, and into the partition of `_all`, so that whoever
    reads one partition in order knows when its symbols were covered. `channels` maps a symbol to the channels that the
    event is about, for the symbols of that partition only.

    * `opened`: the connection is up; nothing is subscribed yet.
    * `subscribed`: the exchange confirmed these channels; from here on silence means that nothing happened.
    * `alive`: nothing was received for this partition, yet the connection lives (at most one a second).
    * `silent`: no data on the whole connection for the seconds in `reason`, though it answers.
    * `counted`: of a minute that is over, or until the event behind it, how many frames were taken of each stream that
      had any (`counts`, of what was received from `since` until before `until`, microseconds UTC): whoever has read
      fewer of them from this partition knows that some are gone.
    * `dropped`: frames `first_number` to `last_number` were lost for want of room; `channels` says of what.
    * `unsubscribed`: these channels were given up on purpose (delisted, not wanted any more, or moved to another
      connection that covers them already): what follows on them is no loss.
    * `auditing`: a snapshot of these books is about to be asked for, to compare ours with.
    * `closed`: the connection is gone, with the reason.
    """

    event: Literal[
        "opened", "subscribed", "alive", "silent", "counted", "dropped", "unsubscribed", "auditing", "closed"
    ]
    url: str
    streams: int = 0
    frames: int = 0
    channels: dict[str, list[str]] = {}
    reason: str | None = None
    first_number: int | None = None
    last_number: int | None = None
    counts: dict[str, dict[str, Count]] = {}
    """By symbol and channel."""
    since: Saved = 0
    until: Saved = 0


encode_session = msgspec.json.Encoder().encode
_decode_session = msgspec.json.Decoder(SessionEvent).decode


def decode_session(body: bytes) -> SessionEvent:
    """Parse the body of a `_session` frame. Raises BadFrame."""
    try:
        return _decode_session(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadFrame(f"not a session event: {error}") from None
