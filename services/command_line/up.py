"""`tapeline up`: the whole pipeline on one machine, supervised until Ctrl-C, a time, or the end of a session."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import structlog
from rich.console import Console

from schemas.errors import Broken, Busy, SettingsError
from services.command_line import pipeline
from services.command_line.drain import until_drained
from services.command_line.machine import Machine
from services.command_line.ring_watch import watch_rings
from services.command_line.settings import PipelineSettings
from services.command_line.summary import report

PROGRESS_S = 10.0


async def up(
    settings: PipelineSettings,
    log: structlog.stdlib.BoundLogger,
    *,
    for_s: float | None,
    drained: bool,
    expectations: Path | None,
) -> int:
    """Run until told to stop; return the exit status: 0 well, 1 broken, 3 something was refused, 4 something was lost.

    Refusals and losses decide the status of runs with an end of their own (`for_s`, `drained`); a run that a person
    ends reports how it drained.
    """
    if drained and not (settings.replay or settings.simulate):
        raise Broken("--until-drained needs --replay or --simulate: live exchanges never end")
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with pipeline.owned(settings.data_dir):
        machine = Machine(settings, log)
        status = 0
        try:
            await _or_stopped(machine.start(stop), stop)
            if not stop.is_set():
                msgspec.structs.replace(machine.pipeline, pid=os.getpid()).write(settings.data_dir)
                log.info("pipeline_running", url=machine.pipeline.clickhouse_url, path=str(settings.data_dir))
                await _run(machine, stop, log, for_s, drained)
                if (drained or for_s is not None) and not stop.is_set():
                    if not drained:
                        await _settle(machine, stop)
                    status = await report(machine, expectations, Console(width=None if sys.stdout.isatty() else 160))
        finally:
            clean = await machine.end()
        if not clean:
            log.error("pipeline_not_drained", reason="a service had to be killed, or had work left; see above")
            status = status or 1
        log.info("pipeline_stopped", status=status)
        return status


async def _or_stopped(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """Do the work, or give it up when `stop` is set first."""
    task = asyncio.ensure_future(work)
    waiter = asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    if task.done():
        task.result()
        return
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _run(
    machine: Machine, stop: asyncio.Event, log: structlog.stdlib.BoundLogger, for_s: float | None, drained: bool
) -> None:
    """Watch over the pipeline until its end: Ctrl-C, the time, the drained session, or a service that cannot run."""
    ends: list[asyncio.Future[Any]] = [asyncio.ensure_future(stop.wait())]
    if for_s is not None:
        ends.append(asyncio.ensure_future(asyncio.sleep(for_s)))
    if drained:
        ends.append(asyncio.ensure_future(until_drained(machine, stop)))
    failures: list[asyncio.Future[Any]] = [child.failed for child in machine.children.values()]
    aside = [asyncio.ensure_future(_progress(machine, log)), asyncio.ensure_future(watch_rings(machine, log))]
    try:
        await asyncio.wait({*ends, *failures}, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            if end.done():
                end.result()
        for failure in failures:
            if failure.done():
                raise SettingsError(failure.result())
    finally:
        for task in (*ends, *aside):
            task.cancel()
        await asyncio.gather(*ends, *aside, return_exceptions=True)


async def _settle(machine: Machine, stop: asyncio.Event) -> None:
    """End collecting and let what was received reach the tables, so that the report counts it."""
    await machine.end_service("collector")
    await machine.drained("normaliser")
    while not stop.is_set():
        batcher = await machine.status("storage-batcher")
        if not batcher["pending_messages"] and not batcher["pending_rows"]:
            return
        await asyncio.sleep(0.1)


async def _progress(machine: Machine, log: structlog.stdlib.BoundLogger) -> None:
    """Say every few seconds how far things are."""
    before = 0
    while True:
        await asyncio.sleep(PROGRESS_S)
        try:
            collector = await machine.status("collector")
            batcher = await machine.status("storage-batcher")
        except Busy:
            continue
        received = collector.get("received", 0)
        rows = sum(table.get("rows", 0) for table in batcher.get("tables", {}).values())
        log.info(
            "pipeline_progress",
            frames=received,
            value=f"{(received - before) / PROGRESS_S:,.0f} frames/s",
            rows=rows,
            missing=batcher.get("pending_messages"),
        )
        before = received
