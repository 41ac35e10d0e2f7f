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

from schemas import streams, subjects, tables
from schemas.errors import BadFrame, Broken
from schemas.frames import unpack
from services.command_line.machine import Machine
from services.shared.runtime.reader import Reader

EXIT_REFUSED = 3
EXIT_LOST = 4

MOST_SHOWN = 30
"""Rows of a table that a person is shown; the whole is in ClickHouse."""

Channel = tuple[str, str, str]
"""Exchange, market and channel."""


async def report(machine: Machine, expectations: Path | None, console: Console) -> int:
    """Print the tables of a finished run; return its exit status."""
    frames, doubles = await _frames(machine)
    channels = Table(title="Frames on RAW by channel", title_justify="left")
    for name in ("exchange", "market", "channel"):
        channels.add_column(name)
    channels.add_column("frames", justify="right")
    channels.add_column("published twice", justify="right")
    for key in sorted(frames):
        channels.add_row(*key, f"{frames[key]:,}", f"{doubles[key]:,}")
    console.print(channels)

    kinds = Table(title="Records on MD by kind", title_justify="left")
    for name in ("exchange", "market", "kind"):
        kinds.add_column(name)
    kinds.add_column("records", justify="right")
    for key, number in sorted((await _records(machine)).items()):
        kinds.add_row(*key, f"{number:,}")
    console.print(kinds)

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
    if gaps:
        return EXIT_LOST
    return EXIT_REFUSED if surprising else 0


async def _frames(machine: Machine) -> tuple[Counter[Channel], Counter[Channel]]:
    """Count RAW's frames by exchange, market and channel, session events among them; and those published twice.

    Counted on the stream itself: services that were killed on the way have forgotten what they had counted.
    """
    assert machine.bus is not None
    _, last = await machine.bus.bounds(streams.RAW)
    frames: Counter[Channel] = Counter()
    doubles: Counter[Channel] = Counter()
    newest: dict[tuple[str, str], int] = {}
    reader = Reader(machine.bus, streams.RAW, [subjects.RAW_ALL], 0, window=10_000)
    while reader.last < last:
        for message in await reader.read(10_000, 30):
            part = message.subject.rsplit(".", 1)[1]
            try:
                unpacked = unpack(message.subject, message.headers, message.body)
            except BadFrame:
                continue  # it is among the refused
            for frame in unpacked:
                key = (frame.exchange, frame.market, frame.channel)
                if frame.number <= newest.get((part, frame.connection), 0):
                    doubles[key] += 1
                    continue
                newest[part, frame.connection] = frame.number
                frames[key] += 1
    await reader.close()
    return frames, doubles


async def _records(machine: Machine) -> Counter[tuple[str, str, str]]:
    """Count MD's records by exchange, market and kind, as the stream itself counts its subjects."""
    assert machine.bus is not None
    found: Counter[tuple[str, str, str]] = Counter()
    for subject, number in (await machine.bus.subject_counts(streams.MD, subjects.MD_ALL)).items():
        _, kind, exchange, market, _ = subject.split(".", 4)
        found[exchange, market, kind] += number
    return found


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
    for gap in gaps[:MOST_SHOWN]:
        table.add_row(*(str(gap[name]) for name in names))
    console.print(table)
    if len(gaps) > MOST_SHOWN:
        console.print(f"... and {len(gaps) - MOST_SHOWN} more: see the view gap_detection_log.")


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
    """Print refused messages, alike ones together; return how many no expectation names."""
    if not refused:
        console.print("Refused: none.")
        return 0
    table = Table(title=f"Refused: {len(refused)}", title_justify="left")
    for name in ("service", "where", "reason", "expected because", "first one's sha256"):
        table.add_column(name, overflow="fold")
    table.add_column("count", justify="right")
    alike: dict[tuple[str, str, str, str], list[str]] = {}
    surprising = 0
    for letter in refused:
        digest = hashlib.sha256(b64decode(letter["body"])).hexdigest()
        why = expected.get(digest)
        surprising += why is None
        where = ".".join(letter["subject"].split(".")[:4])
        alike.setdefault((letter["service"], where, letter["reason"], why or "no"), []).append(digest)
    for (service, where, reason, why), digests in list(alike.items())[:MOST_SHOWN]:
        table.add_row(service, where, reason, why, digests[0][:16], f"{len(digests):,}")
    console.print(table)
    if len(alike) > MOST_SHOWN:
        console.print(f"... and {len(alike) - MOST_SHOWN} more kinds of refusals: see the table dead_letters.")
    return surprising
