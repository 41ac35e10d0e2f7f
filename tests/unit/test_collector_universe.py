"""Which instruments are collected: universes, patterns, named symbols, and what becomes of those that end."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.errors import SettingsError
from schemas.records import Instrument
from services.collector.consulted import consulted
from services.collector.service import pick, universe_of
from services.collector.settings import CollectorSettings
from services.collector.universe import Catalogue, Universe, UniverseName, market_of, pattern
from services.shared.exchanges.declaration import Listing, Market
from services.shared.exchanges.registry import MARKETS


def instrument(
    name: str, *, exchange: str = "binance", status: str = "trading", asset: str | None = None
) -> Instrument:
    """One of ours by its symbol: `BTC-USDT`, `BTC-USDT-PERP`, `BTC-USD-261225`."""
    base, quote, *rest = name.split("-")
    return Instrument(
        exchange=exchange,
        market=market_of(name),
        symbol=name,
        timestamp=1,
        timestamp_source="received",
        received_at=1,
        source="live",
        exchange_symbol="".join((base, quote, *(part for part in rest if part != "PERP"))),
        base=base,
        quote=quote,
        asset=asset or base,
        multiplier="1",
        status=status,
    )


def universe(name: UniverseName, *items: Instrument, **values: Any) -> Universe:
    """A universe that has read the lists of every market, with these instruments."""
    made = universe_of(CollectorSettings.load(universe=name, exchanges=("binance", "okx", "gateio"), **values))
    learn(made, *items)
    return made


def learn(made: Universe, *items: Instrument) -> dict[tuple[str, str], bool]:
    lists: dict[tuple[str, str], list[Instrument]] = {key: [] for key in MARKETS}
    for item in items:
        lists[item.exchange, item.market].append(item)
    return {key: made.learn(key, Listing(found)) for key, found in lists.items()}


def chosen(made: Universe, *collected: str) -> set[str]:
    """What is chosen, of all markets, as `exchange:symbol`."""
    return {
        f"{item.exchange}:{item.symbol}"
        for market in MARKETS.values()
        for item in made.choose(market, collected).instruments
    }


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
    assert market_of(symbol) == market


PERPS = [
    instrument("BTC-USDT-PERP"),
    instrument("ETH-USDT-PERP"),
    instrument("OLD-USDT-PERP", status="settling"),
    instrument("BTC-USDC-PERP"),
    instrument("BTC-USDT"),
]
PERP = MARKETS["binance", "perp"]


def test_the_universe_of_usdt_perpetuals_is_what_trades() -> None:
    made = universe("all-usdt-perpetuals", *PERPS, instrument("XRP-USDT-PERP", exchange="okx"))
    assert chosen(made) == {"binance:BTC-USDT-PERP", "binance:ETH-USDT-PERP", "okx:XRP-USDT-PERP"}
    assert made.choose(PERP).left_out == ()


def test_symbols_that_cannot_be_collected_are_named_with_the_reason() -> None:
    wanted = ("BTC-USDT-PERP", "OLD-USDT-PERP", "BTC-USDT", "NOPE-USDT-PERP", "BTC-USDT-PERP")
    found = universe("starter", *PERPS, symbols=wanted).choose(PERP)
    assert [item.symbol for item in found.instruments] == ["BTC-USDT-PERP"]
    assert dict(found.left_out) == {
        "OLD-USDT-PERP": "its status is settling",
        "NOPE-USDT-PERP": "binance perp lists no such symbol",
    }


def test_named_symbols_may_be_an_exchanges_own_and_replace_universe_and_patterns() -> None:
    wanted = ("binance.perp:ETHUSDT", "binance.spot:BTCUSDT", "okx.perp:BTCUSDT")
    made = universe("all-usdt-perpetuals", *PERPS, symbols=wanted, include=("*:*",), exclude=("*:*",))
    assert chosen(made) == {"binance:ETH-USDT-PERP", "binance:BTC-USDT"}


def test_the_starter_universe_is_the_markets_own() -> None:
    found = universe("starter", *PERPS).choose(PERP)
    assert [item.symbol for item in found.instruments] == ["BTC-USDT-PERP", "ETH-USDT-PERP"]
    assert {symbol for symbol, _ in found.left_out} == {"SOL-USDT-PERP", "DOGE-USDT-PERP", "ADA-USDT-PERP"}


THREE = [
    instrument("BTC-USDT-PERP"),
    instrument("BTC-EUR"),
    instrument("1000PEPE-USDC-PERP", asset="PEPE"),
    instrument("LONE-USDT"),
    instrument("GONE-USDT"),
    instrument("BTC-USDC", exchange="okx"),
    instrument("BTC-USDT-261225", exchange="okx"),
    instrument("GONE-USDT", exchange="okx", status="suspend"),
    instrument("SOLE-USDT-PERP", exchange="okx"),
    instrument("PEPE-USDT", exchange="gateio"),
]


def test_arbitrage_is_every_pair_and_perpetual_whose_asset_two_exchanges_list() -> None:
    assert chosen(universe("arbitrage", *THREE)) == {
        "binance:BTC-USDT-PERP",
        "binance:BTC-EUR",
        "binance:1000PEPE-USDC-PERP",  # the same asset as PEPE, a thousand at a time
        "okx:BTC-USDC",
        "gateio:PEPE-USDT",
        "okx:SOLE-USDT-PERP",  # every USDT perpetual is in it, whoever else lists the asset
    }


def test_a_list_says_when_it_changes_what_is_chosen_of_other_markets() -> None:
    made = universe_of(CollectorSettings.load(universe="arbitrage", exchanges=("binance", "okx")))
    pair = [instrument("LONE-USDT")]
    assert not made.learn(("binance", "spot"), Listing(pair))
    assert made.choose(MARKETS["binance", "spot"]).instruments == ()
    assert made.learn(("okx", "spot"), Listing([instrument("LONE-EUR", exchange="okx")]))
    assert list(made.choose(MARKETS["binance", "spot"]).instruments) == pair
    assert not made.learn(("okx", "perp"), Listing([instrument("LONE-USDT-PERP", exchange="okx")]))
    assert not made.learn(("okx", "spot"), Listing()), "its perpetual is listed still"
    assert made.learn(("okx", "perp"), Listing())
    assert made.choose(MARKETS["binance", "spot"]).instruments == ()


def test_arbitrage_needs_two_exchanges_and_reads_the_lists_of_those_it_only_compares() -> None:
    alone = CollectorSettings.load(universe="arbitrage", exchanges=("binance",))
    with pytest.raises(SettingsError, match=r"TAPELINE_COLLECTOR_UNIVERSE is 'arbitrage'.*TAPELINE_COLLECTOR_COMPARE"):
        universe_of(alone)
    compared = CollectorSettings.load(
        universe="arbitrage", exchanges=("binance",), markets=("perp",), compare=("okx", "binance")
    )
    universe_of(compared)
    picked = pick(compared, MARKETS)

    def keys(markets: list[Market]) -> set[str]:
        return {f"{market.exchange}.{market.market}" for market in markets}

    assert keys(picked) == {"binance.perp"}
    assert keys(consulted(compared, MARKETS, picked)) == {"binance.spot", "okx.spot", "okx.perp"}
    assert consulted(CollectorSettings.load(compare=("okx",)), MARKETS, picked) == []


def test_patterns_add_to_a_universe_and_take_from_it() -> None:
    added = universe(
        "none", *PERPS, *THREE, include=("binance.perp:BTC-USDC-PERP", "okx.future:BTC-*", "*.spot:PEPEUSDT")
    )
    assert chosen(added) == {"binance:BTC-USDC-PERP", "okx:BTC-USDT-261225", "gateio:PEPE-USDT"}
    items = (*PERPS, *THREE, instrument("1000SHIB-USDT-PERP", asset="SHIB"))
    less = universe("all-usdt-perpetuals", *items, include=("binance.spot:*",), exclude=("*:1000*", "okx.*:*"))
    assert chosen(less) == {f"binance:{name}-USDT-PERP" for name in ("BTC", "ETH")} | {
        "binance:BTC-USDT",
        "binance:BTC-EUR",
        "binance:LONE-USDT",
        "binance:GONE-USDT",
    }
    some = universe("starter", *PERPS, exclude=("binance.perp:BTC*",)).choose(PERP)
    assert [item.symbol for item in some.instruments] == ["ETH-USDT-PERP"]


def test_patterns_that_name_nothing_are_told_once_every_list_is_known() -> None:
    texts = ("binance.perp:NOPE*", "*:BTC-*", "okx.perp:NOPE*")
    made = universe_of(CollectorSettings.load(include=texts[:2], exclude=texts[2:]))
    keys = [("binance", "perp"), ("binance", "spot")]
    made.learn(keys[0], Listing(PERPS[:-1]))
    assert made.unmatched(keys) == []
    made.learn(keys[1], Listing([]))
    assert [each.text for each in made.unmatched(keys)] == ["binance.perp:NOPE*"], "the other one is about okx"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("BTC-*", "'BTC-*' is not <exchange>.<market>:<symbol>, such as binance.perp:*-USDT-PERP"),
        ("binance.perp:", "is not <exchange>.<market>:<symbol>"),
        ("binance:BTC*", "'binance:BTC*' is about no market; there are binance.perp, binance.spot"),
        ("*.swap:BTC*", "is about no market"),
    ],
)
@pytest.mark.parametrize("field", ["include", "exclude"])
def test_a_wrong_pattern_stops_the_start(field: str, text: str, words: str) -> None:
    with pytest.raises(SettingsError) as raised:
        CollectorSettings.load(**{field: ("*:BTC*", text)})
    assert f"TAPELINE_COLLECTOR_{field.upper()}" in str(raised.value)
    assert words in str(raised.value)


def test_a_pattern_is_case_sensitive_and_matches_either_name() -> None:
    item = instrument("BTC-USDT-PERP")
    assert pattern("*:BTCUSDT", MARKETS).matches(item) and pattern("binance.*:BTC-*-PERP", MARKETS).matches(item)
    assert not pattern("*:btc*", MARKETS).matches(item) and not pattern("okx.*:BTC*", MARKETS).matches(item)


def test_a_halt_ends_nothing_that_is_collected_an_end_does() -> None:
    halted = universe("all-usdt-perpetuals", instrument("BTC-USDT-PERP", status="halt"))
    assert chosen(halted) == set()
    assert chosen(halted, "BTC-USDT-PERP") == {"binance:BTC-USDT-PERP"}
    ended = universe("all-usdt-perpetuals", instrument("BTC-USDT-PERP", status="settling"))
    assert chosen(ended, "BTC-USDT-PERP") == set()


def test_what_one_list_lacks_is_gone_when_the_next_one_lacks_it_too() -> None:
    made = Catalogue()
    both, one = [instrument("BTC-USDT-PERP"), instrument("ETH-USDT-PERP")], [instrument("BTC-USDT-PERP")]
    listed = []
    for found in (both, one, both, one, one, [], both):
        made.take(found)
        listed.append("".join(sorted(symbol[0] for symbol in made.listing.by_symbol)))
    assert listed == ["BE", "BE", "BE", "BE", "B", "B", "BE"]
