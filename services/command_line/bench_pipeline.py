"""`tapeline bench pipeline`: simulated exchanges over real WebSockets through the whole pipeline, measured."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

import orjson
import structlog
from rich.console import Console
from rich.table import Table

from schemas import streams, subjects, tables
from schemas.errors import Broken, Busy
from services.command_line import pipeline
from services.command_line.bench_ledger import Compared, compare
from services.command_line.bench_machine import BenchMachine
from services.command_line.bench_watch import Rows, Subjects, Used, percentile, use_of
from services.command_line.settings import PipelineSettings
from services.command_line.summary import EXIT_LOST

T = TypeVar("T")

EXIT_NOT_SUSTAINED = 1
MOST_AGE_MS = 2_000.0
"""How old the newest row may be."""

SETTLE_S = 5.0
"""Between the last subscription and the measurement."""

PREPARE_S = 3_600.0
"""Within which the simulator must have prepared the run."""

DRAIN_S = 900.0
"""Within which all that was sent must be stored."""

START_S = 900.0
LOOK_S = 0.2

SIMULATOR, BENCH = "exchange-simulator", "bench"
_SNAPSHOT = "depth_snapshot"
CHANNELS = "trades,depth,quotes,candles_1m"
_LEAD_S = 10.0
_LEAD_PER_SYMBOL_S = 0.5
_TAIL_S = 5.0
_LEAST_SHARE = 0.97
"""Of the rate asked for: a run that was slower has not sustained it."""

MOST_REHEARSED = 110
"""Symbols for whose books a minute of Binance's request weight is enough: a prepared run stands until all are read."""

_MOST_RISE_MS = 200.0
"""By how much more than the seconds before the newest row may have aged at the end, and still count as not rising."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is driven through the pipeline."""

    events_per_s: float
    seconds: float
    symbols: int
    normalisers: int = 1
    batchers: int = 1
    ledger: bool = True
    rehearsed: bool = True
    """Whether the simulator prepares the run before it is sent, instead of making it up on the way."""

    def environment(self) -> dict[str, dict[str, str]]:
        """Return what the simulator and the collector are told: the mix of a recorded futures session and no more.

        A run that is made up on the way must cover every subscription.
        """
        lead_s = _LEAD_S + _TAIL_S if self.rehearsed else _LEAD_S + _LEAD_PER_SYMBOL_S * self.symbols
        return {
            SIMULATOR: {
                # Two thirds of an exchange's events are its perpetuals'.
                "TAPELINE_EXCHANGE_SIMULATOR_EVENTS_PER_S": str(self.events_per_s * 1.5),
                "TAPELINE_EXCHANGE_SIMULATOR_DURATION_S": str(lead_s + self.seconds),
                "TAPELINE_EXCHANGE_SIMULATOR_MARKETS": "perp",
                "TAPELINE_EXCHANGE_SIMULATOR_LEDGER": str(self.ledger).lower(),
                "TAPELINE_EXCHANGE_SIMULATOR_REHEARSED": str(self.rehearsed).lower(),
            },
            "collector": {
                "TAPELINE_COLLECTOR_CHANNELS": CHANNELS,
                "TAPELINE_COLLECTOR_POLLS": "false",
                # While a run is prepared its markets are silent, and their clocks stand.
                "TAPELINE_COLLECTOR_SILENCE_REPORT_S": str(PREPARE_S),
                "TAPELINE_COLLECTOR_SILENCE_TIMEOUT_S": str(2 * PREPARE_S),
                "TAPELINE_COLLECTOR_CLOCK_EVERY_S": "0",
            },
        }


@dataclass(frozen=True, slots=True)
class Worked:
    """What it took to bring all of a run's events into the tables, from the measurement's beginning on."""

    events: int
    seconds: float
    used: dict[str, Used]


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found between two moments, and `drained`: when all that was sent was stored."""

    wanted_per_s: float
    seconds: float
    events: int
    before: dict[str, Used]
    middle: dict[str, Used]
    after: dict[str, Used]
    ages_ms: list[float]
    row_ms: dict[int, float]
    subject_ms: dict[int, float]
    drained: Worked

    @property
    def sustained(self) -> bool:
        """Whether all was sent in its time, and the newest row stayed young enough and did not age at the end."""
        ages = self.ages_ms
        third = max(1, len(ages) // 3)
        rise = fmean(ages[-third:]) - fmean(ages[third : 2 * third] or ages)
        kept_pace = self.events / self.seconds >= _LEAST_SHARE * self.wanted_per_s
        return kept_pace and max(ages) < MOST_AGE_MS and rise < _MOST_RISE_MS

    def cpu_us(self, name: str) -> float:
        """Return a process's processor time per event, microseconds: of all that was sent, however late it came."""
        return (self.drained.used[name].processor_s - self.before[name].processor_s) / self.drained.events * 1e6

    @property
    def pipeline_names(self) -> list[str]:
        """The processes that are the pipeline."""
        return [name for name in self.after if name not in (SIMULATOR, BENCH)]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures under the names that `--json` prints."""
        names = self.pipeline_names
        return {
            "events_per_s": round(self.events / self.seconds),
            "lag_p99_ms": round(self.row_ms[99], 1),
            "subject_p99_ms": round(self.subject_ms[99], 1),
            "cpu_us_per_event": round(sum(self.cpu_us(name) for name in names), 1),
            "rss_mb": round(sum(self.after[name].resident_mib for name in names)),
            "sustained": self.sustained,
            "events": self.events,
            "seconds": round(self.seconds, 1),
            "stored_per_s": round(self.drained.events / self.drained.seconds),
            "newest_row_age_ms": {"mean": round(fmean(self.ages_ms)), "max": round(max(self.ages_ms))},
            "lag_p50_ms": round(self.row_ms[50], 1),
            "subject_p50_ms": round(self.subject_ms[50], 1),
            "services": {
                name: {
                    "cpu_us_per_event": round(self.cpu_us(name), 2),
                    "cores": round((self.after[name].processor_s - self.before[name].processor_s) / self.seconds, 3),
                    "rss_mb": round(self.after[name].resident_mib),
                    "rss_mb_halfway": round(self.middle[name].resident_mib),
                }
                for name in self.after
            },
        }


async def run(
    plan: Plan, settings: PipelineSettings, log: structlog.stdlib.BoundLogger, data: Path | None, *, as_json: bool
) -> int:
    """Measure, print, and return the exit status."""
    with ExitStack() as stack:
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tapeline-bench-")))
        update = {
            "data_dir": folder.resolve(),
            "simulate": True,
            "exchanges": ("binance",),
            "symbols": (str(plan.symbols),),
            "log_level": "warning",
            **dict.fromkeys(("nats_port", "nats_monitor_port", "clickhouse_port", "health_base_port"), 0),
        }
        stack.enter_context(pipeline.owned(folder))
        machine = BenchMachine(
            settings.model_copy(update=update), log, plan.environment(), plan.normalisers, plan.batchers
        )
        try:
            await machine.start(asyncio.Event())
            measured, compared = await _or_failed(machine, _through(machine, plan, folder))
        finally:
            await machine.end()
    figures = measured.as_dict() | {"ledger": {kind: found._asdict() for kind, found in compared.items()}}
    if as_json:
        sys.stdout.write(orjson.dumps(figures).decode() + "\n")
    else:
        _print(plan, figures, compared)
    if not all(found.equal for found in compared.values()):
        return EXIT_LOST
    return 0 if measured.sustained else EXIT_NOT_SUSTAINED


async def _through(machine: BenchMachine, plan: Plan, folder: Path) -> tuple[Measured, dict[str, Compared]]:
    if plan.rehearsed:
        await _rehearse(machine, plan.symbols)
    async with asyncio.timeout(START_S):
        await _until(lambda: _in_step(machine, plan.symbols))
    measured = await _measure(machine, plan)
    return measured, await compare(machine, _ledger(folder)) if plan.ledger else {}


async def _or_failed(machine: BenchMachine, work: Coroutine[Any, Any, T]) -> T:
    """Return what the work brings. Raises Broken when a process cannot run, or something does not come to pass."""
    task = asyncio.ensure_future(work)
    failures = [child.failed for child in machine.children.values()]
    ends: list[asyncio.Future[Any]] = [task, *failures]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise Broken(next(failure.result() for failure in failures if failure.done()))
    try:
        return task.result()
    except TimeoutError:
        raise Broken(f"books not in step within {START_S:g} s, or not stored within {DRAIN_S:g} s of the end") from None


async def _rehearse(machine: BenchMachine, symbols: int) -> None:
    """Have the run prepared as soon as all that comes before it has come, and then sent."""
    async with asyncio.timeout(START_S):
        await _until(lambda: _asked_for(machine, symbols))
    await machine.order("prepare")
    async with asyncio.timeout(PREPARE_S):
        await _until(lambda: _prepared(machine))
    await machine.order("start")


async def _measure(machine: BenchMachine, plan: Plan) -> Measured:
    await asyncio.sleep(SETTLE_S)
    busiest = await _symbols(machine)
    rows, heard = Rows(machine, busiest[:3]), Subjects()
    await heard.open(machine.pipeline.nats_url, busiest[::10])
    watching = asyncio.create_task(rows.watch())
    try:
        loop = asyncio.get_running_loop()
        heard.begin()
        began, first, before = loop.time(), await _received(machine), use_of(machine)
        await asyncio.sleep(plan.seconds / 2)
        middle = use_of(machine)
        await asyncio.sleep(max(0.0, began + plan.seconds - loop.time()))
        seconds, events, after = loop.time() - began, await _received(machine) - first, use_of(machine)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await heard.close()
    async with asyncio.timeout(DRAIN_S):
        await _stored(machine)
    drained = Worked(await _received(machine) - first, loop.time() - began, use_of(machine))
    if not before.keys() == after.keys() == drained.used.keys() or not events:
        raise Broken(f"{events} frames were received while measuring, and processes came or went: see the log above")
    by_row, by_subject = rows.latencies(), heard.latencies()
    return Measured(
        plan.events_per_s,
        seconds,
        events,
        before,
        middle,
        after,
        rows.ages(),
        {share: percentile(by_row, share / 100) for share in (50, 99)},
        {share: percentile(by_subject, share / 100) for share in (50, 99)},
        drained,
    )


async def _stored(machine: BenchMachine) -> None:
    """Wait until everything that was sent is in the tables."""
    assert machine.bus is not None
    await _until(lambda: _finished(machine))
    await _until(lambda: _passed_on(machine))
    await asyncio.sleep(LOOK_S)  # what the collector has just let go of, the normaliser may not have seen yet
    await _until(lambda: _passed_on(machine))
    _, end = await machine.bus.bounds(streams.MD)
    await _until(lambda: _in_tables(machine, end))


async def _finished(machine: BenchMachine) -> bool:
    return bool((await machine.get(f"{machine.simulator_url}/simulator/status"))["finished"])


async def _passed_on(machine: BenchMachine) -> bool:
    collector, normaliser = await machine.status("collector"), await machine.status("normaliser")
    return not (collector["outbox"] or collector["spooled"] or normaliser["pending_messages"])


async def _in_tables(machine: BenchMachine, end: int) -> bool:
    return bool((await machine.status("storage-batcher"))["position"] >= end)


async def _until(happened: Callable[[], Awaitable[bool]]) -> None:
    while True:
        with suppress(Busy):
            if await happened():
                return
        await asyncio.sleep(LOOK_S)


def _ledger(folder: Path) -> list[Path]:
    return sorted((folder / "ledger").glob("*.parquet"))


async def _received(machine: BenchMachine) -> int:
    return int((await machine.status("collector"))["received"])


async def _in_step(machine: BenchMachine, symbols: int) -> bool:
    """Whether every stream is subscribed and every book in step: its snapshot waits for room in the request budget."""
    lines = (await machine.status("collector")).get("connections") or []
    partitions = (await machine.status("normaliser")).get("partitions", {})
    books = sum(part["counts"]["books_in_step"] for part in partitions.values())
    return bool(lines) and all(line["state"] == "subscribed" for line in lines) and books >= symbols


async def _asked_for(machine: BenchMachine, symbols: int) -> bool:
    """Whether every stream is subscribed, and the snapshot of every book is on RAW."""
    lines = (await machine.status("collector")).get("connections") or []
    if not lines or any(line["state"] != "subscribed" for line in lines):
        return False
    assert machine.bus is not None
    told = await machine.bus.subject_counts(streams.RAW, subjects.RAW_ALL)
    return sum(subjects.parse_raw(subject).channel == _SNAPSHOT for subject in told) >= symbols


async def _prepared(machine: BenchMachine) -> bool:
    return bool((await machine.get(f"{machine.simulator_url}/simulator/status"))["prepared"])


async def _symbols(machine: BenchMachine) -> list[str]:
    """Return the instruments, those with most quotes first."""
    assert machine.warehouse is not None
    answer = await machine.warehouse.query(
        f"SELECT symbol FROM {tables.DATABASE}.quotes GROUP BY symbol ORDER BY count() DESC, symbol FORMAT TSV"
    )
    return answer.decode().split()


def _print(plan: Plan, figures: dict[str, Any], compared: dict[str, Compared]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(
        f"{figures['events_per_s']:,} events/s over {figures['seconds']:g} s, {plan.symbols} symbols, asked for "
        f"{plan.events_per_s:,.0f}: {'sustained' if figures['sustained'] else 'NOT sustained'}; "
        f"{figures['stored_per_s']:,} events/s until all was stored"
    )
    console.print(
        f"frame to subject: p50 {figures['subject_p50_ms']} ms, p99 {figures['subject_p99_ms']} ms; frame to row: p50 "
        f"{figures['lag_p50_ms']} ms, p99 {figures['lag_p99_ms']} ms; newest row's age: mean "
        f"{figures['newest_row_age_ms']['mean']} ms, at most {figures['newest_row_age_ms']['max']} ms"
    )
    services = Table()
    for name in ("process", "us/event", "cores", "MiB halfway", "MiB at the end"):
        services.add_column(name, justify="left" if name == "process" else "right")
    for name, one in figures["services"].items():
        values = (one["cpu_us_per_event"], one["cores"], one["rss_mb_halfway"], one["rss_mb"])
        services.add_row(name, *(f"{value:g}" for value in values))
    services.add_row("the pipeline", f"{figures['cpu_us_per_event']:g}", "", "", f"{figures['rss_mb']:g}")
    console.print(services)
    kinds = Table()
    for name in ("kind", "sent", "stored", "equal"):
        kinds.add_column(name, justify="left" if name == "kind" else "right")
    for kind, found in compared.items():
        kinds.add_row(kind, f"{found.sent:,}", f"{found.stored:,}", "yes" if found.equal else "NO")
    if compared:
        console.print(kinds)
