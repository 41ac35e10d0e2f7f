"""Several partitions in one atomic batch: each fenced by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from schemas import streams, subjects
from schemas.errors import Busy, Overtaken
from services.normaliser.publisher import Publisher
from services.shared.runtime.bus import EXPECTED_SUBJECT_SEQUENCE, Bus, Outgoing
from services.shared.runtime.provision import provision
from services.shared.runtime.ring import Ring, oldest_unstored_of_md
from services.storage_batcher.entry import Entry, encode
from tests.nats_server import NatsServer


@pytest.fixture
async def publisher(bus: Bus) -> AsyncIterator[Publisher]:
    made = Publisher(bus, ring(bus), 0.005, asyncio.Event())
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()


def ring(bus: Bus) -> Ring:
    return Ring(bus, streams.MD, oldest_unstored_of_md, 0, bus.log)


def part(number: int, expected: int, records: int) -> list[Outgoing]:
    messages = [Outgoing("md.trade.binance.perp.X", f"{number}.{n}".encode()) for n in range(records)]
    fence = {EXPECTED_SUBJECT_SEQUENCE: str(expected)}
    return [*messages, Outgoing(subjects.checkpoint(number), b"{}", fence)]


async def test_each_part_learns_the_sequence_of_its_own_checkpoint(bus: Bus, publisher: Publisher) -> None:
    stored = await asyncio.gather(*(publisher.publish(part(number, 0, number)) for number in range(4)))
    for number, sequence in enumerate(stored):
        found = await bus.last_of(streams.MD, subjects.checkpoint(number))
        assert found is not None
        assert found.sequence == sequence
    again = await asyncio.gather(*(publisher.publish(part(number, stored[number], 1)) for number in range(4)))
    assert sorted(again)[-1] == (await bus.bounds(streams.MD))[1]


async def test_an_overtaken_partition_takes_no_other_down(bus: Bus, publisher: Publisher) -> None:
    await publisher.publish(part(1, 0, 1))
    results = await asyncio.gather(
        *(publisher.publish(part(number, 0, 2)) for number in range(3)), return_exceptions=True
    )
    assert isinstance(results[1], Overtaken)
    assert isinstance(results[0], int)
    assert isinstance(results[2], int)
    _, last = await bus.bounds(streams.MD)
    assert last == 2 + 3 + 3, "nothing of the overtaken part is stored"


async def test_more_than_one_batch_holds_is_stored_in_several(bus: Bus, publisher: Publisher) -> None:
    stored = await asyncio.gather(*(publisher.publish(part(number, 0, 400)) for number in range(6)))
    assert max(stored) == 6 * 401


async def test_without_an_answer_every_part_is_told(bus: Bus, publisher: Publisher, server: NatsServer) -> None:
    server.kill()
    results = await asyncio.gather(*(publisher.publish(part(n, 0, 1)) for n in range(2)), return_exceptions=True)
    assert all(isinstance(result, Busy) for result in results)


async def test_paused_it_waits_and_at_the_end_it_gives_up(bus: Bus) -> None:
    """MD holds 2 MiB of which nothing is stored: publishing waits until something is, or until the end."""
    await provision(bus, {"MD": 2 * 1024**2})
    stop = asyncio.Event()
    publisher = Publisher(bus, ring(bus), 0, stop)
    running = asyncio.create_task(publisher.run())
    for _ in range(200):
        await bus.publish_batch([Outgoing("md.trade.binance.perp.X", b"x" * 10_000)])
    first, last = await bus.bounds(streams.MD)
    waiting = asyncio.create_task(publisher.publish(part(0, 0, 1)))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 0.1)
    assert await bus.bounds(streams.MD) == (first, last)
    stored = Entry(table="trades", slice="all", owner="x", stream=1, state="stored", first=first, last=last)
    await bus.save(streams.BATCHES, "trades.all", encode(stored))
    assert await waiting == last + 2
    await bus.save(streams.BATCHES, "trades.all", encode(msgspec.structs.replace(stored, last=first)))
    second = asyncio.create_task(publisher.publish(part(1, 0, 1)))
    stop.set()
    with pytest.raises(Busy):
        await second
    running.cancel()
