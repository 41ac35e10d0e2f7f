"""What a number of symbols costs: events a second, processor, memory and disk. `python -m benchmarks symbols`.

Everything runs as a user starts it (`tapeline up --simulate`). Counting begins when every connection is subscribed, so
starting is not in the figures, and the simulator's own processor time is not. How many events a symbol has is an
assumption, `--rate`: a market's few large symbols have hundreds a second, most of its thousand have less than one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from services.command_line.bench_watch import used
from tests.pipeline import Pipeline, run_pipeline, until

OTHERS = ("nats-server", "clickhouse")
"""What runs beside the services."""

SIMULATOR = "exchange-simulator"


class Reading(NamedTuple):
    """Counters at one moment."""

    at: float
    received: int
    rows: int
    stored_bytes: int
    pids: dict[str, int]
    processor_s: dict[str, float]
    resident_mib: float


def main(arguments: list[str]) -> int:
    """Measure and print the README's table."""
    parser = argparse.ArgumentParser("python -m benchmarks symbols", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--symbols", default="10,100,1000", help="how many assets, one run each (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=300, help="length of each run's count (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=10, help="events a second and asset (default: %(default)s)")
    parser.add_argument("--exchanges", default="binance", help="exchanges to simulate (default: %(default)s)")
    given = parser.parse_args(arguments)
    print("\n".join(_head(given)), flush=True)
    for count in given.symbols.split(","):
        print(f"running {count} symbols ...", file=sys.stderr, flush=True)
        print(measure(int(count), given.rate, given.seconds, given.exchanges), flush=True)
    return 0


def _head(given: argparse.Namespace) -> list[str]:
    return [
        f"Simulated {given.exchanges}, every channel of spot and perpetual, about {given.rate:g} events a second and "
        f"asset, {given.seconds:g} s each. GiB a day is what ClickHouse keeps before it has merged.",
        "",
        "| assets | instruments | connections | events/s | rows/s | cores | of which collector, normaliser, "
        "storage-batcher, ClickHouse, NATS | resident MiB | GiB/day |",
        "|---|---|---|---|---|---|---|---|---|",
    ]


def measure(count: int, rate: float, seconds: float, exchanges: str) -> str:
    """Return the table's line of so many assets."""
    environment = {
        "TAPELINE_EXCHANGE_SIMULATOR_EVENTS_PER_S": str(rate * count),
        "TAPELINE_EXCHANGE_SIMULATOR_LEDGER": "false",
    }
    with tempfile.TemporaryDirectory() as folder:
        arguments = ("--simulate", "--exchanges", exchanges, "--symbols", str(count))
        with run_pipeline(Path(folder) / "data", *arguments, **environment) as pipeline:
            pipeline.addresses()
            until(lambda: _subscribed(pipeline), f"{count} symbols are subscribed")
            before = _read(pipeline)
            time.sleep(seconds)
            after = _read(pipeline)
            collector = _subscribed(pipeline) or {"symbols": 0, "connections": []}
            if pipeline.interrupt() != 0:
                raise SystemExit(pipeline.log()[-4000:])
    if after.pids != before.pids:
        raise SystemExit(f"a process was started again during the count: {before.pids} became {after.pids}")
    passed = after.at - before.at
    cores = {name: (after.processor_s[name] - spent) / passed for name, spent in before.processor_s.items()}
    main_five = ("collector", "normaliser", "storage-batcher", *reversed(OTHERS))
    cells = [
        f"{count:,}",
        f"{collector['symbols']:,}",
        f"{len(collector['connections']):,}",
        f"{(after.received - before.received) / passed:,.0f}",
        f"{(after.rows - before.rows) / passed:,.0f}",
        f"{sum(cores.values()):.2f}",
        " ".join(f"{cores[name]:.2f}" for name in main_five),
        f"{after.resident_mib:,.0f}",
        f"{(after.stored_bytes - before.stored_bytes) / passed * 86_400 / 1024**3:,.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def _subscribed(pipeline: Pipeline) -> dict[str, Any] | None:
    """Return the collector's status once every connection is subscribed."""
    status = pipeline.status("collector")
    if not status or not status.get("connections"):
        return None
    return status if all(line["state"] == "subscribed" for line in status["connections"]) else None


def _read(pipeline: Pipeline) -> Reading:
    names = [*pipeline.addresses()["health"], *OTHERS]
    pids = {name: pipeline.starts(name)[-1] for name in names if name != SIMULATOR and pipeline.starts(name)}
    spent = {name: used(pid) for name, pid in pids.items()}
    [parts] = pipeline.sql(
        "SELECT toUInt64(sum(rows)) AS rows, toUInt64(sum(bytes_on_disk)) AS bytes FROM system.parts "
        "WHERE active AND database = 'tapeline'"
    )
    received = (pipeline.status("collector") or {})["received"]
    return Reading(
        time.monotonic(),
        received,
        int(parts["rows"]),
        int(parts["bytes"]),
        pids,
        {name: seconds for name, (seconds, _) in spent.items()},
        sum(resident for _, resident in spent.values()),
    )
