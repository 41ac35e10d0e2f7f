"""Deribit's trades, books and quotes to records, perpetuals, futures and options alike.

Source: Deribit's documentation with its AsyncAPI file of 2025-11, a recorded session of 2021-07, live frames of 2025-12
to 2026-08. A channel's interval says how often the exchange speaks, not what: any is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Raw

from schemas import records
from schemas.errors import BadFrame, UnknownSymbol
from schemas.frames import RawFrame
from schemas.records import Instrument
from schemas.subjects import ALL
from services.shared.exchanges import deribit_wire as wire
from services.shared.exchanges.declaration import BookSnapshot, Listing
from services.shared.exchanges.deribit_instruments import US
from services.shared.exchanges.deribit_numbers import Sizes, optional, plain

EXCHANGE = "deribit"

WHOLE = 10_000
"""Levels a side that no book reaches: what `book.*` begins with is not cut off."""

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
_OPPOSITE: dict[str, records.Side] = {"buy": "sell", "sell": "buy"}


def reader(data: type[T], prefix: str) -> Callable[[RawFrame], tuple[str, T]]:
    """Return a function that reads one notification: its channel's name behind `prefix`, and its data.

    It raises BadFrame when the bytes are not that, or are of another channel.
    """
    decode = msgspec.json.Decoder(wire.Push[data]).decode  # type: ignore[valid-type]

    def read(frame: RawFrame) -> tuple[str, T]:
        try:
            params = decode(frame.body).params
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadFrame(f"not a frame of channel {frame.channel}: {error}") from None
        if not params.channel.startswith(prefix):
            raise BadFrame(f"channel {params.channel!r} in a frame of channel {frame.channel}")
        return params.channel.removeprefix(prefix), params.data

    return read


def instrument_of(name: str, frame: RawFrame, listing: Listing) -> Instrument:
    """Return the instrument of the exchange's name. Raises UnknownSymbol, or BadFrame if filed under another."""
    instrument = listing.by_exchange_symbol.get(name)
    if instrument is None:
        raise UnknownSymbol(f"{name!r} is on no instrument list of {frame.exchange} {frame.market}")
    if instrument.symbol != frame.symbol and frame.symbol != ALL:
        raise BadFrame(f"a frame about {instrument.symbol} filed under {frame.symbol}")
    return instrument


_read_trades = reader(list[wire.Trade], "trades.")


def parse_trades(frame: RawFrame, listing: Listing) -> tuple[records.Trade, ...]:
    """Parse `trades.*`."""
    return tuple(
        trade_of(item, instrument_of(item.instrument_name, frame, listing), frame) for item in _read_trades(frame)[1]
    )


def parse_liquidations(frame: RawFrame, listing: Listing) -> tuple[records.Liquidation, ...]:
    """Parse `trades.*` for the trades that liquidated somebody: there is no channel of liquidations."""
    return tuple(
        liquidation
        for item in _read_trades(frame)[1]
        if item.liquidation is not None
        for liquidation in _liquidations(
            item, trade_of(item, instrument_of(item.instrument_name, frame, listing), frame)
        )
    )


def trade_of(item: wire.Trade, instrument: Instrument, frame: RawFrame) -> records.Trade:
    """Return the record of one trade. `trade_seq` is contiguous per instrument; older frames have no `contracts`."""
    price = plain(item.price, "price")
    quantity, contracts = Sizes(instrument).of(plain(item.amount, "amount"), price)
    return records.Trade(
        exchange=frame.exchange,
        market=frame.market,
        symbol=instrument.symbol,
        timestamp=item.timestamp * US,
        timestamp_source="match",
        received_at=frame.received_at,
        source="live",
        price=price,
        quantity=quantity,
        side=item.direction,
        trade_id=item.trade_id,
        sequence=item.trade_seq,
        contracts=optional(item.contracts, "contracts") or contracts,
    )


def _liquidations(item: wire.Trade, trade: records.Trade) -> list[records.Liquidation]:
    """Return whom a trade liquidated: `T` the taker, whose side is the trade's; `M` the maker, `MT` both.

    A liquidation's side is what its own order did to the position: `sell` ended a long one.
    """
    sides: list[records.Side] = []
    if item.liquidation in ("T", "MT"):
        sides.append(trade.side)
    if item.liquidation in ("M", "MT"):
        sides.append(_OPPOSITE[trade.side])
    return [
        records.Liquidation(
            exchange=trade.exchange,
            market=trade.market,
            symbol=trade.symbol,
            timestamp=trade.timestamp,
            timestamp_source="match",
            received_at=trade.received_at,
            source="live",
            price=trade.price,
            quantity=trade.quantity,
            side=side,
            contracts=trade.contracts,
        )
        for side in sides
    ]


_read_book = reader(wire.BookEvent, "book.")


def parse_book(frame: RawFrame, listing: Listing) -> tuple[BookSnapshot | records.BookChange, ...]:
    """Parse `book.*`: the whole book first, then changes that say which one they follow; amounts are absolute.

    A change covers the ids behind `prev_change_id` up to its own; the ids between them have no frame of their own.
    """
    _, event = _read_book(frame)
    instrument = instrument_of(event.instrument_name, frame, listing)
    bids, asks = _levels(event.bids, "bids", instrument), _levels(event.asks, "asks", instrument)
    at = event.timestamp * US
    if event.type == "snapshot":
        return (BookSnapshot(instrument.symbol, event.change_id, bids, asks, WHOLE, at, "push", sent_at=at),)
    previous = event.prev_change_id
    if previous is None or previous >= event.change_id:
        raise BadFrame(f"prev_change_id is {previous}; allowed is an id before change_id, which is {event.change_id}")
    return (
        records.BookChange(
            exchange=frame.exchange,
            market=frame.market,
            symbol=instrument.symbol,
            timestamp=at,
            timestamp_source="push",
            received_at=frame.received_at,
            source="live",
            first_sequence=previous + 1,
            last_sequence=event.change_id,
            previous_sequence=previous,
            bids=bids,
            asks=asks,
            in_step=False,
            sent_at=at,
        ),
    )


def _levels(side: list[wire.Level], name: str, instrument: Instrument) -> Raw:
    """Return a side as `[price, quantity in base currency, contracts]`; a deleted level has nothing left."""
    sizes = Sizes(instrument)
    found = []
    for action, price_raw, amount in side:
        price = plain(price_raw, f"a price of {name}")
        left = plain(amount, f"an amount of {name}")
        found.append((price, "0", "0") if action == "delete" else (price, *sizes.of(left, price)))
    return Raw(_encode(found))


_read_quote = reader(wire.Quote, "quote.")


def parse_quotes(frame: RawFrame, listing: Listing) -> tuple[records.Quote, ...]:
    """Parse `quote.*`. A side without an order has price 0, or null."""
    _, event = _read_quote(frame)
    instrument = instrument_of(event.instrument_name, frame, listing)
    sizes = Sizes(instrument)
    bid_price, bid_quantity = sizes.best(event.best_bid_price, event.best_bid_amount, "best_bid")
    ask_price, ask_quantity = sizes.best(event.best_ask_price, event.best_ask_amount, "best_ask")
    return (
        records.Quote(
            exchange=frame.exchange,
            market=frame.market,
            symbol=instrument.symbol,
            timestamp=event.timestamp * US,
            timestamp_source="push",
            received_at=frame.received_at,
            source="live",
            bid_price=bid_price,
            bid_quantity=bid_quantity,
            ask_price=ask_price,
            ask_quantity=ask_quantity,
            sent_at=event.timestamp * US,
        ),
    )


def stream(form: str) -> Callable[[str], str]:
    """Return what makes a stream's name of the exchange's symbol, which stands for `{}` in `form`."""
    return form.format
