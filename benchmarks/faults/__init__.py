"""Every fault an exchange may commit, each so often on each exchange; then what was lost beside what is on record.

`python -m benchmarks faults` runs `tapeline up --simulate` while the simulator commits its faults, until the ledger has
each kind `--per-kind` times on each exchange. Compared are then: every event with its row, or with the gap it lies in;
every gap with the faults that made it, by its bounds; and books with the simulator's own. What no number tells of
cannot be missed: a dropped quote is nowhere, and is counted as unseen.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks import books, keeping
from benchmarks.chaos.account import Gap, Instrument, account, recorded_gaps
from benchmarks.chaos.verdict import table
from benchmarks.faults import bounds, made
from benchmarks.faults.run import EVENTS_PER_S, MARKETS, Plan, run
from services.shared.exchanges.registry import MARKETS as COLLECTED
from tests.clickhouse_server import start_clickhouse
from tests.pipeline import URL_VARIABLE, at_rest

EXCHANGES = tuple(dict.fromkeys(market.exchange for market in COLLECTED.values() if not market.withdrawn))
SHOWN = 60
INTERRUPTED = 130
SECOND_US = 1_000_000


def main(arguments: list[str]) -> int:
    """Run, compare, print; 0 when there is no difference."""
    parser = argparse.ArgumentParser("python -m benchmarks faults", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--exchanges", default=",".join(EXCHANGES), help="which (default: %(default)s)")
    parser.add_argument("--per-kind", type=int, default=50, help="faults of each kind (default: %(default)s)")
    parser.add_argument("--symbols", default="3", help="how many assets, or which (default: %(default)s)")
    parser.add_argument("--per-min", type=float, default=12, help="faults of each kind a minute (default: %(default)s)")
    parser.add_argument("--books", type=int, default=1_000, help="books compared per exchange (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="keep the run's data here")
    parser.add_argument("--judge", action="store_true", help="run nothing: compare what --data has")
    given = parser.parse_args(arguments)
    if given.judge and given.data is None:
        parser.error("--judge needs --data")
    plan = Plan(tuple(given.exchanges.split(",")), tuple(given.symbols.split(",")), given.per_kind, given.per_min)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        data = (given.data or Path(folder) / "data").absolute()
        try:
            if not given.judge:
                run(data, plan)
            ran = time.monotonic()
            print("comparing", file=sys.stderr, flush=True)
            with _served(data):
                lines, wrong = judge(data, plan, given.books)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return INTERRUPTED
    lines += [
        "",
        f"{given.per_kind} faults of each kind on each exchange were asked for: {', '.join(made.wanted())}. "
        f"{len(wrong)} differences; {ran - began:.0f} s to run, {time.monotonic() - ran:.0f} s to compare.",
    ]
    print("\n".join(lines))
    for text in wrong[:SHOWN]:
        print(f"WRONG: {text[:600]}")
    if not arguments:
        keeping.keep("faults", lines)
    return 1 if wrong else 0


@contextmanager
def _served(data: Path) -> Iterator[None]:
    """Have the tables of a data directory at rest served while many questions are asked: each would open them anew."""
    server = start_clickhouse(data)
    os.environ[URL_VARIABLE] = server.url
    try:
        yield
    finally:
        del os.environ[URL_VARIABLE]
        server.stop()


def judge(data: Path, plan: Plan, least_books: int) -> tuple[list[str], list[str]]:
    """Compare what a run left behind; return the tables as lines of Markdown, and what is wrong, in words."""
    faults = made.read(data)
    wrong = made.too_few(faults, plan.exchanges, plan.per_kind)
    lines = account(
        data, lambda exchange, market, gap: made.caused(gap, faults.get((exchange, market), ())), _begun_us(data)
    )
    shown = table(lines)
    wrong += [fault for line in lines.values() for fault in line.faults]
    wrong += [
        f"{' '.join(key)}: {line.more_than_sent} rows more than were sent"
        for key, line in lines.items()
        if line.more_than_sent
    ]
    gaps = recorded_gaps(data)
    wrong += made.baseless(gaps, faults)
    found = bounds.compare(data)
    wrong += found.wrong
    unseen = _unseen(data, gaps)
    known = books.markets(
        data, symbols=plan.symbols, exchanges=plan.exchanges, markets=MARKETS, events_per_s=EVENTS_PER_S
    )
    compared = books.compare(data, known, least_books, seed=1)
    shown += [
        "",
        "| exchange | faults | of the rarest kind | gaps by number | numbers missing | gaps by time "
        "| dropped frames without numbers, unseen | books compared | wrong |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for exchange in plan.exchanges:
        hits = Counter(fault for key, those in faults.items() if key[0] == exchange for fault, _, _ in those)
        of_it = compared.get(exchange, books.Compared(0, []))
        cells = (
            *(hits.total(), min(hits[kind] for kind in made.wanted())),
            *(found.by_number[exchange], found.numbers[exchange], found.by_time[exchange]),
            *(unseen[exchange], of_it.books, len(of_it.wrong)),
        )
        shown.append(f"| {exchange} | {' | '.join(f'{number:,}' for number in cells)} |")
        wrong += of_it.wrong
        if of_it.books < least_books:
            wrong.append(f"{exchange}: {of_it.books} books were published; {least_books} were to be compared")
    return shown, wrong


def _begun_us(data: Path) -> int:
    """Return when the last market was subscribed for the first time: a connection cut before that covered nothing."""
    (row,) = at_rest(
        data,
        "SELECT toUnixTimestamp64Micro(max(first)) AS begun_us FROM (SELECT min(timestamp) AS first "
        "FROM tapeline.connections WHERE event = 'subscribed' GROUP BY exchange, market) "
        "SETTINGS output_format_json_quote_64bit_integers = 0",
    )
    begun_us: int = row["begun_us"]
    return begun_us


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
