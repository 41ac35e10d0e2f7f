"""What every market's module must declare for the common code to work on it."""

from __future__ import annotations

from collections import Counter

import pytest

from schemas import records, subjects
from services.collector.universe import market_of
from services.normaliser.book_lane import BookLane
from services.normaliser.desk import CoreOptions, Desk
from services.normaliser.lanes import make_lane
from services.normaliser.stream_book_lane import StreamBookLane
from services.shared.exchanges.declaration import Market, Numbering
from services.shared.exchanges.registry import MARKETS

SYMBOLS = ("BTC_USDT", "BTC-USDT-SWAP", "BTC-PERPETUAL")
EVERY = pytest.mark.parametrize("market", MARKETS.values(), ids=[".".join(key) for key in MARKETS])


def streams(market: Market, symbol: str) -> list[tuple[str, str]]:
    asked = [(item, symbol if item.per_symbol else "") for item in market.channels.values()]
    return [(item.route_of(own), item.stream(own)) for item, own in asked if item.stream(own)]


@EVERY
def test_no_two_channels_share_a_stream(market: Market) -> None:
    for symbol in SYMBOLS:
        assert [stream for stream, count in Counter(streams(market, symbol)).items() if count > 1] == []
    one, other = (set(streams(market, f"{base}_USDT")) for base in ("ADA", "SOL"))
    shared = {item.stream("") for item in market.channels.values() if not item.per_symbol}
    assert {name for _, name in one & other} == shared


@EVERY
def test_names_and_kinds_are_known(market: Market) -> None:
    assert {route for symbol in SYMBOLS for route, _ in streams(market, symbol)} <= set(market.routes)
    assert not set(market.channels) & set(market.polls), "a frame's channel says which of the two it is"
    assert market.instruments.name in market.polls
    assert market.book_channel in market.channels
    assert market.book_snapshot is None or market.book_snapshot.name in market.polls
    kinds = {kind for item in (*market.channels.values(), *market.polls.values()) for kind in item.kinds}
    assert kinds <= set(records.BY_KIND)
    for name in (*market.channels, *market.polls):
        subjects.raw(market.exchange, market.market, name, "BTC-USDT")
    assert [market_of(symbol) for symbol in market.starter] == [market.market] * len(market.starter)


@EVERY
def test_lanes_fit_what_is_declared(market: Market) -> None:
    for channel in market.channels.values():
        candles = {"candle", "candle_update"}
        assert (channel.interval is not None) == bool(candles & set(channel.kinds)), channel.name
        assert channel.closes_itself or candles <= set(channel.kinds), channel.name
        assert channel.numbering is Numbering.CONTIGUOUS or channel.kinds[0] in ("trade", "fill"), channel.name
        lane = make_lane(Desk(CoreOptions()), market, "X", channel)
        if channel.name == market.book_channel:
            assert isinstance(lane, BookLane)
            assert isinstance(lane, StreamBookLane) == (market.book_snapshot is None)


@EVERY
def test_control_messages_are_text(market: Market) -> None:
    names = [name for _, name in streams(market, SYMBOLS[0])][: market.limits.streams_per_message]
    messages = [market.subscribe(names, 1), market.unsubscribe(names, 2), *market.greeting]
    if market.keep_alive is not None:
        messages.append(market.keep_alive.message(3))
    for message in messages:
        assert message.decode().isprintable()
