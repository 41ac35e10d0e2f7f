"""Is everything there of a thousand symbols? `python -m benchmarks complete [--symbols 1000] [--seconds 900]`.

Runs `tapeline up --simulate --exchanges binance --symbols N --for S` and judges what is stored, symbol by symbol:

* of streamed kinds, every event that the exchange sent from 60 s after the start on, and none that it did not;
* books, and what is polled, within 1.2 times what the exchange's own limits allow, which is computed from the weights
  and limits that are declared, and never asked of the run itself;
* no request above a limit, no gap, no dead letter, and as many connections as the limits ask for, the first time.

Processor time and memory of each process are printed. Exit status 1 says that one of these is not so.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks.keeping import keep
from benchmarks.symbols_due import Due, connections, rounds
from benchmarks.symbols_ledger import compare
from benchmarks.symbols_use import Watch
from schemas import records, tables
from services.collector.settings import CollectorSettings
from services.shared.exchanges.declaration import AUDIT, Market
from services.shared.exchanges.registry import MARKETS
from tests.pipeline import Pipeline, at_rest, run_pipeline

SETTLED_S = 60
"""From so long after the start on everything that is streamed is to be there."""
PATIENCE = 1.2
"""What is asked by REST may take so many times what the limits allow."""
EDGE_US = 1_000_000
"""What the exchange hands out while it is told that the collector goes is read by nobody."""
LOOK_S = 5.0
SHOWN = 20
POLLED_ROWS: Mapping[str, str] = {"funding_rate": "rate_kind = 'settled'"}
"""Which rows of a kind come by REST, where the kind is streamed too."""
_TABLE_OF = {table.record.KIND: table.name for table in tables.TABLES}


class Run(NamedTuple):
    """What the log says of a run. Times are microseconds UTC."""

    began_us: int
    """When it was known what to collect."""
    ended_us: int
    """When the first connection was closed on the way out."""
    symbols: Mapping[str, int]
    """By `exchange.market`."""
    opened: Mapping[str, int]
    """Connections, by `exchange.market`."""
    broken: list[str]
    """Why connections were closed before the end, and what was refused."""


class Report:
    """What is told on the way, and kept."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, *lines: str) -> None:
        """Print lines at once."""
        self.lines += lines
        print("\n".join(lines), flush=True)


class Ended(NamedTuple):
    """A run that is over: how many requests each market refused as too many, by `exchange.market`."""

    status: int
    log: str
    refused: Mapping[str, int]


def main(arguments: list[str]) -> int:
    """Run, judge, print; 0 when every promise was kept."""
    parser = argparse.ArgumentParser("python -m benchmarks complete", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--symbols", type=int, default=1_000, help="how many assets (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=900, help="how long is collected (default: %(default)s)")
    parser.add_argument("--exchanges", default="binance", help="which (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="keep the run's data here")
    given = parser.parse_args(arguments)
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        data = given.data or Path(folder) / "data"
        ended = _run(data, given, report)
        wrong = [] if ended.status == 0 else [f"tapeline up ended with exit status {ended.status}"]
        wrong += [f"{key}: {count} requests were above a limit" for key, count in ended.refused.items() if count]
        wrong += _judge(data, _read(ended.log), given.seconds, report)
    report.say(*("", *(f"WRONG: {text}" for text in wrong[:SHOWN]), f"{len(wrong)} promises broken."))
    if not arguments:
        keep("complete", report.lines)
    return 1 if wrong else 0


def _run(data: Path, given: argparse.Namespace, report: Report) -> Ended:
    """Run the pipeline to its end."""
    arguments = ("--simulate", "--exchanges", given.exchanges, "--symbols", str(given.symbols), "--for")
    watch = Watch()
    refused: dict[str, int] = {}
    with run_pipeline(data, *arguments, str(given.seconds)) as pipeline:
        pipeline.addresses()
        said = 0.0
        while pipeline.process.poll() is None:
            watch.look(pipeline)
            refused = _refused(pipeline) or refused
            if time.monotonic() - said > 60:
                said = time.monotonic()
                print(_progress(pipeline), file=sys.stderr, flush=True)
            time.sleep(LOOK_S)
        report.say(*watch.table(), "")
        report.say("Requests above a limit: " + ", ".join(f"{key} {count}" for key, count in refused.items()) + ".")
        return Ended(pipeline.process.returncode, pipeline.log(), refused)


def _refused(pipeline: Pipeline) -> dict[str, int] | None:
    """Return how many requests each market refused as too many, so far."""
    try:
        port = int((pipeline.data_dir / "simulator" / "port").read_text())
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/simulator/status", timeout=LOOK_S) as answer:
            markets = json.loads(answer.read())["markets"]
    except (OSError, ValueError):
        return None
    return {f"{market['exchange']}.{market['market']}": market["over_the_limit"] for market in markets}


def _progress(pipeline: Pipeline) -> str:
    status = pipeline.status("collector") or {}
    return f"{status.get('received', 0):,} frames, {status.get('snapshots_pending', 0):,} books to be asked for"


def _read(log: str) -> Run:
    began, ended = sys.maxsize, sys.maxsize
    symbols: dict[str, int] = {}
    opened: Counter[str] = Counter()
    broken: list[str] = []
    for line in log.splitlines():
        if not line.startswith("{"):
            continue
        said = json.loads(line)
        at_us = round(datetime.fromisoformat(said["timestamp"]).timestamp() * 1_000_000)
        key = f"{said.get('exchange')}.{said.get('market')}"
        if said["event"] == "market_planned":
            began = min(began, at_us)
            symbols[key] = said["count"]
        elif said["event"] == "connection_opened":
            opened[key] += 1
        elif said["event"] == "connection_closed" and said["reason"] == "the collector stops":
            ended = min(ended, at_us)
        elif said["event"] in ("connection_closed", "connection_failed", "requests_paused", "subscription_refused"):
            broken.append(f"{key}: {said['event']}: {said.get('reason') or said.get('error')}")
    return Run(began, ended, symbols, opened, broken)


def _judge(data: Path, run: Run, seconds: int, report: Report) -> list[str]:
    """Return, in words, what was promised and is not so."""
    wrong = list(run.broken)
    share = CollectorSettings.load(data_dir=data).request_share
    report.say("", "| market | symbols | connections | asked for by the limits |", "|---|---|---|---|")
    for key, count in run.symbols.items():
        asked = connections(_market(key), [f"{number}" for number in range(count)])
        report.say(f"| {key} | {count:,} | {run.opened[key]} | {sum(asked.values())} |")
        if run.opened[key] != sum(asked.values()):
            wrong.append(f"{key}: {run.opened[key]} connections were opened; the limits ask for {sum(asked.values())}")
    wrong += _streamed(data, run, report)
    report.say(
        "",
        f"| market | asked of each symbol | weight | limit, of which {share:.0%} is used | allowed s | "
        f"{PATIENCE} times s | last symbol s | symbols |",
        "|---|---|---|---|---|---|---|---|",
    )
    for key, count in run.symbols.items():
        for due in rounds(_market(key), count, share):
            wrong += _asked(data, run, key, due, seconds, report)
    return wrong


def _market(key: str) -> Market:
    exchange, market = key.split(".")
    return MARKETS[exchange, market]


def _streamed(data: Path, run: Run, report: Report) -> Iterator[str]:
    """Compare what was sent with what is stored."""
    report.say("", "| market | kind | sent | symbols | not stored, at start or end | missing | not sent |")
    report.say("|---|---|---|---|---|---|---|")
    window = (run.began_us + SETTLED_S * 1_000_000, run.ended_us - EDGE_US)
    for (exchange, market, kind), found in compare(data, *window):
        lost, more = sum(found.missing.values()), sum(found.surplus.values())
        key = f"{exchange}.{market}"
        print(
            f"| {key} | {kind} | {found.sent:,} | {found.symbols:,} | {found.excused} | {lost} | {more} |", flush=True
        )
        if lost or more:
            names = ", ".join(sorted({*found.missing, *found.surplus})[:SHOWN])
            yield f"{key} {kind}: {lost} events are not stored, {more} rows were never sent: {names}"
        if found.symbols < run.symbols[key]:
            yield f"{key} {kind}: the exchange sent it of {found.symbols} symbols, not of {run.symbols[key]}"


def _asked(data: Path, run: Run, key: str, due: Due, seconds: int, report: Report) -> list[str]:
    """Judge what one endpoint was asked for: when the last symbol had its answer, and whether that was in time."""
    exchange, market = key.split(".")
    poll, count = due.poll, run.symbols[key]
    times = _in_step(data, exchange, market) if not poll.kinds else _first_rows(data, exchange, market, poll.kinds[0])
    came = [(at_us - run.began_us) / 1_000_000 for at_us in times]
    least = poll.every_s if poll.name == AUDIT and poll.every_s is not None else SETTLED_S
    allowed = max(PATIENCE * due.seconds, least)
    in_time = sum(at <= allowed for at in came)
    last = f"{max(came):,.0f}" if len(came) == count else "-"
    report.say(
        f"| {key} | {poll.name} | {due.weight:,} | {due.rate} | {due.seconds:,.1f} | {allowed:,.1f} | {last} | "
        f"{in_time:,} of {count:,} in time{'' if allowed <= seconds else ' (not due yet)'} |"
    )
    if in_time == count or allowed > seconds:
        return []
    return [f"{key} {poll.name}: {in_time} of {count} symbols had it within {allowed:.0f} s"]


def _first_rows(data: Path, exchange: str, market: str, kind: str) -> list[int]:
    """Return when each symbol's first polled row of a kind was received, microseconds UTC."""
    return _times(
        data,
        f"SELECT toUnixTimestamp64Micro(min(received_at)) AS at FROM {tables.DATABASE}.{_TABLE_OF[kind]} WHERE "
        f"exchange = '{exchange}' AND market = '{market}' AND {POLLED_ROWS.get(kind, '1')} GROUP BY symbol",
    )


def _in_step(data: Path, exchange: str, market: str) -> list[int]:
    """Return from when on each symbol's changes are all in step and its book is published."""
    changes, books = _TABLE_OF[records.BookChange.KIND], _TABLE_OF[records.OrderBook.KIND]
    where = f"exchange = '{exchange}' AND market = '{market}'"
    return _times(
        data,
        "SELECT toUnixTimestamp64Micro(greatest(maxIf(received_at, NOT in_step), minIf(received_at, in_step))) AS at "
        f"FROM {tables.DATABASE}.{changes} WHERE {where} AND symbol IN "
        f"(SELECT symbol FROM {tables.DATABASE}.{books} WHERE {where}) GROUP BY symbol HAVING countIf(in_step) > 0",
    )


def _times(data: Path, statement: str) -> list[int]:
    return [int(row["at"]) for row in at_rest(data, statement)]
