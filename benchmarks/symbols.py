"""What a number of symbols costs: events a second, processor, memory and disk. `python -m benchmarks symbols`.

Everything runs as a user starts it (`tapeline up --simulate`). Counting begins when every connection is subscribed and
every book has its snapshot, which Binance's limits stretch over eleven minutes for a thousand symbols; so starting is
not in the figures, and the simulator's own processor time is not. How many events a symbol has is an assumption: a
market's few large symbols have hundreds a second, most of its thousand have less than two. The k-th largest asset is
taken to have `--busiest` events a second, divided by the root of k.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.keeping import keep
from benchmarks.symbols_use import OTHERS
from services.command_line.bench_watch import used
from tests.pipeline import Pipeline, run_pipeline

SIMULATOR = "exchange-simulator"
COUNTS = (10, 100, 1_000)
SECONDS = 120.0
BUSIEST = 50.0
BEHIND_S = 2.0
"""What is on its way at the end of the count may be so many seconds of it: more, and the machine did not keep up."""
LOOK_S = 1.0


class Reading(NamedTuple):
    """Counters at one moment."""

    at: float
    received: int
    behind: int
    """Messages of frames that the normaliser has not read."""
    rows: int
    stored_bytes: int
    pids: dict[str, int]
    processor_s: dict[str, float]
    resident_mib: float


def main(arguments: list[str]) -> int:
    """Measure and print the README's table; it is kept when nothing else was asked for."""
    parser = argparse.ArgumentParser("python -m benchmarks symbols", description=(__doc__ or "").split("\n", 1)[0])
    named = ",".join(map(str, COUNTS))
    parser.add_argument("--symbols", default=named, help="how many assets, one run each (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of each count (default: %(default)s)")
    parser.add_argument("--busiest", type=float, default=BUSIEST, help="events/s of the largest (default: %(default)s)")
    parser.add_argument("--exchanges", default="binance", help="exchanges to simulate (default: %(default)s)")
    given = parser.parse_args(arguments)
    counts = [int(count) for count in given.symbols.split(",")]
    lines = []
    for line in _lines(counts, given.seconds, given.busiest, given.exchanges):
        print(line, flush=True)
        lines.append(line)
    if not arguments:
        keep("symbols", lines)
    return 0


def _lines(counts: Sequence[int], seconds: float, busiest: float, exchanges: str) -> Iterator[str]:
    yield (
        f"Simulated {exchanges}, every channel of spot and perpetual, {seconds:g} s each. The k-th largest asset has "
        f"about {busiest:g} events a second divided by the root of k; candles, tickers and mark prices come besides. "
        "GiB a day is what ClickHouse keeps before it has merged."
    )
    yield ""
    yield (
        "| assets | instruments | connections | events/s | rows/s | kept up | cores | of which collector, normaliser, "
        "storage-batcher, ClickHouse, NATS | resident MiB | GiB/day |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for count in counts:
        print(f"running {count} symbols ...", file=sys.stderr, flush=True)
        yield measure(count, sum(busiest / sqrt(place) for place in range(1, count + 1)), seconds, exchanges)


def measure(count: int, rate: float, seconds: float, exchanges: str) -> str:
    """Return the table's line of so many assets, with about `rate` events a second in all."""
    environment = {
        "TAPELINE_EXCHANGE_SIMULATOR_EVENTS_PER_S": str(rate),
        "TAPELINE_EXCHANGE_SIMULATOR_LEDGER": "false",
    }
    with tempfile.TemporaryDirectory() as folder:
        arguments = ("--simulate", "--exchanges", exchanges, "--symbols", str(count))
        with run_pipeline(Path(folder) / "data", *arguments, **environment) as pipeline:
            pipeline.addresses()
            while not _begun(pipeline):
                pipeline.check()
                time.sleep(LOOK_S)
            before = _read(pipeline)
            time.sleep(seconds)
            after = _read(pipeline)
            collector = _subscribed(pipeline) or {"symbols": 0, "connections": []}
            if pipeline.interrupt() != 0:
                raise SystemExit(pipeline.log()[-4000:])
    if after.pids != before.pids:
        raise SystemExit(f"a process was started again during the count: {before.pids} became {after.pids}")
    passed = after.at - before.at
    received = (after.received - before.received) / passed
    cores = {name: (after.processor_s[name] - spent) / passed for name, spent in before.processor_s.items()}
    main_five = ("collector", "normaliser", "storage-batcher", *reversed(OTHERS))
    cells = [
        f"{count:,}",
        f"{collector['symbols']:,}",
        f"{len(collector['connections']):,}",
        f"{received:,.0f}",
        f"{(after.rows - before.rows) / passed:,.0f}",
        "yes" if after.behind <= received * BEHIND_S else f"no, {after.behind:,} frames behind",
        f"{sum(cores.values()):.2f}",
        " ".join(f"{cores[name]:.2f}" for name in main_five),
        f"{after.resident_mib:,.0f}",
        f"{(after.stored_bytes - before.stored_bytes) / passed * 86_400 / 1024**3:,.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def _begun(pipeline: Pipeline) -> bool:
    """Whether everything is subscribed, and every book has been asked for and answered."""
    status = _subscribed(pipeline)
    return status is not None and not status["snapshots_pending"]


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
    collector, normaliser = pipeline.status("collector") or {}, pipeline.status("normaliser") or {}
    return Reading(
        time.monotonic(),
        collector["received"],
        collector["outbox"] + collector["spooled"] + normaliser["pending_messages"],
        int(parts["rows"]),
        int(parts["bytes"]),
        pids,
        {name: seconds for name, (seconds, _) in spent.items()},
        sum(resident for _, resident in spent.values()),
    )
