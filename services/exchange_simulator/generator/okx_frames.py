"""OKX's v5 pushes of 2026: events in, the exchange's own JSON out.

All numbers are texts, times milliseconds as texts. Needless zeros are left out, but in candles, whose prices have all
digits of the tick. `checksum` is always 0, as on the exchange since 2026. Held against the frames of `extra_frames` by
`tests/contract/test_generated_frames_okx.py`, else by the exchange's pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from services.exchange_simulator.generator.book import Level
from services.exchange_simulator.generator.events import (
    BookEvent,
    BookSnapshotEvent,
    CandleEvent,
    Event,
    FillEvent,
    FundingEvent,
    IndexEvent,
    LiquidationEvent,
    MarkEvent,
    Message,
    OpenInterestEvent,
    QuoteEvent,
    TickerEvent,
    TradeEvent,
)
from services.exchange_simulator.generator.figures import text_of
from services.exchange_simulator.generator.names import Listing
from services.exchange_simulator.generator.okx_figures import KINDS, Figures
from services.exchange_simulator.generator.statistics import FINE_DIGITS, FUNDING_INTERVAL_US


class Encoder:
    """Encodes the events of one market."""

    def __init__(self) -> None:
        self._figures: dict[Listing, Figures] = {}
        self._rows: dict[type[Event], Callable[[Any, Figures], str]] = {
            TradeEvent: _trade,
            FillEvent: fill_row,
            BookEvent: _change,
            BookSnapshotEvent: _snapshot,
            QuoteEvent: _top,
            CandleEvent: candle_row,
            TickerEvent: ticker_row,
            MarkEvent: mark_row,
            IndexEvent: _index,
            FundingEvent: funding_row,
            OpenInterestEvent: open_interest_row,
            LiquidationEvent: _liquidation,
        }

    def figures(self, listing: Listing) -> Figures:
        """Return the writer of a listing's numbers."""
        found = self._figures.get(listing)
        if found is None:
            found = self._figures[listing] = Figures(listing)
        return found

    def payload(self, message: Message, stream: str) -> bytes:
        """Return the push of an event on a stream `<channel>:<instrument, index or type>`."""
        assert isinstance(message, Event)
        channel, _, about = stream.partition(":")
        key = "instType" if channel == "liquidation-orders" else "instId"
        action = _ACTIONS.get(type(message), "")
        row = self._rows[type(message)](message, self.figures(message.listing))
        return f'{{"arg":{{"channel":"{channel}","{key}":"{about}"}},{action}"data":[{row}]}}'.encode()


_ACTIONS: dict[type[Event], str] = {BookSnapshotEvent: '"action":"snapshot",', BookEvent: '"action":"update",'}


def _trade(event: TradeEvent, figures: Figures) -> str:
    trade = event.trade
    return (
        f'{{"instId":"{event.listing.wire_symbol}","tradeId":"{trade.last_id}","px":"{figures.price(trade.ticks)}",'
        f'"sz":"{figures.size(trade.steps)}","side":"{"buy" if trade.buy else "sell"}","ts":"{trade.time_us // 1000}",'
        f'"count":"{len(trade.fills)}","source":"0","seqId":{trade.last_id}}}'
    )


def fill_row(event: FillEvent, figures: Figures) -> str:
    """Write a single fill."""
    trade = event.trade
    return (
        f'{{"instId":"{event.listing.wire_symbol}","tradeId":"{trade.first_id + event.place}",'
        f'"px":"{figures.price(trade.ticks)}","sz":"{figures.size(trade.fills[event.place])}",'
        f'"side":"{"buy" if trade.buy else "sell"}","ts":"{trade.time_us // 1000}","source":"0"}}'
    )


def orders(steps: int) -> int:
    """Return how many orders rest at a level; none at an emptied one."""
    return 1 + steps % 7 if steps else 0


def levels(side: Iterable[Level], figures: Figures) -> str:
    """Write levels as `["price","size","0","orders"],...` in the order given."""
    return ",".join(
        [f'["{figures.price(ticks)}","{figures.size(steps)}","0","{orders(steps)}"]' for ticks, steps in side]
    )


def _change(event: BookEvent, figures: Figures) -> str:
    return (
        f'{{"asks":[{levels(event.asks, figures)}],"bids":[{levels(event.bids[::-1], figures)}],'
        f'"ts":"{event.time_us // 1000}","checksum":0,"seqId":{event.last_id},"prevSeqId":{event.previous_id}}}'
    )


def _snapshot(event: BookSnapshotEvent, figures: Figures) -> str:
    return (
        f'{{"asks":[{levels(event.asks, figures)}],"bids":[{levels(event.bids, figures)}],'
        f'"ts":"{event.time_us // 1000}","checksum":0,"seqId":{event.last_id},"prevSeqId":-1}}'
    )


def _top(event: QuoteEvent, figures: Figures) -> str:
    touch = event.touch
    return (
        f'{{"asks":[{levels([(touch.ask, touch.ask_steps)], figures)}],'
        f'"bids":[{levels([(touch.bid, touch.bid_steps)], figures)}],"ts":"{event.time_us // 1000}",'
        f'"seqId":{event.update_id}}}'
    )


def candle_row(event: CandleEvent, figures: Figures) -> str:
    """Write a candle as a list of nine."""
    bar, padded = event.bar, figures.padded_price
    prices = f'"{padded(bar.open)}","{padded(bar.high)}","{padded(bar.low)}","{padded(bar.close)}"'
    return (
        f'["{event.open_us // 1000}",{prices},"{figures.size(bar.volume)}","{figures.second_volume(bar)}",'
        f'"{figures.quote_volume(bar)}","{1 if event.closed else 0}"]'
    )


def ticker_row(event: TickerEvent, figures: Figures) -> str:
    """Write a 24 hour ticker; the prices of the days' beginnings are those of 24 hours ago."""
    bar, listing, touch, price = event.bar, event.listing, event.touch, figures.price
    opened = price(bar.open)
    return (
        f'{{"instType":"{KINDS[listing.market]}","instId":"{listing.wire_symbol}","last":"{price(bar.close)}",'
        f'"lastSz":"{figures.size(event.last_steps)}","askPx":"{price(touch.ask)}",'
        f'"askSz":"{figures.size(touch.ask_steps)}","bidPx":"{price(touch.bid)}",'
        f'"bidSz":"{figures.size(touch.bid_steps)}","open24h":"{opened}","high24h":"{price(bar.high)}",'
        f'"low24h":"{price(bar.low)}","sodUtc0":"{opened}","sodUtc8":"{opened}",'
        f'"volCcy24h":"{figures.second_volume(bar)}","vol24h":"{figures.size(bar.volume)}",'
        f'"ts":"{event.sent_us // 1000}"}}'
    )


def mark_row(event: MarkEvent, figures: Figures) -> str:
    """Write a mark price."""
    listing = event.listing
    return (
        f'{{"instType":"{KINDS[listing.market]}","instId":"{listing.wire_symbol}",'
        f'"markPx":"{figures.fine(event.mark.mark)}","ts":"{event.sent_us // 1000}"}}'
    )


def _index(event: IndexEvent, figures: Figures) -> str:
    listing, price = event.listing, figures.fine(event.mark.index)
    return (
        f'{{"instId":"{listing.base}-{listing.quote}","idxPx":"{price}","high24h":"{price}","low24h":"{price}",'
        f'"open24h":"{price}","sodUtc0":"{price}","sodUtc8":"{price}","ts":"{event.sent_us // 1000}"}}'
    )


def funding_row(event: FundingEvent, figures: Figures) -> str:
    """Write the funding rate of the running period."""
    mark, rate = event.mark, text_of(event.mark.rate, FINE_DIGITS)
    due_ms, after_ms = mark.next_funding_us // 1000, (mark.next_funding_us + FUNDING_INTERVAL_US) // 1000
    return (
        f'{{"formulaType":"withRate","fundingRate":"{rate}","fundingTime":"{due_ms}","impactValue":"20000",'
        f'"instId":"{event.listing.wire_symbol}","instType":"SWAP","interestRate":"0.0001","maxFundingRate":"0.00375",'
        f'"method":"current_period","minFundingRate":"-0.00375","nextFundingRate":"","nextFundingTime":"{after_ms}",'
        f'"premium":"{rate}","settFundingRate":"{rate}","settState":"settled","ts":"{event.sent_us // 1000}"}}'
    )


def open_interest_row(event: OpenInterestEvent, figures: Figures) -> str:
    """Write open interest: contracts, base currency, US dollars."""
    listing, (base, dollars) = event.listing, figures.worth(event.steps, event.ticks)
    return (
        f'{{"instId":"{listing.wire_symbol}","instType":"{KINDS[listing.market]}","oi":"{figures.size(event.steps)}",'
        f'"oiCcy":"{base}","oiUsd":"{dollars}","ts":"{event.sent_us // 1000}"}}'
    )


def _liquidation(event: LiquidationEvent, figures: Figures) -> str:
    order, listing = event.order, event.listing
    index = f"{listing.base}-{listing.quote}"
    return (
        f'{{"details":[{{"bkLoss":"0","bkPx":"{figures.price(order.average_ticks)}","ccy":"",'
        f'"posSide":"{"short" if order.buy else "long"}","side":"{"buy" if order.buy else "sell"}",'
        f'"sz":"{figures.size(order.steps)}","ts":"{order.time_us // 1000}"}}],"instFamily":"{index}",'
        f'"instId":"{listing.wire_symbol}","instType":"{KINDS[listing.market]}","uly":"{index}"}}'
    )
