"""Backup and restore on the real engine: what comes back is what was there, and damage is named."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from schemas.errors import Broken, Busy
from services.command_line import backup_manifest as manifests
from services.command_line.backup import Done, backup, check, restore
from services.command_line.backup_manifest import Content, Span
from services.command_line.backup_source import Source
from services.shared.runtime.migrations import migrate
from services.shared.runtime.warehouse import Warehouse
from tests.clickhouse_server import ClickhouseServer, clickhouse_environment, run_clickhouse
from tests.pipeline import TAPELINE

DAY_US = 86_400_000_000
FIRST_DAY_US = 1_767_225_600_000_000
"""2026-01-01: past or future, retention is off in these tests."""
DAYS, ROWS_A_DAY = 3, 8

_TIME = f"{FIRST_DAY_US} + intDiv(number, {ROWS_A_DAY}) * {DAY_US} + number * 1000001"
_COMMON = (
    "'binance' AS exchange, 'spot' AS market, concat('A', toString(number % 3), '-USDT') AS symbol, "
    f"fromUnixTimestamp64Micro({_TIME}, 'UTC') AS timestamp, "
    "'match' AS timestamp_source, timestamp AS received_at, 'live' AS source"
)
_COLUMNS = "exchange, market, symbol, timestamp, timestamp_source, received_at, source"
_PRICE = "toDecimal128('61234.100000000000000001', 18) + number"
_FILL = (
    f"INSERT INTO tapeline.trades ({_COLUMNS}, trade_id, "
    f"price, quantity, side, sequence) SELECT {_COMMON}, toString(number), {_PRICE}, 1, 'buy', "
    f"if(number % 5 = 0, NULL, number) FROM numbers({DAYS * ROWS_A_DAY})",
    f"INSERT INTO tapeline.orderbooks ({_COLUMNS}, "
    f"sequence, bids, asks) SELECT {_COMMON}, number, [[{_PRICE}, 2], [1, 3]], [] FROM numbers({ROWS_A_DAY})",
)
PIECES = DAYS + 1
ROWS = (DAYS + 1) * ROWS_A_DAY


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ClickhouseServer, ClickhouseServer]]:
    """One engine to store from, one to restore into."""
    folder = tmp_path_factory.mktemp("engines")
    with run_clickhouse(folder / "source") as source, run_clickhouse(folder / "target") as target:
        yield source, target


@pytest.fixture
async def source(servers: tuple[ClickhouseServer, ClickhouseServer]) -> AsyncIterator[Warehouse]:
    async with Warehouse(servers[0].url) as warehouse:
        await _emptied(warehouse)
        for statement in _FILL:
            await warehouse.execute(statement)
        yield warehouse


@pytest.fixture
async def target(servers: tuple[ClickhouseServer, ClickhouseServer]) -> AsyncIterator[Warehouse]:
    async with Warehouse(servers[1].url) as warehouse:
        await _emptied(warehouse)
        yield warehouse


async def _emptied(warehouse: Warehouse) -> None:
    await migrate(warehouse, retention=False)
    for table in ("trades", "orderbooks"):
        await warehouse.execute(f"TRUNCATE TABLE tapeline.{table}")


async def _everything(warehouse: Warehouse) -> dict[str, bytes]:
    return {
        table: await warehouse.query(f"SELECT * FROM tapeline.{table} ORDER BY ALL")
        for table in ("trades", "orderbooks", "candles")
    }


def _ignore(done: int, of: int, what: str) -> None:
    """Nobody watches."""


async def _backup(warehouse: Warehouse, folder: Path, *, incremental: bool = False, most_rows: int = 1_000) -> Done:
    return await backup(Source(warehouse, most_rows), folder, incremental=incremental, tell=_ignore)


async def _restore(warehouse: Warehouse, folder: Path) -> Done:
    return await restore(Source(warehouse, 1_000), folder, None, _ignore)


@pytest.mark.parametrize("most_rows", [1_000, 5, 1])
async def test_what_is_restored_is_what_was_stored(
    source: Warehouse, target: Warehouse, tmp_path: Path, most_rows: int
) -> None:
    stored = await _backup(source, tmp_path, most_rows=most_rows)
    restored = await _restore(target, tmp_path)
    assert await _everything(target) == await _everything(source)
    assert (stored.rows, restored.rows) == (ROWS, ROWS)
    assert stored.moved_pieces == restored.moved_pieces == stored.pieces
    assert stored.pieces == (PIECES if most_rows == 1_000 else ROWS if most_rows == 1 else stored.pieces)
    again = await _restore(target, tmp_path)
    assert (again.moved_pieces, again.rows) == (0, ROWS)


async def test_an_incremental_backup_holds_what_changed_and_restores_by_itself(
    source: Warehouse, target: Warehouse, tmp_path: Path
) -> None:
    with pytest.raises(Broken, match="holds no finished backup to go on from"):
        await _backup(source, tmp_path, incremental=True)
    full = await _backup(source, tmp_path)
    unchanged = await _backup(source, tmp_path, incremental=True)
    assert (unchanged.pieces, unchanged.moved_pieces) == (PIECES, 0)
    await source.execute(
        "ALTER TABLE tapeline.trades UPDATE side = 'sell' WHERE trade_id = '10' SETTINGS mutations_sync = 2"
    )
    changed = await _backup(source, tmp_path, incremental=True)
    assert (changed.pieces, changed.moved_pieces) == (PIECES, 1)
    manifest = manifests.read(tmp_path, changed.name)
    assert manifest.based_on == unchanged.name
    assert sorted({piece.file.split("/")[0] for piece in manifest.pieces}) == [full.name, changed.name]
    await _restore(target, tmp_path)
    assert await _everything(target) == await _everything(source)


async def test_a_flipped_byte_is_found_and_named_before_a_row_goes_in(
    source: Warehouse, target: Warehouse, tmp_path: Path
) -> None:
    done = await _backup(source, tmp_path)
    pieces = manifests.read(tmp_path, done.name).pieces
    for piece in (pieces[1], pieces[3]):
        path = tmp_path / piece.file
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    with pytest.raises(Broken) as refused:
        await _restore(target, tmp_path)
    assert [piece.file in str(refused.value) for piece in pieces] == [False, True, False, True]
    with pytest.raises(Broken, match=pieces[1].file):
        check(tmp_path, done.name, _ignore)
    (tmp_path / pieces[0].file).unlink()
    with pytest.raises(Broken, match="cannot be read: No such file"):
        check(tmp_path, None, _ignore)
    assert set((await _everything(target)).values()) == {b""}


async def test_a_changed_digit_in_the_manifest_is_found(source: Warehouse, tmp_path: Path) -> None:
    done = await _backup(source, tmp_path)
    path = tmp_path / done.name / manifests.MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"rows":8', b'"rows":9', 1))
    with pytest.raises(Broken, match=r"manifest\.json is damaged"):
        check(tmp_path, done.name, _ignore)


class _Failing(Source):
    """A ClickHouse that goes away after so many pieces."""

    def __init__(self, warehouse: Warehouse, after: int) -> None:
        super().__init__(warehouse, 1_000)
        self._left = after

    def _count(self) -> None:
        if not self._left:
            raise Busy("ClickHouse is away")
        self._left -= 1

    async def read(self, span: Span) -> tuple[bytes, Content]:
        self._count()
        return await super().read(span)

    async def write(self, span: Span, columns: dict[str, str], data: bytes, token: str) -> None:
        self._count()
        await super().write(span, columns, data, token)


async def test_what_was_interrupted_goes_on_where_it_was(source: Warehouse, target: Warehouse, tmp_path: Path) -> None:
    with pytest.raises(Busy):
        await backup(_Failing(source, after=3), tmp_path, incremental=False, tell=_ignore)
    assert manifests.finished(tmp_path) == []
    name = manifests.interrupted(tmp_path)
    assert name is not None
    journal = tmp_path / name / manifests.JOURNAL
    journal.write_bytes(journal.read_bytes() + b'{"span":{"tab')  # the power went while a line was written
    done = await _backup(source, tmp_path)
    assert (done.name, done.pieces, done.moved_pieces) == (name, PIECES, PIECES - 3)
    with pytest.raises(Busy):
        await restore(_Failing(target, after=3), tmp_path, None, _ignore)
    assert (await _restore(target, tmp_path)).moved_pieces == PIECES - 3
    assert await _everything(target) == await _everything(source)


async def test_other_rows_in_the_way_are_left_alone_and_named(
    source: Warehouse, target: Warehouse, tmp_path: Path
) -> None:
    await _backup(source, tmp_path)
    await target.execute(_FILL[0].replace(f"numbers({DAYS * ROWS_A_DAY})", "numbers(2)"))
    with pytest.raises(Broken, match=r"table trades holds other rows of 2026-01-01 .* holds 2 rows, not 8"):
        await _restore(target, tmp_path)
    assert (await target.query("SELECT count() FROM tapeline.trades")).strip() == b"2"


async def test_the_commands(
    source: Warehouse, target: Warehouse, servers: tuple[ClickhouseServer, ClickhouseServer], tmp_path: Path
) -> None:
    def tapeline(server: ClickhouseServer, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = clickhouse_environment(tmp_path, 0, {"TAPELINE_CLICKHOUSE_URL": server.url})
        return subprocess.run([TAPELINE, *arguments], capture_output=True, text=True, env=environment, check=False)

    backups = str(tmp_path / "backups")
    refused = tapeline(servers[0], "restore", backups)
    assert (refused.returncode, refused.stderr) == (1, f"tapeline: {backups} holds no finished backup\n")
    stored = tapeline(servers[0], "backup", backups)
    assert stored.returncode == 0, stored.stderr
    assert f"{ROWS} rows in {PIECES} pieces" in stored.stdout
    assert "is whole" in tapeline(servers[1], "restore", backups, "--check").stdout
    restored = tapeline(servers[1], "restore", backups)
    assert f"{ROWS} rows in {PIECES} pieces, of which {PIECES} were missing" in restored.stdout, restored.stderr
    assert await _everything(target) == await _everything(source)
