"""Bybit v5's WebSocket frames of 2026, spot and linear: events in, the exchange's own JSON out.

Keys and their order, which differ between the markets, are those of live frames where one is recorded, else those of
the exchange's pages; `tests/contract/test_generated_frames_bybit.py` holds each against them. What a ticker says of the
price an hour ago is the price of a day ago: no record holds it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from services.exchange_simulator.generator.bybit_figures import (
    DOLLAR_DIGITS,
    NAME_OF,
    PERCENT_DIGITS,
    Figures,
    change_units,
    interest_value_units,
    trade_id,
    turnover_units,
    value_units,
)
from services.exchange_simulator.generator.events import (
    BookEvent,
    BookSnapshotEvent,
    CandleEvent,
    ChangedTickerEvent,
    Event,
    FullTickerEvent,
    LiquidationEvent,
    Message,
    QuoteEvent,
    TickerEvent,
    TradeEvent,
)
from services.exchange_simulator.generator.figures import text_of, trimmed
from services.exchange_simulator.generator.names import Listing
from services.exchange_simulator.generator.statistics import FINE_DIGITS, FUNDING_INTERVAL_US

_FUNDING_HOURS = FUNDING_INTERVAL_US // 3_600_000_000
_FRACTION_DIGITS = PERCENT_DIGITS + 2


class Encoder:
    """Encodes the messages of one market."""

    def __init__(self, market: str) -> None:
        self._spot = market == "spot"
        self._figures: dict[Listing, Figures] = {}

    def figures(self, listing: Listing) -> Figures:
        """Return the writer of a listing's numbers."""
        figures = self._figures.get(listing)
        if figures is None:
            figures = self._figures[listing] = Figures(listing)
        return figures

    def payload(self, message: Message, topic: str) -> bytes:
        """Return a message's frame on a topic."""
        assert isinstance(message, Event)
        figures = self.figures(message.listing)
        told, data, rest = _WRITERS[type(message)](message, figures)
        at = message.sent_us // 1_000
        if isinstance(message, CandleEvent):
            return f'{{"topic":"{topic}","data":{data},"ts":{at},"type":"{told}"}}'.encode()
        if isinstance(message, FullTickerEvent):
            return f'{{"topic":"{topic}","type":"{told}","data":{data}{rest},"ts":{at}}}'.encode()
        head = f'"ts":{at},"type":"{told}"' if self._spot else f'"type":"{told}","ts":{at}'
        if isinstance(message, TickerEvent):
            return f'{{"topic":"{topic}",{head}{rest},"data":{data}}}'.encode()
        return f'{{"topic":"{topic}",{head},"data":{data}{rest}}}'.encode()


def sequence(time_us: int) -> int:
    """Return the cross sequence at a time: a number that rises, with holes."""
    return time_us // 1_000


Written = tuple[str, str, str]
"""(type, data, what else stands in the envelope, each with a comma before it)"""


def _trade(event: TradeEvent, figures: Figures) -> Written:
    """Write an aggregate trade as one row; where the price went is not generated, but follows the taker's side."""
    trade, listing = event.trade, event.listing
    at, side, price, size = (
        trade.time_us // 1_000,
        _side(trade.buy),
        figures.price(trade.ticks),
        figures.size(trade.steps),
    )
    ident, number = trade_id(listing, trade), sequence(trade.time_us)
    if listing.market == "spot":
        row = (
            f'{{"i":"{ident}","T":{at},"p":"{price}","v":"{size}","S":"{side}","seq":{number},'
            f'"s":"{listing.wire_symbol}","BT":false,"RPI":false}}'
        )
    else:
        row = (
            f'{{"T":{at},"s":"{listing.wire_symbol}","S":"{side}","v":"{size}","p":"{price}",'
            f'"L":"{"PlusTick" if trade.buy else "MinusTick"}","i":"{ident}","BT":false,"RPI":false,"seq":{number}}}'
        )
    return "snapshot", f"[{row}]", ""


def _side(buy: bool) -> str:
    return "Buy" if buy else "Sell"


def _book(listing: Listing, time_us: int, update_id: int, bids: str, asks: str) -> tuple[str, str]:
    data = f'{{"s":"{listing.wire_symbol}","b":[{bids}],"a":[{asks}],"u":{update_id},"seq":{sequence(time_us)}}}'
    return data, f',"cts":{time_us // 1_000}'


def _change(event: BookEvent, figures: Figures) -> Written:
    bids, asks = figures.levels(event.bids[::-1]), figures.levels(event.asks)
    return "delta", *_book(event.listing, event.time_us, event.last_id, bids, asks)


def _snapshot(event: BookSnapshotEvent, figures: Figures) -> Written:
    bids, asks = figures.levels(event.bids), figures.levels(event.asks)
    return "snapshot", *_book(event.listing, event.time_us, event.last_id, bids, asks)


def _quote(event: QuoteEvent, figures: Figures) -> Written:
    touch = event.touch
    bids, asks = figures.levels([(touch.bid, touch.bid_steps)]), figures.levels([(touch.ask, touch.ask_steps)])
    return "snapshot", *_book(event.listing, event.time_us, event.update_id, bids, asks)


def _candle(event: CandleEvent, figures: Figures) -> Written:
    bar, price = event.bar, figures.candle_price
    turnover = trimmed(*value_units(event.listing, bar.value))
    row = (
        f'{{"start":{event.open_us // 1_000},"end":{event.close_us // 1_000},"interval":"{NAME_OF[event.interval]}",'
        f'"open":"{price(bar.open)}","close":"{price(bar.close)}","high":"{price(bar.high)}","low":"{price(bar.low)}",'
        f'"volume":"{figures.volume(bar.volume)}","turnover":"{turnover}",'
        f'"confirm":{"true" if event.closed else "false"},"timestamp":{event.sent_us // 1_000}}}'
    )
    return "snapshot", f"[{row}]", ""


def _spot_ticker(event: TickerEvent, figures: Figures) -> Written:
    return "snapshot", _written(spot_ticker(event, figures)), f',"cs":{sequence(event.sent_us)}'


def spot_ticker(event: TickerEvent, figures: Figures) -> dict[str, str]:
    """Return the 24 hour statistics of a pair as the stream tells them: without the best bid and ask."""
    bar, price = event.bar, figures.price
    return {
        "symbol": event.listing.wire_symbol,
        "lastPrice": price(bar.close),
        "highPrice24h": price(bar.high),
        "lowPrice24h": price(bar.low),
        "prevPrice24h": price(event.before_ticks),
        "volume24h": figures.day_volume(bar.volume),
        "turnover24h": trimmed(*turnover_units(event.listing, bar.value)),
        "price24hPcnt": trimmed(change_units(event), _FRACTION_DIGITS),
        "usdIndexPrice": price(bar.close),
    }


def _ticker(event: ChangedTickerEvent, figures: Figures) -> Written:
    """Write the whole of a contract's ticker, or what has changed of it since the one before."""
    fields, told = linear_ticker(event, figures), "snapshot"
    if event.before is not None:
        before, told = linear_ticker(event.before, figures), "delta"
        fields = {name: text for name, text in fields.items() if name == "symbol" or text != before[name]}
    return told, _written(fields), f',"cs":{sequence(event.sent_us)}'


def linear_ticker(event: FullTickerEvent, figures: Figures) -> dict[str, str]:
    """Return all that is said of a contract: 24 hours, mark and index price, funding, open interest, best bid, ask."""
    listing, bar, mark, touch, price = event.listing, event.bar, event.mark, event.touch, figures.price
    single = event.open_interest
    return {
        "symbol": listing.wire_symbol,
        "tickDirection": "PlusTick" if bar.close >= event.before_ticks else "MinusTick",
        "price24hPcnt": trimmed(change_units(event), _FRACTION_DIGITS),
        "lastPrice": price(bar.close),
        "prevPrice24h": price(event.before_ticks),
        "highPrice24h": price(bar.high),
        "lowPrice24h": price(bar.low),
        "prevPrice1h": price(event.before_ticks),
        "markPrice": figures.mark(mark.mark),
        "indexPrice": figures.mark(mark.index),
        "openInterest": figures.size(2 * single),
        "openInterestValue": text_of(interest_value_units(event, 2), DOLLAR_DIGITS),
        "turnover24h": text_of(*turnover_units(listing, bar.value)),
        "volume24h": figures.day_volume(bar.volume),
        "fundingIntervalHour": str(_FUNDING_HOURS),
        "fundingCap": "0.005",
        "singleOpenInterest": figures.size(single),
        "singleOpenInterestValue": text_of(interest_value_units(event, 1), DOLLAR_DIGITS),
        "nextFundingTime": str(mark.next_funding_us // 1_000),
        "fundingRate": trimmed(mark.rate, FINE_DIGITS),
        "bid1Price": price(touch.bid),
        "bid1Size": figures.size(touch.bid_steps),
        "ask1Price": price(touch.ask),
        "ask1Size": figures.size(touch.ask_steps),
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": "",
    }


def _written(fields: Mapping[str, str]) -> str:
    return "{" + ",".join([f'"{name}":"{text}"' for name, text in fields.items()]) + "}"


def _liquidation(event: LiquidationEvent, figures: Figures) -> Written:
    """Write a forced order at the bankruptcy price; `S` is the side of the position that it ended."""
    order = event.order
    row = (
        f'{{"T":{order.time_us // 1_000},"s":"{event.listing.wire_symbol}","S":"{_side(not order.buy)}",'
        f'"v":"{figures.volume(order.steps)}","p":"{figures.candle_price(order.limit_ticks)}"}}'
    )
    return "snapshot", f"[{row}]", ""


_WRITERS: Mapping[type[Event], Callable[[Any, Figures], Written]] = {
    TradeEvent: _trade,
    BookEvent: _change,
    BookSnapshotEvent: _snapshot,
    QuoteEvent: _quote,
    CandleEvent: _candle,
    TickerEvent: _spot_ticker,
    ChangedTickerEvent: _ticker,
    LiquidationEvent: _liquidation,
}
