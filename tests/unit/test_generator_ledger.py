"""The ledger says, value by value, what was handed out; a killed simulator leaves out at most the last second."""

from __future__ import annotations

import datetime
import signal
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from services.exchange_simulator.generator import ledger as ledger_module
from tests.generated_market import NOW_US, SECOND_US, build, messages, play, streams

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
TOPICS = {
    "spot": ["depth@100ms", "bookTicker", "aggTrade", "trade", "kline_1m", "kline_5m", "ticker", "miniTicker"],
    "public": ["depth@100ms", "bookTicker"],
    "market": ["aggTrade", "kline_1m", "kline_4h", "ticker", "markPrice@1s", "forceOrder"],
}

Row = dict[str, Any]


def rows_of(directory: Path, name: str) -> list[Row]:
    """Read all files of a kind, in order, with times as microseconds."""
    rows: list[Row] = []
    for path in sorted(directory.glob(f"{name}-*.parquet")):
        rows += pq.read_table(path).to_pylist()
    return [
        {
            key: (value - EPOCH) // datetime.timedelta(microseconds=1)
            if isinstance(value, datetime.datetime)
            else value
            for key, value in row.items()
        }
        for row in rows
    ]


def side(maker: bool) -> str:
    return "sell" if maker else "buy"


def levels(said: list[list[str]]) -> list[list[Decimal]]:
    return [[Decimal(price), Decimal(quantity)] for price, quantity in said]


def numbers(data: Row, **names: str) -> Row:
    return {name: Decimal(data[key]) for name, key in names.items()}


def agg_trade(data: Row) -> list[tuple[str, Row]]:
    row = {
        "timestamp": data["T"] * 1000,
        "trade_id": str(data["a"]),
        "sequence": data["a"],
        **numbers(data, price="p", quantity="q"),
        "side": side(data["m"]),
        "first_trade_id": data["f"],
        "last_trade_id": data["l"],
        "trade_count": data["l"] - data["f"] + 1,
        "quantity_without_rpi": Decimal(data["nq"]) if "nq" in data else None,
    }
    return [("trade", row)]


def trade(data: Row) -> list[tuple[str, Row]]:
    price = numbers(data, price="p", quantity="q")
    return [("fill", {"timestamp": data["T"] * 1000, "trade_id": str(data["t"]), **price, "side": side(data["m"])})]


def depth(data: Row) -> list[tuple[str, Row]]:
    row = {
        "timestamp": data.get("T", data["E"]) * 1000,
        "first_sequence": data["U"],
        "last_sequence": data["u"],
        "previous_sequence": data.get("pu"),
        "bids": levels(data["b"]),
        "asks": levels(data["a"]),
    }
    return [("book_change", row)]


def quote(data: Row) -> list[tuple[str, Row]]:
    row = {
        "sequence": data["u"],
        **numbers(data, bid_price="b", bid_quantity="B", ask_price="a", ask_quantity="A"),
        **({"timestamp": data["T"] * 1000} if "T" in data else {}),
    }
    return [("quote", row)]


def kline(data: Row) -> list[tuple[str, Row]]:
    candle = data["k"]
    row = {
        "timestamp": candle["t"] * 1000,
        "interval": candle["i"],
        **numbers(candle, open_price="o", high_price="h", low_price="l", close_price="c", volume="v"),
        **numbers(candle, quote_volume="q", taker_buy_volume="V", taker_buy_quote_volume="Q"),
        "trade_count": candle["n"],
        "first_trade_id": candle["f"],
        "last_trade_id": candle["L"],
        "closed": candle["x"],
    }
    return [("candle_update", row)]


def ticker(data: Row) -> list[tuple[str, Row]]:
    row = {
        "timestamp": data["E"] * 1000,
        **numbers(data, last_price="c", open_price="o", high_price="h", low_price="l", volume="v", quote_volume="q"),
    }
    if data["e"] == "24hrTicker":
        row |= numbers(data, price_change="p", price_change_percent="P", weighted_average_price="w", last_quantity="Q")
        row |= {"trade_count": data["n"], "first_trade_id": data["F"], "last_trade_id": data["L"]}
        row |= {"window_open_at": data["O"] * 1000, "window_close_at": data["C"] * 1000}
        if "b" in data:
            row |= numbers(data, bid_price="b", bid_quantity="B", ask_price="a", ask_quantity="A")
    return [("ticker", row)]


def mark(data: Row) -> list[tuple[str, Row]]:
    prices = numbers(data, mark_price="p", index_price="i", mark_price_average="ap", settlement_price="P")
    rate = {**numbers(data, rate="r", mark_price="p"), "next_funding_time": data["T"] * 1000, "rate_kind": "estimated"}
    time = {"timestamp": data["E"] * 1000}
    return [("index_price", {**time, **prices}), ("funding_rate", {**time, **rate})]


def force_order(data: Row) -> list[tuple[str, Row]]:
    order = data["o"]
    row = {
        "timestamp": order["T"] * 1000,
        **numbers(order, price="ap", quantity="z", order_price="p", order_quantity="q", last_quantity="l"),
        "side": order["S"].lower(),
        "status": order["X"].lower(),
    }
    return [("liquidation", row)]


READ: dict[str, Callable[[Row], list[tuple[str, Row]]]] = {
    "aggTrade": agg_trade,
    "trade": trade,
    "depthUpdate": depth,
    "kline": kline,
    "24hrTicker": ticker,
    "24hrMiniTicker": ticker,
    "markPriceUpdate": mark,
    "forceOrder": force_order,
}


@pytest.mark.parametrize("market", ["spot", "perp"])
def test_rows_are_the_frames_handed_out_by_value(tmp_path: Path, market: str) -> None:
    venue = build(tmp_path, ledger=True)[market]
    paths = {"spot": {"": "spot"}, "perp": {"/public": "public", "/market": "market"}}[market]
    symbols = ["BTCUSDT", "DOGEUSDT"]
    expected: dict[str, list[Row]] = {}
    for number, (route, topics) in enumerate(paths.items(), start=1):
        session = venue.connect(f"{route}/stream", streams(symbols, TOPICS[topics]), NOW_US)
        for _, data in messages(session, NOW_US, 65):
            head = {"exchange": "binance", "market": market, "connection": number}
            name = data["s"] if "s" in data else data["o"]["s"]
            head["symbol"] = name.replace("USDT", "-USDT") + ("-PERP" if market == "perp" else "")
            head["sent_at"] = data["E"] * 1000 if "E" in data else None
            for kind, row in READ.get(data.get("e", ""), quote)(data):
                expected.setdefault(kind, []).append({**head, **row})
        session.close(NOW_US + 65 * SECOND_US)
    assert expected.keys() >= {"trade", "book_change", "quote", "candle_update", "ticker"}
    assert ("funding_rate" in expected, "fill" in expected) == (market == "perp", market == "spot")
    for kind, rows in expected.items():
        stored = rows_of(tmp_path / "ledger", f"binance.{market}.{kind}")
        assert len(stored) == len(rows)
        for row, said in zip(stored, rows, strict=True):
            assert {key: row[key] for key in said} == said
            assert NOW_US <= row["handed_out_at"] <= NOW_US + 65 * SECOND_US
            assert kind != "quote" or row["timestamp"] > NOW_US - SECOND_US


def test_what_was_not_handed_out_has_no_row(tmp_path: Path) -> None:
    venue = build(tmp_path, ledger=True)["perp"]
    session = venue.connect("/public/stream", streams(["BTCUSDT"], ["bookTicker"]), NOW_US)
    later_us = NOW_US + 20 * SECOND_US
    handed = session.frames(later_us, 30)
    session.close(later_us)
    assert len(rows_of(tmp_path / "ledger", "binance.perp.quote")) == len(handed) == 30


def test_every_hearer_has_a_row(tmp_path: Path) -> None:
    venue = build(tmp_path, ledger=True)["spot"]
    sessions = [venue.connect("/stream", streams(["BTCUSDT"], ["aggTrade"]), NOW_US) for _ in range(2)]
    counts = [len(list(play(session, NOW_US, 20))) for session in sessions]
    sessions[0].close(NOW_US + 20 * SECOND_US)
    rows = rows_of(tmp_path / "ledger", "binance.spot.trade")
    assert [sum(row["connection"] == number for row in rows) for number in (1, 2)] == counts
    assert counts[0] == counts[1] > 0


def test_full_files_are_left_alone_and_new_ones_follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "_FULL_ROWS", 100)
    for run in range(2):
        venue = build(tmp_path, ledger=True)["perp"]
        session = venue.connect("/public/stream", streams(["BTCUSDT"], ["depth@100ms"]), NOW_US)
        count = sum(1 for _ in play(session, NOW_US, 30))
        session.close(NOW_US + 30 * SECOND_US)
        files = sorted((tmp_path / "ledger").glob("binance.perp.book_change-*.parquet"))
        sizes = [pq.read_metadata(path).num_rows for path in files]
        assert sum(sizes) == count * (run + 1)
        assert [int(path.stem.rpartition("-")[2]) for path in files] == list(range(1, len(files) + 1))
    assert len(files) > 6
    assert not list((tmp_path / "ledger").glob("*.part"))


PLAYER = """
import sys
from pathlib import Path
from tests.generated_market import NOW_US, WIRE_SYMBOLS, build, streams
venue = build(Path(sys.argv[1]), ledger=True)["perp"]
session = venue.connect("/public/stream", streams(WIRE_SYMBOLS, ["depth@100ms", "bookTicker"]), NOW_US)
now_us, count = NOW_US, 0
while True:
    now_us = max(now_us, session.next_due_us())
    count += len(session.frames(now_us, 256))
    print(now_us, count, flush=True)
"""


def test_a_killed_simulator_leaves_out_at_most_the_last_second(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", PLAYER, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    handed: list[tuple[int, int]] = []
    for line in process.stdout:
        now_us, count = map(int, line.split())
        handed.append((now_us, count))
        if now_us > NOW_US + 7 * SECOND_US:
            break
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().splitlines()
    process.wait()
    process.stdout.close()
    handed += [(int(now), int(count)) for now, count in (line.split() for line in rest if line.count(" ") == 1)]
    directory = tmp_path / "ledger"
    rows = [row for kind in ("book_change", "quote") for row in rows_of(directory, f"binance.perp.{kind}")]
    last_us = handed[-1][0]
    safe = max(count for now_us, count in handed if now_us <= last_us - SECOND_US)
    assert safe > 200
    assert sum(row["handed_out_at"] <= last_us - SECOND_US for row in rows) == safe


def test_clickhouse_reads_the_ledger(tmp_path: Path) -> None:
    venue = build(tmp_path, ledger=True)["perp"]
    session = venue.connect("/public/stream", streams(["BTCUSDT"], ["depth@100ms", "bookTicker"]), NOW_US)
    heard = messages(session, NOW_US, 20)
    session.close(NOW_US + 20 * SECOND_US)
    changes = [data for stream, data in heard if "depth" in stream]
    moved = sum((Decimal(q) for data in changes for _, q in data["b"]), Decimal(0))
    files = tmp_path / "ledger" / "binance.perp.book_change-*.parquet"
    query = (
        "SELECT count(), max(last_sequence), sum(arraySum(level -> level[2], bids)), "
        f"min(toUnixTimestamp64Micro(timestamp)) FROM file('{files}')"
    )
    script = "import chdb, sys; print(chdb.query(sys.argv[1], 'TSV'))"
    done = subprocess.run([sys.executable, "-c", script, query], capture_output=True, text=True, check=True)
    count, last, total, first = done.stdout.split()
    assert (int(count), int(last)) == (len(changes), changes[-1]["u"])
    assert Decimal(total) == moved
    assert int(first) == changes[0]["T"] * 1000
