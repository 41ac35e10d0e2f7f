"""Bring ClickHouse's tables up to what `clickhouse/migrations/` says. Safe to repeat; never drops anything.

A migration is a file `<version>_<name>.sql` with one statement, or several separated by `;` and an empty line. Every
statement must bear being repeated (`IF NOT EXISTS`, `OR REPLACE`): ClickHouse has no transaction around a file, so one
that was interrupted is run again from its start.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import orjson

from schemas import tables
from schemas.errors import Broken
from services.shared.runtime.cluster import LOCAL, RECORD, on_cluster
from services.shared.runtime.warehouse import Warehouse

DIRECTORY = Path(__file__).resolve().parents[3] / "clickhouse" / "migrations"
"""Where the migrations are in a checkout of the repository, which is how tapeline is installed."""

_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_TTL = re.compile(r" TTL (.+?)(?: SETTINGS |$)", re.DOTALL)

_PREPARE = (
    f"CREATE DATABASE IF NOT EXISTS {tables.DATABASE}",
    f"CREATE TABLE IF NOT EXISTS {RECORD} (version UInt32, name String, checksum String, "
    "applied_at DateTime64(6, 'UTC') DEFAULT now64(6)) ENGINE = MergeTree ORDER BY version "
    "COMMENT 'Which migrations were applied, with the SHA-256 of their files.'",
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its version, name, statements and the SHA-256 of its bytes."""

    version: int
    name: str
    statements: tuple[str, ...]
    checksum: str


def load(directory: Path) -> tuple[Migration, ...]:
    """Return the migrations of a folder in order. Raises Broken naming a file that cannot be one."""
    found: dict[int, Migration] = {}
    for path in sorted(directory.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise Broken(f"{path} is not named like a migration: 0001_name.sql", path=str(path))
        version = int(match[1])
        if version in found:
            raise Broken(f"{path} has the version of {found[version].name}: {version}", path=str(path))
        content = path.read_bytes()
        pieces = re.split(r";\s*\n\s*\n", content.decode())
        statements = tuple(text for piece in pieces if (text := piece.strip().rstrip(";")))
        found[version] = Migration(version, match[2], statements, hashlib.sha256(content).hexdigest())
    if not found:
        raise Broken(f"{directory} holds no migrations", path=str(directory))
    return tuple(found[version] for version in sorted(found))


async def migrate(
    warehouse: Warehouse, directory: Path = DIRECTORY, *, retention: bool = True, cluster: str | None = None
) -> list[str]:
    """Apply what has not been applied, then set or remove retention; return one line per change made.

    With `retention` every table has the TTL that `schemas.tables` declares; without it none has, so that a replay of
    old recordings keeps its rows. With `cluster` tables are made on all of its servers (`cluster.py`). Raises Broken
    when an applied file has changed, Busy when ClickHouse is away.
    """
    migrations = load(directory)
    for statement in _PREPARE:
        await _execute(warehouse, statement, cluster)
    applied = await _applied(warehouse)
    for migration in migrations:
        before = applied.get(migration.version)
        if before is not None and before != migration.checksum:
            raise Broken(
                f"migration {migration.version:04d}_{migration.name} was applied and has changed since: "
                f"its checksum was {before[:12]} and is {migration.checksum[:12]}; write a new migration instead",
                name=migration.name,
            )
    done: list[str] = []
    for migration in migrations:
        if migration.version in applied:
            continue
        for statement in migration.statements:
            await _execute(warehouse, statement, cluster)
        await warehouse.query(
            f"INSERT INTO {RECORD} (version, name, checksum) "
            "SELECT {version:UInt32}, {name:String}, {checksum:String}",
            {"version": migration.version, "name": migration.name, "checksum": migration.checksum},
        )
        done.append(f"migration {migration.version:04d}_{migration.name} applied")
    return done + await _set_retention(warehouse, retention, cluster)


async def _execute(warehouse: Warehouse, statement: str, cluster: str | None) -> None:
    for text in on_cluster(statement, cluster) if cluster is not None else [statement]:
        await warehouse.execute(text)


async def _applied(warehouse: Warehouse) -> dict[int, str]:
    lines = (await warehouse.query(f"SELECT version, checksum FROM {RECORD} FORMAT TabSeparated")).decode()
    return {int(version): checksum for version, checksum in (line.split("\t") for line in lines.splitlines())}


async def _set_retention(warehouse: Warehouse, retention: bool, cluster: str | None) -> list[str]:
    done: list[str] = []
    found = await retentions(warehouse, tables.DATABASE if cluster is None else LOCAL)
    for table in tables.TABLES:
        if table.name not in found:
            continue
        wanted = table.ttl if retention else None
        if found[table.name] == wanted:
            continue
        change = f"MODIFY TTL {wanted}" if wanted else "REMOVE TTL"
        await _execute(warehouse, f"ALTER TABLE {tables.DATABASE}.{table.name} {change}", cluster)
        done.append(f"table {table.name}: retention {'set' if wanted else 'removed'}")
    return done


async def retentions(warehouse: Warehouse, database: str = tables.DATABASE) -> dict[str, str | None]:
    """Return the TTL of every table as ClickHouse writes it, None where rows are kept for ever."""
    answer = await warehouse.query(
        "SELECT name, engine_full FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree' "
        "FORMAT JSONCompactEachRow",
        {"database": database},
    )
    found: dict[str, str | None] = {}
    for line in answer.splitlines():
        name, engine = orjson.loads(line)
        match = _TTL.search(engine)
        found[name] = match[1] if match else None
    return found
