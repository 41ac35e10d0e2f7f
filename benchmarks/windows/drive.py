"""One run of the planned windows: `tapeline up --simulate` with real parts, and the failures ordered as planned."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.windows.plan import CONFIRM_S, EXCHANGES, MARKETS, Plan
from tests.pipeline import Pipeline, run_pipeline, until

SIZES = ("100", "1000", "5000")
FEES = {
    f"{exchange}.{market}": {"regular": fee}
    for exchange in EXCHANGES
    for market, fee in (("spot", "0.001"), ("perp", "0.0005"))
}
"""Set, not left to the defaults: what is calculated beside the service must not ask it for its fees."""

ENDINGS = (0, 3, 4)
"""Exit statuses of `up`: nothing lost, something refused, something lost. Frames are dropped on order here."""

BLOCK_S = 1
EVENTS_PER_S = 600.0
SECOND_US = 1_000_000


def market_settings(plan: Plan, start_us: int) -> dict[str, Any]:
    """Return what the simulator's markets hang on, as settings."""
    return {
        "exchanges": plan.exchanges,
        "markets": MARKETS,
        "symbols": plan.assets,
        "events_per_s": EVENTS_PER_S,
        "start_us": start_us,
        "block_s": BLOCK_S,
        "mispricings": tuple(text for window in plan.windows for text in window.texts()),
    }


def signal_environment(plan: Plan) -> dict[str, str]:
    """Return the signal's settings, for the live service and for hindsight."""
    return {
        "TAPELINE_ARBITRAGE_SIGNAL_SIZES": ",".join(SIZES),
        "TAPELINE_ARBITRAGE_SIGNAL_FEES": json.dumps(FEES),
        "TAPELINE_ARBITRAGE_SIGNAL_AGE_LIMIT_S": str(plan.age_limit_s),
        "TAPELINE_ARBITRAGE_SIGNAL_CONFIRM_S": str(CONFIRM_S),
        "TAPELINE_ARBITRAGE_SIGNAL_DIFFERENT_COINS": ",".join(plan.different_coins),
    }


def drive(plan: Plan, data: Path, start_us: int) -> None:
    """Run the plan, until everything that was sent is stored. Raises SystemExit when the pipeline does not end well."""
    settings = market_settings(plan, start_us)
    environment = {
        **signal_environment(plan),
        "TAPELINE_EXCHANGE_SIMULATOR_MARKETS": ",".join(MARKETS),
        "TAPELINE_EXCHANGE_SIMULATOR_EVENTS_PER_S": str(EVENTS_PER_S),
        "TAPELINE_EXCHANGE_SIMULATOR_START_US": str(start_us),
        "TAPELINE_EXCHANGE_SIMULATOR_DURATION_S": str(plan.duration_s),
        "TAPELINE_EXCHANGE_SIMULATOR_BLOCK_S": str(BLOCK_S),
        "TAPELINE_EXCHANGE_SIMULATOR_MISPRICINGS": ",".join(settings["mispricings"]),
    }
    arguments = ("--simulate", "--exchanges", ",".join(plan.exchanges), "--symbols", ",".join(plan.assets))
    with run_pipeline(data, *arguments, **environment) as pipeline:
        pipeline.addresses()
        wall_us = start_us + until(
            lambda: _behind_us(data, plan.exchanges[-1]), "the simulator hands out its first books"
        )
        for order in sorted(plan.orders, key=lambda one: one.at_s):
            time.sleep(max(0.0, wall_us / SECOND_US + order.at_s - time.time()))
            pipeline.check()
            _order(data, order.fault)
        while not _ask(data, "status")["finished"]:
            pipeline.check()
            time.sleep(1)
        print("all is sent; waiting until it is stored", file=sys.stderr, flush=True)
        if pipeline.interrupt() not in ENDINGS:
            raise SystemExit(pipeline.log()[-4000:])
        _complain(pipeline)


def _behind_us(data: Path, exchange: str) -> int | None:
    """Return how far market time is behind the wall clock, by what the ledger says of the first books."""
    path = next(iter(sorted((data / "ledger").glob(f"{exchange}.perp.book_change-*.parquet"))), None)
    if path is None:
        return None
    told = pq.read_table(path, columns=["timestamp", "handed_out_at"])
    rows = zip(*(told.column(name).cast("int64").to_pylist() for name in told.column_names), strict=True)
    return min((handed_out_at - timestamp for timestamp, handed_out_at in rows), default=None)


def _order(data: Path, fault: dict[str, Any]) -> None:
    _ask(data, "fault", json.dumps(fault).encode())


def _ask(data: Path, what: str, body: bytes | None = None) -> dict[str, Any]:
    port = int((data / "simulator" / "port").read_text())
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/simulator/{what}", data=body, timeout=30) as answer:
        found: dict[str, Any] = json.loads(answer.read())
        return found


def _complain(pipeline: Pipeline) -> None:
    """Say what services said at level error: that is not what this run is about, and may explain what it finds."""
    for line in pipeline.log().splitlines():
        if '"level": "error"' in line:
            print(line, file=sys.stderr)
