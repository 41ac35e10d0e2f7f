"""Deribit's channels to records, perpetuals, futures and options alike.

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
from services.shared.exchanges.declaration import BookSnapshot, Channel, Listing, Parser
from services.shared.exchanges.deribit_control import INTERVAL
from services.shared.exchanges.deribit_instruments import US
from services.shared.exchanges.deribit_numbers import Sizes, is_missing, optional, plain, statistic

EXCHANGE = "deribit"

RESOLUTIONS = {"1m": "1", "5m": "5", "30m": "30", "1d": "1D"}
"""Candle intervals, and the exchange's words for them. It has none of four hours."""

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
    """Parse `quote.*`. A side without an order is 0 at 0, whether the exchange writes zeros or nulls."""
    _, event = _read_quote(frame)
    instrument = instrument_of(event.instrument_name, frame, listing)
    sizes = Sizes(instrument)

    def best(price_raw: Raw, amount_raw: Raw, side: str) -> tuple[str, str]:
        if is_missing(price_raw) and (is_missing(amount_raw) or not plain(amount_raw, f"{side} amount").strip("0.")):
            return "0", "0"
        price = plain(price_raw, f"best_{side}_price")
        return price, sizes.of(plain(amount_raw, f"best_{side}_amount"), price).quantity

    bid_price, bid_quantity = best(event.best_bid_price, event.best_bid_amount, "bid")
    ask_price, ask_quantity = best(event.best_ask_price, event.best_ask_amount, "ask")
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


_read_ticker = reader(wire.Ticker, "ticker.")


def parse_ticker(frame: RawFrame, listing: Listing) -> tuple[records.Record, ...]:
    """Parse `ticker.*`: mark and index price, open interest, and on perpetuals the funding rate as it is now.

    Open interest in US dollars becomes base currency at the mark price. The rate is `current_funding`, for 8 hours;
    funding is paid at every moment, so there is no next time.
    """
    _, event = _read_ticker(frame)
    instrument = instrument_of(event.instrument_name, frame, listing)
    mark_price = plain(event.mark_price, "mark_price")
    amount = plain(event.open_interest, "open_interest")
    quantity, contracts = Sizes(instrument).of(amount, mark_price)
    dollars = instrument.contract_kind == "inverse" and instrument.market != "option"
    at = event.timestamp * US
    index = records.IndexPrice(
        exchange=frame.exchange,
        market=frame.market,
        symbol=instrument.symbol,
        timestamp=at,
        timestamp_source="push",
        received_at=frame.received_at,
        source="live",
        mark_price=mark_price,
        index_price=optional(event.index_price, "index_price"),
        settlement_price=optional(event.settlement_price, "settlement_price"),
        sent_at=at,
    )
    interest = records.OpenInterest(
        exchange=frame.exchange,
        market=frame.market,
        symbol=instrument.symbol,
        timestamp=at,
        timestamp_source="push",
        received_at=frame.received_at,
        source="live",
        open_interest=quantity,
        open_interest_value=amount if dollars else None,
        contracts=contracts,
        sent_at=at,
    )
    if is_missing(event.current_funding):
        return index, interest
    funding = records.FundingRate(
        exchange=frame.exchange,
        market=frame.market,
        symbol=instrument.symbol,
        timestamp=at,
        timestamp_source="push",
        received_at=frame.received_at,
        source="live",
        rate=statistic(event.current_funding, "current_funding", signed=True),
        rate_kind="estimated",
        mark_price=mark_price,
        sent_at=at,
    )
    return index, interest, funding


_read_bar = reader(wire.Bar, "chart.trades.")


def _candle_parser(interval: str) -> Parser:
    def parse(frame: RawFrame, listing: Listing) -> tuple[records.CandleUpdate, ...]:
        """Parse `chart.trades.*`: the candle as it stands. Nothing says that it is final but the next one."""
        about, bar = _read_bar(frame)
        name, _, resolution = about.rpartition(".")
        if resolution != RESOLUTIONS[interval]:
            raise BadFrame(f"a candle of resolution {resolution!r} in a frame of channel {frame.channel}")
        return (
            records.CandleUpdate(
                exchange=frame.exchange,
                market=frame.market,
                symbol=instrument_of(name, frame, listing).symbol,
                timestamp=bar.tick * US,
                timestamp_source="open",
                received_at=frame.received_at,
                source="live",
                interval=interval,
                open_price=plain(bar.open, "open"),
                high_price=plain(bar.high, "high"),
                low_price=plain(bar.low, "low"),
                close_price=plain(bar.close, "close"),
                volume=statistic(bar.volume, "volume"),
                closed=False,
                quote_volume=statistic(bar.cost, "cost"),
            ),
        )

    return parse


def stream(form: str) -> Callable[[str], str]:
    """Return what makes a stream's name of the exchange's symbol, which stands for `{}` in `form`."""
    return form.format


def common_channels() -> list[Channel]:
    """Return the channels that every market has.

    Liquidations are taken from the same trades, told once a second (`agg2`): a stream of their own, so that what is
    known and what is missing of them is known apart from the numbered trades.
    """
    return [
        Channel("trades", ("trade",), stream(f"trades.{{}}.{INTERVAL}"), parse_trades),
        Channel("liquidations", ("liquidation",), stream("trades.{}.agg2"), parse_liquidations),
        Channel("depth", ("book_change",), stream(f"book.{{}}.{INTERVAL}"), parse_book),
        Channel("quotes", ("quote",), stream("quote.{}"), parse_quotes),
        *(
            Channel(
                f"candles_{interval}",
                ("candle_update", "candle"),
                stream(f"chart.trades.{{}}.{resolution}"),
                _candle_parser(interval),
                interval=interval,
                closes_itself=False,
            )
            for interval, resolution in RESOLUTIONS.items()
        ),
    ]
