"""The recorded Binance sessions through the whole pipeline: every row equal to its frame, value by value."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests import recorded
from tests.pipeline import at_rest, run_pipeline
from tests.recorded import Frame, canonical, micros, number

EXACT = "SETTINGS output_format_json_quote_decimals = 1"
SESSIONS = {"perp": "BINANCE_FUTURES", "spot": "BINANCE"}


@pytest.fixture(scope="module")
def replayed(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory after `tapeline up --replay ... --until-drained`, at rest."""
    data = tmp_path_factory.mktemp("replay") / "data"
    with run_pipeline(data, "--replay", str(recordings), "--exchanges", "binance", "--until-drained") as pipeline:
        assert pipeline.wait() == 0, pipeline.log()[-6000:]
    return data


def rows(data: Path, table: str, market: str) -> list[dict[str, Any]]:
    return at_rest(data, f"SELECT * FROM tapeline.{table} WHERE market = '{market}' {EXACT}")


def of(recordings: Path, market: str, channel: str) -> list[Frame]:
    return [frame for frame in recorded.frames(recordings, SESSIONS[market]) if frame.channel == channel]


def levels(value: list[list[str]]) -> list[tuple[Decimal, ...]]:
    return [tuple(Decimal(part) for part in level) for level in value]


def in_order(found: list[dict[str, Any]], *keys: str) -> list[dict[str, Any]]:
    return sorted(found, key=lambda row: [str(row[key]) if isinstance(row[key], str) else row[key] for key in keys])


def test_the_counts_of_the_futures_session(replayed: Path, recordings: Path) -> None:
    counted = {
        table: len(rows(replayed, table, "perp"))
        for table in ("trades", "quotes", "candle_updates", "candles", "book_deltas")
    }
    assert counted == {"trades": 91, "quotes": 613, "candle_updates": 67, "candles": 4, "book_deltas": 764}
    assert sum(row["in_step"] for row in rows(replayed, "book_deltas", "perp")) == 752


def test_the_counts_of_the_spot_session(replayed: Path) -> None:
    counted = {
        table: len(rows(replayed, table, "spot")) for table in ("trades", "quotes", "candle_updates", "book_deltas")
    }
    assert counted == {"trades": 2, "quotes": 84, "candle_updates": 2, "book_deltas": 177}
    assert sum(row["in_step"] for row in rows(replayed, "book_deltas", "spot")) == 172


@pytest.mark.parametrize("market", SESSIONS)
def test_every_trade_equals_its_frame(replayed: Path, recordings: Path, market: str) -> None:
    found = {(row["symbol"], row["trade_id"]): row for row in rows(replayed, "trades", market)}
    sent = of(recordings, market, recorded.TRADE)
    assert len(found) == len(sent)
    for frame in sent:
        data = frame.data
        row = found[canonical(frame.symbol, market), str(data["a"])]
        assert number(row["price"]) == number(data["p"])
        assert number(row["quantity"]) == number(data["q"])
        assert row["side"] == ("sell" if data["m"] else "buy")
        assert row["timestamp"] == micros(data["T"])
        assert row["timestamp_source"] == "match"
        assert row["sent_at"] == micros(data["E"])
        assert (row["sequence"], row["first_trade_id"], row["last_trade_id"]) == (data["a"], data["f"], data["l"])
        assert row["trade_count"] == data["l"] - data["f"] + 1
        assert (row["exchange"], row["source"]) == ("binance", "live")


@pytest.mark.parametrize("market", SESSIONS)
def test_every_quote_equals_its_frame(replayed: Path, recordings: Path, market: str) -> None:
    found = {(row["symbol"], row["sequence"]): row for row in rows(replayed, "quotes", market)}
    sent = of(recordings, market, recorded.QUOTE)
    assert len(found) == len(sent)
    for frame in sent:
        data = frame.data
        row = found[canonical(frame.symbol, market), data["u"]]
        for column, key in (("bid_price", "b"), ("bid_quantity", "B"), ("ask_price", "a"), ("ask_quantity", "A")):
            assert number(row[column]) == number(data[key])
        if market == "perp":
            assert (row["timestamp"], row["timestamp_source"]) == (micros(data["T"]), "match")
            assert row["sent_at"] == micros(data["E"])
        else:
            assert (row["timestamp"], row["timestamp_source"]) == (row["received_at"], "received")
            assert row["sent_at"] is None


@pytest.mark.parametrize("market", SESSIONS)
def test_every_candle_update_equals_its_frame(replayed: Path, recordings: Path, market: str) -> None:
    found = {
        (row["symbol"], row["interval"], row["timestamp"], row["sent_at"]): row
        for row in rows(replayed, "candle_updates", market)
    }
    closed = {(row["symbol"], row["interval"], row["timestamp"]): row for row in rows(replayed, "candles", market)}
    sent = of(recordings, market, recorded.CANDLE)
    assert len(found) == len(sent)
    assert len(closed) == sum(frame.data["k"]["x"] for frame in sent)
    columns = {
        "open_price": "o",
        "high_price": "h",
        "low_price": "l",
        "close_price": "c",
        "volume": "v",
        "quote_volume": "q",
        "taker_buy_volume": "V",
        "taker_buy_quote_volume": "Q",
    }
    for frame in sent:
        candle = frame.data["k"]
        key = (canonical(frame.symbol, market), candle["i"], micros(candle["t"]))
        same = [found[*key, micros(frame.data["E"])]] + ([closed[key]] if candle["x"] else [])
        for row in same:
            for column, name in columns.items():
                assert number(row[column]) == number(candle[name])
            assert (row["trade_count"], row["closed"]) == (candle["n"], candle["x"])
            assert (row["first_trade_id"], row["last_trade_id"]) == (candle["f"], candle["L"])


@pytest.mark.parametrize("market", SESSIONS)
def test_every_book_change_equals_its_frame_and_says_truly_whether_it_is_in_step(
    replayed: Path, recordings: Path, market: str
) -> None:
    snapshots = {symbol: answer["lastUpdateId"] for symbol, answer in recorded.snapshots(recordings, SESSIONS[market])}
    found = {(row["symbol"], row["last_sequence"]): row for row in rows(replayed, "book_deltas", market)}
    sent = of(recordings, market, recorded.DEPTH)
    assert len(found) == len(sent)
    for frame in sent:
        data = frame.data
        row = found[canonical(frame.symbol, market), data["u"]]
        assert levels(row["bids"]) == [tuple(map(number, level)) for level in data["b"]]
        assert levels(row["asks"]) == [tuple(map(number, level)) for level in data["a"]]
        assert (row["first_sequence"], row["previous_sequence"]) == (data["U"], data.get("pu"))
        assert row["timestamp"] == micros(data["T"] if market == "perp" else data["E"])
        first = snapshots[frame.symbol]
        assert row["in_step"] == (data["u"] >= first if market == "perp" else data["u"] > first)


@pytest.mark.parametrize("market", SESSIONS)
def test_every_book_equals_a_book_kept_by_hand(replayed: Path, recordings: Path, market: str) -> None:
    """Snapshot plus changes, applied here with plain dictionaries; compared at the sequence of each stored book."""
    states: dict[tuple[str, int], tuple[list[tuple[Decimal, ...]], list[tuple[Decimal, ...]]]] = {}
    last_of_second: dict[tuple[str, int], int] = {}
    for symbol, answer in recorded.snapshots(recordings, SESSIONS[market]):
        bids = {number(price): number(quantity) for price, quantity in answer["bids"]}
        asks = {number(price): number(quantity) for price, quantity in answer["asks"]}
        for frame in of(recordings, market, recorded.DEPTH):
            if frame.symbol != symbol or frame.data["u"] < answer["lastUpdateId"] + (market == "spot"):
                continue
            for side, changes in ((bids, frame.data["b"]), (asks, frame.data["a"])):
                for price, quantity in changes:
                    if number(quantity):
                        side[number(price)] = number(quantity)
                    else:
                        side.pop(number(price), None)
            top = sorted(bids.items(), reverse=True)[:20], sorted(asks.items())[:20]
            name = canonical(symbol, market)
            states[name, frame.data["u"]] = top
            time = frame.data["T"] if market == "perp" else frame.data["E"]
            last_of_second[name, time // 1000] = frame.data["u"]
    found = {(row["symbol"], row["sequence"]): row for row in rows(replayed, "orderbooks", market)}
    # The last state of each second, no more and no fewer.
    assert set(found) == {(name, sequence) for (name, _), sequence in last_of_second.items()}
    for key, row in found.items():
        bids_then, asks_then = states[key]
        assert levels(row["bids"]) == bids_then
        assert levels(row["asks"]) == asks_then
        assert levels(row["bids"])[0][0] < levels(row["asks"])[0][0]


def test_nothing_was_refused_and_no_hole_is_on_record(replayed: Path) -> None:
    assert at_rest(replayed, "SELECT reason, subject FROM tapeline.dead_letters") == []
    assert at_rest(replayed, "SELECT * FROM tapeline.gap_detection_log") == []


def test_connections_and_instruments_are_on_record(replayed: Path) -> None:
    events = Counter(
        (row["market"], row["event"]) for row in at_rest(replayed, "SELECT market, event FROM tapeline.connections")
    )
    # Futures' market data is served on two routes, so by two connections.
    assert (events["perp", "opened"], events["perp", "subscribed"]) == (2, 2)
    assert (events["spot", "opened"], events["spot", "subscribed"]) == (1, 1)
    found = at_rest(
        replayed,
        "SELECT symbol, exchange_symbol, base, quote, asset, toString(multiplier) AS multiplier, "
        "toString(tick_size) AS tick FROM tapeline.instruments "
        "WHERE symbol IN ('SUSHI-USDT-PERP', '1000SHIB-USDT-PERP') ORDER BY symbol",
    )
    assert found == [
        {
            "symbol": "1000SHIB-USDT-PERP",
            "exchange_symbol": "1000SHIBUSDT",
            "base": "1000SHIB",
            "quote": "USDT",
            "asset": "SHIB",
            "multiplier": "1000",
            "tick": "0.000001",
        },
        {
            "symbol": "SUSHI-USDT-PERP",
            "exchange_symbol": "SUSHIUSDT",
            "base": "SUSHI",
            "quote": "USDT",
            "asset": "SUSHI",
            "multiplier": "1",
            "tick": "0.001",
        },
    ]
