"""Who publishes into a full ring stops before a reader of ours is overrun, and goes on when it is clear."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from schemas import streams, subjects
from services.shared.runtime.bus import Bus, Outgoing
from services.shared.runtime.provision import provision
from services.shared.runtime.ring import Ring, oldest_unread_of_raw, oldest_unstored_of_md
from services.storage_batcher import entry
from tests.ledger import compare
from tests.nats_server import NatsServer
from tests.pipeline import at_rest, run_pipeline, until

MIB = 1024**2


@pytest.fixture
async def small(bus: Bus) -> Bus:
    """A bus whose rings hold 2 MiB."""
    await provision(bus, {"RAW": 2 * MIB, "MD": 2 * MIB})
    return bus


async def publish(bus: Bus, subject: str, count: int) -> None:
    for _ in range(count):
        await bus.publish_batch([Outgoing(subject, b"x" * 10_000)])


def stored(state: str, first: int, last: int) -> bytes:
    made = entry.Entry(
        table="trades", slice="all", owner="test", stream=1, state="writing" if state == "writing" else "stored",
        first=first, last=last,
    )  # fmt: skip
    return entry.encode(made)


async def test_raw_is_held_back_by_its_slowest_partition(small: Bus) -> None:
    ring = Ring(small, streams.RAW, oldest_unread_of_raw, 0, small.log)
    await publish(small, subjects.raw("binance", "perp", "trades", "X-USDT-PERP", 3), 100)
    assert await ring.has_room(0), "there is room"
    await publish(small, subjects.raw("binance", "perp", "trades", "X-USDT-PERP", 3), 200)
    assert not await ring.has_room(0), "nobody has read anything"
    first, last = await small.bounds(streams.RAW)
    await small.publish_batch([Outgoing(subjects.checkpoint(3), b'{"raw_sequence":%d,"done":0}' % last)])
    assert await ring.has_room(0)
    await small.publish_batch([Outgoing(subjects.checkpoint(4), b'{"raw_sequence":1,"done":0}')])
    assert await ring.has_room(0), "a partition with nothing to read needs nothing"

    def passed(sequence: int) -> Outgoing:
        return Outgoing(subjects.checkpoint(3), b'{"raw_sequence":%d,"done":0}' % sequence)

    await small.publish_batch([passed(first)])
    assert not await ring.has_room(0)
    await small.publish_batch([passed(first + (last - first) * 15 // 100)])
    assert not await ring.has_room(0), "it is not clear yet"
    await small.publish_batch([passed(first + (last - first) * 30 // 100)])
    assert await ring.has_room(0)


async def test_md_is_held_back_by_the_slowest_table(small: Bus) -> None:
    ring = Ring(small, streams.MD, oldest_unstored_of_md, 0, small.log)
    await publish(small, "md.trade.binance.perp.X", 300)
    assert not await ring.has_room(0)
    first, last = await small.bounds(streams.MD)
    await small.save(streams.BATCHES, "trades.all", stored("stored", first, last))
    assert await ring.has_room(0)
    await small.save(streams.BATCHES, "trades.all", stored("writing", first + 1, last))
    assert not await ring.has_room(0), "a batch that is being written is not stored yet"


async def test_what_was_known_stands_while_nats_does_not_answer(small: Bus, server: NatsServer) -> None:
    ring = Ring(small, streams.MD, oldest_unstored_of_md, 0, small.log)
    await publish(small, "md.trade.binance.perp.X", 300)
    assert not await ring.has_room(0)
    server.kill()
    assert not await ring.has_room(0)


def test_a_storage_batcher_that_stands_still_loses_nothing_of_small_rings(tmp_path: Path) -> None:
    """MD runs full, the normaliser pauses, RAW runs full, the collector spools; then all of it is stored."""
    environment = {
        "TAPELINE_UP_RAW_BYTES": str(6 * MIB),
        "TAPELINE_UP_MD_BYTES": str(6 * MIB),
        "TAPELINE_NORMALISER_RING_CHECK_S": "0.1",
        "TAPELINE_COLLECTOR_RING_CHECK_S": "0.1",
        # The ring must hold what the slowest table gathers, or it would stand still until that is due.
        "TAPELINE_STORAGE_BATCHER_BATCH_AGE_S": "0.5",
        "TAPELINE_EXCHANGE_SIMULATOR_DURATION_S": "30",
        "TAPELINE_EXCHANGE_SIMULATOR_EVENTS_PER_S": "1000",
    }
    with run_pipeline(
        tmp_path / "data", "--simulate", "--exchanges", "binance", "--until-drained", **environment
    ) as pipeline:
        pipeline.addresses()
        until(lambda: pipeline.sql("SELECT count() AS n FROM tapeline.trades")[0]["n"] > 20, "trades are stored")
        pid = pipeline.starts("storage-batcher")[-1]
        os.kill(pid, signal.SIGSTOP)
        until(lambda: (pipeline.status("normaliser") or {}).get("paused"), "the normaliser pauses")
        until(lambda: (pipeline.status("collector") or {}).get("spooled"), "the collector spools")
        os.kill(pid, signal.SIGCONT)
        assert pipeline.wait() == 0, pipeline.log()[-8000:]
    compared = compare(tmp_path / "data")
    assert {kind: (lost, other) for kind, (_, lost, other) in compared.items() if lost or other} == {}
    assert at_rest(tmp_path / "data", "SELECT * FROM tapeline.gap_detection_log") == []
