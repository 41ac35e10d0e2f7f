"""Deribit's ledger rows: what the tables must hold of each event.

Amounts in US dollars become base currency at the price beside them, rounded half to even at the 18th decimal; a
liquidation is a row for each side that a trade liquidated, on the side that its own order had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from services.exchange_simulator.generator.deribit_events import FlaggedTradeEvent, VolatilityEvent
from services.exchange_simulator.generator.deribit_figures import (
    PERCENT_DIGITS,
    base_volume,
    change_units,
    index_digits,
    index_units,
    mark_digits,
    mark_units,
    turnover,
)
from services.exchange_simulator.generator.deribit_frames import trade_id
from services.exchange_simulator.generator.deribit_ticker import settlement
from services.exchange_simulator.generator.deribit_volatility import INDEX_DIGITS
from services.exchange_simulator.generator.dialect import Row, Rows
from services.exchange_simulator.generator.events import (
    BookEvent,
    CandleEvent,
    Event,
    FullTickerEvent,
    QuoteEvent,
    TradeEvent,
)
from services.exchange_simulator.generator.figures import amount_units
from services.exchange_simulator.generator.ledger_rows import Scales, best, day, prices, sides
from services.exchange_simulator.generator.market import Trade
from services.exchange_simulator.generator.source import whole_ms
from services.exchange_simulator.generator.statistics import FINE_DIGITS


def _size(trade: Trade, scales: Scales) -> Row:
    return {
        "timestamp": whole_ms(trade.time_us),
        "price": trade.ticks * scales.price,
        "quantity": scales.base(trade.steps, trade.ticks),
        "contracts": scales.contracts(trade.steps),
    }


def _side(buy: bool) -> str:
    return "buy" if buy else "sell"


def _trade(event: TradeEvent, scales: Scales) -> Row:
    trade = event.trade
    return {
        **_size(trade, scales),
        "side": _side(trade.buy),
        "trade_id": trade_id(event.listing, trade),
        "sequence": trade.aggregate_id,
    }


def _taker(event: FlaggedTradeEvent, scales: Scales) -> Row | None:
    """The taker was liquidated: by an order on the trade's side."""
    return {**_size(event.trade, scales), "side": _side(event.trade.buy)} if "T" in event.flag else None


def _maker(event: FlaggedTradeEvent, scales: Scales) -> Row | None:
    """The maker was liquidated: by an order on the other side."""
    return {**_size(event.trade, scales), "side": _side(not event.trade.buy)} if "M" in event.flag else None


def _book_change(event: BookEvent, scales: Scales) -> Row:
    return {
        "timestamp": event.time_us,
        "first_sequence": event.previous_id + 1,
        "last_sequence": event.last_id,
        "previous_sequence": event.previous_id,
        **sides(event, scales),
        "sent_at": event.time_us,
    }


def _quote(event: QuoteEvent, scales: Scales) -> Row:
    return {
        "timestamp": event.time_us,
        **best(event.touch, scales),
        "sent_at": event.time_us,
    }


def _candle_update(event: CandleEvent, scales: Scales) -> Row:
    bar, listing = event.bar, event.listing
    return {
        "timestamp": event.open_us,
        "interval": event.interval,
        **prices(bar, scales),
        "volume": scales.fine(*base_volume(listing, bar)),
        "quote_volume": scales.fine(*turnover(listing, bar)),
        "closed": False,
    }


def _ticker(event: FullTickerEvent, scales: Scales) -> Row:
    bar, listing = event.bar, event.listing
    return {
        "timestamp": event.sent_us,
        **day(bar, scales),
        "volume": scales.fine(*base_volume(listing, bar)),
        "quote_volume": None if listing.market == "option" else scales.fine(*turnover(listing, bar)),
        "price_change_percent": scales.fine(change_units(bar), PERCENT_DIGITS),
        **best(event.touch, scales),
        "sent_at": event.sent_us,
    }


def _mark(event: FullTickerEvent, scales: Scales) -> int:
    return scales.fine(mark_units(event.listing, event.mark.mark), mark_digits(event.listing))


def _index_price(event: FullTickerEvent, scales: Scales) -> Row:
    listing = event.listing
    return {
        "timestamp": event.sent_us,
        "mark_price": _mark(event, scales),
        "index_price": scales.fine(index_units(listing, event.mark.index), index_digits(listing)),
        "settlement_price": scales.fine(settlement(event), mark_digits(listing)),
        "sent_at": event.sent_us,
    }


def _open_interest(event: FullTickerEvent, scales: Scales) -> Row:
    """US dollars become base currency at the mark price."""
    listing = event.listing
    units, digits = amount_units(listing, event.open_interest)
    amount = scales.fine(units, digits)
    mark = mark_units(listing, event.mark.mark)
    base = Fraction(amount * 10 ** mark_digits(listing), mark) if listing.inverse else Fraction(amount)
    return {
        "timestamp": event.sent_us,
        "open_interest": round(base),
        "open_interest_value": amount if listing.inverse else None,
        "contracts": scales.contracts(event.open_interest),
        "sent_at": event.sent_us,
    }


def _funding_rate(event: FullTickerEvent, scales: Scales) -> Row | None:
    if event.listing.market != "perp":
        return None
    return {
        "timestamp": event.sent_us,
        "rate": scales.fine(event.mark.rate, FINE_DIGITS),
        "rate_kind": "estimated",
        "mark_price": _mark(event, scales),
        "sent_at": event.sent_us,
    }


def _volatility(event: VolatilityEvent, scales: Scales) -> Row:
    value = scales.fine(event.units, INDEX_DIGITS)
    return {
        "timestamp": event.sent_us,
        **dict.fromkeys(("open", "high", "low", "close"), value),
        "resolution": "tick",
        "sent_at": event.sent_us,
    }


ROWS: Mapping[type[Event], Sequence[Rows]] = {
    TradeEvent: (Rows("trade", _trade),),
    FlaggedTradeEvent: (Rows("liquidation", _taker), Rows("liquidation", _maker)),
    BookEvent: (Rows("book_change", _book_change),),
    QuoteEvent: (Rows("quote", _quote),),
    CandleEvent: (Rows("candle_update", _candle_update),),
    FullTickerEvent: (
        Rows("ticker", _ticker),
        Rows("index_price", _index_price),
        Rows("open_interest", _open_interest),
        Rows("funding_rate", _funding_rate),
    ),
    VolatilityEvent: (Rows("volatility_index", _volatility),),
}
