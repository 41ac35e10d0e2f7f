"""Gate.io's frames to records, spot and USDT futures alike; what only one market has is in its own module.

Source: Gate.io's API v4 documentation as of 2026-06, recorded sessions of 2021 and 2023, live frames of 2026.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from schemas import records
from schemas.errors import BadFrame, UnknownSymbol
from schemas.frames import RawFrame
from schemas.records import Instrument, TimestampSource
from schemas.subjects import ALL
from services.shared.exchanges import gateio_wire as wire
from services.shared.exchanges.declaration import (
    APPLY,
    BROKEN,
    IGNORE,
    BookRule,
    BookSnapshot,
    Listing,
    Parser,
    Verdict,
)
from services.shared.exchanges.gateio_numbers import number, seconds

EXCHANGE = "gateio"
US = 1_000
"""Most of Gate.io's times are milliseconds; ours are microseconds."""

INTERVALS = ("1m", "5m", "30m", "4h", "1d")
"""Candle intervals recorded by default."""

SNAPSHOT_LIMIT = 100
"""Levels a side of a book asked for: as many as the futures stream keeps, and the most that is known to be served."""

T = TypeVar("T")
Side = Callable[[msgspec.Raw, str, Instrument], msgspec.Raw]
"""Checks one side of a book (raw JSON, its name) of an instrument; returns it in the form of `records.Levels`."""


def reader(result: type[T], channel: str) -> Callable[[RawFrame], wire.Envelope[T]]:
    """Return a function that reads one data frame of a channel.

    It raises BadFrame when the bytes are not that, or when they are of another channel.
    """
    decode = msgspec.json.Decoder(wire.Envelope[result]).decode  # type: ignore[valid-type]

    def read(frame: RawFrame) -> wire.Envelope[T]:
        try:
            found: wire.Envelope[T] = decode(frame.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadFrame(f"not a frame of channel {frame.channel}: {error}") from None
        if found.channel != channel or found.event != "update":
            raise BadFrame(f"{found.event!r} of {found.channel!r} in a frame of channel {frame.channel}")
        return found

    return read


def answer_reader(answer: type[T]) -> Callable[[RawFrame], T]:
    """Return a function that reads one REST answer. It raises BadFrame when the bytes are not that answer."""
    decode = msgspec.json.Decoder(answer).decode

    def read(frame: RawFrame) -> T:
        try:
            return decode(frame.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadFrame(f"not an answer of {frame.channel}: {error}") from None

    return read


def instrument_of(name: str, frame: RawFrame, listing: Listing) -> Instrument:
    """Return the instrument of the exchange's symbol. Raises UnknownSymbol, or BadFrame if filed under another."""
    instrument = listing.by_exchange_symbol.get(name)
    if instrument is None:
        raise UnknownSymbol(f"{name!r} is on no instrument list of {frame.exchange} {frame.market}")
    if instrument.symbol != frame.symbol and frame.symbol != ALL:
        raise BadFrame(f"a frame about {instrument.symbol} filed under {frame.symbol}")
    return instrument


def instrument_asked(frame: RawFrame, listing: Listing) -> Instrument:
    """Return the instrument that a REST answer was asked for: the answer itself names none. Raises UnknownSymbol."""
    instrument = listing.by_symbol.get(frame.symbol)
    if instrument is None:
        raise UnknownSymbol(f"{frame.symbol!r} is on no instrument list of {frame.exchange} {frame.market}")
    return instrument


def head(frame: RawFrame, instrument: Instrument, timestamp: int, source: TimestampSource) -> dict[str, Any]:
    """Return the fields that every record has; `timestamp` is microseconds."""
    return {
        "exchange": frame.exchange,
        "market": frame.market,
        "symbol": instrument.symbol,
        "timestamp": timestamp,
        "timestamp_source": source,
        "received_at": frame.received_at,
        "source": "live",
    }


Depth = wire.SpotDepth | wire.PerpDepth


def depth_parser(read: Callable[[RawFrame], wire.Envelope[Any]], side: Side) -> Parser:
    """Return the parser of `order_book_update`: absolute quantities, 0 removes, at the book's own time."""

    def parse(frame: RawFrame, listing: Listing) -> tuple[records.BookChange, ...]:
        """Parse a book change; both sides may be empty, its ids count all the same.

        A `full` frame is a whole book in place of changes and gives no record: the break that it leaves in the chain
        has the book asked for by REST, as at the start.
        """
        event = read(frame)
        d: Depth = event.result
        if d.u < d.U:
            raise BadFrame(f"u is {d.u}, before U, which is {d.U}")
        instrument = instrument_of(d.s, frame, listing)
        bids, asks = side(d.b, "b", instrument), side(d.a, "a", instrument)
        if d.full:
            return ()
        return (
            records.BookChange(
                **head(frame, instrument, d.t * US, "match"),
                first_sequence=d.U,
                last_sequence=d.u,
                bids=bids,
                asks=asks,
                in_step=False,
                sent_at=event.sent_at,
            ),
        )

    return parse


_read_book = answer_reader(wire.BookAnswer)


def snapshot_parser(side: Side) -> Parser:
    """Return the parser of REST `order_book` answers that were asked for with their id."""

    def parse(frame: RawFrame, listing: Listing) -> tuple[BookSnapshot, ...]:
        """Parse a whole book; the symbol is the one it was asked for."""
        instrument = instrument_asked(frame, listing)
        answer = _read_book(frame)
        bids, asks = side(answer.bids, "bids", instrument), side(answer.asks, "asks", instrument)
        return (BookSnapshot(instrument.symbol, answer.id, bids, asks, SNAPSHOT_LIMIT),)

    return parse


Candle = wire.SpotCandle | wire.PerpCandle
Volumes = Callable[[Any, Instrument], tuple[str | None, str | None]]
"""Returns (base volume, quote volume) of a candle, as far as its frame tells them."""


def candle_records(
    frame: RawFrame, listing: Listing, interval: str, sent_at: int | None, k: Candle, volumes: Volumes
) -> list[records.CandleUpdate]:
    """Return a candle as it stands, and as a closed candle too when its window is closed (`w`)."""
    own, _, name = k.n.partition("_")
    if own != interval:
        raise BadFrame(f"candle {k.n!r} in a frame of channel {frame.channel}")
    instrument = instrument_of(name, frame, listing)
    volume, quote_volume = volumes(k, instrument)
    fields = head(frame, instrument, seconds(k.t, "t"), "open") | {
        "interval": interval,
        "open_price": number(k.o, "o"),
        "high_price": number(k.h, "h"),
        "low_price": number(k.l, "l"),
        "close_price": number(k.c, "c"),
        "volume": volume,
        "quote_volume": quote_volume,
        "closed": k.w,
        "sent_at": sent_at,
    }
    kinds = (records.CandleUpdate, records.Candle) if k.w else (records.CandleUpdate,)
    return [kind(**fields) for kind in kinds]


def pushed(frame: RawFrame, instrument: Instrument, own_us: int, sent_at: int | None) -> dict[str, Any]:
    """Return `head` and send time of a statistic: filed under its own time, else its frame's, else our receive time."""
    timestamp = own_us or sent_at
    if timestamp is None:
        return head(frame, instrument, frame.received_at, "received")
    return head(frame, instrument, timestamp, "push") | {"sent_at": sent_at}


def quote_record(
    frame: RawFrame, instrument: Instrument, timestamp: int, sent_at: int | None, sequence: int, sides: list[str | None]
) -> tuple[records.Quote, ...]:
    """Return the quote of (bid price, bid quantity, ask price, ask quantity); an empty side has an empty price."""
    bid_price, bid_quantity, ask_price, ask_quantity = sides
    return (
        records.Quote(
            **head(frame, instrument, timestamp, "match"),
            bid_price=bid_price,
            bid_quantity=None if bid_price is None else bid_quantity,
            ask_price=ask_price,
            ask_quantity=None if ask_price is None else ask_quantity,
            sequence=sequence,
            sent_at=sent_at,
        ),
    )


def first_change(snapshot: int, first: int, last: int, previous: int | None) -> Verdict:
    """Judge the first change after a snapshot: `U` <= id + 1 <= `u`; one that ends before is older than it."""
    if last <= snapshot:
        return IGNORE
    return APPLY if first <= snapshot + 1 else BROKEN


def later_change(book: int, first: int, last: int, previous: int | None) -> Verdict:
    """Judge a later change: `U` past the book's next id means that changes were lost; quantities are absolute."""
    if last <= book:
        return IGNORE
    return APPLY if first <= book + 1 else BROKEN


BOOK_RULE = BookRule(first_change, later_change)
