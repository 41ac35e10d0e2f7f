"""A ClickHouse that was killed may know the token of rows that it does not have: they are stored all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import structlog

from schemas import records, streams, tables
from schemas.errors import Busy
from services.shared.runtime.warehouse import Warehouse
from services.storage_batcher.core import Slice
from services.storage_batcher.lane import Lane, Stream
from services.storage_batcher.ledger import Ledger
from services.storage_batcher.letters import Letters
from services.storage_batcher.patience import Patience
from services.storage_batcher.settings import StorageBatcherSettings
from tests.storage_batcher_bench import Bench, message, run_bench, trade, trade_rows, trade_values

TABLE = tables.BY_NAME["trades"]
POLICY = tables.Batch(rows=1, age_s=0)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with run_bench(tmp_path) as running:
        yield running


class Waiting(NamedTuple):
    """A message as the reader hands it over."""

    sequence: int
    subject: str
    body: bytes


class Killed(Exception):
    """The batcher's own process dies."""


class Torn(Warehouse):
    """A ClickHouse that dies in its first inserts: it keeps the token, and every third row, and says nothing."""

    deaths = 0
    last: type[Exception] = Busy

    async def insert(self, statement: str, body: bytes, token: str) -> None:
        if self.deaths:
            self.deaths -= 1
            await super().insert(statement, b"\n".join(body.split(b"\n")[::3]), token)
            raise Busy("the server is gone") if self.deaths or self.last is Busy else self.last()
        await super().insert(statement, body, token)


async def lane(bench: Bench, warehouse: Warehouse) -> Lane:
    """Return what a batcher that has just started has of table `trades`."""
    log = structlog.stdlib.get_logger()
    ledger = Ledger(bench.bus, await bench.bus.bucket(streams.BATCHES))
    made = Lane(
        Slice(TABLE, POLICY, 0),
        StorageBatcherSettings.load(),
        Stream(bench.bus),
        ledger,
        Letters(bench.bus),
        warehouse,
        Patience(0.01, 0.01, log),
        log,
    )
    await made.take_over()
    return made


def taken(one: Lane, trades: list[records.Trade]) -> Lane:
    """Hand the trades in, numbered from 1, as MD does."""
    for number, record in enumerate(trades, 1):
        one.slice.add(Waiting(number, *message(record)), 0)
    return one


async def stored(bench: Bench, trades: list[records.Trade]) -> None:
    expected = sorted(trades, key=lambda record: (record.symbol, record.sequence or 0))
    assert await trade_rows(bench) == [trade_values(record) for record in expected]


@pytest.mark.parametrize("deaths", [1, 3])
async def test_what_the_token_hides_is_stored_however_often_the_server_dies(bench: Bench, deaths: int) -> None:
    # Over midnight: a batch of two partitions is two parts, each with a token's entry of its own.
    trades = [trade(number, timestamp=1_700_006_399_999_000 + number * 100) for number in range(30)]
    async with Torn(bench.clickhouse.url) as warehouse:
        warehouse.deaths = deaths
        one = taken(await lane(bench, warehouse), trades)
        await one.deliver(one.slice.take(0))
    await stored(bench, trades)
    assert one.delivery.stored_rows == len(trades)


async def test_a_batcher_killed_with_the_server_leaves_it_to_the_next(bench: Bench) -> None:
    trades = [trade(number) for number in range(30)]
    await bench.publish([message(record) for record in trades])
    async with Torn(bench.clickhouse.url) as warehouse:
        warehouse.deaths, warehouse.last = 1, Killed
        one = taken(await lane(bench, warehouse), trades)
        with pytest.raises(Killed):
            await one.deliver(one.slice.take(0))
        following = taken(await lane(bench, warehouse), trades)
        await following.deliver(following.slice.take(0))
    await stored(bench, trades)


async def test_an_insert_that_was_answered_is_not_followed_by_another(bench: Bench) -> None:
    tokens: list[str] = []

    class Watched(Warehouse):
        async def insert(self, statement: str, body: bytes, token: str) -> None:
            tokens.append(token)
            await super().insert(statement, body, token)

    async with Watched(bench.clickhouse.url) as warehouse:
        one = taken(await lane(bench, warehouse), [trade(number) for number in range(3)])
        await one.deliver(one.slice.take(0))
    assert len(tokens) == 1


@pytest.mark.parametrize("table", tables.TABLES, ids=lambda table: table.name)
def test_every_column_takes_part_in_the_comparison(table: tables.Table) -> None:
    names = [field.name for field in msgspec.structs.fields(table.record)]
    assert f"SELECT toString(tuple({', '.join(names)})) FROM tapeline.{table.name} " in table.mend_statement
