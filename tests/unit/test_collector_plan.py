"""Which symbols are collected, and how streams are spread over connections."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schemas.records import Instrument
from services.collector import plan
from services.collector.core import Topic
from services.shared.exchanges.binance_perp import BINANCE_PERP
from services.shared.exchanges.binance_spot import BINANCE_SPOT
from services.shared.exchanges.declaration import Channel, Listing


def instrument(base: str, quote: str = "USDT", status: str = "trading", market: str = "perp") -> Instrument:
    return Instrument(
        exchange="binance",
        market=market,
        symbol=f"{base}-{quote}-PERP" if market == "perp" else f"{base}-{quote}",
        timestamp=1,
        timestamp_source="received",
        received_at=1,
        source="live",
        exchange_symbol=f"{base}{quote}",
        base=base,
        quote=quote,
        asset=base,
        multiplier="1",
        status=status,
    )


PERPS = Listing(
    [instrument("BTC"), instrument("ETH"), instrument("OLD", status="settling"), instrument("BTC", quote="USDC")]
)


@pytest.mark.parametrize(
    ("symbol", "market"),
    [
        ("BTC-USDT", "spot"),
        ("BTC-USDT-PERP", "perp"),
        ("BTC-USD-261225", "future"),
        ("BTC-USD-261225-100000-C", "option"),
    ],
)
def test_a_symbol_says_its_market(symbol: str, market: str) -> None:
    assert plan.market_of(symbol) == market


def test_the_universe_of_usdt_perpetuals_is_what_trades() -> None:
    chosen = plan.choose(BINANCE_PERP, PERPS, "all-usdt-perpetuals", ())
    assert [item.symbol for item in chosen.instruments] == ["BTC-USDT-PERP", "ETH-USDT-PERP"]
    assert chosen.left_out == ()
    spot = Listing([instrument("BTC", market="spot")])
    assert plan.choose(BINANCE_SPOT, spot, "all-usdt-perpetuals", ()).instruments == ()


def test_symbols_that_cannot_be_collected_are_named_with_the_reason() -> None:
    wanted = ["BTC-USDT-PERP", "OLD-USDT-PERP", "BTC-USDT", "NOPE-USDT-PERP", "BTC-USDT-PERP"]
    chosen = plan.choose(BINANCE_PERP, PERPS, "starter", wanted)
    assert [item.symbol for item in chosen.instruments] == ["BTC-USDT-PERP"]
    assert dict(chosen.left_out) == {
        "OLD-USDT-PERP": "its status is settling",
        "NOPE-USDT-PERP": "binance perp lists no such symbol",
    }


def test_the_starter_universe_is_the_markets_own() -> None:
    chosen = plan.choose(BINANCE_PERP, PERPS, "starter", ())
    assert [item.symbol for item in chosen.instruments] == ["BTC-USDT-PERP", "ETH-USDT-PERP"]
    assert {symbol for symbol, _ in chosen.left_out} == {"SOL-USDT-PERP", "DOGE-USDT-PERP", "ADA-USDT-PERP"}


def test_streams_are_named_by_the_exchange_and_sorted_by_route() -> None:
    routes = plan.topics(BINANCE_PERP, [PERPS.by_symbol["BTC-USDT-PERP"]], ("trades", "depth", "quotes"))
    assert routes == {
        "public": {
            "btcusdt@depth@100ms": Topic("depth", "BTC-USDT-PERP"),
            "btcusdt@bookTicker": Topic("quotes", "BTC-USDT-PERP"),
        },
        "market": {"btcusdt@aggTrade": Topic("trades", "BTC-USDT-PERP")},
    }
    spot = [instrument("BTC", market="spot")]
    by_default = {topic.channel for topic in plan.topics(BINANCE_SPOT, spot, ())[""].values()}
    assert by_default == {name for name, channel in BINANCE_SPOT.channels.items() if channel.default}
    assert "fills" not in by_default


def test_a_stream_of_the_whole_market_is_asked_for_once() -> None:
    whole = Channel("liquidations", ("liquidation",), lambda _: "!forceOrder@arr", lambda *_: (), per_symbol=False)
    some = Channel("index", ("ticker",), lambda name: "btc@index" if name == "BTCUSDT" else "", lambda *_: ())
    market = replace(BINANCE_PERP, channels={"liquidations": whole, "index": some})
    both = list(PERPS.by_symbol.values())
    assert len(both) > 1
    wanted = {"!forceOrder@arr": Topic("liquidations", "_all"), "btc@index": Topic("index", "BTC-USDT-PERP")}
    assert plan.topics(market, both, ()) == {"": wanted}
    assert plan.topics(market, both, ("liquidations",), {"!forceOrder@arr"}) == {}


@pytest.mark.parametrize(
    ("streams", "most", "sizes"), [(10, 10, [10]), (11, 10, [5, 6]), (25, 10, [8, 8, 9]), (1, 5, [1])]
)
def test_connections_are_filled_evenly_within_the_limit(streams: int, most: int, sizes: list[int]) -> None:
    market = replace(BINANCE_PERP, limits=replace(BINANCE_PERP.limits, streams_per_connection=most))
    routes = {"market": {f"s{n}": Topic("trades", f"S{n}-USDT-PERP") for n in range(streams)}, "public": {}}
    planned = plan.connections(market, routes)
    assert [len(item.streams) for item in planned] == sizes
    assert [name for item in planned for name in item.streams] == [f"s{n}" for n in range(streams)]
    assert {item.route for item in planned} == {"market"}


def test_polls_follow_the_channels() -> None:
    assert [poll.name for poll in plan.polls(BINANCE_PERP, ("open_interest", "trades"))] == ["open_interest"]
    assert plan.polls(BINANCE_PERP, ("trades",)) == []
