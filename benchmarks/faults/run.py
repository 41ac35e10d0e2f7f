"""The run: a simulated market of which every kind of fault befalls each exchange, until everything is stored."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.faults.made import wanted
from tests.pipeline import Pipeline, run_pipeline

MARKETS = ("spot", "perp")
EVENTS_PER_S = 900.0
"""Over all exchanges and whatever they list: enough for Deribit's few perpetuals, whose books change the least."""
BOOK_EVERY_S = 0.1
"""Books are published oftener than by default, so that there are many to compare."""
LONGER = 1.9
"""A fault that finds nothing to befall (a connection that is down just then) does not come to pass."""
_SAID_EVERY_S = 15.0
_KEPT = {0: "everything was stored", 3: "some was refused", 4: "some was lost"}
"""How `tapeline up` may end; what was refused or lost is looked at afterwards."""


class Plan(NamedTuple):
    """What is run: which exchanges, how many or which assets, and faults of each kind: how many, how many a minute."""

    exchanges: tuple[str, ...]
    symbols: tuple[str, ...]
    per_kind: int
    per_min: float

    @property
    def seconds(self) -> float:
        """How long the market lasts."""
        return 60 * LONGER * self.per_kind / self.per_min + 20


def run(data: Path, plan: Plan) -> None:
    """Run until the market is over and everything that was sent is stored. Raises SystemExit with the log."""
    environment = {
        "TAPELINE_EXCHANGE_SIMULATOR_DURATION_S": str(plan.seconds),
        "TAPELINE_EXCHANGE_SIMULATOR_FAULTS_PER_MIN": str(plan.per_min),
        "TAPELINE_EXCHANGE_SIMULATOR_EVENTS_PER_S": str(EVENTS_PER_S),
        "TAPELINE_EXCHANGE_SIMULATOR_MARKETS": ",".join(MARKETS),
        "TAPELINE_NORMALISER_BOOK_INTERVAL_S": str(BOOK_EVERY_S),
        # Faults on answers need questions: the time costs the least of every exchange's limits.
        "TAPELINE_COLLECTOR_CLOCK_EVERY_S": "1",
        # A connection that lives for seconds counts as failed: whoever waits longer and longer is hit by nothing.
        "TAPELINE_COLLECTOR_BACKOFF_BASE_S": "0.2",
        "TAPELINE_COLLECTOR_BACKOFF_CAP_S": "0.5",
    }
    arguments = ("--simulate", "--exchanges", ",".join(plan.exchanges), "--symbols", ",".join(plan.symbols))
    with run_pipeline(data, *arguments, **environment) as pipeline:
        pipeline.addresses()
        _watch(pipeline, plan)
        _say("everything is sent; waiting until it is stored")
        ended = pipeline.interrupt()
        if ended not in _KEPT:
            raise SystemExit(pipeline.log()[-4000:])
        _say(_KEPT[ended])


def _watch(pipeline: Pipeline, plan: Plan) -> None:
    """Say how far it is until the simulator has nothing more to send."""
    began = said = time.monotonic()
    while True:
        pipeline.check()
        status = _status(pipeline)
        if status["finished"]:
            return
        if time.monotonic() - said >= _SAID_EVERY_S:
            said = time.monotonic()
            _say(f"{said - began:.0f} of {plan.seconds:.0f} s; {_rarest(status['markets'], plan.exchanges)}")
        time.sleep(1)


def _rarest(markets: Sequence[Mapping[str, Any]], exchanges: Sequence[str]) -> str:
    """Say which fault came to pass least of all on each exchange, and how often."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for market in markets:
        counts[market["exchange"]].update(market["faults"])
    found = []
    for name in exchanges:
        times, kind = min((counts[name][kind], kind) for kind in wanted())
        found.append(f"{name} {kind} {times}")
    return ", ".join(found)


def _status(pipeline: Pipeline) -> dict[str, Any]:
    port = int((pipeline.data_dir / "simulator" / "port").read_text())
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/simulator/status", timeout=30) as answer:
        found: dict[str, Any] = json.loads(answer.read())
        return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
