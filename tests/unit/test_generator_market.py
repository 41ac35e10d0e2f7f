"""The generated market is a pure function of seed, symbol and market time; its ids are those of one exchange."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from schemas.errors import SettingsError
from services.exchange_simulator.generator.binance_listings import listings
from services.exchange_simulator.generator.candles import MINUTE_US
from services.exchange_simulator.generator.market import EPOCH_US, Market, PriceProcess
from services.exchange_simulator.generator.names import MOST_ASSETS, Asset, Listing, assets
from services.exchange_simulator.generator.noise import Noise, wandering
from services.exchange_simulator.generator.statistics import Statistics
from tests.generated_market import NOW_US, SECOND_US, WIRE_SYMBOLS, build, messages, streams

DIGEST = """
import hashlib, sys
from pathlib import Path
from tests.generated_market import NOW_US, build, play, streams
venues = build(Path("."), seed=7)
digest = hashlib.sha256()
for market, route in (("spot", "/stream"), ("perp", "/public/stream"), ("perp", "/market/stream")):
    topics = ["depth@100ms", "bookTicker", "aggTrade", "kline_1m", "kline_1d", "ticker", "markPrice@1s", "forceOrder"]
    session = venues[market].connect(route, streams(["BTCUSDT", "ADAUSDT"], topics), NOW_US)
    for _, frame in play(session, NOW_US, 30):
        digest.update(frame)
    digest.update(venues[market].get("/api/v3/depth" if market == "spot" else "/fapi/v1/depth",
        {"symbol": "ETHUSDT", "limit": "100"}, NOW_US).body)
print(digest.hexdigest())
"""


def markets(seed: int = 1, count: int = 5, events_per_s: float = 400.0) -> list[Market]:
    chosen = assets(seed, count)
    processes = {asset.name: PriceProcess(asset, seed) for asset in chosen}
    return [Market(one, seed, processes[one.asset.name]) for one in listed(chosen, events_per_s)]


def listed(chosen: Sequence[Asset], events_per_s: float) -> list[Listing]:
    return [one for market in ("perp", "spot") for one in listings(market, chosen, events_per_s, NOW_US)]


def test_two_processes_say_the_same() -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        )
        digests.add(done.stdout)
    assert len(digests) == 1
    assert len(digests.pop().strip()) == 64


def test_another_seed_is_another_market(tmp_path: Path) -> None:
    def said(seed: int) -> list[object]:
        venue = build(tmp_path, seed=seed)["perp"]
        session = venue.connect("/public/stream", streams(["BTCUSDT"], ["bookTicker"]), NOW_US)
        return [data["b"] for _, data in messages(session, NOW_US, 3)]

    assert said(1) == said(1)
    assert said(1) != said(2)


def test_a_moment_is_the_same_whatever_was_asked_before() -> None:
    fresh, used = markets(), markets()
    chance = random.Random(3)
    for one, other in zip(fresh, used, strict=True):
        steps = [one.step_at(NOW_US - chance.randrange(10**12)) for _ in range(200)]
        answers = {step: (one.touch(step), list(one.trades_of_step(step)), one.last_update_id(step)) for step in steps}
        for step in sorted(steps):
            assert (other.touch(step), list(other.trades_of_step(step)), other.last_update_id(step)) == answers[step]


def test_steps_rise_and_are_found_by_their_time() -> None:
    for market in markets():
        first = market.step_at(NOW_US)
        times = [market.step_time(step) for step in range(first, first + 3 * market.shape.steps)]
        assert times == sorted(set(times))
        assert [market.step_at(time) for time in times] == list(range(first, first + 3 * market.shape.steps))
        assert market.step_at(times[5] - 1) == first + 4


def test_trades_are_at_the_touch_that_stood_and_in_order() -> None:
    shared_milliseconds = 0
    for market in markets():
        first = market.step_at(NOW_US)
        before = None
        for step in range(first, first + 20 * market.shape.steps):
            touch = market.touch(step - 1)
            for trade in market.trades_of_step(step):
                assert trade.ticks == (touch.ask if trade.buy else touch.bid)
                assert market.step_time(step - 1) <= trade.time_us < market.step_time(step)
                assert trade.steps == sum(trade.fills)
                assert min(trade.fills) > 0
                if before is not None:
                    assert trade.aggregate_id == before.aggregate_id + 1
                    hole = trade.first_id - before.last_id - 1
                    assert hole in ((0,) if market.listing.market == "spot" else (0, 1, 2))
                    assert trade.time_us >= before.time_us
                    shared_milliseconds += trade.time_us // 1000 == before.time_us // 1000
                before = trade
    assert shared_milliseconds > 100


def test_futures_trade_ids_have_one_hole_per_block_and_spot_none() -> None:
    for market in markets():
        block = market.block_at(NOW_US)
        ids = [
            trade.first_id + place
            for number in range(block * market.shape.trades, (block + 4) * market.shape.trades)
            for trade in [market.trade(number)]
            for place in range(len(trade.fills))
        ]
        span = range(block * market.shape.trade_ids, (block + 4) * market.shape.trade_ids)
        assert len(set(span) - set(ids)) == (4 if market.listing.market == "perp" else 0)
        assert set(ids) <= set(span)
        for fill_id in span:
            trade = market.trade(market.trade_of_fill(fill_id))
            assert trade.first_id <= fill_id <= trade.last_id or (fill_id not in ids and trade.first_id == fill_id + 1)


def test_trades_are_found_by_their_time() -> None:
    for market in markets():
        number = market.first_trade_from(NOW_US)
        for trade in (market.trade(number + place) for place in range(100)):
            found = market.trade(market.first_trade_from(trade.time_us))
            assert found.time_us == trade.time_us
            assert market.trade(found.aggregate_id - 1).time_us < trade.time_us


def test_update_ids_are_those_of_the_exchange() -> None:
    for market in markets():
        first = market.step_at(NOW_US)
        for step in range(first, first + 3 * market.shape.steps):
            before, begins, ends = (
                market.last_update_id(step - 1),
                market.first_update_id(step),
                market.last_update_id(step),
            )
            if market.listing.market == "spot":
                assert begins == before + 1
                assert begins <= ends <= begins + 5
            else:
                assert before < begins <= ends


def test_futures_ids_jump() -> None:
    market = next(one for one in markets() if one.listing.market == "perp")
    first = market.step_at(NOW_US)
    jumps = [market.first_update_id(step) > market.last_update_id(step - 1) + 1 for step in range(first, first + 200)]
    assert sum(jumps) > 190


def test_spot_and_perpetual_of_an_asset_share_one_price() -> None:
    by_asset: dict[str, list[Market]] = {}
    for market in markets():
        by_asset.setdefault(market.listing.asset.name, []).append(market)
    for perp, spot in by_asset.values():
        prices = [(perp.price_at(NOW_US + n * 10**9), spot.price_at(NOW_US + n * 10**9)) for n in range(50)]
        assert all(abs(a / b - 1) < 1e-3 for a, b in prices)
        assert max(a for a, _ in prices) / min(a for a, _ in prices) > 1.001


def test_noise_is_smooth_and_bounded() -> None:
    noise = Noise(5, wandering(1e-4, 10, 86_400))
    values = [noise.at(NOW_US + n * 10_000) for n in range(2000)]
    assert max(abs(a - b) for a, b in pairwise(values)) < 1e-5
    assert max(map(abs, values)) < 0.1
    assert noise.at(NOW_US) == Noise(5, wandering(1e-4, 10, 86_400)).at(NOW_US)


def test_a_thousand_assets_are_listed_with_digits_that_fit() -> None:
    chosen = assets(1, MOST_ASSETS)
    found = listed(chosen, 50_000.0)
    assert [one.wire_symbol for one in found if one.market == "perp"][:5] == list(WIRE_SYMBOLS)
    assert len({(one.market, one.symbol) for one in found}) == 2 * MOST_ASSETS
    rates = [one.events_per_s for one in found]
    assert sum(rates) == pytest.approx(50_000.0, rel=0.01)
    assert max(rates) > 50 * min(rates)
    for one in found:
        tick, step = Decimal(one.tick_size), Decimal(one.step_size)
        assert tick == Decimal(one.tick_units).scaleb(-one.price_digits)
        assert step == Decimal(one.step_units).scaleb(-one.quantity_digits)
        assert tick * step >= Decimal("1E-8") or one.market == "perp"
        assert 300 < one.base_ticks < 20_000_000


def test_thousands_are_in_the_name() -> None:
    found = {(one.market, one.symbol): one for one in listed(assets(1, 20), 100.0)}
    pepe: Listing = found["perp", "1000PEPE-USDT-PERP"]
    assert (pepe.wire_symbol, pepe.multiplier, pepe.base) == ("1000PEPEUSDT", 1000, "1000PEPE")
    assert ("spot", "PEPE-USDT") in found


def test_quiet_listings_are_no_slower_than_said() -> None:
    assert min(one.events_per_s for one in listed(assets(1, 200), 1.0)) == 0.3


def test_the_quietest_listing_is_traded_and_somebody_liquidated_in_every_half_minute() -> None:
    market = markets(count=200, events_per_s=1.0)[-1]
    since = EPOCH_US + (NOW_US - EPOCH_US) // MINUTE_US * MINUTE_US
    first, last = (market.first_trade_from(time_us) for time_us in (since, since + 30 * MINUTE_US))
    trades = [market.trade(number).time_us for number in range(first, last)]
    assert len(trades) == 4 * 30
    assert max(later - at for at, later in pairwise(trades)) < 30.1 * SECOND_US
    statistics = Statistics(market)
    slot = since // statistics.slot_us
    orders = [statistics.liquidation(slot + number).time_us for number in range(60)]
    assert [(at - since) // (MINUTE_US // 2) for at in orders] == list(range(60))


@pytest.mark.parametrize("symbols", [("0",), ("1001",), ("BTC", "NOSUCHCOIN")])
def test_wrong_symbols_are_refused_by_name(tmp_path: Path, symbols: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError, match=symbols[-1]):
        build(tmp_path, symbols=symbols)


def test_named_assets_are_the_same_as_counted_ones(tmp_path: Path) -> None:
    assert list(build(tmp_path, symbols=("ETH", "PEPE"))["perp"].symbols()) == ["ETHUSDT", "1000PEPEUSDT"]
    assert list(build(tmp_path, symbols=("2",))["spot"].symbols()) == ["BTCUSDT", "ETHUSDT"]


def test_the_mix_is_that_of_the_recorded_session(tmp_path: Path) -> None:
    venue = build(tmp_path, symbols=("4",), events_per_s=120.0)["perp"]
    counts = {"depth@100ms": 0, "bookTicker": 0, "aggTrade": 0, "kline_1m": 0}
    levels = 0
    for route, topics in (("public", ["depth@100ms", "bookTicker"]), ("market", ["aggTrade", "kline_1m"])):
        session = venue.connect(f"/{route}/stream", streams(venue.symbols(), topics), NOW_US)
        for stream, data in messages(session, NOW_US, 60):
            counts[stream.split("@", 1)[1]] += 1
            levels += len(data["b"]) + len(data["a"]) if "depth" in stream else 0
        session.close(NOW_US + 60 * SECOND_US)
    total = sum(counts.values())
    shares = {topic: count / total for topic, count in counts.items()}
    assert shares == pytest.approx(
        {"depth@100ms": 0.50, "bookTicker": 0.40, "aggTrade": 0.06, "kline_1m": 0.04}, abs=0.02
    )
    assert levels / counts["depth@100ms"] == pytest.approx(8.2, abs=1.5)
    assert total / 60 == pytest.approx(120.0 * 2 / 3, rel=0.15)
