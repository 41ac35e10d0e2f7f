"""Deribit's REST answers to records and books. Most are asked on demand: what is live comes over the WebSocket."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Raw

from schemas import records
from schemas.errors import BadFrame, UnknownSymbol
from schemas.frames import RawFrame
from schemas.records import Instrument
from services.shared.exchanges import deribit_wire as wire
from services.shared.exchanges.declaration import BookSnapshot, Listing, Poll
from services.shared.exchanges.deribit import instrument_of, trade_of
from services.shared.exchanges.deribit_instruments import US, parse_instruments
from services.shared.exchanges.deribit_numbers import Sizes, plain, statistic
from services.shared.exchanges.shared_answers import audit_poll

PUBLIC = "/api/v2/public"
BOOK_LIMIT = 1_000

RANGE = "&start_timestamp={start_ms}&end_timestamp={end_ms}"
"""Behind the path of an answer about a time."""

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


def _reader(answer: type[T]) -> Callable[[RawFrame], T]:
    decode = msgspec.json.Decoder(wire.Answer[answer]).decode  # type: ignore[valid-type]

    def read(frame: RawFrame) -> T:
        try:
            return decode(frame.body).result
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadFrame(f"not an answer of {frame.channel}: {error}") from None

    return read


_read_book = _reader(wire.Book)
_read_trades = _reader(wire.Trades)
_read_funding = _reader(list[wire.Funding])


def parse_book(frame: RawFrame, listing: Listing) -> tuple[BookSnapshot, ...]:
    """Parse `get_order_book`: the best levels as of `change_id`, in the numbers of the `book.*` channel."""
    answer = _read_book(frame)
    instrument = instrument_of(answer.instrument_name, frame, listing)
    bids, asks = _levels(answer.bids, "bids", instrument), _levels(answer.asks, "asks", instrument)
    return (BookSnapshot(instrument.symbol, answer.change_id, bids, asks, BOOK_LIMIT),)


def _levels(side: list[tuple[Raw, Raw]], name: str, instrument: Instrument) -> Raw:
    sizes = Sizes(instrument)
    found = []
    for price_raw, amount in side:
        price = plain(price_raw, f"a price of {name}")
        found.append((price, *sizes.of(plain(amount, f"an amount of {name}"), price)))
    return Raw(_encode(found))


def parse_trades(frame: RawFrame, listing: Listing) -> tuple[records.Trade, ...]:
    """Parse `get_last_trades_by_instrument`: the elements of the `trades.*` channel, in the order asked for."""
    return tuple(
        trade_of(item, instrument_of(item.instrument_name, frame, listing), frame)
        for item in _read_trades(frame).trades
    )


def parse_funding(frame: RawFrame, listing: Listing) -> tuple[records.FundingRate, ...]:
    """Parse `get_funding_rate_history`: what was paid in each hour, stamped at its end; oldest first.

    The answer names no instrument: the frame is filed under the one it was asked for.
    """
    symbol = _own(frame, listing).symbol
    return tuple(
        records.FundingRate(
            exchange=frame.exchange,
            market=frame.market,
            symbol=symbol,
            timestamp=row.timestamp * US,
            timestamp_source="stamp",
            received_at=frame.received_at,
            source="live",
            rate=statistic(row.interest_1h, "interest_1h", signed=True),
            rate_kind="settled",
        )
        for row in sorted(_read_funding(frame), key=lambda row: row.timestamp)
    )


def _own(frame: RawFrame, listing: Listing) -> Instrument:
    instrument = listing.by_symbol.get(frame.symbol)
    if instrument is None:
        raise UnknownSymbol(f"{frame.symbol!r} is on no instrument list of {frame.exchange} {frame.market}")
    return instrument


def instruments(kind: str) -> Poll:
    """Return the endpoint of the instruments of one of the exchange's kinds (`future` holds perpetuals too)."""
    return Poll(
        "instruments",
        ("instrument",),
        f"{PUBLIC}/get_instruments?currency=any&kind={kind}&expired=false",
        weight=1,
        parse=parse_instruments,
        every_s=3_600,
    )


def common_polls() -> list[Poll]:
    """Return the endpoints of every market: a book to audit ours by, and, asked on demand, trades to refill."""
    return [
        audit_poll(f"{PUBLIC}/get_order_book?instrument_name={{symbol}}&depth={BOOK_LIMIT}", 1, parse_book),
        Poll(
            "recent_trades",
            ("trade",),
            f"{PUBLIC}/get_last_trades_by_instrument?instrument_name={{symbol}}&count=1000&sorting=asc",
            weight=1,
            parse=parse_trades,
        ),
    ]
