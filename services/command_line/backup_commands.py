"""`tapeline backup` and `tapeline restore` as commands: which ClickHouse, how far it is, what was done."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from services.command_line.backup import Done, Tell, backup, check, restore
from services.command_line.backup_source import Source
from services.command_line.pipeline import running
from services.shared.runtime.settings import Settings
from services.shared.runtime.warehouse import Warehouse

MOST_ROWS = 500_000
"""Rows of one piece, about: it is held in memory while it is written, some 100 bytes a row."""

TIMEOUT_S = 600.0


def run_backup(data_dir: Path | None, folder: Path, incremental: bool) -> str:
    """Make a backup; return what to say of it."""
    done = _with_source(data_dir, lambda source, tell: backup(source, folder, incremental=incremental, tell=tell))
    return (
        f"backup {done.name}: {done.rows} rows in {done.pieces} pieces, of which {done.moved_pieces} "
        f"({done.moved_bytes} bytes) are new, in {folder}"
    )


def run_restore(data_dir: Path | None, folder: Path, name: str | None) -> str:
    """Restore a backup; return what to say of it."""
    done = _with_source(data_dir, lambda source, tell: restore(source, folder, name, tell))
    return (
        f"backup {done.name} restored: {done.rows} rows in {done.pieces} pieces, of which {done.moved_pieces} were "
        "missing; each is equal to what was stored"
    )


def run_check(folder: Path, name: str | None) -> str:
    """Read a backup and compare its checksums; return what to say of it."""
    with _progress() as tell:
        manifest = check(folder, name, tell)
    return f"backup {manifest.name} is whole: {len(manifest.pieces)} pieces"


def _with_source(data_dir: Path | None, work: Callable[[Source, Tell], Coroutine[Any, Any, Done]]) -> Done:
    settings = Settings.load(data_dir=data_dir)
    pipeline = running(settings.data_dir)
    if pipeline is not None:
        settings = settings.model_copy(update={"clickhouse_url": pipeline.clickhouse_url})

    async def do(tell: Tell) -> Done:
        async with Warehouse.of(settings, TIMEOUT_S) as warehouse:
            return await work(Source(warehouse, MOST_ROWS), tell)

    with _progress() as tell:
        return uvloop.run(do(tell))


@contextmanager
def _progress() -> Iterator[Tell]:
    """Show a bar on standard error while a person watches."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading", total=None)

        def tell(done: int, of: int, what: str) -> None:
            bar.update(task, completed=done, total=of, description=what)

        yield tell
