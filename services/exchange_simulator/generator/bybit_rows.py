"""Bybit's ledger rows: what the tables must hold of each event, spot and linear contracts.

A contract's ticker tells what has changed; of its statistics those are rows of which anything is new.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from services.exchange_simulator.generator.bybit_figures import (
    DOLLAR_DIGITS,
    PERCENT_DIGITS,
    change_units,
    interest_value_units,
    mark_units,
    trade_id,
    turnover_units,
    value_units,
)
from services.exchange_simulator.generator.dialect import Row, Rows
from services.exchange_simulator.generator.events import (
    BookEvent,
    CandleEvent,
    ChangedTickerEvent,
    Event,
    FullTickerEvent,
    LiquidationEvent,
    QuoteEvent,
    TickerEvent,
    TradeEvent,
)
from services.exchange_simulator.generator.ledger_rows import Scales, best, day, prices, sides
from services.exchange_simulator.generator.source import whole_ms
from services.exchange_simulator.generator.statistics import FINE_DIGITS


def _trade(event: TradeEvent, scales: Scales) -> Row:
    """Only spot's ids are numbers that follow each other."""
    trade = event.trade
    ident = trade_id(event.listing, trade)
    return {
        "timestamp": whole_ms(trade.time_us),
        "trade_id": ident,
        "sequence": int(ident) if event.listing.market == "spot" else None,
        "price": trade.ticks * scales.price,
        "quantity": scales.base(trade.steps, trade.ticks),
        "side": "buy" if trade.buy else "sell",
        "sent_at": event.sent_us,
    }


def _book_change(event: BookEvent, scales: Scales) -> Row:
    return {
        "timestamp": event.time_us,
        "first_sequence": event.last_id,
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
        "quote_volume": scales.fine(*value_units(event.listing, bar.value)),
        "closed": event.closed,
        "sent_at": event.sent_us,
    }


def _spot_ticker(event: TickerEvent, scales: Scales) -> Row:
    bar = event.bar
    return {
        "timestamp": event.sent_us,
        **day(bar, scales),
        "open_price": event.before_ticks * scales.price,
        "volume": scales.base(bar.volume, bar.close),
        "quote_volume": scales.fine(*turnover_units(event.listing, bar.value)),
        "price_change_percent": scales.fine(change_units(event), PERCENT_DIGITS),
        "sent_at": event.sent_us,
    }


def _ticker(event: FullTickerEvent, scales: Scales) -> Row:
    return _spot_ticker(event, scales) | {
        **best(event.touch, scales),
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


def _funding_rate(event: FullTickerEvent, scales: Scales) -> Row:
    return {
        "timestamp": event.sent_us,
        "rate": scales.fine(event.mark.rate, FINE_DIGITS),
        "rate_kind": "estimated",
        "next_funding_time": event.mark.next_funding_us,
        "mark_price": _mark(event, scales, event.mark.mark),
        "sent_at": event.sent_us,
    }


def _open_interest(event: FullTickerEvent, scales: Scales) -> Row:
    """One side is counted, as on every other exchange."""
    return {
        "timestamp": event.sent_us,
        "open_interest": scales.base(event.open_interest, event.bar.close),
        "open_interest_value": scales.fine(interest_value_units(event, 1), DOLLAR_DIGITS),
        "sent_at": event.sent_us,
    }


def _liquidation(event: LiquidationEvent, scales: Scales) -> Row:
    order = event.order
    return {
        "timestamp": whole_ms(order.time_us),
        "price": order.limit_ticks * scales.price,
        "quantity": scales.base(order.steps, order.limit_ticks),
        "side": "buy" if order.buy else "sell",
        "sent_at": event.sent_us,
    }


_TIMES = {"timestamp", "sent_at"}


def _news(
    row_of: Callable[[FullTickerEvent, Scales], Row], *told_elsewhere: str
) -> Callable[[ChangedTickerEvent, Scales], Row | None]:
    """Return what makes a row where anything but its times, and what is told elsewhere, differs from the one before."""
    unseen = _TIMES.union(told_elsewhere)

    def news(event: ChangedTickerEvent, scales: Scales) -> Row | None:
        row = row_of(event, scales)
        if event.before is None:
            return row
        before = row_of(event.before, scales)
        return row if any(row[name] != before[name] for name in row.keys() - unseen) else None

    return news


_COMMON: dict[type[Event], Sequence[Rows]] = {
    TradeEvent: (Rows("trade", _trade),),
    BookEvent: (Rows("book_change", _book_change),),
    QuoteEvent: (Rows("quote", _quote),),
    CandleEvent: (Rows("candle_update", _candle_update),),
}
SPOT: Mapping[type[Event], Sequence[Rows]] = {**_COMMON, TickerEvent: (Rows("ticker", _spot_ticker),)}
PERP: Mapping[type[Event], Sequence[Rows]] = {
    **_COMMON,
    ChangedTickerEvent: (
        Rows("ticker", _news(_ticker)),
        Rows("index_price", _news(_index_price)),
        Rows("funding_rate", _news(_funding_rate, "mark_price")),
        Rows("open_interest", _news(_open_interest)),
    ),
    LiquidationEvent: (Rows("liquidation", _liquidation),),
}
