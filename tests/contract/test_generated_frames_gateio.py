"""Generated Gate.io frames: of the same form as recorded ones, and read by the parsers as the ledger has them."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.extra_frames import extra_frames
from tests.gateio_recorded import books, instruments, received
from tests.generated_frames import Book, Played, assert_answered, assert_is_the_ledger, form, played_market
from tests.generated_market import NOW_US, SECOND_US, get

SECONDS = 65
ASSETS = ("BTC", "PEPE", "ADA")
KINDS = {
    "spot": {"trade", "book_change", "quote", "candle_update", "candle", "ticker"},
    "perp": {"trade", "book_change", "quote", "candle_update", "candle", "ticker", "index_price", "funding_rate"}
    | {"open_interest", "liquidation"},
}


@pytest.fixture(scope="module", params=["spot", "perp"])
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """A market heard for a minute, with its ledger."""
    folder = tmp_path_factory.mktemp(request.param)
    return played_market(folder, "gateio", request.param, SECONDS, symbols=ASSETS, events_per_s=60.0)


def test_records_equal_the_ledger_and_every_kind_is_of_every_symbol(played: Played) -> None:
    _, listener, _ = played
    assert_is_the_ledger(played, KINDS[listener.venue.market])


def test_every_declared_endpoint_is_answered_for_every_symbol(played: Played) -> None:
    _, listener, _ = played
    for poll in listener.declared.polls.values():
        for symbol in listener.listing.by_symbol:
            assert_answered(listener, poll, symbol)


def test_a_book_from_rest_and_stream_is_the_exchanges_own(played: Played) -> None:
    """The snapshot of the beginning, carried on by the changes, is the snapshot that the end is answered with."""
    _, listener, heard = played
    poll = listener.declared.book_snapshot
    assert poll is not None
    for symbol, changes in heard.books.items():
        (snapshot,) = listener.ask(poll, symbol)
        book = Book(listener.declared, snapshot)
        for change in changes:
            book.take(change)
        (final,) = listener.ask(poll, symbol, changes[-1].timestamp + 999)  # the frame's time is cut to whole ms
        assert final.sequence == book.sequence
        # On spot the stream tells of every level, on futures of the hundred that the snapshot has.
        count = 20 if listener.venue.market == "spot" else 1_000
        assert book.best(count) == Book(listener.declared, final).best(count)


def test_candles_trades_and_history_agree(played: Played) -> None:
    """Trades told on the stream are those of the history; a closed minute is their sum there as here."""
    _, listener, heard = played
    spot = listener.venue.market == "spot"
    base, name = ("/api/v4/spot", "currency_pair") if spot else ("/api/v4/futures/usdt", "contract")
    end_us = NOW_US + SECONDS * SECOND_US
    for one in listener.listing.by_symbol.values():
        query = {name: one.exchange_symbol}
        rows = get(listener.venue, f"{base}/trades", end_us, limit=1000, **query, **{"from": NOW_US // SECOND_US})
        told = [item for item in heard.records["trade"] if item.symbol == one.symbol]
        assert {item.trade_id for item in told} <= {str(row["id"]) for row in rows}
        minute = NOW_US // (60 * SECOND_US) * 60 + 60
        between = {"from": minute, "to": minute + 59}
        (rows, candles) = (
            get(listener.venue, f"{base}/trades", end_us + 60 * SECOND_US, limit=1000, **query, **between),
            get(listener.venue, f"{base}/candlesticks", end_us + 60 * SECOND_US, interval="1m", **query, **between),
        )
        (candle,) = candles
        prices = [Decimal(row["price"]) for row in rows[::-1]]
        if spot:
            sizes = [Decimal(row["amount"]) for row in rows]
            assert [Decimal(candle[place]) for place in (5, 3, 4, 2)] == [
                prices[0],
                max(prices),
                min(prices),
                prices[-1],
            ]
            assert (Decimal(candle[6]), candle[7]) == (sum(sizes), "true")
        else:
            assert [Decimal(candle[key]) for key in "ohlc"] == [prices[0], max(prices), min(prices), prices[-1]]
            assert candle["v"] == sum(abs(row["size"]) for row in rows)


FUTURES_2026 = {
    "futures.tickers": "futures.tickers:BTC_USDT",
    "futures.candlesticks 1m": "futures.candlesticks:1m:BTC_USDT",
    "futures.trades": "futures.trades:BTC_USDT",
}
SPOT_2026 = {"spot.candlesticks 1m": "spot.candlesticks:1m:BTC_USDT"}


def test_frames_are_those_of_2026(played: Played, recordings: Path) -> None:
    """Same keys in the same order, the same kinds of values, as many digits in prices."""
    _, listener, heard = played
    recorded = {
        extra.session: extra.data
        for extra in extra_frames(recordings, "gateio")
        if not extra.sent and extra.data["event"] == "update"
    }
    for session, stream in (SPOT_2026 if listener.venue.market == "spot" else FUTURES_2026).items():
        assert form(json.loads(heard.frames[stream][0])) == form(recorded[session]), session
    if listener.venue.market == "perp":
        ours = json.loads(heard.frames["futures.tickers:BTC_USDT"][0])["result"][0]
        theirs = recorded["futures.tickers"]["result"][0]
        for key in ("last", "mark_price", "index_price", "low_24h", "high_24h", "change_price", "change_percentage"):
            assert len(ours[key].partition(".")[2]) == len(theirs[key].partition(".")[2]), key


ADDED = {
    "spot.trades": {"id_market", "range"},
    "futures.order_book_update": {"l"},
    "spot.order_book_update": set(),
    "spot.tickers": set(),
    "futures.book_ticker": set(),
}
"""Keys that have come since the sessions of 2021 and 2023."""


def test_frames_differ_from_the_recorded_sessions_only_by_name(played: Played, recordings: Path) -> None:
    _, listener, heard = played
    market = listener.venue.market
    compared = set()
    for frame in received(recordings, market):
        channel = frame.data["channel"]
        if frame.data["event"] != "update" or channel in compared or channel not in ADDED:
            continue
        theirs = frame.data["result"]
        if not all(theirs.get(side, True) for side in "ab"):
            continue  # an empty side shows nothing of its levels
        compared.add(channel)
        for body in heard.frames[f"{channel}:BTC_USDT"]:
            ours = json.loads(body)["result"]
            if all(ours.get(side, True) for side in "ab"):
                break
        mine, known = dict(form(ours)), dict(form(theirs))
        assert mine.keys() - known.keys() == ADDED[channel], channel
        assert {key: mine[key] for key in known} == known, channel
    assert compared == {channel for channel in ADDED if channel.startswith("spot" if market == "spot" else "futures")}


def test_answers_differ_from_the_recorded_ones_only_by_name(played: Played, recordings: Path) -> None:
    _, listener, _ = played
    market, venue = listener.venue.market, listener.venue
    path = "/api/v4/spot/order_book" if market == "spot" else "/api/v4/futures/usdt/order_book"
    named = {"currency_pair" if market == "spot" else "contract": "BTC_USDT"}
    ours = dict(form(get(venue, path, with_id="true", limit=100, **named)))
    theirs = dict(form(json.loads(books(recordings, market)[0][2])))
    assert {**ours, "current": "number", "update": "number"} == {**theirs, "current": "number", "update": "number"}
    assert "id" not in get(venue, path, **named)
    rows = json.loads(instruments(recordings, market))
    known = dict(form(rows[0]))
    mine = dict(
        form(get(venue, "/api/v4/spot/currency_pairs" if market == "spot" else "/api/v4/futures/usdt/contracts")[0])
    )
    added: dict[str, set[str]] = {
        "spot": {"base_name", "quote_name", "min_base_amount", "delisting_time", "type", "trade_url", "st_tag"},
        "perp": {"enable_decimal", "launch_time", "status"},
    }
    assert mine.keys() - known.keys() == added[market]
    assert {key: mine[key] for key in known} == known


def test_ids_follow_each_other_without_a_hole(played: Played) -> None:
    _, listener, heard = played
    for symbol in listener.listing.by_symbol:
        trades: list[Any] = [item for item in heard.records["trade"] if item.symbol == symbol]
        for before, after in pairwise(trades):
            first = after.sequence if after.first_trade_id is None else after.first_trade_id
            assert first == before.sequence + 1
