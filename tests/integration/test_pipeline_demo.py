"""`make demo` as its user sees it: rows within the minute, moving in `status` and `sub`, and a clean end."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path

import clickhouse_connect
import pytest

from services.shared.exchanges.registry import DEFAULT_EXCHANGES
from tests.ledger import compare
from tests.pipeline import TAPELINE, Pipeline, run_pipeline, until

TABLES = ("trades", "quotes", "book_deltas", "orderbooks", "candle_updates")


def counts(pipeline: Pipeline) -> dict[str, int]:
    columns = ", ".join(f"(SELECT count() FROM tapeline.{table}) AS {table}" for table in TABLES)
    found: dict[str, int] = pipeline.sql(f"SELECT {columns}")[0]
    return found


def tapeline(*arguments: str) -> str:
    done = subprocess.run([TAPELINE, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_demo_moves_and_ends_cleanly(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    with run_pipeline(tmp_path / "data", "--simulate") as pipeline:
        first = until(lambda: (found := counts(pipeline)) and min(found.values()) > 0 and found, "rows in every table")
        until(
            lambda: (now := counts(pipeline)) and all(now[table] > first[table] for table in ("trades", "quotes")),
            "the tables grow",
        )

        trades = [
            json.loads(line) for line in tapeline("sub", "--data", data, "--count", "3", "md.trade.>").splitlines()
        ]
        assert len(trades) == 3
        assert all(trade["side"] in ("buy", "sell") and trade["exchange"] in DEFAULT_EXCHANGES for trade in trades)

        def healthy() -> bool:
            status = json.loads(tapeline("status", "--data", data, "--json"))
            return all(service["ready"] for service in status["services"].values()) and status["gaps"] == {}

        until(healthy, "every service is ready")
        assert "storage-batcher" in tapeline("status", "--data", data)

        url = pipeline.addresses()["clickhouse_url"]
        with urllib.request.urlopen(f"{url}/?query=SELECT+count()+FROM+tapeline.trades", timeout=10) as answer:
            assert int(answer.read()) > 0
        host, port = url.removeprefix("http://").split(":")
        client = clickhouse_connect.get_client(host=host, port=int(port))
        assert client.query("SELECT count() FROM tapeline.trades").result_rows[0][0] > 0
        client.close()

        status = pipeline.interrupt()
        assert status == 0, pipeline.log()[-6000:]
    assert int(tapeline("sql", "--data", data, "SELECT count() FROM tapeline.trades")) >= first["trades"]


@pytest.mark.parametrize("seed", ["1"])
def test_a_simulated_market_arrives_whole(tmp_path: Path, seed: str) -> None:
    environment = {"TAPELINE_EXCHANGE_SIMULATOR_DURATION_S": "15", "TAPELINE_EXCHANGE_SIMULATOR_SEED": seed}
    with run_pipeline(
        tmp_path / "data", "--simulate", "--exchanges", "binance", "--until-drained", **environment
    ) as pipeline:
        assert pipeline.wait() == 0, pipeline.log()[-6000:]
    compared = compare(tmp_path / "data")
    assert {kind: (lost, other) for kind, (_, lost, other) in compared.items() if lost or other} == {}
    kinds = {"perp trade", "perp book_change", "perp quote", "spot trade", "spot quote"}
    assert {f"binance {kind}" for kind in kinds} <= set(compared)
    assert all(events > 0 for events, _, _ in compared.values())
