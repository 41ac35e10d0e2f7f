"""OKX's ledger rows: what the tables must hold of each event, spot, perpetuals and futures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.exchange_simulator.generator.dialect import Row, Rows
from services.exchange_simulator.generator.events import (
    BookEvent,
    CandleEvent,
    Event,
    FillEvent,
    FundingEvent,
    IndexEvent,
    LiquidationEvent,
    MarkEvent,
    OpenInterestEvent,
    QuoteEvent,
    TickerEvent,
    TradeEvent,
)
from services.exchange_simulator.generator.ledger_rows import Scales, best, day, prices, sides
from services.exchange_simulator.generator.okx_figures import (
    BASE_DIGITS,
    DOLLAR_DIGITS,
    VALUE_DIGITS,
    base_units,
    base_volume_units,
    dollar_units,
    quote_volume_units,
)
from services.exchange_simulator.generator.source import whole_ms
from services.exchange_simulator.generator.statistics import FINE_DIGITS


def _trade(event: TradeEvent, scales: Scales) -> Row:
    """A taker order at one price, known by its last fill."""
    trade = event.trade
    return {
        "timestamp": whole_ms(trade.time_us),
        "trade_id": str(trade.last_id),
        "sequence": trade.last_id,
        "price": trade.ticks * scales.price,
        "quantity": scales.base(trade.steps, trade.ticks),
        "contracts": scales.contracts(trade.steps),
        "side": "buy" if trade.buy else "sell",
        "first_trade_id": trade.first_id,
        "last_trade_id": trade.last_id,
        "trade_count": len(trade.fills),
    }


def _fill(event: FillEvent, scales: Scales) -> Row:
    trade, steps = event.trade, event.trade.fills[event.place]
    return {
        "timestamp": whole_ms(trade.time_us),
        "trade_id": str(trade.first_id + event.place),
        "sequence": trade.first_id + event.place,
        "price": trade.ticks * scales.price,
        "quantity": scales.base(steps, trade.ticks),
        "contracts": scales.contracts(steps),
        "side": "buy" if trade.buy else "sell",
    }


def _book_change(event: BookEvent, scales: Scales) -> Row:
    return {
        "timestamp": event.time_us,
        "first_sequence": event.last_id,
        "last_sequence": event.last_id,
        "previous_sequence": event.previous_id,
        **sides(event, scales),
    }


def _quote(event: QuoteEvent, scales: Scales) -> Row:
    return {
        "timestamp": event.time_us,
        "sequence": event.update_id,
        **best(event.touch, scales),
    }


def _volumes(event: TickerEvent | CandleEvent, scales: Scales) -> tuple[int, int]:
    """Return volume and quote volume, as exactly as the exchange tells them."""
    bar, listing = event.bar, event.listing
    quote = scales.fine(quote_volume_units(listing, bar), VALUE_DIGITS)
    if listing.inverse:
        return scales.fine(base_volume_units(listing, bar), BASE_DIGITS), quote
    return scales.base(bar.volume, 1), quote


def _candle_update(event: CandleEvent, scales: Scales) -> Row:
    bar = event.bar
    volume, quote_volume = _volumes(event, scales)
    return {
        "timestamp": event.open_us,
        "interval": event.interval,
        **prices(bar, scales),
        "volume": volume,
        "quote_volume": quote_volume,
        "closed": event.closed,
    }


def _ticker(event: TickerEvent, scales: Scales) -> Row:
    """The ticker tells no quote volume of linear contracts; of inverse ones the number of contracts does."""
    bar = event.bar
    volume, quote_volume = _volumes(event, scales)
    linear = event.listing.contract_size is not None and not event.listing.inverse
    return {
        "timestamp": event.sent_us,
        **day(bar, scales),
        "open_price": bar.open * scales.price,
        "volume": volume,
        "quote_volume": None if linear else quote_volume,
        "last_quantity": scales.base(event.last_steps, bar.close),
        **best(event.touch, scales),
    }


def _mark_price(event: MarkEvent, scales: Scales) -> Row:
    return {"timestamp": event.sent_us, "mark_price": scales.fine(event.mark.mark, FINE_DIGITS)}


def _index_price(event: IndexEvent, scales: Scales) -> Row:
    return {"timestamp": event.sent_us, "index_price": scales.fine(event.mark.index, FINE_DIGITS)}


def _funding_rate(event: FundingEvent, scales: Scales) -> Row:
    return {
        "timestamp": event.sent_us,
        "rate": scales.fine(event.mark.rate, FINE_DIGITS),
        "rate_kind": "estimated",
        "next_funding_time": event.mark.next_funding_us,
    }


def _open_interest(event: OpenInterestEvent, scales: Scales) -> Row:
    """Dollars are the value only where they are the quote currency."""
    listing, steps, ticks = event.listing, event.steps, event.ticks
    value = None
    if listing.quote == "USD":
        value = scales.fine(dollar_units(listing, steps, ticks), DOLLAR_DIGITS)
    base = scales.fine(base_units(listing, steps, ticks), BASE_DIGITS) if listing.inverse else scales.base(steps, ticks)
    return {
        "timestamp": event.sent_us,
        "open_interest": base,
        "open_interest_value": value,
        "contracts": scales.contracts(steps),
    }


def _liquidation(event: LiquidationEvent, scales: Scales) -> Row:
    """The price told is that of the bankruptcy."""
    order = event.order
    return {
        "timestamp": whole_ms(order.time_us),
        "price": order.average_ticks * scales.price,
        "quantity": scales.base(order.steps, order.average_ticks),
        "contracts": scales.contracts(order.steps),
        "side": "buy" if order.buy else "sell",
    }


SPOT: Mapping[type[Event], Sequence[Rows]] = {
    TradeEvent: (Rows("trade", _trade),),
    FillEvent: (Rows("fill", _fill),),
    BookEvent: (Rows("book_change", _book_change),),
    QuoteEvent: (Rows("quote", _quote),),
    CandleEvent: (Rows("candle_update", _candle_update),),
    TickerEvent: (Rows("ticker", _ticker),),
}
CONTRACTS: Mapping[type[Event], Sequence[Rows]] = {
    **SPOT,
    MarkEvent: (Rows("index_price", _mark_price),),
    IndexEvent: (Rows("index_price", _index_price),),
    FundingEvent: (Rows("funding_rate", _funding_rate),),
    OpenInterestEvent: (Rows("open_interest", _open_interest),),
    LiquidationEvent: (Rows("liquidation", _liquidation),),
}
