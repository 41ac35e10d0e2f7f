"""Which streams and polls there are of what is collected."""

from __future__ import annotations

from dataclasses import replace

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


def test_polls_follow_the_channels() -> None:
    assert [poll.name for poll in plan.polls(BINANCE_PERP, ("open_interest", "trades"))] == ["open_interest"]
    assert plan.polls(BINANCE_PERP, ("trades",)) == []
