"""Which kind of lane a channel's records go through."""

from __future__ import annotations

from collections.abc import Mapping

from schemas import records
from services.normaliser.book_lane import BookLane
from services.normaliser.candle_lane import CandleLane
from services.normaliser.desk import Desk
from services.normaliser.lane import Lane
from services.normaliser.merging_lane import MergingLane
from services.normaliser.numbered_lanes import NumberedLane, QuoteLane
from services.normaliser.stream_book_lane import StreamBookLane
from services.normaliser.value_lane import ValueLane
from services.normaliser.windows import BASE, STANDARD
from services.shared.exchanges.declaration import Channel, Market, Numbering

_BY_KIND: Mapping[str, type[Lane]] = {
    records.Trade.KIND: NumberedLane,
    records.Fill.KIND: NumberedLane,
    records.Quote.KIND: QuoteLane,
    records.Liquidation.KIND: ValueLane,
}


def make_lane(desk: Desk, market: Market, symbol: str, channel: Channel) -> Lane:
    """Return a new lane for a channel of one instrument, or of `_all`."""
    if channel.name == market.book_channel:
        books = BookLane if market.book_snapshot is not None else StreamBookLane
        return books(desk, market.exchange, market.market, symbol, channel, market.book_rule)
    if channel.interval is not None:
        intervals = _built(desk, market) if channel.interval == BASE else []
        if intervals or not channel.closes_itself:
            return CandleLane(desk, market.exchange, market.market, symbol, channel, intervals)
    if channel.merge is not None:
        return MergingLane(desk, market.exchange, market.market, symbol, channel)
    return _lane_type(channel)(desk, market.exchange, market.market, symbol, channel)


def _lane_type(channel: Channel) -> type[Lane]:
    found = _BY_KIND.get(channel.kinds[0], Lane)
    if not channel.per_symbol or (found is NumberedLane and channel.numbering is Numbering.NONE):
        return ValueLane
    return found


def _built(desk: Desk, market: Market) -> list[str]:
    """Return the intervals that are to be had and that the market has no channel of."""
    offered = {channel.interval for channel in market.channels.values()}
    return [name for name in dict.fromkeys((*STANDARD, *desk.options.candle_intervals)) if name not in offered]
