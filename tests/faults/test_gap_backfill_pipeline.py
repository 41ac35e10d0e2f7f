"""An hour and a half missed, the refilling killed midway, rows deleted behind its back: in the end all is there, once.

The generated market's first run begins in the past and ends at once; the second begins now. What happened between the
two, nobody heard: it is to be had from the exchange's history alone.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.exchange_simulator.generator.market import Market
from tests.generated_market import build
from tests.pipeline import TAPELINE, at_rest, run_pipeline, until

MINUTE_US = 60_000_000
EVENTS_PER_S = 60
MINUTES = 90
DELETED = "cityHash64(sequence) % 40 = 0"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory after both runs."""
    folder = tmp_path_factory.mktemp("gap") / "data"
    environment = {
        "TAPELINE_EXCHANGE_SIMULATOR_EVENTS_PER_S": str(EVENTS_PER_S),
        # So that there is something left to do when it is killed.
        "TAPELINE_GAP_BACKFILL_CALL_ROWS": "1000",
        "TAPELINE_GAP_BACKFILL_CALL_PAUSE_S": "0.2",
        # Rows that were brought and deleted since count as on their way for some looks.
        "TAPELINE_GAP_BACKFILL_LOOK_S": "0.1",
    }
    arguments = ("--simulate", "--exchanges", "binance", "--until-drained", "--symbols", "BTC")
    past = (time.time_ns() // 1000 - MINUTES * MINUTE_US) // MINUTE_US * MINUTE_US - 4_000_000
    first = {"TAPELINE_EXCHANGE_SIMULATOR_START_US": str(past), "TAPELINE_EXCHANGE_SIMULATOR_DURATION_S": "6"}
    with run_pipeline(folder, *arguments, **environment, **first) as pipeline:
        assert pipeline.wait() == 0, pipeline.log()[-6000:]
    with run_pipeline(folder, *arguments, **environment, TAPELINE_EXCHANGE_SIMULATOR_DURATION_S="8") as pipeline:
        until(lambda: (pipeline.status("gap-backfill") or {}).get("rows_brought", 0) > 3_000, "rows are brought")
        # Deleted first: the one that starts next looks through the tables as they are then.
        pipeline.sql(f"DELETE FROM tapeline.trades WHERE {DELETED}")
        pipeline.sql("DELETE FROM tapeline.candles WHERE cityHash64(interval, timestamp) % 10 = 0")
        pipeline.kill("gap-backfill")
        until(lambda: (pipeline.status("gap-backfill") or {}).get("ready"), "the one behind it is there")
        by_hand = subprocess.run(
            [
                *(TAPELINE, "backfill", "--data", str(folder), "--exchange", "binance", "--symbol", "BTC-USDT"),
                *("--kind", "trade", "--from", "2026-01-01", "--to", "2099-01-01"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert by_hand.returncode == 0, by_hand.stderr + pipeline.log()[-4000:]
        # The service refills by itself meanwhile: by the time somebody asks, it may have been quicker.
        assert "gaps closed" in by_hand.stdout or by_hand.stdout == "Nothing is missing.\n"
        # What cannot be refilled (books, quotes) is lost, and on record as that.
        assert pipeline.wait() == 4, pipeline.log()[-6000:]
    yield folder


@pytest.fixture(scope="module")
def trades(data: Path) -> dict[str, list[dict[str, Any]]]:
    """Every stored trade, by market and in the order of its id."""
    rows = at_rest(
        data,
        "SELECT market, sequence, toString(price) AS price, toString(quantity) AS quantity, side, first_trade_id, "
        "last_trade_id, toUnixTimestamp64Micro(timestamp) AS at, source, timestamp_source, "
        f"{DELETED} AS deleted FROM tapeline.trades ORDER BY market, sequence "
        "SETTINGS output_format_json_quote_64bit_integers = 0",
    )
    return {name: [row for row in rows if row["market"] == name] for name in ("perp", "spot")}


@pytest.fixture(scope="module")
def gaps(data: Path) -> dict[str, list[dict[str, Any]]]:
    """The gaps of the time between the runs, as they stand at the end, by kind."""
    found: dict[str, list[dict[str, Any]]] = {}
    for gap in at_rest(
        data,
        "SELECT * FROM tapeline.gap_detection_log WHERE gap_type = 'disconnect' SETTINGS "
        "output_format_json_quote_64bit_integers = 0",
    ):
        found.setdefault(gap["kind"], []).append(gap)
    return found


def markets(tmp_path: Path) -> dict[str, Market]:
    """The generated markets as they are, whatever was sent of them."""
    venues = build(tmp_path, symbols=("BTC",), events_per_s=float(EVENTS_PER_S), seed=1)
    return {name: next(iter(venue.feeds.values())).market for name, venue in venues.items()}


def test_every_trade_is_there_once_and_equals_the_markets(
    trades: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    for name, market in markets(tmp_path).items():
        rows = trades[name]
        ids = [row["sequence"] for row in rows]
        assert ids == list(range(ids[0], ids[-1] + 1)), name
        assert len(ids) > 5_000 and {row["source"] for row in rows} == {"live", "backfill"}
        digits = market.listing
        for row in rows:
            trade = market.trade(row["sequence"])
            assert (row["side"], row["at"], row["first_trade_id"], row["last_trade_id"], row["timestamp_source"]) == (
                "buy" if trade.buy else "sell",
                trade.time_us // 1000 * 1000,
                trade.first_id,
                trade.last_id,
                "match",
            )
            assert Decimal(row["price"]) == Decimal(trade.ticks * digits.tick_units).scaleb(-digits.price_digits)
            assert Decimal(row["quantity"]) == Decimal(trade.steps * digits.step_units).scaleb(-digits.quantity_digits)


def test_every_candle_is_there_once(data: Path) -> None:
    found = at_rest(
        data,
        "SELECT market, interval, count() AS rows, uniqExact(timestamp) AS times, "
        "dateDiff('second', min(timestamp), max(timestamp)) AS span FROM tapeline.candles GROUP BY ALL "
        "SETTINGS output_format_json_quote_64bit_integers = 0",
    )
    seconds = {"1m": 60, "5m": 300, "30m": 1_800, "4h": 14_400, "1d": 86_400}
    due_in_any = {(market, interval) for market in ("perp", "spot") for interval in ("1m", "5m", "30m")}
    assert due_in_any <= {(row["market"], row["interval"]) for row in found}
    for row in found:
        due = row["span"] // seconds[row["interval"]] + 1
        assert row["rows"] == row["times"] == due, row
    assert all(row["rows"] >= MINUTES for row in found if row["interval"] == "1m")


def test_candles_agree_with_the_trades_they_are_made_of(data: Path) -> None:
    wrong = at_rest(
        data,
        "SELECT c.market, c.timestamp FROM tapeline.candles AS c INNER JOIN (SELECT market, toStartOfMinute(timestamp) "
        "AS minute, sum(quantity) AS volume, max(price) AS high, min(price) AS low FROM tapeline.trades GROUP BY ALL) "
        "AS t ON t.market = c.market AND t.minute = c.timestamp WHERE c.interval = '1m' AND c.source = 'backfill' AND "
        "(c.volume != t.volume OR c.high_price != t.high OR c.low_price != t.low)",
    )
    assert wrong == []


def test_the_gaps_are_on_record_with_bounds_priority_and_end(
    trades: dict[str, list[dict[str, Any]]], gaps: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    known = markets(tmp_path)
    for gap in gaps["trade"]:
        market = known[gap["market"]]
        assert (gap["status"], gap["priority"]) == ("filled", "urgent")
        lost = gap["last_missing"] - gap["first_missing"] + 1
        heard = {"before": gap["first_missing"] - 1, "behind": gap["last_missing"] + 1}
        times = {name: market.trade(number).time_us for name, number in heard.items()}
        assert times["behind"] - times["before"] > (MINUTES - 1) * MINUTE_US and lost > 5_000
        assert all(
            (row["source"] == "backfill") == (gap["first_missing"] <= row["sequence"] <= gap["last_missing"])
            for row in trades[gap["market"]]
            if not row["deleted"]
        )
    assert {gap["status"] for gap in gaps["candle"]} == {"filled"}
    for kind in ("book_change", "quote", "candle_update"):
        assert {gap["status"] for gap in gaps[kind]} == {"unavailable"}, kind


def test_no_more_calls_were_made_than_it_takes(gaps: dict[str, list[dict[str, Any]]], data: Path) -> None:
    lost = [gap["last_missing"] - gap["first_missing"] + 1 for gap in gaps["trade"]]
    fewest = sum(-(-missing // 1_000) for missing in lost)
    # Rows deleted in what was refilled already cost a call of their own in each market.
    assert sum(gap["attempts"] for gap in gaps["trade"]) <= fewest + len(lost), (lost, gaps["trade"])
    assert at_rest(data, "SELECT reason FROM tapeline.dead_letters") == []


def test_prove_says_so(trades: dict[str, list[dict[str, Any]]], data: Path) -> None:
    begin, end = (datetime.fromtimestamp(trades["perp"][place]["at"] / 1e6, UTC).isoformat() for place in (1, -1))
    done = subprocess.run(
        [
            *(TAPELINE, "prove", "--data", str(data), "--symbol", "BTC-USDT-PERP", "--kinds", "trade,quote"),
            *("--from", begin, "--to", end, "--json"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    numbered, quotes = json.loads(done.stdout)
    assert {one["verdict"] for one in numbered["stretches"]} <= {"complete", "silent"}
    lost = [one for one in quotes["stretches"] if one["verdict"] == "missing"]
    assert sum(one["last"] - one["first"] for one in lost) > (MINUTES - 1) * MINUTE_US
    assert {one["detail"] for one in lost} <= {"lost for good", "not connected"}
