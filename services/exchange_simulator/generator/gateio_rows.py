"""Gate.io's ledger rows: what the tables must hold of each event, spot and USDT futures.

Sizes of futures are contracts on the wire and base currency in the tables, with the contracts beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.exchange_simulator.generator.dialect import Row, Rows
from services.exchange_simulator.generator.events import (
    BookEvent,
    CandleEvent,
    Event,
    FullTickerEvent,
    LiquidationEvent,
    QuoteEvent,
    TickerEvent,
    TradeEvent,
)
from services.exchange_simulator.generator.figures import rounded
from services.exchange_simulator.generator.gateio_figures import (
    PERCENT_DIGITS,
    RATE_DIGITS,
    change_units,
    mark_units,
    quote_units,
    rate_units,
)
from services.exchange_simulator.generator.ledger_rows import Scales, best, day, prices, sides
from services.exchange_simulator.generator.source import whole_ms


def _side(buy: bool) -> str:
    return "buy" if buy else "sell"


def _spot_trade(event: TradeEvent, scales: Scales) -> Row:
    """A spot trade's time has microseconds; its number is the last market id that it merges."""
    trade = event.trade
    return {
        "timestamp": trade.time_us,
        "trade_id": str(trade.last_id),
        "sequence": trade.last_id,
        "price": trade.ticks * scales.price,
        "quantity": scales.base(trade.steps, trade.ticks),
        "side": _side(trade.buy),
        "first_trade_id": trade.first_id,
        "last_trade_id": trade.last_id,
        "trade_count": trade.last_id - trade.first_id + 1,
        "sent_at": event.sent_us,
    }


def _perp_trade(event: TradeEvent, scales: Scales) -> Row:
    trade = event.trade
    return {
        "timestamp": whole_ms(trade.time_us),
        "trade_id": str(trade.aggregate_id),
        "sequence": trade.aggregate_id,
        "price": trade.ticks * scales.price,
        "quantity": scales.base(trade.steps, trade.ticks),
        "contracts": scales.contracts(trade.steps),
        "side": _side(trade.buy),
        "sent_at": event.sent_us,
    }


def _book_change(event: BookEvent, scales: Scales) -> Row:
    return {
        "timestamp": event.time_us,
        "first_sequence": event.previous_id + 1,
        "last_sequence": event.last_id,
        **sides(event, scales),
        "sent_at": event.sent_us,
    }


def _quote(event: QuoteEvent, scales: Scales) -> Row:
    return {
        "timestamp": event.time_us,
        "sequence": event.update_id,
        **best(event.touch, scales),
        "sent_at": event.sent_us,
    }


def _candle_update(event: CandleEvent, scales: Scales) -> Row:
    bar = event.bar
    return {
        "timestamp": event.open_us,
        "interval": event.interval,
        **prices(bar, scales),
        "volume": scales.base(bar.volume, bar.close),
        "quote_volume": scales.fine(*quote_units(event.listing, bar.value)),
        "closed": event.closed,
        "sent_at": event.sent_us,
    }


def _spot_ticker(event: TickerEvent, scales: Scales) -> Row:
    bar, touch = event.bar, event.touch
    return {
        "timestamp": event.sent_us,
        **day(bar, scales),
        "volume": scales.base(bar.volume, bar.close),
        "quote_volume": scales.fine(*quote_units(event.listing, bar.value)),
        "price_change_percent": scales.fine(change_units(bar), PERCENT_DIGITS),
        "bid_price": touch.bid * scales.price,
        "ask_price": touch.ask * scales.price,
        "sent_at": event.sent_us,
    }


def _perp_ticker(event: FullTickerEvent, scales: Scales) -> Row:
    """The turnover is told in whole US dollars; the open price is the last one less its change."""
    bar = event.bar
    return {
        "timestamp": event.close_us,
        **day(bar, scales),
        "open_price": bar.open * scales.price,
        "volume": scales.base(bar.volume, bar.close),
        "quote_volume": scales.fine(rounded(*quote_units(event.listing, bar.value), 0), 0),
        "price_change": (bar.close - bar.open) * scales.price,
        "price_change_percent": scales.fine(change_units(bar), PERCENT_DIGITS),
        "sent_at": event.sent_us,
    }


def _mark(event: FullTickerEvent, scales: Scales, price: int) -> int:
    return scales.fine(mark_units(event.listing, price), event.listing.price_digits)


def _index_price(event: FullTickerEvent, scales: Scales) -> Row:
    return {
        "timestamp": event.close_us,
        "mark_price": _mark(event, scales, event.mark.mark),
        "index_price": _mark(event, scales, event.mark.index),
        "sent_at": event.sent_us,
    }


def _funding_rate(event: FullTickerEvent, scales: Scales) -> Row:
    return {
        "timestamp": event.close_us,
        "rate": scales.fine(rate_units(event.mark.rate), RATE_DIGITS),
        "rate_kind": "estimated",
        "next_funding_time": event.mark.next_funding_us,
        "mark_price": _mark(event, scales, event.mark.mark),
        "sent_at": event.sent_us,
    }


def _open_interest(event: FullTickerEvent, scales: Scales) -> Row:
    return {
        "timestamp": event.close_us,
        "open_interest": scales.base(event.open_interest, event.bar.close),
        "contracts": scales.contracts(event.open_interest),
        "sent_at": event.sent_us,
    }


def _liquidation(event: LiquidationEvent, scales: Scales) -> Row:
    order = event.order
    return {
        "timestamp": whole_ms(order.time_us),
        "price": order.average_ticks * scales.price,
        "quantity": scales.base(order.steps, order.average_ticks),
        "contracts": scales.contracts(order.steps),
        "side": _side(order.buy),
        "sent_at": event.sent_us,
    }


_COMMON: dict[type[Event], Sequence[Rows]] = {
    BookEvent: (Rows("book_change", _book_change),),
    QuoteEvent: (Rows("quote", _quote),),
    CandleEvent: (Rows("candle_update", _candle_update),),
}
SPOT: Mapping[type[Event], Sequence[Rows]] = {
    **_COMMON,
    TradeEvent: (Rows("trade", _spot_trade),),
    TickerEvent: (Rows("ticker", _spot_ticker),),
}
PERP: Mapping[type[Event], Sequence[Rows]] = {
    **_COMMON,
    TradeEvent: (Rows("trade", _perp_trade),),
    FullTickerEvent: (
        Rows("ticker", _perp_ticker),
        Rows("index_price", _index_price),
        Rows("funding_rate", _funding_rate),
        Rows("open_interest", _open_interest),
    ),
    LiquidationEvent: (Rows("liquidation", _liquidation),),
}
