"""A REST snapshot rolled forward by the streamed changes is the book at any later id, by the exchange's own rules."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.exchange_simulator.generator.book import Book as GeneratedBook
from tests.generated_market import NOW_US, SECOND_US, WIRE_SYMBOLS, Book, build, get, messages, streams
from tests.unit.test_generator_market import markets

PREFIX = {"spot": "/api/v3", "perp": "/fapi/v1"}
ROUTE = {"spot": "/stream", "perp": "/public/stream"}
MOST = {"spot": 5000, "perp": 1000}


def test_snapshot_and_changes_give_every_later_snapshot() -> None:
    chance = random.Random(11)
    for market in markets(count=20, events_per_s=600.0):
        step = market.step_at(NOW_US - chance.randrange(10**13))
        book = GeneratedBook(market)
        start = book.snapshot(step, 1000)
        bids, asks = dict(start.bids), dict(start.asks)
        lowest, highest = start.bids[-1][0], start.asks[-1][0]
        walker = book.walker(step)
        for _ in range(300):
            change = walker.advance()
            for side, levels in ((bids, change.bids), (asks, change.asks)):
                for ticks, steps in levels:
                    if steps:
                        side[ticks] = steps
                    else:
                        side.pop(ticks, None)
            assert max(bids) < min(asks)
            assert (max(bids), min(asks)) == (change.touch.bid, change.touch.ask)
            if chance.random() < 0.1:
                later = book.snapshot(walker.step, 400)
                held = sorted(((t, q) for t, q in bids.items() if t >= lowest), reverse=True)[:400]
                assert held == [level for level in later.bids if level[0] >= lowest]
                held = sorted((t, q) for t, q in asks.items() if t <= highest)[:400]
                assert held == [level for level in later.asks if level[0] <= highest]


def test_changes_are_only_what_changed() -> None:
    for market in markets():
        book = GeneratedBook(market)
        walker, repeated = book.walker(market.step_at(NOW_US)), 0
        after = book.snapshot(walker.step, 600)
        for _ in range(200):
            before, change = after, walker.advance()
            after = book.snapshot(walker.step, 600)
            for was, now, said, sign in (
                (before.bids, after.bids, change.bids, 1),
                (before.asks, after.asks, change.asks, -1),
            ):
                reach = max(sign * was[-1][0], sign * now[-1][0])
                held, holds = dict(was), dict(now)
                changed = {
                    ticks: holds.get(ticks, 0)
                    for ticks in held.keys() | holds.keys()
                    if sign * ticks >= reach and held.get(ticks) != holds.get(ticks)
                }
                stated = {ticks: steps for ticks, steps in said if sign * ticks >= reach}
                if stated != changed:
                    assert change.asks == []
                    assert change.bids == [(change.touch.bid, change.touch.bid_steps)]
                    repeated += 1
        assert repeated < 40


@pytest.mark.parametrize("market", ["spot", "perp"])
def test_a_client_that_syncs_by_the_exchanges_rules_has_the_exchanges_book(tmp_path: Path, market: str) -> None:
    venue = build(tmp_path)[market]
    session = venue.connect(ROUTE[market], streams(WIRE_SYMBOLS, ["depth@100ms", "bookTicker"]), NOW_US)
    asked_us = NOW_US + 2_345_678
    taken = {
        symbol: get(venue, f"{PREFIX[market]}/depth", asked_us, symbol=symbol, limit=MOST[market])
        for symbol in WIRE_SYMBOLS
    }
    books = {symbol: Book(depth) for symbol, depth in taken.items()}
    last = {symbol: depth["lastUpdateId"] for symbol, depth in taken.items()}
    synced: dict[str, int] = {}
    quotes = 0
    quoted: dict[str, dict[str, Any]] = {}
    for stream, data in messages(session, NOW_US, 60):
        symbol = data["s"]
        if stream.endswith("bookTicker"):
            quoted[symbol] = data
            continue
        if market == "spot":
            if data["u"] <= last[symbol]:
                continue
            assert data["U"] == synced.get(symbol, last[symbol]) + 1
        else:
            if data["u"] < last[symbol]:
                continue
            if symbol in synced:
                assert data["pu"] == synced[symbol]
            else:
                assert data["U"] <= last[symbol] <= data["u"] or data["pu"] == last[symbol]
        synced[symbol] = data["u"]
        books[symbol].apply(data)
        bid, bid_quantity, ask, ask_quantity = books[symbol].best()
        assert bid < ask
        quote = quoted.get(symbol)
        if quote is not None and quote["u"] == data["u"]:
            assert (bid, bid_quantity) == (Decimal(quote["b"]), Decimal(quote["B"]))
            assert (ask, ask_quantity) == (Decimal(quote["a"]), Decimal(quote["A"]))
            quotes += 1
    assert set(synced) == set(WIRE_SYMBOLS)
    assert quotes > 1000
    later_us = NOW_US + 60 * SECOND_US
    for symbol in WIRE_SYMBOLS:
        later = get(venue, f"{PREFIX[market]}/depth", later_us, symbol=symbol, limit=500)
        assert later["lastUpdateId"] >= synced[symbol]
        if later["lastUpdateId"] == synced[symbol]:
            fresh = Book(later)
            assert {p: q for p, q in books[symbol].bids.items() if p >= min(fresh.bids)} == fresh.bids
            assert {p: q for p, q in books[symbol].asks.items() if p <= max(fresh.asks)} == fresh.asks


@pytest.mark.parametrize("market", ["spot", "perp"])
def test_depth_gives_as_many_levels_as_asked_for(tmp_path: Path, market: str) -> None:
    venue = build(tmp_path)[market]
    for limit in (5, 100, MOST[market]):
        depth = get(venue, f"{PREFIX[market]}/depth", symbol="BTCUSDT", limit=limit)
        prices = [[Decimal(price) for price, _ in depth[side]] for side in ("bids", "asks")]
        assert [len(side) for side in prices] == [limit, limit]
        assert prices[0] == sorted(set(prices[0]), reverse=True)
        assert prices[1] == sorted(set(prices[1]))
        assert prices[0][0] < prices[1][0]
        assert all(Decimal(quantity) > 0 for side in ("bids", "asks") for _, quantity in depth[side])


def test_books_that_reach_down_to_nothing_end_there(tmp_path: Path) -> None:
    venue = build(tmp_path, symbols=("PEPE",))["spot"]
    depth = get(venue, "/api/v3/depth", symbol="PEPEUSDT", limit=5000)
    assert Decimal(depth["bids"][-1][0]) > 0
    assert len(depth["bids"]) < 5000 == len(depth["asks"])
