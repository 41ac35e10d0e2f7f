"""The whole road on this machine: a generated market through every service, and what each costs.

Everything runs as a user starts it (`tapeline up --simulate`). Processor time and memory are read from the system when
the market has been told to its end and every row is stored; afterwards the tables are compared with the ledger, and a
difference fails the run.
"""

from __future__ import annotations

import json
import os
import tempfile
import urllib.request
from pathlib import Path

from tests.ledger import compare
from tests.pipeline import Pipeline, run_pipeline, until

RATES = (500, 3_000)
SECONDS = 20
NAMES = ("exchange-simulator", "nats-server", "collector", "normaliser", "storage-batcher", "clickhouse")


def run() -> list[str]:
    """Return the benchmark's lines of Markdown."""
    lines = [
        "## The whole road: a generated market from WebSocket to table",
        "",
        f"{SECONDS} s of market; processor time includes each service's start. Tables equal the ledger afterwards.",
        "",
        f"| events/s | {' | '.join(f'{name} us/event' for name in NAMES)} | all us/event | resident MiB, all |",
        f"|---|{'---|' * (len(NAMES) + 2)}",
    ]
    return lines + [_run(rate) for rate in RATES]


def _run(rate: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        environment = {
            "TAPELINE_EXCHANGE_SIMULATOR_DURATION_S": str(SECONDS),
            "TAPELINE_EXCHANGE_SIMULATOR_EVENTS_PER_S": str(rate),
            "TAPELINE_EXCHANGE_SIMULATOR_SYMBOLS": "50",
        }
        with run_pipeline(data, "--simulate", **environment) as pipeline:
            pipeline.addresses()
            until(lambda: _finished(pipeline), "the market is told to its end and stored")
            used = {name: used(pipeline.starts(name)[-1]) for name in NAMES}
            received = (pipeline.status("collector") or {})["received"]
            if pipeline.interrupt() != 0:
                raise SystemExit(pipeline.log()[-4000:])
        different = {kind: found for kind, found in compare(data).items() if any(found[1:])}
        if different:
            raise SystemExit(f"tables and ledger differ: {different}")
    costs = [used[name][0] / received * 1e6 for name in NAMES]
    memory = sum(resident for _, resident in used.values())
    cells = " | ".join(f"{cost:.0f}" for cost in [*costs, sum(costs)])
    return f"| {received / SECONDS:,.0f} | {cells} | {memory:,.0f} |"


def _finished(pipeline: Pipeline) -> bool:
    """Whether the simulator has said all and the tables have it."""
    port = (pipeline.data_dir / "simulator" / "port").read_text().strip()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/simulator/status", timeout=5) as answer:
            if not json.loads(answer.read())["finished"]:
                return False
    except OSError:
        return False  # it is busy starting
    normaliser = pipeline.status("normaliser")
    batcher = pipeline.status("storage-batcher")
    return bool(
        normaliser
        and batcher
        and not normaliser["pending_messages"]
        and not batcher["pending_messages"]
        and not batcher["pending_rows"]
    )


def used(pid: int) -> tuple[float, float]:
    """Return the processor seconds and resident MiB of a process, from Linux's /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    ticks = int(fields[11]) + int(fields[12])
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return ticks / os.sysconf("SC_CLK_TCK"), resident / 1024**2
