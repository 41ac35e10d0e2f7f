"""What a run did: frames, records, rows, gaps and refusals; and whether anything was lost or refused."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import yaml
from rich.console import Console
from rich.table import Table

from schemas import tables
from schemas.errors import Broken
from services.command_line.machine import Machine

EXIT_REFUSED = 3
EXIT_LOST = 4


async def counts(machine: Machine) -> dict[str, Counter[str]]:
    """Return what the normaliser counted, summed over its partitions: `frames`, `records`, `refused` per channel."""
    found: dict[str, Counter[str]] = {}
    for partition in (await machine.status("normaliser"))["partitions"].values():
        for name, value in partition["counts"].items():
            if isinstance(value, dict):
                found.setdefault(name, Counter()).update(value)
    return found


async def report(machine: Machine, expectations: Path | None, console: Console) -> int:
    """Print the tables of a finished run; return its exit status."""
    found = await counts(machine)
    channels = Table(title="Frames and records by channel", title_justify="left")
    for name in ("channel", "frames", "records", "duplicates", "refused"):
        channels.add_column(name, justify="left" if name == "channel" else "right")
    every = sorted(set().union(*found.values()) if found else ())
    for channel in every:
        row = [f"{found.get(name, Counter())[channel]:,}" for name in ("frames", "records", "duplicates", "refused")]
        channels.add_row(channel, *row)
    console.print(channels)

    rows = Table(title="Rows by table", title_justify="left")
    rows.add_column("table")
    rows.add_column("rows", justify="right")
    assert machine.warehouse is not None
    for table in tables.TABLES:
        answer = await machine.warehouse.query(f"SELECT count() FROM {tables.DATABASE}.{table.name} FORMAT TSV")
        number = int(answer)
        if number:
            rows.add_row(table.name, f"{number:,}")
    console.print(rows)

    gaps = await _rows(
        machine,
        "SELECT exchange, market, symbol, kind, gap_type, status, evidence FROM tapeline.gap_detection_log "
        "WHERE status != 'filled' ORDER BY exchange, market, symbol, kind FORMAT JSONEachRow",
    )
    refused = await _rows(
        machine,
        "SELECT service, reason, subject, body, connection, frame FROM tapeline.dead_letters "
        "ORDER BY timestamp, stream_sequence FORMAT JSONEachRow",
    )
    _print_gaps(gaps, console)
    surprising = _print_refused(refused, _expected(expectations), console)
    dropped = (await machine.status("collector")).get("dropped", 0)
    if gaps or dropped:
        return EXIT_LOST
    return EXIT_REFUSED if surprising else 0


async def _rows(machine: Machine, sql: str) -> list[dict[str, Any]]:
    assert machine.warehouse is not None
    return [orjson.loads(line) for line in (await machine.warehouse.query(sql)).splitlines()]


def _print_gaps(gaps: list[dict[str, Any]], console: Console) -> None:
    if not gaps:
        console.print("Gaps: none.")
        return
    table = Table(title=f"Gaps: {len(gaps)}", title_justify="left")
    names = ("exchange", "market", "symbol", "kind", "gap_type", "status", "evidence")
    for name in names:
        table.add_column(name)
    for gap in gaps:
        table.add_row(*(str(gap[name]) for name in names))
    console.print(table)


def _expected(path: Path | None) -> dict[str, str]:
    """Read an expectations file: a list of `{sha256: <of the refused frame's bytes>, reason: <why it is right>}`."""
    if path is None:
        return {}
    try:
        entries = yaml.safe_load(path.read_text()) or []
        return {entry["sha256"]: entry["reason"] for entry in entries}
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise Broken(f"{path} is not a list of sha256 and reason: {error}") from None


def _print_refused(refused: list[dict[str, Any]], expected: dict[str, str], console: Console) -> int:
    """Print refused messages; return how many no expectation names."""
    if not refused:
        console.print("Refused: none.")
        return 0
    table = Table(title=f"Refused: {len(refused)}", title_justify="left")
    for name in ("service", "subject", "frame", "reason", "expected"):
        table.add_column(name)
    surprising = 0
    for letter in refused:
        digest = hashlib.sha256(b64decode(letter["body"])).hexdigest()
        why = expected.get(digest)
        surprising += why is None
        where = f"{letter['connection'] or ''} {letter['frame'] or ''}".strip()
        table.add_row(letter["service"], letter["subject"], where, letter["reason"], why or f"no ({digest[:12]})")
    console.print(table)
    return surprising
