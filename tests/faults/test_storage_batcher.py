"""Whatever is killed, paused or away: every record is in its table exactly once, with its own values."""

from __future__ import annotations

import asyncio
import base64
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas import records
from tests.storage_batcher_bench import BatcherProcess, Bench, message, run_bench, trade, trade_rows, trade_values

SYMBOLS = ("BTC-USDT-PERP", "ETH-USDT-PERP")

BUSY = {"batch_rows": 40, "batch_age_s": 0.02, "batch_spacing_s": 0, "batch_max_rows": 400, "record_every_s": 0.2}
"""Settings under which something is always under way, so that a kill at any moment meets it."""


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with run_bench(tmp_path) as running:
        yield running


class Load:
    """Publishes trades of two symbols, and now and then one that no table takes, until it is told to stop."""

    def __init__(self, bench: Bench, poison_every: int = 0) -> None:
        self._bench = bench
        self._poison_every = poison_every
        self._stop = asyncio.Event()
        self.trades: list[records.Trade] = []
        self.poison: list[bytes] = []

    async def run(self) -> int:
        """Publish; return the sequence of the last message."""
        while not self._stop.is_set():
            last = await self.more(60)
            await asyncio.sleep(0.004)
        return last

    def stop(self) -> None:
        self._stop.set()

    async def has(self, count: int) -> bool:
        return len(self.trades) >= count

    async def more(self, count: int) -> int:
        """Publish the next `count` trades; return the sequence of the last message."""
        messages = []
        for _ in range(count):
            number = len(self.trades)
            self.trades.append(trade(number, symbol=SYMBOLS[number % 2]))
            messages.append(message(self.trades[-1]))
            if self._poison_every and number % self._poison_every == 1:
                subject, body = message(trade(number))
                self.poison.append(body.replace(b'"quantity":"', b'"quantity":"~'))
                messages.append((subject, self.poison[-1]))
        return await self._bench.publish(messages)

    async def verify(self) -> None:
        """Hold tables and dead letters against what was published."""
        expected = sorted(self.trades, key=lambda one: (one.symbol, one.sequence or 0))
        assert await trade_rows(self._bench) == [trade_values(one) for one in expected]
        letters = await self._bench.dead_letters()
        found = [base64.b64decode(one.body) for one in letters if one.service == "storage-batcher"]
        assert sorted(found) == sorted(self.poison)


async def _at_work(batcher: BatcherProcess) -> bool:
    return bool((await asyncio.to_thread(batcher.status)).get("tables"))


@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_at_random_moments(bench: Bench, seed: int) -> None:
    moments = random.Random(seed)
    load = Load(bench, poison_every=97)
    publishing = asyncio.create_task(load.run())
    batcher = bench.start(**BUSY)
    for _ in range(3):
        await bench.until(_at_work, batcher)
        await asyncio.sleep(moments.uniform(0.0, 0.4))
        batcher.end(signal.SIGKILL)
        batcher = bench.start(**BUSY)
    load.stop()
    await bench.stored(batcher, await publishing)
    await load.verify()
    assert len(load.trades) > 1_000


async def test_a_paused_owner_is_overtaken_and_stores_nothing_twice(bench: Bench) -> None:
    load = Load(bench, poison_every=97)
    publishing = asyncio.create_task(load.run())
    paused = bench.start(**BUSY)
    await bench.until(_at_work, paused)
    for _ in range(2):
        await bench.until(_has_stored, paused)
        paused.send(signal.SIGSTOP)
        successor = bench.start(**BUSY)
        await bench.until(_has_stored, successor)
        paused.send(signal.SIGCONT)
        await bench.until(_owns_nothing, paused)
        paused.end(signal.SIGKILL)
        paused = successor
    load.stop()
    await bench.stored(paused, await publishing)
    await load.verify()


async def test_a_standby_takes_over_from_an_owner_that_fell_silent(bench: Bench) -> None:
    settings = BUSY | {"takeover_s": 2}
    load = Load(bench)
    first = bench.start(**settings)
    await bench.stored(first, await load.more(100))
    second = bench.start(**settings)
    await bench.until(_owns_nothing, first)
    second.send(signal.SIGSTOP)
    await bench.stored(first, await load.more(100))
    second.send(signal.SIGCONT)
    await bench.until(_owns_nothing, second)
    last = await load.more(100)
    await bench.stored(first, last)
    await bench.stored(second, last)
    await load.verify()


async def _has_stored(batcher: BatcherProcess) -> bool:
    status = await asyncio.to_thread(batcher.status)
    return bool(status.get("tables", {}).get("trades", {"rows": 0})["rows"] > 0)


async def _owns_nothing(batcher: BatcherProcess) -> bool:
    status = await asyncio.to_thread(batcher.status)
    return bool(status) and not any(one["owned"] for one in status["tables"].values())


async def test_clickhouse_is_killed_and_comes_back(bench: Bench) -> None:
    load = Load(bench, poison_every=97)
    publishing = asyncio.create_task(load.run())
    batcher = bench.start(**BUSY, memory_rows=1_000, retry_most_s=0.5)
    for _ in range(2):
        await bench.until(_has_stored, batcher)
        bench.clickhouse.kill()
        await bench.until(bench.says, batcher, clickhouse="away", ready=False)
        await bench.until(load.has, len(load.trades) + 2_000)
        assert batcher.status()["pending_rows"] <= 1_000 + 4_000  # what one read may bring on top
        await bench.restart_clickhouse()
        await bench.until(bench.says, batcher, clickhouse="ok", ready=True)
    load.stop()
    await bench.stored(batcher, await publishing)
    await load.verify()


async def _connected(bench: Bench) -> bool:
    return bench.bus.connected


async def test_a_stop_while_clickhouse_is_away_ends_in_time_and_loses_nothing(bench: Bench) -> None:
    load = Load(bench, poison_every=97)
    batcher = bench.start(**BUSY, drain_s=0.3)
    await bench.stored(batcher, await load.more(300))
    bench.clickhouse.kill()
    await load.more(300)
    await bench.until(bench.says, batcher, clickhouse="away")
    assert batcher.end(signal.SIGTERM) == 0
    assert "drain_ended_early" in batcher.log.read_text()
    await bench.restart_clickhouse()
    await bench.stored(bench.start(**BUSY), await load.more(1))
    await load.verify()


async def test_nats_is_killed_and_comes_back(bench: Bench) -> None:
    load = Load(bench, poison_every=97)
    batcher = bench.start(**BUSY, retry_most_s=0.5)
    for _ in range(3):
        await load.more(1_500)
        bench.nats.kill()
        await bench.until(bench.says, batcher, ready=False)
        await asyncio.to_thread(bench.nats.start)
        await bench.until(_connected, bench)
    await bench.stored(batcher, await load.more(500))
    await load.verify()


async def test_both_servers_away_at_the_start_are_waited_for(bench: Bench) -> None:
    load = Load(bench)
    last = await load.more(200)
    bench.nats.kill()
    bench.clickhouse.kill()
    batcher = bench.start(**BUSY, retry_most_s=0.5)
    await asyncio.to_thread(bench.nats.start)
    await bench.until(bench.says, batcher, clickhouse="away")
    assert batcher.status()["pending_messages"] != 0
    await bench.restart_clickhouse()
    await bench.stored(batcher, last)
    await load.verify()
