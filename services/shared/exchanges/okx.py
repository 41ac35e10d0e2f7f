"""OKX's frames and answers to its own words: what every parser of its starts with, and what its markets share.

`okx_prices` and `okx_books` hold the channels that every market has, `okx_contracts` those of contracts only. Source:
OKX's v5 documentation of 2026-06, a recorded session of 2022-05, live frames of 2026.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from schemas.errors import BadFrame, UnknownSymbol
from schemas.frames import RawFrame
from schemas.records import Instrument
from schemas.subjects import ALL
from services.shared.exchanges import okx_wire as wire
from services.shared.exchanges.declaration import Limits, Listing

EXCHANGE = "okx"
WS_URL = "wss://ws.okx.com:8443"
REST_URL = "https://www.okx.com"
PUBLIC, BUSINESS = "public", "business"
ROUTES = {PUBLIC: "/ws/v5/public", BUSINESS: "/ws/v5/business"}

LIMITS = Limits(
    streams_per_connection=120,
    streams_per_message=120,
    messages_per_s=3,
    connects_per_5_min=300,
    lifetime_s=7 * 24 * 3_600,
    subscriptions_per_hour=480,
    connects_per_s=3,
)
"""OKX documents 480 subscription requests an hour and connection (hence many streams a message), 64 KB a request,
3 connections a second, and recommends at most 30 books a connection, which 120 streams keep where a symbol has four or
more of them on it. It knows no end of a connection's life but its own notice."""

INTERVALS = {"1m": "1m", "5m": "5m", "30m": "30m", "4h": "4H", "1d": "1Dutc"}
"""Our interval -> OKX's. Its own days begin at UTC+8; `1Dutc` begins at midnight UTC."""

US = 1_000
"""OKX's times are milliseconds; ours are microseconds."""

T = TypeVar("T")


def reader(row: type[T], *channels: str) -> Callable[[RawFrame], wire.Push[T]]:
    """Return a function that reads one push. It raises BadFrame when the bytes are none of these channels'."""
    decode = msgspec.json.Decoder(wire.Push[row], strict=False).decode  # type: ignore[valid-type]

    def read(frame: RawFrame) -> wire.Push[T]:
        try:
            push = decode(frame.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadFrame(f"not a frame of channel {frame.channel}: {error}") from None
        if push.arg.channel not in channels:
            raise BadFrame(f"channel {push.arg.channel!r} in a frame of channel {frame.channel}")
        return push

    return read


def answer_reader(row: type[T]) -> Callable[[RawFrame], list[T]]:
    """Return a function that reads the rows of a REST answer. It raises BadFrame, also for an error of the exchange."""
    decode = msgspec.json.Decoder(wire.Answer[row], strict=False).decode  # type: ignore[valid-type]

    def read(frame: RawFrame) -> list[T]:
        try:
            answer = decode(frame.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadFrame(f"not an answer of {frame.channel}: {error}") from None
        if answer.code != "0":
            raise BadFrame(f"{frame.channel} was answered with error {answer.code}: {answer.msg}")
        return answer.data

    return read


def instrument_of(name: str, frame: RawFrame, listing: Listing) -> Instrument:
    """Return the instrument of the exchange's symbol.

    Raises UnknownSymbol, or BadFrame if the frame is filed under another.
    """
    instrument = listing.by_exchange_symbol.get(name)
    if instrument is None:
        raise UnknownSymbol(f"{name!r} is on no instrument list of {frame.exchange} {frame.market}")
    if instrument.symbol != frame.symbol and frame.symbol != ALL:
        raise BadFrame(f"a frame about {instrument.symbol} filed under {frame.symbol}")
    return instrument
