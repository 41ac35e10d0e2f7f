"""Binance's WebSocket payloads of 2026, spot and USD-M futures: events in, the exchange's own JSON out.

Key order, number forms and the fields `ps`, `st`, `nq` and `ap` are those of live frames where one is recorded, else
of the exchange's pages; `tests/contract/test_generated_frames.py` holds each form against a recorded frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from services.exchange_simulator.generator.events import (
    BookEvent,
    Bundle,
    CandleEvent,
    Event,
    FillEvent,
    LiquidationEvent,
    MarkEvent,
    Message,
    MiniTickerEvent,
    QuoteEvent,
    TickerEvent,
    TradeEvent,
)
from services.exchange_simulator.generator.figures import (
    PERCENT_DIGITS,
    average_units,
    percent_units,
    text_of,
    ticker_value_digits,
    value_units,
)
from services.exchange_simulator.generator.names import Listing
from services.exchange_simulator.generator.statistics import FINE_DIGITS

_MOST_TEXTS = 50_000


class Digits:
    """Writes one listing's numbers as the exchange does; texts that come again are kept."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._prices: dict[int, str] = {}
        self._quantities: dict[int, str] = {}
        self.value_digits = 8 if listing.market == "spot" else listing.price_digits + listing.quantity_digits

    def price(self, ticks: int) -> str:
        """Write a price."""
        text = self._prices.get(ticks)
        if text is None:
            if len(self._prices) >= _MOST_TEXTS:
                self._prices.clear()
            text = self._prices[ticks] = text_of(ticks * self._listing.tick_units, self._listing.price_digits)
        return text

    def quantity(self, steps: int) -> str:
        """Write a quantity in base currency."""
        text = self._quantities.get(steps)
        if text is None:
            if len(self._quantities) >= _MOST_TEXTS:
                self._quantities.clear()
            text = self._quantities[steps] = text_of(steps * self._listing.step_units, self._listing.quantity_digits)
        return text

    def value(self, value: int) -> str:
        """Write a value in quote currency, given in ticks x steps, exactly."""
        return text_of(value_units(self._listing, value, self.value_digits), self.value_digits)

    def levels(self, levels: Sequence[tuple[int, int]]) -> str:
        """Write book levels as `["price","quantity"],...` in the order given."""
        prices, quantities = self._prices, self._quantities
        return ",".join(
            [
                f'["{prices.get(ticks) or self.price(ticks)}","{quantities.get(steps) or self.quantity(steps)}"]'
                for ticks, steps in levels
            ]
        )


class Encoder:
    """Encodes the events of one market."""

    def __init__(self) -> None:
        self._digits: dict[Listing, Digits] = {}
        self._writers: dict[type[Event], Callable[[Any, Digits], str]] = {
            TradeEvent: _agg_trade,
            FillEvent: _trade,
            BookEvent: _depth_update,
            QuoteEvent: _book_ticker,
            CandleEvent: _kline,
            TickerEvent: _ticker,
            MiniTickerEvent: _mini_ticker,
            MarkEvent: _mark_price,
            LiquidationEvent: _force_order,
        }

    def digits(self, listing: Listing) -> Digits:
        """Return the writer of a listing's numbers."""
        found = self._digits.get(listing)
        if found is None:
            found = self._digits[listing] = Digits(listing)
        return found

    def payload(self, message: Message) -> bytes:
        """Return a message's bare payload: an object, or a list of them on all-market streams."""
        if isinstance(message, Bundle):
            return b"[" + b",".join([self.payload(event) for event in message.events]) + b"]"
        assert isinstance(message, Event)
        return self._writers[type(message)](message, self.digits(message.listing)).encode()


def _agg_trade(event: TradeEvent, digits: Digits) -> str:
    trade, symbol = event.trade, event.listing.wire_symbol
    price, quantity = digits.price(trade.ticks), digits.quantity(trade.steps)
    maker = "false" if trade.buy else "true"
    if event.listing.market == "spot":
        return (
            f'{{"e":"aggTrade","E":{event.sent_us // 1000},"s":"{symbol}","a":{trade.aggregate_id},"p":"{price}",'
            f'"q":"{quantity}","f":{trade.first_id},"l":{trade.last_id},"T":{trade.time_us // 1000},"m":{maker},'
            f'"M":true}}'
        )
    return (
        f'{{"e":"aggTrade","E":{event.sent_us // 1000},"a":{trade.aggregate_id},"s":"{symbol}","p":"{price}",'
        f'"q":"{quantity}","nq":"{quantity}","f":{trade.first_id},"l":{trade.last_id},"T":{trade.time_us // 1000},'
        f'"m":{maker},"st":1}}'
    )


def _trade(event: FillEvent, digits: Digits) -> str:
    trade = event.trade
    return (
        f'{{"e":"trade","E":{event.sent_us // 1000},"s":"{event.listing.wire_symbol}",'
        f'"t":{trade.first_id + event.place},"p":"{digits.price(trade.ticks)}",'
        f'"q":"{digits.quantity(trade.fills[event.place])}","T":{trade.time_us // 1000},'
        f'"m":{"false" if trade.buy else "true"},"M":true}}'
    )


def _depth_update(event: BookEvent, digits: Digits) -> str:
    symbol = event.listing.wire_symbol
    asks = digits.levels(event.asks)
    if event.listing.market == "spot":
        return (
            f'{{"e":"depthUpdate","E":{event.sent_us // 1000},"s":"{symbol}","U":{event.first_id},"u":{event.last_id},'
            f'"b":[{digits.levels(event.bids[::-1])}],"a":[{asks}]}}'
        )
    return (
        f'{{"e":"depthUpdate","E":{event.sent_us // 1000},"T":{event.time_us // 1000},"s":"{symbol}","ps":"{symbol}",'
        f'"U":{event.first_id},"u":{event.last_id},"pu":{event.previous_id},"b":[{digits.levels(event.bids)}],'
        f'"a":[{asks}],"st":1}}'
    )


def _book_ticker(event: QuoteEvent, digits: Digits) -> str:
    touch, symbol = event.touch, event.listing.wire_symbol
    best = (
        f'"s":"{symbol}","b":"{digits.price(touch.bid)}","B":"{digits.quantity(touch.bid_steps)}",'
        f'"a":"{digits.price(touch.ask)}","A":"{digits.quantity(touch.ask_steps)}"'
    )
    if event.listing.market == "spot":
        return f'{{"u":{event.update_id},{best}}}'
    return (
        f'{{"e":"bookTicker","u":{event.update_id},{best},"T":{event.time_us // 1000},"E":{event.sent_us // 1000},'
        f'"ps":"{symbol}","st":1}}'
    )


def _kline(event: CandleEvent, digits: Digits) -> str:
    bar, symbol, price = event.bar, event.listing.wire_symbol, digits.price
    return (
        f'{{"e":"kline","E":{event.sent_us // 1000},"s":"{symbol}","k":{{"t":{event.open_us // 1000},'
        f'"T":{event.close_us // 1000},"s":"{symbol}","i":"{event.interval}","f":{bar.first_id},"L":{bar.last_id},'
        f'"o":"{price(bar.open)}","c":"{price(bar.close)}","h":"{price(bar.high)}","l":"{price(bar.low)}",'
        f'"v":"{digits.quantity(bar.volume)}","n":{bar.count},"x":{"true" if event.closed else "false"},'
        f'"q":"{digits.value(bar.value)}","V":"{digits.quantity(bar.buy_volume)}","Q":"{digits.value(bar.buy_value)}",'
        f'"B":"0"}}}}'
    )


def _ticker(event: TickerEvent, digits: Digits) -> str:
    bar, listing, price, touch = event.bar, event.listing, digits.price, event.touch
    spot = listing.market == "spot"
    change = bar.close - bar.open
    value_digits = ticker_value_digits(listing)
    value = text_of(value_units(listing, bar.value, value_digits), value_digits)
    average = text_of(average_units(event), listing.price_digits)
    before = f'"x":"{price(event.before_ticks)}",' if spot else ""
    best = (
        f'"b":"{price(touch.bid)}","B":"{digits.quantity(touch.bid_steps)}","a":"{price(touch.ask)}",'
        f'"A":"{digits.quantity(touch.ask_steps)}",'
        if spot
        else ""
    )
    pair, sort = ("", "") if spot else (f'"ps":"{listing.wire_symbol}",', ',"st":1')
    return (
        f'{{"e":"24hrTicker","E":{event.sent_us // 1000},"s":"{listing.wire_symbol}",{pair}"p":"{price(change)}",'
        f'"P":"{text_of(percent_units(change, bar.open), PERCENT_DIGITS)}","w":"{average}",{before}'
        f'"c":"{price(bar.close)}","Q":"{digits.quantity(event.last_steps)}",{best}"o":"{price(bar.open)}",'
        f'"h":"{price(bar.high)}","l":"{price(bar.low)}","v":"{digits.quantity(bar.volume)}","q":"{value}",'
        f'"O":{event.open_us // 1000},"C":{event.close_us // 1000},"F":{bar.first_id},"L":{bar.last_id},'
        f'"n":{bar.count}{sort}}}'
    )


def _mini_ticker(event: TickerEvent, digits: Digits) -> str:
    bar, listing, price = event.bar, event.listing, digits.price
    value_digits = ticker_value_digits(listing)
    pair, sort = ("", "") if listing.market == "spot" else (f'"ps":"{listing.wire_symbol}",', ',"st":1')
    return (
        f'{{"e":"24hrMiniTicker","E":{event.sent_us // 1000},"s":"{listing.wire_symbol}",{pair}'
        f'"c":"{price(bar.close)}","o":"{price(bar.open)}","h":"{price(bar.high)}","l":"{price(bar.low)}","v":"{digits.quantity(bar.volume)}",'
        f'"q":"{text_of(value_units(listing, bar.value, value_digits), value_digits)}"{sort}}}'
    )


def _mark_price(event: MarkEvent, digits: Digits) -> str:
    mark = event.mark
    return (
        f'{{"e":"markPriceUpdate","E":{event.sent_us // 1000},"s":"{event.listing.wire_symbol}",'
        f'"p":"{text_of(mark.mark, FINE_DIGITS)}","ap":"{text_of(mark.mark_average, FINE_DIGITS)}",'
        f'"P":"{text_of(mark.settlement, FINE_DIGITS)}","i":"{text_of(mark.index, FINE_DIGITS)}",'
        f'"r":"{text_of(mark.rate, FINE_DIGITS)}","T":{mark.next_funding_us // 1000},"st":1}}'
    )


def _force_order(event: LiquidationEvent, digits: Digits) -> str:
    order, symbol = event.order, event.listing.wire_symbol
    quantity = digits.quantity(order.steps)
    return (
        f'{{"e":"forceOrder","E":{event.sent_us // 1000},"o":{{"s":"{symbol}","S":"{"BUY" if order.buy else "SELL"}",'
        f'"o":"LIMIT","f":"IOC","q":"{quantity}","p":"{digits.price(order.limit_ticks)}",'
        f'"ap":"{digits.price(order.average_ticks)}","X":"FILLED","l":"{digits.quantity(order.last_steps)}",'
        f'"z":"{quantity}","T":{order.time_us // 1000},"ps":"{symbol}","st":1}}}}'
    )
