"""MEXC contracts' WebSocket frames of 2026: events in, the exchange's own JSON out, numbers bare.

Keys and their order are those of live frames where one is recorded, else those of the exchange's pages;
`tests/contract/test_generated_frames_mexc.py` holds each against them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.exchange_simulator.generator.book import Level
from services.exchange_simulator.generator.events import (
    BookEvent,
    CandleEvent,
    Event,
    FullTickerEvent,
    FundingEvent,
    Message,
    QuoteEvent,
    TradeEvent,
)
from services.exchange_simulator.generator.feed import Feed
from services.exchange_simulator.generator.figures import trimmed
from services.exchange_simulator.generator.market import Trade
from services.exchange_simulator.generator.mexc_figures import NAME_OF, Figures, change_text
from services.exchange_simulator.generator.names import Listing

_BUY, _SELL = 1, 2
_OPENS, _NO_SELF_TRADE = 1, 2
_BAND = 10
"""One part in so many is how far an order's price may go from the last one."""


class Encoder:
    """Encodes the messages of contracts; whole books, which some streams tell, are taken from the feeds."""

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
        """Return a message's frame on a stream."""
        assert isinstance(message, Event)
        figures = self.figures(message.listing)
        if isinstance(message, QuoteEvent):
            data, channel = self._book(message, figures, int(stream.split("@")[1])), "depth.full"
        else:
            channel, write = _WRITERS[type(message)]
            data = write(message, figures, stream)
        return (
            f'{{"symbol":"{message.listing.wire_symbol}","data":{data},"channel":"push.{channel}",'
            f'"ts":{message.sent_us // 1_000}}}'
        ).encode()

    def _book(self, event: QuoteEvent, figures: Figures, limit: int) -> str:
        """Write the best levels as they stood when the best bid or ask changed: a step's number is its version."""
        book = self._feeds[event.listing.wire_symbol].book.snapshot(event.update_id, limit)
        return (
            f'{{"cts":{event.time_us // 1_000},"asks":{plain_levels(book.asks, figures)},'
            f'"bids":{plain_levels(book.bids, figures)},"version":{event.update_id}}}'
        )


def plain_levels(levels: Sequence[Level], figures: Figures) -> str:
    """Write levels of a whole book: price, contracts, orders."""
    return "[" + ",".join(f"[{figures.price(ticks)},{steps},{1 + steps % 7}]" for ticks, steps in levels) + "]"


def _deals(event: TradeEvent, figures: Figures, stream: str) -> str:
    """Write an aggregate trade as one row, which merges its fills' ids under the last of them."""
    trade = event.trade
    at = trade.time_us // 1_000
    return f'[{deal(trade, figures)[:-1]},"i":"{trade.last_id}","cts":"{at}"}}]'


def deal(trade: Trade, figures: Figures) -> str:
    """Write a trade as REST tells it: without an id."""
    return (
        f'{{"p":{figures.price(trade.ticks)},"v":{trade.steps},"T":{_BUY if trade.buy else _SELL},"O":{_OPENS},'
        f'"M":{_NO_SELF_TRADE},"t":{trade.time_us // 1_000}}}'
    )


def change(bids: Sequence[Level], asks: Sequence[Level], version: int, figures: Figures) -> str:
    """Write a change of the book: contracts are those that are left, none removes; levels with prices rising."""
    write = figures.contract_level
    return (
        f'{{"asks":[{",".join(write(*level) for level in asks)}],"bids":[{",".join(write(*level) for level in bids)}],'
        f'"version":{version}}}'
    )


def _depth(event: BookEvent, figures: Figures, stream: str) -> str:
    """Write a change; where merging was not declined, with the first and last version that it merges: its own."""
    data = change(event.bids[::-1], event.asks, event.last_id, figures)
    if stream.startswith("depth@"):
        return data
    head, _, version = data.rpartition('"version":')
    return f'{head}"end":{event.last_id},"begin":{event.last_id},"version":{version}'


def _candle(event: CandleEvent, figures: Figures, stream: str) -> str:
    bar, price = event.bar, figures.price
    return (
        f'{{"symbol":"{event.listing.wire_symbol}","interval":"{NAME_OF[event.interval]}",'
        f'"t":{event.open_us // 1_000_000},"o":{price(bar.open)},"c":{price(bar.close)},"h":{price(bar.high)},'
        f'"l":{price(bar.low)},"q":{bar.volume},"a":{figures.value(bar.value)}}}'
    )


def _ticker(event: FullTickerEvent, figures: Figures, stream: str) -> str:
    return ticker(event, figures)


def ticker(event: FullTickerEvent, figures: Figures) -> str:
    """Write all that is said of a contract, on the stream as in an answer."""
    listing, bar, touch, mark, price = event.listing, event.bar, event.touch, event.mark, figures.price
    rise = trimmed((bar.close - event.before_ticks) * listing.tick_units, listing.price_digits)
    return (
        f'{{"symbol":"{listing.wire_symbol}","lastPrice":{price(bar.close)},"bid1":{price(touch.bid)},'
        f'"ask1":{price(touch.ask)},"volume24":{bar.volume},"amount24":{figures.value(bar.value)},'
        f'"holdVol":{event.open_interest},"lower24Price":{price(bar.low)},"high24Price":{price(bar.high)},'
        f'"riseFallRate":{change_text(event)},"riseFallValue":{rise},"indexPrice":{figures.mark(mark.index)},'
        f'"fairPrice":{figures.mark(mark.mark)},"fundingRate":{figures.rate(mark.rate)},'
        f'"maxBidPrice":{price(bar.close + bar.close // _BAND)},"minAskPrice":{price(bar.close - bar.close // _BAND)},'
        f'"timestamp":{event.sent_us // 1_000}}}'
    )


def _funding(event: FundingEvent, figures: Figures, stream: str) -> str:
    return (
        f'{{"rate":{figures.rate(event.mark.rate)},"symbol":"{event.listing.wire_symbol}",'
        f'"nextSettleTime":{event.mark.next_funding_us // 1_000}}}'
    )


_WRITERS: Mapping[type[Event], tuple[str, Callable[[Any, Figures, str], str]]] = {
    TradeEvent: ("deal", _deals),
    BookEvent: ("depth", _depth),
    CandleEvent: ("kline", _candle),
    FullTickerEvent: ("ticker", _ticker),
    FundingEvent: ("funding.rate", _funding),
}
