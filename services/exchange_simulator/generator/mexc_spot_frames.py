"""MEXC spot's binary frames of 2026: events in, one protobuf message `PushDataV3ApiWrapper` out.

What each kind of frame carries beside its body, and which prices have all their digits, is that of live frames;
`tests/contract/test_generated_frames_mexc.py` holds each against them. `schemas/proto` serves as the wire schema alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from schemas.proto import mexc_pb2 as pb
from services.exchange_simulator.generator.book import Level
from services.exchange_simulator.generator.events import (
    BookEvent,
    CandleEvent,
    Event,
    Message,
    QuoteEvent,
    TradeEvent,
)
from services.exchange_simulator.generator.mexc_figures import NAME_OF, Figures, spot_trade_id
from services.exchange_simulator.generator.names import Listing
from services.exchange_simulator.venue import Binary

_BUY, _SELL = 1, 2


class Encoder:
    """Encodes the messages of spot."""

    def __init__(self) -> None:
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
        push = _WRITERS[type(message)](message, self.figures(message.listing), stream)
        push.channel, push.symbol = stream, message.listing.wire_symbol
        return Binary(push.SerializeToString())


def _kind(stream: str) -> str:
    """Return a stream's name without its symbol, which frames repeat as their event type."""
    return stream.rpartition("@")[0]


def _deals(event: TradeEvent, figures: Figures, stream: str) -> pb.PushDataV3ApiWrapper:
    """Write an aggregate trade as one deal."""
    trade = event.trade
    deal = pb.PublicAggreDealV3Api(
        price=figures.price(trade.ticks),
        quantity=figures.amount(trade.steps),
        tradeType=_BUY if trade.buy else _SELL,
        time=trade.time_us // 1_000,
        tradeId=spot_trade_id(trade),
    )
    body = pb.PublicAggreDealsV3Api(deals=[deal], eventType=_kind(stream))
    return pb.PushDataV3ApiWrapper(sendTime=event.sent_us // 1_000, publicAggreDeals=body)


def _levels(levels: Sequence[Level], figures: Figures) -> list[pb.LevelV3Api]:
    price, amount = figures.level_price, figures.level_amount
    return [pb.LevelV3Api(price=price(ticks), quantity=amount(steps)) for ticks, steps in levels]


def _depth(event: BookEvent, figures: Figures, stream: str) -> pb.PushDataV3ApiWrapper:
    body = pb.PublicAggreDepthsV3Api(
        asks=_levels(event.asks, figures),
        bids=_levels(event.bids[::-1], figures),
        eventType=_kind(stream),
        fromVersion=str(event.previous_id + 1),
        toVersion=str(event.last_id),
        lastOrderCreateTime=event.time_us // 1_000,
    )
    return pb.PushDataV3ApiWrapper(sendTime=event.sent_us // 1_000, publicAggreDepths=body)


def _quote(event: QuoteEvent, figures: Figures, stream: str) -> pb.PushDataV3ApiWrapper:
    touch = event.touch
    body = pb.PublicAggreBookTickerV3Api(
        bidPrice=figures.price(touch.bid),
        bidQuantity=figures.amount(touch.bid_steps),
        askPrice=figures.price(touch.ask),
        askQuantity=figures.amount(touch.ask_steps),
        version=str(event.update_id),
        lastOrderCreateTime=event.time_us // 1_000,
    )
    return pb.PushDataV3ApiWrapper(sendTime=event.sent_us // 1_000, publicAggreBookTicker=body)


def _candle(event: CandleEvent, figures: Figures, stream: str) -> pb.PushDataV3ApiWrapper:
    bar, price = event.bar, figures.price
    body = pb.PublicSpotKlineV3Api(
        interval=NAME_OF[event.interval],
        windowStart=event.open_us // 1_000_000,
        openingPrice=price(bar.open),
        closingPrice=price(bar.close),
        highestPrice=price(bar.high),
        lowestPrice=price(bar.low),
        volume=figures.amount(bar.volume),
        amount=figures.value(bar.value),
        windowEnd=(event.close_us + 1_000) // 1_000_000,
    )
    symbol_id = uuid5(NAMESPACE_OID, event.listing.wire_symbol).hex
    return pb.PushDataV3ApiWrapper(symbolId=symbol_id, createTime=event.sent_us // 1_000, publicSpotKline=body)


_WRITERS: Mapping[type[Event], Callable[[Any, Figures, str], pb.PushDataV3ApiWrapper]] = {
    TradeEvent: _deals,
    BookEvent: _depth,
    QuoteEvent: _quote,
    CandleEvent: _candle,
}
