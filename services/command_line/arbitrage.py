"""`tapeline arbitrage`: the past of the signals, by the programs of their own service."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from services.command_line.pipeline import running
from services.shared.runtime.settings import Settings

app = typer.Typer(name="arbitrage", help="What the arbitrage signal told, or would have told.", no_args_is_help=True)

DataDir = Annotated[Path | None, typer.Option("--data", help="The running pipeline's data directory.", metavar="DIR")]
REST = {"allow_extra_args": True, "ignore_unknown_options": True}
"""The program behind a command reads the rest of its flags: each of its settings is one."""


@app.command(context_settings=REST)
def backtest(
    context: typer.Context,
    begin: Annotated[str, typer.Option("--from", help="Beginning of the span, UTC.", metavar="TIME")],
    end: Annotated[str, typer.Option("--to", help="End of the span.", metavar="TIME")],
    data: DataDir = None,
) -> None:
    """Replay stored quotes and books through the live service's own core, and compare with what it told.

    Every setting of the signal is a flag too (--threshold-percent, --sizes, --fees, ...), and so are those of a
    simulated capital (--balances, --delay-s, --transfer-s, ...); --out FILE writes the whole result as JSON.
    """
    _become("backtest", data, ["--span-from", begin, "--span-to", end, *context.args])


@app.command(context_settings=REST)
def report(
    context: typer.Context,
    date: Annotated[str, typer.Option("--date", help="The day, UTC, such as 2026-11-21.")],
    data: DataDir = None,
) -> None:
    """Write a day's signals as one HTML file that needs no network, and the same as JSON (--out FOLDER)."""
    _become("report", data, ["--day", date, *context.args])


def _become(module: str, data: Path | None, arguments: list[str]) -> None:
    """Become the program, told where the running pipeline's tables are."""
    environment = dict(os.environ)
    pipeline = running(Settings.load(data_dir=data).data_dir)
    if pipeline is not None:
        environment["TAPELINE_CLICKHOUSE_URL"] = pipeline.clickhouse_url
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", f"services.arbitrage_signal.{module}", *arguments], environment)
