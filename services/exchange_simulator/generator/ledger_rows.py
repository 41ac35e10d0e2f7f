"""Ledger rows: what each market event looks like as a row of its record, built from whole numbers.

Column names and meanings are those of the records (`schemas.records`). Numbers are whole numbers of 10^-8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from services.exchange_simulator.generator.events import (
    BookEvent,
    CandleEvent,
    Event,
    FillEvent,
    LiquidationEvent,
    MarkEvent,
    MiniTickerEvent,
    QuoteEvent,
    TickerEvent,
    TradeEvent,
)
from services.exchange_simulator.generator.figures import (
    PERCENT_DIGITS,
    average_units,
    percent_units,
    ten_to,
    ticker_value_digits,
    value_units,
)
from services.exchange_simulator.generator.names import Listing
from services.exchange_simulator.generator.statistics import FINE_DIGITS

DIGITS = 8
"""Numbers in rows are whole numbers of 10^-8: no figure of Binance has more digits."""
NUMBER = pa.decimal128(38, 18)
_TIME = pa.timestamp("us", tz="UTC")
_PAIR = pa.list_(pa.field("element", NUMBER, nullable=False))
LEVELS = pa.list_(pa.field("element", _PAIR, nullable=False))

_COMMON = {"exchange": pa.string(), "market": pa.string(), "symbol": pa.string(), "timestamp": _TIME}
_LAST = {"sent_at": _TIME, "connection": pa.int64(), "handed_out_at": _TIME}
_TRADE = {
    "trade_id": pa.string(),
    "sequence": pa.int64(),
    "price": NUMBER,
    "quantity": NUMBER,
    "side": pa.string(),
    "first_trade_id": pa.int64(),
    "last_trade_id": pa.int64(),
    "trade_count": pa.int64(),
    "quantity_without_rpi": NUMBER,
}
_CANDLE = {
    "interval": pa.string(),
    "open_price": NUMBER,
    "high_price": NUMBER,
    "low_price": NUMBER,
    "close_price": NUMBER,
    "volume": NUMBER,
    "quote_volume": NUMBER,
    "trade_count": pa.int64(),
    "taker_buy_volume": NUMBER,
    "taker_buy_quote_volume": NUMBER,
    "first_trade_id": pa.int64(),
    "last_trade_id": pa.int64(),
    "closed": pa.bool_(),
}
_TICKER = {
    **{f"{name}_price": NUMBER for name in ("last", "open", "high", "low")},
    "volume": NUMBER,
    "quote_volume": NUMBER,
    "price_change": NUMBER,
    "price_change_percent": NUMBER,
    "weighted_average_price": NUMBER,
    "last_quantity": NUMBER,
    "bid_price": NUMBER,
    "bid_quantity": NUMBER,
    "ask_price": NUMBER,
    "ask_quantity": NUMBER,
    "trade_count": pa.int64(),
    "first_trade_id": pa.int64(),
    "last_trade_id": pa.int64(),
    "window_open_at": _TIME,
    "window_close_at": _TIME,
}
COLUMNS: dict[str, dict[str, pa.DataType]] = {
    "trade": _TRADE,
    "fill": _TRADE,
    "book_change": {
        "first_sequence": pa.int64(),
        "last_sequence": pa.int64(),
        "previous_sequence": pa.int64(),
        "bids": LEVELS,
        "asks": LEVELS,
    },
    "quote": {
        "sequence": pa.int64(),
        "bid_price": NUMBER,
        "bid_quantity": NUMBER,
        "ask_price": NUMBER,
        "ask_quantity": NUMBER,
    },
    "candle_update": _CANDLE,
    "ticker": _TICKER,
    "index_price": {
        "mark_price": NUMBER,
        "index_price": NUMBER,
        "mark_price_average": NUMBER,
        "settlement_price": NUMBER,
    },
    "funding_rate": {"rate": NUMBER, "rate_kind": pa.string(), "next_funding_time": _TIME, "mark_price": NUMBER},
    "liquidation": {
        "price": NUMBER,
        "quantity": NUMBER,
        "side": pa.string(),
        "order_price": NUMBER,
        "order_quantity": NUMBER,
        "last_quantity": NUMBER,
        "status": pa.string(),
    },
}

_OPTIONAL = frozenset(
    {
        *("sent_at", "previous_sequence", "first_trade_id", "last_trade_id", "trade_count", "quantity_without_rpi"),
        *("price_change", "price_change_percent", "weighted_average_price", "last_quantity"),
        *("bid_price", "bid_quantity", "ask_price", "ask_quantity", "window_open_at", "window_close_at"),
    }
)


def schema_of(kind: str) -> pa.Schema:
    """Return the Parquet schema of a kind; columns that always hold a value are not nullable."""
    columns = _COMMON | COLUMNS[kind] | _LAST
    return pa.schema([pa.field(name, column, nullable=name in _OPTIONAL) for name, column in columns.items()])


Row = tuple[Any, ...]


class Scales:
    """Turns one listing's whole numbers into units of 10^-8, the unit of every number in a row."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.price = listing.tick_units * ten_to(DIGITS - listing.price_digits)
        self.quantity = listing.step_units * ten_to(DIGITS - listing.quantity_digits)
        self.head = (listing.exchange, listing.market, listing.symbol)


def _trade(event: TradeEvent, scales: Scales) -> Row:
    trade = event.trade
    return (
        *scales.head,
        trade.time_us // 1000 * 1000,
        str(trade.aggregate_id),
        trade.aggregate_id,
        trade.ticks * scales.price,
        trade.steps * scales.quantity,
        "buy" if trade.buy else "sell",
        trade.first_id,
        trade.last_id,
        trade.last_id - trade.first_id + 1,
        None if event.listing.market == "spot" else trade.steps * scales.quantity,
        event.sent_us,
    )


def _fill(event: FillEvent, scales: Scales) -> Row:
    trade = event.trade
    fill_id = trade.first_id + event.place
    return (
        *scales.head,
        trade.time_us // 1000 * 1000,
        str(fill_id),
        fill_id,
        trade.ticks * scales.price,
        trade.fills[event.place] * scales.quantity,
        "buy" if trade.buy else "sell",
        None,
        None,
        None,
        None,
        event.sent_us,
    )


def _book_change(event: BookEvent, scales: Scales) -> Row:
    spot = event.listing.market == "spot"
    price, quantity = scales.price, scales.quantity
    bids = [(ticks * price, steps * quantity) for ticks, steps in event.bids]
    return (
        *scales.head,
        event.sent_us if spot else event.time_us,
        event.first_id,
        event.last_id,
        None if spot else event.previous_id,
        bids[::-1] if spot else bids,
        [(ticks * price, steps * quantity) for ticks, steps in event.asks],
        event.sent_us,
    )


def _quote(event: QuoteEvent, scales: Scales) -> Row:
    touch = event.touch
    return (
        *scales.head,
        event.time_us,
        event.update_id,
        touch.bid * scales.price,
        touch.bid_steps * scales.quantity,
        touch.ask * scales.price,
        touch.ask_steps * scales.quantity,
        None if event.listing.market == "spot" else event.sent_us,
    )


def _candle_update(event: CandleEvent, scales: Scales) -> Row:
    bar = event.bar
    return (
        *scales.head,
        event.open_us,
        event.interval,
        bar.open * scales.price,
        bar.high * scales.price,
        bar.low * scales.price,
        bar.close * scales.price,
        bar.volume * scales.quantity,
        value_units(event.listing, bar.value, DIGITS),
        bar.count,
        bar.buy_volume * scales.quantity,
        value_units(event.listing, bar.buy_value, DIGITS),
        bar.first_id,
        bar.last_id,
        event.closed,
        event.sent_us,
    )


def _ticker(event: TickerEvent, scales: Scales) -> Row:
    bar, listing = event.bar, event.listing
    digits = ticker_value_digits(listing)
    short = isinstance(event, MiniTickerEvent)
    touch = event.touch
    best = (
        touch.bid * scales.price,
        touch.bid_steps * scales.quantity,
        touch.ask * scales.price,
        touch.ask_steps * scales.quantity,
    )
    change = bar.close - bar.open
    rest = (
        change * scales.price,
        percent_units(change, bar.open) * ten_to(DIGITS - PERCENT_DIGITS),
        average_units(event) * ten_to(DIGITS - listing.price_digits),
        event.last_steps * scales.quantity,
        *(best if listing.market == "spot" else (None,) * len(best)),
        bar.count,
        bar.first_id,
        bar.last_id,
        event.open_us,
        event.close_us,
    )
    return (
        *scales.head,
        event.sent_us,
        bar.close * scales.price,
        bar.open * scales.price,
        bar.high * scales.price,
        bar.low * scales.price,
        bar.volume * scales.quantity,
        value_units(listing, bar.value, digits) * ten_to(DIGITS - digits),
        *((None,) * len(rest) if short else rest),
        event.sent_us,
    )


def _index_price(event: MarkEvent, scales: Scales) -> Row:
    mark, fine = event.mark, ten_to(DIGITS - FINE_DIGITS)
    prices = (mark.mark * fine, mark.index * fine, mark.mark_average * fine, mark.settlement * fine)
    return (*scales.head, event.sent_us, *prices, event.sent_us)


def _funding_rate(event: MarkEvent, scales: Scales) -> Row:
    mark, fine = event.mark, ten_to(DIGITS - FINE_DIGITS)
    head = (*scales.head, event.sent_us)
    return (*head, mark.rate * fine, "estimated", mark.next_funding_us, mark.mark * fine, event.sent_us)


def _liquidation(event: LiquidationEvent, scales: Scales) -> Row:
    order = event.order
    return (
        *scales.head,
        order.time_us // 1000 * 1000,
        order.average_ticks * scales.price,
        order.steps * scales.quantity,
        "buy" if order.buy else "sell",
        order.limit_ticks * scales.price,
        order.steps * scales.quantity,
        order.last_steps * scales.quantity,
        "filled",
        event.sent_us,
    )


WRITERS: dict[type[Event], tuple[tuple[str, Callable[[Any, Scales], Row]], ...]] = {
    TradeEvent: (("trade", _trade),),
    FillEvent: (("fill", _fill),),
    BookEvent: (("book_change", _book_change),),
    QuoteEvent: (("quote", _quote),),
    CandleEvent: (("candle_update", _candle_update),),
    TickerEvent: (("ticker", _ticker),),
    MiniTickerEvent: (("ticker", _ticker),),
    MarkEvent: (("index_price", _index_price), ("funding_rate", _funding_rate)),
    LiquidationEvent: (("liquidation", _liquidation),),
}
