"""`tapeline gaps`: what is missing, by symbol and kind, with priorities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from services.command_line.sql import query

MOST_SHOWN = 100
_COLUMNS = (
    "exchange",
    "market",
    "symbol",
    "kind",
    "interval",
    "status",
    "priority",
    "gap_type",
    "first_missing",
    "last_missing",
    "after_timestamp",
    "before_timestamp",
    "attempts",
    "records_filled",
    "gap_id",
    "evidence",
)
_ORDER = "transform(ifNull(priority, ''), ['urgent', 'recent', 'historical'], [0, 1, 2], 3)"


def collect(
    data_dir: Path, exchange: str | None, symbol: str | None, kind: str | None, *, closed: bool
) -> list[dict[str, Any]]:
    """Return the gaps that are not closed, the most urgent first; `closed`: those too that are, however they ended."""
    conditions = [] if closed else ["status NOT IN ('filled', 'unavailable', 'partly_filled')"]
    for name, value in (("exchange", exchange), ("symbol", symbol), ("kind", kind)):
        if value is not None:
            escaped = value.replace("\\", "\\\\").replace("'", "\\'")
            conditions.append(f"{name} = '{escaped}'")
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    answer = query(
        data_dir,
        f"SELECT {', '.join(_COLUMNS)} FROM tapeline.gap_detection_log {where}"
        f"ORDER BY {_ORDER}, detection_time, exchange, market, symbol, kind "
        "SETTINGS output_format_json_quote_64bit_integers = 0",
        "JSONEachRow",
    )
    return [orjson.loads(line) for line in answer.splitlines()]


def totals(data_dir: Path) -> list[dict[str, Any]]:
    """Return how many gaps of each kind ended how."""
    answer = query(
        data_dir,
        "SELECT exchange, kind, status, count() AS gaps, sum(records_filled) AS rows FROM tapeline.gap_detection_log "
        "GROUP BY ALL ORDER BY ALL SETTINGS output_format_json_quote_64bit_integers = 0",
        "JSONEachRow",
    )
    return [orjson.loads(line) for line in answer.splitlines()]


def show(gaps: list[dict[str, Any]], ended: list[dict[str, Any]], console: Console) -> None:
    """Print the gaps, and how all there ever were stand."""
    if gaps:
        table = Table(title=f"Gaps: {len(gaps)}", title_justify="left")
        for name in ("instrument", "kind", "status", "priority", "missing", "calls", "rows", "found by"):
            table.add_column(name, overflow="fold")
        for gap in gaps[:MOST_SHOWN]:
            table.add_row(
                f"{gap['exchange']} {gap['market']} {gap['symbol']}",
                f"{gap['kind']} {gap['interval'] or ''}".strip(),
                gap["status"],
                gap["priority"] or "",
                _bounds(gap),
                str(gap["attempts"]),
                f"{gap['records_filled']:,}",
                gap["evidence"],
            )
        console.print(table)
        if len(gaps) > MOST_SHOWN:
            console.print(f"... and {len(gaps) - MOST_SHOWN} more: see --json.")
    else:
        console.print("No such gap.")
    table = Table(title="All gaps on record", title_justify="left")
    for name in ("exchange", "kind", "status", "gaps", "rows brought"):
        table.add_column(name)
    for row in ended:
        table.add_row(row["exchange"], row["kind"], row["status"], f"{row['gaps']:,}", f"{row['rows']:,}")
    console.print(table)


def _bounds(gap: dict[str, Any]) -> str:
    if gap["first_missing"] is not None and gap["last_missing"] is not None:
        return f"ids {gap['first_missing']} to {gap['last_missing']}"
    after, before = gap["after_timestamp"], gap["before_timestamp"]
    return f"{after or '?'} to {before or '?'}"
