"""Binance's ledger rows: what the tables must hold of each event, spot and USD-M futures.

Binance's quantities are base currency on both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.exchange_simulator.generator.dialect import Row, Rows
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
    ticker_value_digits,
    value_units,
)
from services.exchange_simulator.generator.ledger_rows import Scales, best, day, prices
from services.exchange_simulator.generator.source import whole_ms
from services.exchange_simulator.generator.statistics import FINE_DIGITS


def _trade(event: TradeEvent, scales: Scales) -> Row:
    trade = event.trade
    quantity = trade.steps * scales.quantity
    return {
        "timestamp": whole_ms(trade.time_us),
        "trade_id": str(trade.aggregate_id),
        "sequence": trade.aggregate_id,
        "price": trade.ticks * scales.price,
        "quantity": quantity,
        "side": "buy" if trade.buy else "sell",
        "first_trade_id": trade.first_id,
        "last_trade_id": trade.last_id,
        "trade_count": trade.last_id - trade.first_id + 1,
        "quantity_without_rpi": None if event.listing.market == "spot" else quantity,
        "sent_at": event.sent_us,
    }


def _fill(event: FillEvent, scales: Scales) -> Row:
    trade = event.trade
    fill_id = trade.first_id + event.place
    return {
        "timestamp": whole_ms(trade.time_us),
        "trade_id": str(fill_id),
        "sequence": fill_id,
        "price": trade.ticks * scales.price,
        "quantity": trade.fills[event.place] * scales.quantity,
        "side": "buy" if trade.buy else "sell",
        "sent_at": event.sent_us,
    }


def _book_change(event: BookEvent, scales: Scales) -> Row:
    spot = event.listing.market == "spot"
    price, quantity = scales.price, scales.quantity
    bids = [(ticks * price, steps * quantity) for ticks, steps in event.bids]
    return {
        "timestamp": event.sent_us if spot else event.time_us,
        "first_sequence": event.first_id,
        "last_sequence": event.last_id,
        "previous_sequence": None if spot else event.previous_id,
        "bids": bids[::-1] if spot else bids,
        "asks": [(ticks * price, steps * quantity) for ticks, steps in event.asks],
        "sent_at": event.sent_us,
    }


def _quote(event: QuoteEvent, scales: Scales) -> Row:
    return {
        "timestamp": event.time_us,
        "sequence": event.update_id,
        **best(event.touch, scales),
        "sent_at": None if event.listing.market == "spot" else event.sent_us,
    }


def _candle_update(event: CandleEvent, scales: Scales) -> Row:
    bar = event.bar
    return {
        "timestamp": event.open_us,
        "interval": event.interval,
        **prices(bar, scales),
        "volume": bar.volume * scales.quantity,
        "quote_volume": scales.value(bar.value),
        "trade_count": bar.count,
        "taker_buy_volume": bar.buy_volume * scales.quantity,
        "taker_buy_quote_volume": scales.value(bar.buy_value),
        "first_trade_id": bar.first_id,
        "last_trade_id": bar.last_id,
        "closed": event.closed,
        "sent_at": event.sent_us,
    }


def _mini_ticker(event: TickerEvent, scales: Scales) -> Row:
    bar, digits = event.bar, ticker_value_digits(event.listing)
    return {
        "timestamp": event.sent_us,
        **day(bar, scales),
        "open_price": bar.open * scales.price,
        "volume": bar.volume * scales.quantity,
        "quote_volume": scales.fine(value_units(event.listing, bar.value, digits), digits),
        "sent_at": event.sent_us,
    }


def _ticker(event: TickerEvent, scales: Scales) -> Row:
    bar, listing = event.bar, event.listing
    change = bar.close - bar.open
    row = _mini_ticker(event, scales) | {
        "price_change": change * scales.price,
        "price_change_percent": scales.fine(percent_units(change, bar.open), PERCENT_DIGITS),
        "weighted_average_price": scales.fine(average_units(event), listing.price_digits),
        "last_quantity": event.last_steps * scales.quantity,
        "trade_count": bar.count,
        "first_trade_id": bar.first_id,
        "last_trade_id": bar.last_id,
        "window_open_at": event.open_us,
        "window_close_at": event.close_us,
    }
    if listing.market != "spot":
        return row
    return row | {
        **best(event.touch, scales),
    }


def _index_price(event: MarkEvent, scales: Scales) -> Row:
    mark = event.mark
    return {
        "timestamp": event.sent_us,
        "mark_price": scales.fine(mark.mark, FINE_DIGITS),
        "index_price": scales.fine(mark.index, FINE_DIGITS),
        "mark_price_average": scales.fine(mark.mark_average, FINE_DIGITS),
        "settlement_price": scales.fine(mark.settlement, FINE_DIGITS),
        "sent_at": event.sent_us,
    }


def _funding_rate(event: MarkEvent, scales: Scales) -> Row:
    mark = event.mark
    return {
        "timestamp": event.sent_us,
        "rate": scales.fine(mark.rate, FINE_DIGITS),
        "rate_kind": "estimated",
        "next_funding_time": mark.next_funding_us,
        "mark_price": scales.fine(mark.mark, FINE_DIGITS),
        "sent_at": event.sent_us,
    }


def _liquidation(event: LiquidationEvent, scales: Scales) -> Row:
    order = event.order
    return {
        "timestamp": whole_ms(order.time_us),
        "price": order.average_ticks * scales.price,
        "quantity": order.steps * scales.quantity,
        "side": "buy" if order.buy else "sell",
        "order_price": order.limit_ticks * scales.price,
        "order_quantity": order.steps * scales.quantity,
        "last_quantity": order.last_steps * scales.quantity,
        "status": "filled",
        "sent_at": event.sent_us,
    }


SPOT: Mapping[type[Event], Sequence[Rows]] = {
    TradeEvent: (Rows("trade", _trade),),
    FillEvent: (Rows("fill", _fill),),
    BookEvent: (Rows("book_change", _book_change),),
    QuoteEvent: (Rows("quote", _quote),),
    CandleEvent: (Rows("candle_update", _candle_update),),
    TickerEvent: (Rows("ticker", _ticker),),
    MiniTickerEvent: (Rows("ticker", _mini_ticker),),
}
PERP: Mapping[type[Event], Sequence[Rows]] = {
    **SPOT,
    MarkEvent: (Rows("index_price", _index_price), Rows("funding_rate", _funding_rate)),
    LiquidationEvent: (Rows("liquidation", _liquidation),),
}
