"""What was sent beside what is stored: the simulator's ledger goes into scratch tables, and ClickHouse compares.

Rows are counted and their hashes summed on both sides. What was heard on several connections is one event, but for the
kinds of which every copy is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from schemas import tables
from services.command_line.machine import Machine

SCRATCH = "sent"
"""Database of the scratch tables."""

_OF_A_CONNECTION = frozenset({"book_change", "candle_update"})


class Compared(NamedTuple):
    """Events sent, rows stored, and whether each equals one of the others."""

    sent: int
    stored: int
    equal: bool


async def compare(machine: Machine, ledger: Sequence[Path]) -> dict[str, Compared]:
    """Return, by kind, how the tables compare with the ledger's files. The pipeline runs and is drained."""
    assert machine.warehouse is not None
    await machine.warehouse.execute(f"CREATE DATABASE IF NOT EXISTS {SCRATCH}")
    files: dict[str, list[Path]] = {}
    for path in ledger:
        files.setdefault(path.name.split("-")[0].rsplit(".", 1)[1], []).append(path)
    by_kind = {table.record.KIND: table for table in tables.TABLES}
    return {kind: await _compare(machine, by_kind[kind], paths) for kind, paths in files.items() if kind in by_kind}


async def _compare(machine: Machine, table: tables.Table, paths: list[Path]) -> Compared:
    warehouse = machine.warehouse
    assert warehouse is not None
    told = set(pq.read_schema(paths[0]).names)
    columns = [column for column in table.columns if column.name in told]
    scratch = f"{SCRATCH}.{table.name}"
    declared = ", ".join(f"{column.name} {column.type}" for column in columns)
    await warehouse.execute(
        f"CREATE TABLE {scratch} ({declared}, connection Int64, fault Nullable(String)) ENGINE = MergeTree ORDER BY ()"
    )
    names = [column.name for column in columns]
    statement = f"INSERT INTO {scratch} ({', '.join(names)}, connection, fault) FORMAT Parquet"
    for path in paths:
        await warehouse.insert(statement, path.read_bytes(), path.name)
    # Over a tuple a null differs from an empty value; over the columns alone the hash would be null with any of them.
    row = f"sipHash64(tuple({', '.join(names)}))"
    merged = "sum" if table.record.KIND in _OF_A_CONNECTION else "max"
    sent = await _sums(
        machine,
        f"SELECT sum(copies), sum(row * copies) FROM (SELECT row, {merged}(heard) AS copies FROM (SELECT {row} AS row, "
        f"connection, count() AS heard FROM {scratch} WHERE fault IS NULL GROUP BY row, connection) GROUP BY row)",
    )
    # Settled rates and what is refilled come by REST, on request: the ledger has what was sent unasked.
    unasked = " AND rate_kind = 'estimated'" if table.record.KIND == "funding_rate" else ""
    stored = await _sums(
        machine, f"SELECT count(), sum({row}) FROM {tables.DATABASE}.{table.name} WHERE source = 'live'{unasked}"
    )
    return Compared(sent[0], stored[0], sent == stored)


async def _sums(machine: Machine, sql: str) -> tuple[int, int]:
    assert machine.warehouse is not None
    count, hashes = (await machine.warehouse.query(f"{sql} FORMAT TSV")).split()
    return int(count), int(hashes)
