"""`tapeline backfill`: ask the gap-backfill to refill a window, and follow it to its end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import nats.errors
import orjson
import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from schemas import subjects
from schemas.backfill import BackfillAnswer, BackfillRequest, decode_answer, encode
from schemas.errors import BadRecord, Broken
from services.command_line.pipeline import running
from services.command_line.sql import query
from services.shared.runtime.bus import connect
from services.shared.runtime.settings import Settings

ANSWER_S = 60.0
LOOK_S = 0.5
FINAL = ("filled", "partly_filled", "unavailable", "merged")
EXIT_LOST = 4


async def ask(settings: Settings, request: BackfillRequest, log: structlog.stdlib.BoundLogger) -> BackfillAnswer:
    """Put a request to the gap-backfill. Raises Broken when there is none, BadRecord when it refuses."""
    pipeline = running(settings.data_dir)
    if pipeline is not None:
        settings = settings.model_copy(update={"nats_url": pipeline.nats_url})
    stop = asyncio.Event()
    bus = await connect(settings, "backfill", log, stop)
    try:
        message = await bus.client.request(subjects.backfill(), encode(request), timeout=ANSWER_S)
        answer = decode_answer(message.data)
    except (nats.errors.Error, OSError) as error:
        raise Broken(f"no gap-backfill answers: {type(error).__name__} {error}") from None
    except msgspec.DecodeError as error:
        raise Broken(f"the gap-backfill gave an answer that cannot be read: {error}") from None
    finally:
        await bus.close()
    if answer.error is not None:
        raise BadRecord(answer.error)
    return answer


def states(data_dir: Path, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return how gaps stand, those that are in their table already; also such as have become part of another."""
    listed = ", ".join(f"'{name}'" for name in names)
    rows = query(
        data_dir,
        "SELECT gap_id, symbol, kind, interval, status, records_filled, evidence FROM tapeline.gap_events "
        f"WHERE gap_id IN ({listed}) ORDER BY received_at DESC, attempts DESC LIMIT 1 BY gap_id "
        "SETTINGS output_format_json_quote_64bit_integers = 0",
        "JSONEachRow",
    )
    return [orjson.loads(row) for row in rows.splitlines()]


async def follow(data_dir: Path, answer: BackfillAnswer, console: Console) -> int:
    """Show how far the gaps are until each has ended; return 0, or 4 when something of them is lost for good."""
    if not answer.gaps:
        console.print("Nothing is missing.")
        return 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("gaps closed", total=len(answer.gaps))
        while True:
            found = await asyncio.to_thread(states, data_dir, answer.gaps)
            ended = [gap for gap in found if gap["status"] in FINAL]
            progress.update(task, completed=len(ended))
            if len(ended) == len(answer.gaps):
                break
            await asyncio.sleep(LOOK_S)
    lost = [gap for gap in ended if gap["status"] not in ("filled", "merged")]
    console.print(f"{sum(gap['records_filled'] for gap in ended):,} rows brought, {len(ended)} gaps closed.")
    for gap in lost:
        console.print(f"{gap['symbol']} {gap['kind']} {gap['interval'] or ''}: {gap['status']}: {gap['evidence']}")
    return EXIT_LOST if lost else 0
