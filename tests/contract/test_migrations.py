"""The migrations, applied to an empty engine, make exactly the tables and views that schemas.tables declares."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import orjson
import pytest

from schemas import tables
from schemas.errors import Broken, Busy
from services.shared.runtime import migrations
from services.shared.runtime.migrations import DIRECTORY, migrate
from services.shared.runtime.warehouse import Warehouse
from tests.clickhouse_server import ClickhouseServer, run_clickhouse

DECLARED = "declared"
"""A database beside tapeline's own, made from the declarations: the engine itself writes both in its own words."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickhouseServer]:
    with run_clickhouse(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture
async def warehouse(server: ClickhouseServer) -> AsyncIterator[Warehouse]:
    async with Warehouse(server.url) as found:
        for database in (tables.DATABASE, DECLARED):
            await found.execute(f"DROP DATABASE IF EXISTS {database}")
        yield found


async def _describe(warehouse: Warehouse, database: str) -> dict[str, object]:
    """Return everything that the engine knows of a database's tables and columns, by name."""
    described: dict[str, object] = {}
    for line in (
        await warehouse.query(
            "SELECT name, engine_full, sorting_key, partition_key, primary_key, comment, "
            "replaceAll(as_select, {database:String}, 'tapeline') FROM system.tables "
            "WHERE database = {database:String} AND name != 'schema_migrations' FORMAT JSONCompactEachRow",
            {"database": database},
        )
    ).splitlines():
        name, *rest = orjson.loads(line)
        described[name] = rest
    for line in (
        await warehouse.query(
            "SELECT table, groupArray((name, type, compression_codec, default_kind, default_expression)) FROM "
            "(SELECT * FROM system.columns WHERE database = {database:String} AND table != 'schema_migrations' "
            "ORDER BY table, position) GROUP BY table FORMAT JSONCompactEachRow",
            {"database": database},
        )
    ).splitlines():
        name, columns = orjson.loads(line)
        described[f"{name} columns"] = columns
    return described


async def _declare(warehouse: Warehouse) -> None:
    await warehouse.execute(f"CREATE DATABASE {DECLARED}")
    for table in tables.TABLES:
        await warehouse.execute(_renamed(tables.create_table(table)))
    for view in tables.VIEWS:
        await warehouse.execute(_renamed(tables.create_view(view)))


def _renamed(statement: str) -> str:
    return statement.replace(f"{tables.DATABASE}.", f"{DECLARED}.")


async def test_migrations_make_what_is_declared(warehouse: Warehouse) -> None:
    await migrate(warehouse)
    await _declare(warehouse)
    made, declared = await _describe(warehouse, tables.DATABASE), await _describe(warehouse, DECLARED)
    assert set(made) == set(declared)
    for name, wanted in declared.items():
        assert made[name] == wanted, name
    columns = made["trades columns"]
    assert isinstance(columns, list)
    assert [column[0] for column in columns] == [column.name for column in tables.BY_NAME["trades"].columns]
    assert await migrations.retentions(warehouse) == {
        **{table.name: table.ttl for table in tables.TABLES},
        "schema_migrations": None,
    }


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("0002_trades.sql", "    side                 LowCardinality(String) CODEC(ZSTD(1)),\n", ""),
        ("0002_trades.sql", "Nullable(String) CODEC", "String CODEC"),
        ("0006_quotes.sql", "toIntervalDay(1)", "toIntervalDay(2)"),
        ("0020_views.sql", "interval = '1m'", "interval = '5m'"),
        ("0018_gap_events.sql", "non_replicated_deduplication_window = 10000", "index_granularity = 4096"),
    ],
)
async def test_a_migration_that_differs_is_found(
    warehouse: Warehouse, tmp_path: Path, file: str, before: str, after: str
) -> None:
    directory = tmp_path / "migrations"
    shutil.copytree(DIRECTORY, directory)
    text = (directory / file).read_text()
    assert before in text
    (directory / file).write_text(text.replace(before, after))
    for statement in (part for migration in migrations.load(directory) for part in migration.statements):
        await warehouse.execute(statement)
    await _declare(warehouse)
    assert await _describe(warehouse, tables.DATABASE) != await _describe(warehouse, DECLARED)


async def test_migrating_again_changes_nothing(warehouse: Warehouse) -> None:
    first = await migrate(warehouse)
    assert first == [f"migration {path.stem} applied" for path in sorted(DIRECTORY.glob("*.sql"))]
    assert await migrate(warehouse) == []
    names = await warehouse.query("SELECT count(), uniqExact(version) FROM tapeline.schema_migrations")
    assert names == f"{len(first)}\t{len(first)}\n".encode()


async def test_an_applied_file_that_changed_is_named(warehouse: Warehouse, tmp_path: Path) -> None:
    directory = tmp_path / "migrations"
    shutil.copytree(DIRECTORY, directory)
    await migrate(warehouse, directory)
    with (directory / "0006_quotes.sql").open("a") as file:
        file.write("-- changed\n")
    with pytest.raises(Broken, match="migration 0006_quotes was applied and has changed since"):
        await migrate(warehouse, directory)


async def test_an_interrupted_migration_is_run_again_from_its_start(warehouse: Warehouse, tmp_path: Path) -> None:
    directory = tmp_path / "migrations"
    shutil.copytree(DIRECTORY, directory)
    whole = (directory / "0020_views.sql").read_text()
    (directory / "0020_views.sql").write_text(whole.replace("LIMIT 1 BY", "LIMIT BY"))
    with pytest.raises(Broken, match="SYNTAX_ERROR"):
        await migrate(warehouse, directory)
    (directory / "0020_views.sql").write_text(whole)
    assert (await migrate(warehouse, directory))[0] == "migration 0020_views applied"
    assert await migrate(warehouse, directory) == []


async def test_a_replay_keeps_its_rows_and_live_tables_their_retention(warehouse: Warehouse) -> None:
    await migrate(warehouse, retention=False)
    assert set((await migrations.retentions(warehouse)).values()) == {None}
    done = await migrate(warehouse, retention=True)
    kept = {table.name for table in tables.TABLES if table.ttl}
    assert done == [f"table {table.name}: retention set" for table in tables.TABLES if table.ttl]
    found = await migrations.retentions(warehouse)
    assert {name for name, ttl in found.items() if ttl} == kept
    assert found["candles"] == tables.BY_NAME["candles"].ttl
    assert await migrate(warehouse, retention=True) == []


def test_a_folder_that_is_no_folder_of_migrations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Broken, match="holds no migrations"):
        migrations.load(tmp_path)
    (tmp_path / "0001_a.sql").write_text("SELECT 1;\n\nSELECT 2;\n")
    (tmp_path / "0001_b.sql").write_text("SELECT 3")
    with pytest.raises(Broken, match="has the version of a: 1"):
        migrations.load(tmp_path)
    (tmp_path / "0001_b.sql").rename(tmp_path / "two.sql")
    with pytest.raises(Broken, match=r"two\.sql is not named like a migration"):
        migrations.load(tmp_path)
    (tmp_path / "two.sql").unlink()
    (migration,) = migrations.load(tmp_path)
    assert migration.statements == ("SELECT 1", "SELECT 2")


async def test_a_server_that_is_away_is_busy() -> None:
    async with Warehouse("http://127.0.0.1:9") as nobody:
        with pytest.raises(Busy, match=r"did not answer: ClientConnectorError"):
            await migrate(nobody)
