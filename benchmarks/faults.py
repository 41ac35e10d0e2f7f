"""Every fault an exchange may commit, each so often on each exchange; then what was lost beside what is on record.

`python -m benchmarks faults` runs `tapeline up --simulate` while the simulator commits its faults, until the ledger has
each kind `--per-kind` times on each exchange. Compared are then: every event with its row, or with the gap it lies in;
every gap with the faults that made it; and books with the simulator's own. What no number tells of cannot be missed:
a dropped quote is nowhere, and is counted as unseen.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks import books
from benchmarks.chaos.account import Gap, Instrument, account, recorded_gaps
from benchmarks.chaos.verdict import table
from services.exchange_simulator.fault_schedule import KINDS, kinds_of
from tests.pipeline import Pipeline, run_pipeline

EXCHANGES = ("binance", "okx", "deribit", "gateio", "mexc", "bybit")
MARKETS = ("spot", "perp")
EVENTS_PER_S = 240.0
BOOK_EVERY_S = 0.2
"""Books are published oftener than by default, so that there are many to compare."""
LONGER = 1.8
"""A fault that finds nothing to befall (a connection that is down just then) does not come to pass."""
SHOWN = 10
SECOND_US = 1_000_000
BACK_US = 60 * SECOND_US
"""A connection that was cut is back within so long, whatever else befalls it meanwhile."""
CUTTING = frozenset({"close", "abort", "expire", "refuse", "stall"})
"""What ends coverage: a stall does, when it outlasts the collector's patience."""
SPOILING = frozenset({"drop", "truncate", "unchain", "swap", "duplicate"})
"""What breaks the numbers of a stream, or the order in which they come."""

Fault = tuple[str, int, str | None]
"""What, when (us UTC), and which symbol, where it was about one."""
Faults = Mapping[tuple[str, str], list[Fault]]
"""By exchange and market."""


def main(arguments: list[str]) -> int:
    """Run, compare, print; 0 when there is no difference."""
    parser = argparse.ArgumentParser("python -m benchmarks faults", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--exchanges", default=",".join(EXCHANGES), help="which (default: %(default)s)")
    parser.add_argument("--per-kind", type=int, default=50, help="faults of each kind (default: %(default)s)")
    parser.add_argument("--symbols", default="3", help="how many assets, or which (default: %(default)s)")
    parser.add_argument("--per-min", type=float, default=12, help="faults of each kind a minute (default: %(default)s)")
    parser.add_argument("--books", type=int, default=1_000, help="books compared per exchange (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="keep the run's data here")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        data = given.data or Path(folder) / "data"
        _run(data, given)
        return _judge(data, given)


def _run(data: Path, given: argparse.Namespace) -> None:
    """Run until the faults have come to pass and everything that was sent is stored."""
    environment = {
        "TAPELINE_EXCHANGE_SIMULATOR_DURATION_S": str(60 * LONGER * given.per_kind / given.per_min + 20),
        "TAPELINE_EXCHANGE_SIMULATOR_FAULTS_PER_MIN": str(given.per_min),
        "TAPELINE_EXCHANGE_SIMULATOR_EVENTS_PER_S": str(EVENTS_PER_S),
        "TAPELINE_EXCHANGE_SIMULATOR_MARKETS": ",".join(MARKETS),
        "TAPELINE_NORMALISER_BOOK_INTERVAL_S": str(BOOK_EVERY_S),
        # Faults on answers need questions: the time costs the least of every exchange's limits.
        "TAPELINE_COLLECTOR_CLOCK_EVERY_S": "1",
    }
    arguments = ("--simulate", "--exchanges", given.exchanges, "--symbols", given.symbols)
    with run_pipeline(data, *arguments, **environment) as pipeline:
        pipeline.addresses()
        while not _all_sent(pipeline):
            pipeline.check()
            time.sleep(1)
        print("all is sent; waiting until it is stored", file=sys.stderr, flush=True)
        if pipeline.interrupt() not in (0, 3, 4):  # nothing lost, something refused, something lost: judged below
            raise SystemExit(pipeline.log()[-4000:])


def _all_sent(pipeline: Pipeline) -> bool:
    port = int((pipeline.data_dir / "simulator" / "port").read_text())
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/simulator/status", timeout=10) as answer:
        return bool(json.loads(answer.read())["finished"])


def _judge(data: Path, given: argparse.Namespace) -> int:
    exchanges = given.exchanges.split(",")
    faults = _faults(data)
    wrong = _too_few(faults, exchanges, given.per_kind)
    lines = account(data, lambda exchange, market, gap: _caused(gap, faults[exchange, market]))
    print("\n".join(table(lines)))
    wrong += [fault for line in lines.values() for fault in line.faults]
    wrong += [
        f"{' '.join(key)}: {line.more_than_sent} rows more than were sent"
        for key, line in lines.items()
        if line.more_than_sent
    ]
    gaps = recorded_gaps(data)
    wrong += _baseless(gaps, faults)
    unseen = _unseen(data, gaps)
    known = books.markets(
        data,
        symbols=tuple(given.symbols.split(",")),
        exchanges=tuple(exchanges),
        markets=MARKETS,
        events_per_s=EVENTS_PER_S,
    )
    compared = books.compare(data, known, given.books, seed=1)
    print("\n| exchange | faults | gaps on record | dropped frames without numbers, unseen | books compared | wrong |")
    print("|---|---|---|---|---|---|")
    for exchange in exchanges:
        made = sum(len(found) for key, found in faults.items() if key[0] == exchange)
        recorded = sum(len(found) for (instrument, _, _), found in gaps.items() if instrument[0] == exchange)
        of_it = compared.get(exchange, books.Compared(0, []))
        cells = (made, recorded, unseen[exchange], of_it.books, len(of_it.wrong))
        print(f"| {exchange} | {' | '.join(f'{number:,}' for number in cells)} |")
        wrong += of_it.wrong
        if of_it.books < given.books:
            wrong.append(f"{exchange}: {of_it.books} books were published; {given.books} were to be compared")
    for text in wrong[: SHOWN * len(exchanges)]:
        print(f"WRONG: {text[:600]}")
    print(f"{len(wrong)} differences")
    return 1 if wrong else 0


def _faults(data: Path) -> Faults:
    found: dict[tuple[str, str], list[Fault]] = defaultdict(list)
    for path in sorted((data / "ledger").glob("*.fault-*.parquet")):
        for row in pq.read_table(path).to_pylist():
            at_us = round(row["timestamp"].timestamp() * SECOND_US)
            found[row["exchange"], row["market"]].append((row["fault"], at_us, row["symbol"]))
    return found


def _too_few(faults: Faults, exchanges: list[str], least: int) -> list[str]:
    """Say which kinds of fault have not hit an exchange often enough."""
    hits: Counter[tuple[str, str]] = Counter()
    for (exchange, _), found in faults.items():
        hits.update((exchange, fault) for fault, _, _ in found)
    kinds = [kind for kind in KINDS if kind in kinds_of(())]
    few = [(exchange, kind) for exchange in exchanges for kind in kinds if hits[exchange, kind] < least]
    return [f"{exchange}: {kind} came to pass {hits[exchange, kind]} times, not {least}" for exchange, kind in few]


def _caused(gap: Gap, faults: list[Fault], symbol: str | None = None) -> bool:
    """Whether a fault of a kind that makes such a gap came to pass about when it began."""
    until = (gap.lost_to_us or gap.lost_from_us) + SECOND_US
    for fault, at_us, about in faults:
        if fault in CUTTING and gap.lost_from_us - BACK_US <= at_us <= until:
            return True
        if fault in SPOILING and gap.lost_from_us - SECOND_US <= at_us <= until and symbol in (None, about):
            return True
    return False


def _baseless(gaps: Mapping[tuple[Instrument, str, str | None], list[Gap]], faults: Faults) -> list[str]:
    """Return the gaps on record that no fault accounts for."""
    return [
        f"no fault made this gap: {' '.join(instrument)} {kind} {gap}"
        for (instrument, kind, _), found in gaps.items()
        for gap in found
        if not _caused(gap, faults[instrument[:2]], instrument[2])
    ]


def _unseen(data: Path, gaps: Mapping[tuple[Instrument, str, str | None], list[Gap]]) -> Counter[str]:
    """Count, by exchange, rows of dropped frames that lie in no gap on record."""
    found: Counter[str] = Counter()
    for path in sorted((data / "ledger").glob("*.parquet")):
        exchange, market, kind = path.name.split("-")[0].split(".")
        if kind in ("trade", "quote", "book_change"):
            for row in pq.read_table(path, filters=[("fault", "==", "drop")]).to_pylist():
                if not _in_a_gap(row, gaps.get(((exchange, market, row["symbol"]), kind, None), [])):
                    found[exchange] += 1
    return found


def _in_a_gap(row: dict[str, Any], gaps: list[Gap]) -> bool:
    at_us = round(row["handed_out_at"].timestamp() * SECOND_US)
    return any(
        gap.lost_from_us - SECOND_US <= at_us and (gap.lost_to_us is None or at_us <= gap.lost_to_us + SECOND_US)
        for gap in gaps
    )
