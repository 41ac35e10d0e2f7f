"""The arbitrage signal through real NATS and the real engine: live, killed, and once more in hindsight."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas import records, streams, subjects
from services.arbitrage_signal import hindsight, stored
from services.arbitrage_signal.backtest import BacktestSettings, backtest
from services.arbitrage_signal.core import ArbitrageCore
from services.arbitrage_signal.live import FILTERS
from services.arbitrage_signal.settings import ArbitrageSignalSettings
from services.arbitrage_signal.terms import MEMORY_US
from services.shared.runtime.migrations import migrate
from tests.arbitrage_market import SECOND, START, Plan, market, message
from tests.clickhouse_server import REPOSITORY
from tests.pipeline import TAPELINE
from tests.storage_batcher_bench import PATIENCE_S, Bench, run_bench

ASSETS, WINDOWS = 2, 9
SETTINGS: dict[str, Any] = {"sizes": ("50", "500", "5000"), "different_coins": ("A0:mexc", "A1:mexc")}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with run_bench(tmp_path) as running:
        yield running


class Service:
    """A live service in a process of its own."""

    def __init__(self, bench: Bench, number: int) -> None:
        self.log = bench.directory / f"arbitrage-{number}.log"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TAPELINE_")},
            "TAPELINE_NATS_URL": bench.nats.url,
            "TAPELINE_CLICKHOUSE_URL": bench.clickhouse.url,
            "TAPELINE_LOG_FORMAT": "json",
            "TAPELINE_HEALTH_PORT": "0",
            **{f"TAPELINE_ARBITRAGE_SIGNAL_{name.upper()}": ",".join(value) for name, value in SETTINGS.items()},
        }
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.arbitrage_signal"],
                cwd=REPOSITORY,
                env=environment,
                stdout=output,
                stderr=output,
            )

    def _events(self, name: str) -> list[dict[str, Any]]:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    async def status(self) -> dict[str, Any]:
        (found,) = self._events("health_listening")

        def ask() -> dict[str, Any]:
            with urllib.request.urlopen(f"http://127.0.0.1:{found['port']}/status", timeout=5) as answer:
                return dict(json.loads(answer.read()))

        return await asyncio.to_thread(ask)

    async def until(self, position: int) -> dict[str, Any]:
        """Wait until the checkpoint has come to a position of MD."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if self._events("health_listening"):
                    status = await self.status()
                    if status["ready"] and status["position"] >= position and not status["pending_messages"]:
                        return status
                await asyncio.sleep(0.05)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


def with_a_clock_offset(plan: Plan) -> Plan:
    """The plan with binance's clock a third of a second behind, as is told once, before anything of the market."""
    where = plan.listed[0]._replace(symbol="_all")
    own = {"collector": "c", "round_trip_us": 1000, "measured_at": START, "samples": 1, "server_time": START}
    offset = message("clock_offset", where, START, offset_us=-300_000, **own)
    return plan._replace(messages=[offset, *plan.messages])


def told(plan: Plan) -> list[records.Record]:
    """What one core tells of all messages, without an interruption: the truth for the live service."""
    core = ArbitrageCore(ArbitrageSignalSettings.load(**SETTINGS).terms())
    found: list[records.Record] = []
    for sequence, item in enumerate(plan.messages, 1):
        found += core.process(sequence, item.subject, item.body)
    return found


async def test_what_is_told_live_is_told_once_survives_a_kill_and_is_told_again_in_hindsight(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = with_a_clock_offset(market(ASSETS, WINDOWS, seed=7))
    await migrate(bench.warehouse, retention=False)  # its time is long ago
    batcher = bench.start(batch_age_s=0.2)
    messages = [(item.subject, item.body) for item in plan.messages]
    service = Service(bench, 0)
    await service.until(0)
    parts = [messages[begin : begin + 700] for begin in range(0, len(messages), 700)]
    for number, part in enumerate(parts):
        last = await bench.publish(part)
        if number in (1, 3):
            # Killed in the midst of it: opportunities are open, and some of what was read is told already.
            service.end(signal.SIGKILL)
            service = Service(bench, number + 1)
    status = await service.until(last)
    assert (status["instruments"], status["pairs"]) == (10, 2 * 6)
    assert service.end(signal.SIGTERM) == 0
    last = (await bench.bus.bounds(streams.MD))[1]
    await bench.stored(batcher, last)

    end = plan.messages[-1].at + SECOND
    live = await stored.signals(bench.warehouse, "arbitrage_opportunities", START, end)
    spreads = await stored.signals(bench.warehouse, "arbitrage_spreads", START, end)
    expected = [without_sequence(hindsight.as_told(record)) for record in told(plan)]  # type: ignore[arg-type]
    assert {record["event"] for record in live} == {"open", "confirmed", "update", "closed"}
    found = hindsight.compare([without_sequence(record) for record in live + spreads], expected)
    assert (found.only_live, found.only_hindsight) == ([], [])
    assert found.same == len(expected) > 500

    async def again(begin: int) -> hindsight.Comparison:
        core = ArbitrageCore(ArbitrageSignalSettings.load(**SETTINGS).terms())
        records_ = [hindsight.as_told(one) async for one in hindsight.replayed(bench.warehouse, core, begin, end)]
        mine = await stored.signals(bench.warehouse, "arbitrage_opportunities", begin, end)
        theirs = await stored.signals(bench.warehouse, "arbitrage_spreads", begin, end)
        return hindsight.compare(mine + theirs, records_)

    whole = await again(START - MEMORY_US)
    assert whole.equal and whole.same == len(live) + len(spreads)
    part_of_it = await again(START + 30 * SECOND)
    assert part_of_it.equal and 0 < part_of_it.same < whole.same
    await backtested(bench, live, end)
    await reported(bench, live)
    await shown_by_the_notebook(bench, live, monkeypatch)
    await refused(bench, end)


async def backtested(bench: Bench, live: list[dict[str, Any]], end: int) -> None:
    """The command says the same as the tables, and what other settings would have made of it."""
    span = ["--from", stored.moment(START), "--to", stored.moment(end)]
    settings = ["--sizes", "50,500,5000", "--different-coins", "A0:mexc,A1:mexc"]
    money = ["--balances", '{"binance": "20000", "okx": "20000", "bybit": "20000"}', "--transfer-s", "2"]
    done = await tapeline(bench, "arbitrage", "backtest", *span, *settings, *money, "--out", "backtest.json")
    assert done.returncode == 0, done.stderr
    result = json.loads((bench.directory / "backtest.json").read_bytes())
    assert sorted(result["opportunities"], key=in_order) == sorted(live, key=in_order)
    assert result["compared"] == {"live": len(live), "same": len(live), "only_live": [], "only_hindsight": []}
    opened = [record["opportunity_id"] for record in live if record["event"] == "open"]
    capital = result["capital"]
    assert len(capital["trades"]) + sum(capital["missed"].values()) == len(opened)
    assert len(capital["trades"]) > len(opened) / 2
    gains = sum(Decimal(trade["net"]) for trade in capital["trades"])
    costs = Decimal(capital["transfer_costs"]) + Decimal(capital["capital_cost"])
    assert Decimal(capital["profit"]) == gains - costs
    assert Decimal(capital["balances"][-1]["total"]) == 60_000 + gains - Decimal(capital["transfer_costs"])
    assert f"{len(live)} the same, 0 only live, 0 only in hindsight" in done.stdout


async def refused(bench: Bench, end: int) -> None:
    """Other settings find other things; a span that retention may have cut is refused with what is left of it."""
    moments = {name: datetime.fromtimestamp(at / SECOND, UTC) for name, at in (("span_from", START), ("span_to", end))}
    strict = BacktestSettings.load(**SETTINGS, **moments, threshold_percent="99")
    now = end + 3600 * SECOND
    assert (await backtest(strict, bench.warehouse, now))["opportunities"] == []
    await migrate(bench.warehouse, retention=True)
    whole = BacktestSettings.load(**SETTINGS, **moments)
    left = stored.moment(START + 3600 * SECOND)
    with pytest.raises(stored.SpanRefused, match=f"quotes are kept for 1 d: what is left begins at {left}, with 180 s"):
        await backtest(whole, bench.warehouse, START + stored.DAY_US + 3600 * SECOND - MEMORY_US)


async def reported(bench: Bench, live: list[dict[str, Any]]) -> None:
    """One page that needs nothing from elsewhere, and the same as JSON."""
    day = stored.moment(START)[:10]
    done = await tapeline(bench, "arbitrage", "report", "--date", day, "--out", "reports")
    assert done.returncode == 0, done.stderr
    page = (bench.directory / "reports" / f"arbitrage-{day}.html").read_text()
    data = json.loads((bench.directory / "reports" / f"arbitrage-{day}.json").read_bytes())
    ids = {record["opportunity_id"] for record in live}
    assert (data["opportunities"], data["still_open"]) == (len(ids), 0)
    assert sum(sum(hours) for hours in data["by_pair_and_hour"].values()) == len(ids)
    assert sum(row["count"] for row in data["durations"]) == len(ids)
    opened = [record for record in live if record["event"] == "open"]
    assert data["profit_by_delay"][0]["profit"] == pytest.approx(sum(float(record["net"]) for record in opened))
    assert page.count("<svg") == 5
    assert "<script" not in page and "href=" not in page and "src=" not in page


async def shown_by_the_notebook(bench: Bench, live: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """The notebook's cells run, one after the other, and show what the tables have."""
    monkeypatch.setenv("TAPELINE_CLICKHOUSE_URL", bench.clickhouse.url)
    monkeypatch.setenv("TAPELINE_DAY", stored.moment(START)[:10])
    cells = json.loads((REPOSITORY / "notebooks" / "arbitrage.ipynb").read_bytes())["cells"]
    shown: dict[str, Any] = {}

    def run() -> None:
        for cell in cells:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), shown)

    await asyncio.to_thread(run)
    closed = [record for record in live if record["event"] == "closed"]
    assert [int(at.timestamp()) for at in shown["closed"].opened_at] == sorted(
        record["opened_at"] // SECOND for record in closed
    )
    assert sum(shown["closed"].peak_net) == pytest.approx(sum(float(record["peak_net"]) for record in closed))
    assert int(shown["by_hour"].to_numpy().sum()) == int(shown["durations"].sum()) == len(closed)
    assert shown["left"]["after_1s"] == pytest.approx(sum(float(record.get("net_after_1s", 0)) for record in closed))
    assert len(shown["series"]) == 5 and all(shown["series"].values())


async def tapeline(bench: Bench, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `tapeline` as a user would, against the bench's ClickHouse."""
    environment = {**os.environ, "TAPELINE_CLICKHOUSE_URL": bench.clickhouse.url}

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [TAPELINE, *arguments],
            cwd=bench.directory,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return await asyncio.to_thread(run)


def in_order(record: dict[str, Any]) -> bytes:
    """Something to sort records by."""
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS)


def without_sequence(record: dict[str, Any]) -> dict[str, Any]:
    """The MD sequences of the test's messages are others: signals and checkpoints stand between them."""
    rest = {name: value for name, value in record.items() if name != "input_sequence"}
    if "opportunity_id" in rest:
        opened, _, names = rest["opportunity_id"].partition("-")
        rest["opportunity_id"] = f"{opened.partition('.')[0]}-{names}"
    return rest


def test_the_subjects_are_those_that_the_core_takes() -> None:
    assert subjects.md_filter("quote") in FILTERS and subjects.GAP_ALL in FILTERS
