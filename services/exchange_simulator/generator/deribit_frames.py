"""Deribit's notifications of 2026: events in, the exchange's own JSON out.

Keys and their order are those of live frames of 2026 where one is recorded (perpetuals), else of the options of 2021;
`tests/contract/test_generated_frames_deribit.py` holds each against them. Numbers have the form of a float.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.exchange_simulator.generator.book import Level
from services.exchange_simulator.generator.deribit_events import (
    FlaggedTradeEvent,
    VolatilityEvent,
    flag_of,
    tick_direction,
)
from services.exchange_simulator.generator.deribit_figures import (
    Figures,
    base_volume,
    contracts_units,
    index_digits,
    index_units,
    mark_digits,
    mark_units,
    number,
    turnover,
)
from services.exchange_simulator.generator.deribit_ticker import ticker_data
from services.exchange_simulator.generator.deribit_volatility import INDEX_DIGITS
from services.exchange_simulator.generator.events import (
    BookEvent,
    BookSnapshotEvent,
    Bundle,
    CandleEvent,
    Event,
    FullTickerEvent,
    Message,
    QuoteEvent,
    TradeEvent,
)
from services.exchange_simulator.generator.feed import Feed
from services.exchange_simulator.generator.market import Trade
from services.exchange_simulator.generator.names import Listing
from services.exchange_simulator.generator.noise import key_of

_IDS = 1_000


class Encoder:
    """Encodes the messages of one market."""

    def __init__(self, feeds: Mapping[str, Feed]) -> None:
        self._feeds = feeds
        self._figures: dict[Listing, Figures] = {}

    def figures(self, listing: Listing) -> Figures:
        """Return the writer of a listing's numbers."""
        figures = self._figures.get(listing)
        if figures is None:
            figures = self._figures[listing] = Figures(listing)
        return figures

    def payload(self, message: Message, stream: str) -> bytes:
        """Return a message as a notification of a channel."""
        if isinstance(message, Bundle):
            data = f"[{','.join([self._data(event) for event in message.events])}]"
        else:
            assert isinstance(message, Event)
            data = self._data(message)
        return f'{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"{stream}","data":{data}}}}}'.encode()

    def _data(self, event: Event) -> str:
        feed = self._feeds[event.listing.wire_symbol]
        return WRITERS[type(event)](event, self.figures(event.listing), feed)


def trade_id(listing: Listing, trade: Trade) -> str:
    """Return a trade's id, which no other trade of the same currency has; but for BTC it names the currency."""
    digits = f"{trade.aggregate_id * _IDS + key_of(listing.wire_symbol) % _IDS}"
    currency = listing.wire_symbol.partition("-")[0]
    return digits if currency == "BTC" else f"{currency}-{digits}"


def trade_data(trade: Trade, flag: str, figures: Figures, feed: Feed) -> str:
    """Write one trade, on the stream as in a list that was asked for."""
    listing = figures.listing
    mark = feed.statistics.mark(trade.time_us)
    told = "" if not flag else f',"liquidation":"{flag}"'
    return (
        f'{{"timestamp":{trade.time_us // 1_000},"price":{figures.price(trade.ticks)},'
        f'"direction":"{"buy" if trade.buy else "sell"}",'
        f'"index_price":{number(index_units(listing, mark.index), index_digits(listing))},'
        f'"trade_id":"{trade_id(listing, trade)}","instrument_name":"{listing.wire_symbol}",'
        f'"trade_seq":{trade.aggregate_id},"amount":{figures.amount(trade.steps)},'
        f'"mark_price":{number(mark_units(listing, mark.mark), mark_digits(listing))},'
        f'"tick_direction":{tick_direction(feed.market, trade)},"starbase_match_id":"{trade.first_id}",'
        f'"contracts":{number(*contracts_units(listing, trade.steps))},'
        f'"starbase_timestamp":{trade.time_us * 1_000}{told}}}'
    )


def _trade(event: TradeEvent, figures: Figures, feed: Feed) -> str:
    return f"[{trade_data(event.trade, flag_of(feed.market, event.trade), figures, feed)}]"


def _flagged(event: FlaggedTradeEvent, figures: Figures, feed: Feed) -> str:
    return trade_data(event.trade, event.flag, figures, feed)


def _snapshot(event: BookSnapshotEvent, figures: Figures, feed: Feed) -> str:
    price, amount = figures.price, figures.amount
    bids, asks = (
        ",".join([f'["new",{price(ticks)},{amount(steps)}]' for ticks, steps in levels])
        for levels in (event.bids, event.asks)
    )
    return (
        f'{{"timestamp":{event.time_us // 1_000},"type":"snapshot","change_id":{event.last_id},'
        f'"instrument_name":"{event.listing.wire_symbol}","bids":[{bids}],"asks":[{asks}]}}'
    )


def _change(event: BookEvent, figures: Figures, feed: Feed) -> str:
    return (
        f'{{"timestamp":{event.time_us // 1_000},"type":"change","change_id":{event.last_id},'
        f'"instrument_name":"{event.listing.wire_symbol}",'
        f'"bids":[{_changed(event.bids[::-1], event.new_bids, figures)}],'
        f'"asks":[{_changed(event.asks, event.new_asks, figures)}],"prev_change_id":{event.previous_id}}}'
    )


def _changed(levels: Sequence[Level], new: frozenset[int], figures: Figures) -> str:
    price, amount = figures.price, figures.amount
    return ",".join(
        [
            f'["{"new" if ticks in new else "change"}",{price(ticks)},{amount(steps)}]'
            if steps
            else f'["delete",{price(ticks)},0.0]'
            for ticks, steps in levels
        ]
    )


def _quote(event: QuoteEvent, figures: Figures, feed: Feed) -> str:
    touch = event.touch
    return (
        f'{{"timestamp":{event.time_us // 1_000},"instrument_name":"{event.listing.wire_symbol}",'
        f'"best_bid_price":{figures.price(touch.bid)},"best_bid_amount":{figures.amount(touch.bid_steps)},'
        f'"best_ask_price":{figures.price(touch.ask)},"best_ask_amount":{figures.amount(touch.ask_steps)}}}'
    )


def _candle(event: CandleEvent, figures: Figures, feed: Feed) -> str:
    bar, price = event.bar, figures.price
    return (
        f'{{"tick":{event.open_us // 1_000},"open":{price(bar.open)},"high":{price(bar.high)},'
        f'"low":{price(bar.low)},"close":{price(bar.close)},"volume":{number(*base_volume(event.listing, bar))},'
        f'"cost":{number(*turnover(event.listing, bar))}}}'
    )


def _ticker(event: FullTickerEvent, figures: Figures, feed: Feed) -> str:
    return ticker_data(event, figures)


def _volatility(event: VolatilityEvent, figures: Figures, feed: Feed) -> str:
    return (
        f'{{"timestamp":{event.sent_us // 1_000},"volatility":{number(event.units, INDEX_DIGITS)},'
        f'"index_name":"{event.index}"}}'
    )


WRITERS: Mapping[type[Event], Callable[[Any, Figures, Feed], str]] = {
    TradeEvent: _trade,
    FlaggedTradeEvent: _flagged,
    BookSnapshotEvent: _snapshot,
    BookEvent: _change,
    QuoteEvent: _quote,
    CandleEvent: _candle,
    FullTickerEvent: _ticker,
    VolatilityEvent: _volatility,
}
