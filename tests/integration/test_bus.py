"""Atomic batches and ordered reading against a real nats-server that is killed on the way."""

from __future__ import annotations

import asyncio

import pytest

from schemas import streams
from schemas.errors import Broken, Busy, Overtaken
from services.shared.runtime.bus import EXPECTED_SUBJECT_SEQUENCE, MAX_BATCH, Bus, Outgoing
from services.shared.runtime.provision import provision
from services.shared.runtime.reader import Incoming, Reader
from tests.nats_server import NatsServer

CHECKPOINT = "checkpoint.normaliser.00"


def raw(*bodies: bytes, part: int = 0) -> list[Outgoing]:
    return [Outgoing(f"raw.binance.perp.trades.X-USDT-PERP.{part:02d}", body) for body in bodies]


async def read_until(reader: Reader, count: int) -> list[Incoming]:
    found: list[Incoming] = []
    while len(found) < count:
        try:
            found += await reader.read(MAX_BATCH, 10)
        except Busy:
            await asyncio.sleep(0.05)
    return found


async def test_provisioning_is_repeatable_and_declared_once(bus: Bus) -> None:
    assert await provision(bus) == []
    info = await bus.js.stream_info(streams.MD.name)
    assert set(info.config.subjects or []) == set(streams.MD.subjects)
    assert info.config.max_bytes == streams.MD.max_bytes
    assert await provision(bus, {"MD": 64 * 1024**2}) == ["stream MD updated"]


async def test_a_batch_is_stored_whole_and_in_order(bus: Bus) -> None:
    assert await bus.publish_batch(raw(b"1")) == 1
    assert await bus.publish_batch(raw(*(str(n).encode() for n in range(2, 1001)))) == 1000
    reader = Reader(bus, streams.RAW, ["raw.>"], 0)
    found = await read_until(reader, 1000)
    assert [message.sequence for message in found] == list(range(1, 1001))
    assert [message.body for message in found] == [str(n).encode() for n in range(1, 1001)]


async def test_a_former_owner_is_refused_and_nothing_of_its_batch_is_stored(bus: Bus) -> None:
    def batch(expected: int, body: bytes) -> list[Outgoing]:
        return [
            Outgoing("md.trade.binance.perp.X-USDT-PERP", body),
            Outgoing(CHECKPOINT, body, {EXPECTED_SUBJECT_SEQUENCE: str(expected)}),
        ]

    assert await bus.publish_batch(batch(0, b"first")) == 2
    with pytest.raises(Overtaken):
        await bus.publish_batch(batch(0, b"paused owner"))
    stored = await bus.last_of(streams.MD, CHECKPOINT)
    assert stored is not None
    assert (stored.sequence, stored.body) == (2, b"first")
    assert await bus.bounds(streams.MD) == (1, 2)
    assert await bus.publish_batch(batch(2, b"second")) == 4


async def test_what_is_not_there_is_said_by_name(bus: Bus) -> None:
    assert await bus.last_of(streams.MD, CHECKPOINT) is None
    with pytest.raises(Broken, match="stream GONE does not exist: run `tapeline streams`"):
        await bus.bounds(streams.Stream("GONE", ("gone.>",), 1, ""))


async def test_reading_goes_on_exactly_where_it_was_when_the_server_is_killed(bus: Bus, server: NatsServer) -> None:
    await bus.publish_batch(raw(*(str(n).encode() for n in range(500))))
    reader = Reader(bus, streams.RAW, ["raw.>"], 0, window=100)
    found = await reader.read(150, 10)
    server.kill()
    server.start()
    found += await read_until(reader, 500 - len(found))
    while True:
        try:
            await bus.publish_batch(raw(b"after"))
            break
        except Busy:
            await asyncio.sleep(0.05)
    found += await read_until(reader, 1)
    assert [message.sequence for message in found] == list(range(1, 502))
    assert found[-1].body == b"after"


async def test_a_reader_sees_its_filters_only_and_knows_when_it_is_through(bus: Bus) -> None:
    reader = Reader(bus, streams.RAW, ["raw.*.*.*.*.01"], 0)
    assert await reader.caught_up_to() is None, "it has not looked yet"
    await bus.publish_batch([*raw(b"a", part=1), *raw(b"b"), *raw(b"c", part=1), *raw(b"d")])
    assert [message.body for message in await read_until(reader, 2)] == [b"a", b"c"]
    assert await reader.caught_up_to() == 4
    await bus.publish_batch(raw(b"e", part=1))
    assert await reader.read(1, 10) != []
    await bus.publish_batch(raw(b"f"))
    assert await reader.caught_up_to() == 6


async def test_a_reader_that_has_more_to_read_is_not_caught_up(bus: Bus) -> None:
    await bus.publish_batch(raw(b"a", b"b"))
    reader = Reader(bus, streams.RAW, ["raw.>"], 0)
    assert [message.body for message in await reader.read(1, 10)] == [b"a"]
    assert await reader.caught_up_to() is None


async def test_values_are_saved_and_found_by_their_prefix(bus: Bus) -> None:
    await bus.save(streams.BOOKS, "03.binance.perp.X", b"old")
    await bus.save(streams.BOOKS, "03.binance.perp.X", b"new")
    await bus.save(streams.BOOKS, "04.partition", b"other")
    assert await bus.saved(streams.BOOKS, "03") == {"binance.perp.X": b"new"}
    assert await bus.saved(streams.BOOKS, "05") == {}
