"""MEXC's ledger rows: what the tables must hold of each event, spot and contracts.

Sizes of contracts are contracts on the wire and base currency in the tables, with the contracts beside them. No frame
says that a candle is final.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.exchange_simulator.generator.dialect import Row, Rows
from services.exchange_simulator.generator.events import (
    BookEvent,
    CandleEvent,
    Event,
    FullTickerEvent,
    FundingEvent,
    QuoteEvent,
    TradeEvent,
)
from services.exchange_simulator.generator.figures import value_units
from services.exchange_simulator.generator.ledger_rows import Scales, best, day, prices, sides
from services.exchange_simulator.generator.mexc_figures import (
    PERCENT_DIGITS,
    RATE_DIGITS,
    VALUE_DIGITS,
    change_units,
    mark_units,
    rate_units,
    spot_trade_id,
)
from services.exchange_simulator.generator.source import whole_ms


def _spot_trade(event: TradeEvent, scales: Scales) -> Row:
    trade = event.trade
    return {
        "timestamp": whole_ms(trade.time_us),
        "trade_id": spot_trade_id(trade),
        "price": trade.ticks * scales.price,
        "quantity": scales.base(trade.steps, trade.ticks),
        "side": "buy" if trade.buy else "sell",
        "sent_at": event.sent_us,
    }


def _perp_trade(event: TradeEvent, scales: Scales) -> Row:
    trade = event.trade
    return _spot_trade(event, scales) | {
        "trade_id": str(trade.last_id),
        "sequence": trade.last_id,
        "contracts": scales.contracts(trade.steps),
    }


def _book_change(event: BookEvent, scales: Scales) -> Row:
    """A frame of changes has no time but that of its sending."""
    return {
        "timestamp": event.sent_us,
        "first_sequence": event.previous_id + 1,
        "last_sequence": event.last_id,
        **sides(event, scales),
        "sent_at": event.sent_us,
    }


def _spot_quote(event: QuoteEvent, scales: Scales) -> Row:
    """A frame of spot has no time but that of its sending."""
    return {
        "timestamp": event.sent_us,
        "sequence": event.update_id,
        **best(event.touch, scales),
        "sent_at": event.sent_us,
    }


def _perp_quote(event: QuoteEvent, scales: Scales) -> Row:
    return _spot_quote(event, scales) | {"timestamp": event.time_us}


def _candle_update(event: CandleEvent, scales: Scales) -> Row:
    bar = event.bar
    return {
        "timestamp": event.open_us,
        "interval": event.interval,
        **prices(bar, scales),
        "volume": scales.base(bar.volume, bar.close),
        "quote_volume": scales.fine(value_units(event.listing, bar.value, VALUE_DIGITS), VALUE_DIGITS),
        "closed": False,
        "sent_at": event.sent_us,
    }


def _ticker(event: FullTickerEvent, scales: Scales) -> Row:
    bar, touch = event.bar, event.touch
    return {
        "timestamp": event.sent_us,
        **day(bar, scales),
        "open_price": event.before_ticks * scales.price,
        "volume": scales.base(bar.volume, bar.close),
        "quote_volume": scales.fine(value_units(event.listing, bar.value, VALUE_DIGITS), VALUE_DIGITS),
        "price_change": (bar.close - event.before_ticks) * scales.price,
        "price_change_percent": scales.fine(change_units(event), PERCENT_DIGITS),
        "bid_price": touch.bid * scales.price,
        "ask_price": touch.ask * scales.price,
        "sent_at": event.sent_us,
    }


def _mark(event: FullTickerEvent, scales: Scales, price: int) -> int:
    return scales.fine(mark_units(event.listing, price), event.listing.price_digits)


def _index_price(event: FullTickerEvent, scales: Scales) -> Row:
    return {
        "timestamp": event.sent_us,
        "mark_price": _mark(event, scales, event.mark.mark),
        "index_price": _mark(event, scales, event.mark.index),
        "sent_at": event.sent_us,
    }


def _open_interest(event: FullTickerEvent, scales: Scales) -> Row:
    return {
        "timestamp": event.sent_us,
        "open_interest": scales.base(event.open_interest, event.bar.close),
        "contracts": scales.contracts(event.open_interest),
        "sent_at": event.sent_us,
    }


def _ticker_rate(event: FullTickerEvent, scales: Scales) -> Row:
    """A ticker does not say when the rate is settled."""
    return {
        "timestamp": event.sent_us,
        "rate": scales.fine(rate_units(event.mark.rate), RATE_DIGITS),
        "rate_kind": "estimated",
        "mark_price": _mark(event, scales, event.mark.mark),
        "sent_at": event.sent_us,
    }


def _funding_rate(event: FundingEvent, scales: Scales) -> Row:
    return {
        "timestamp": event.sent_us,
        "rate": scales.fine(rate_units(event.mark.rate), RATE_DIGITS),
        "rate_kind": "estimated",
        "next_funding_time": event.mark.next_funding_us,
        "sent_at": event.sent_us,
    }


_COMMON: dict[type[Event], Sequence[Rows]] = {
    BookEvent: (Rows("book_change", _book_change),),
    CandleEvent: (Rows("candle_update", _candle_update),),
}
SPOT: Mapping[type[Event], Sequence[Rows]] = {
    **_COMMON,
    TradeEvent: (Rows("trade", _spot_trade),),
    QuoteEvent: (Rows("quote", _spot_quote),),
}
PERP: Mapping[type[Event], Sequence[Rows]] = {
    **_COMMON,
    TradeEvent: (Rows("trade", _perp_trade),),
    QuoteEvent: (Rows("quote", _perp_quote),),
    FullTickerEvent: (
        Rows("ticker", _ticker),
        Rows("index_price", _index_price),
        Rows("open_interest", _open_interest),
        Rows("funding_rate", _ticker_rate),
    ),
    FundingEvent: (Rows("funding_rate", _funding_rate),),
}
