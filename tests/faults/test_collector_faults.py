"""The collector while NATS dies, while it is killed itself, while the disk is full, and while the exchange hangs up."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from schemas import subjects
from schemas.frames import SessionEvent, decode_session
from services.shared.runtime.bus import Bus
from tests.collector_rig import (
    Process,
    Simulator,
    Stored,
    collector,
    first_copies,
    open_bus,
    read_raw,
    recorded_frames,
    run_simulator,
)
from tests.nats_server import NatsServer, run_nats

PERPS = ["SUSHI-USDT-PERP", "AKRO-USDT-PERP", "CTK-USDT-PERP", "KEEP-USDT-PERP"]
FRAMES = 1535
SESSION = "BINANCE_FUTURES.ws.1.0"


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with run_nats(tmp_path / "nats") as running:
        yield running


@pytest.fixture
async def bus(nats: NatsServer) -> AsyncIterator[Bus]:
    made = await open_bus(nats.url)
    yield made
    await made.close()


@pytest.fixture
def simulator(tmp_path: Path, recordings: Path) -> Iterator[Simulator]:
    with run_simulator(tmp_path / "simulator", recordings, TAPELINE_EXCHANGE_SIMULATOR_PACE="10") as running:
        yield running


@contextmanager
def collecting(tmp_path: Path, nats: NatsServer, simulator: Simulator, **env: str) -> Iterator[Process]:
    settings = {"TAPELINE_COLLECTOR_MARKETS": "perp", **env}
    process = collector(tmp_path / "collector", nats.url, simulator.base, PERPS, **settings)
    try:
        yield process
    finally:
        process.kill()


def data_of(frames: list[Stored]) -> list[Stored]:
    return [frame for frame in frames if frame.origin == "ws" and frame.channel != subjects.SESSION]


def sessions_of(frames: list[Stored]) -> list[tuple[Stored, SessionEvent]]:
    return [(frame, decode_session(frame.body)) for frame in frames if frame.channel == subjects.SESSION]


async def all_received(process: Process, simulator: Simulator) -> int:
    """Wait until the collector has read the whole session; return how many frames it was too late for.

    The replay's clock starts with the first of the two connections: on a busy machine a frame of the other one may fall
    due before that has subscribed. The simulator counts these.
    """
    missed = int((await simulator.until_finished("perp"))["missed"])
    await process.until_status(received=lambda count: count >= FRAMES - missed)
    return missed


def assert_all_there_in_order(frames: list[Stored], sent: list[bytes], missed: int) -> None:
    data = data_of(first_copies(frames))
    have = Counter(frame.body for frame in data)
    assert have <= Counter(sent)
    assert len(data) == len(sent) - missed
    for line in {frame.connection for frame in data}:
        own = sorted((frame for frame in data if frame.connection == line), key=lambda frame: frame.number)
        bodies = {frame.body for frame in own}
        assert [frame.body for frame in own] == [body for body in sent if body in bodies]


async def test_nothing_is_lost_while_nats_is_killed_and_started_again(
    tmp_path: Path, recordings: Path, nats: NatsServer, bus: Bus, simulator: Simulator
) -> None:
    with collecting(tmp_path, nats, simulator) as process:
        await process.until_status(published=lambda count: count > 300)
        nats.kill()
        status = await process.until_status(spooled=lambda count: count > 100)
        assert status["received"] < FRAMES, "NATS went away while the session was running"
        nats.start()
        missed = await all_received(process, simulator)
        await process.until_status(outbox=0, spooled=0)
        assert process.stop() == 0
    assert_all_there_in_order(await read_raw(bus), recorded_frames(recordings, SESSION), missed)
    assert not list((tmp_path / "collector").rglob("*.spool"))
    assert {"spooling", "publishing_again"} <= set(process.events())


async def test_frames_go_to_disk_while_nats_hangs_and_follow_in_order(
    tmp_path: Path, recordings: Path, nats: NatsServer, bus: Bus, simulator: Simulator
) -> None:
    with collecting(tmp_path, nats, simulator) as process:
        await process.until_status(published=lambda count: count > 300)
        os.kill(nats.pid, signal.SIGSTOP)
        try:
            # The batch without an answer is on disk as well: a kill of the collector would lose none of it.
            missed = await all_received(process, simulator)
            await process.until_status(outbox=0, spooled=lambda count: count > 100)
        finally:
            os.kill(nats.pid, signal.SIGCONT)
        await process.until_status(outbox=0, spooled=0)
        assert process.stop() == 0
    assert_all_there_in_order(await read_raw(bus), recorded_frames(recordings, SESSION), missed)


async def test_what_a_killed_collector_had_spooled_is_published_first_by_the_next(
    tmp_path: Path, recordings: Path, nats: NatsServer, bus: Bus, simulator: Simulator
) -> None:
    nats.kill()
    with collecting(tmp_path, nats, simulator) as process:
        missed = await all_received(process, simulator)
        before = await process.until_status(outbox=0, spooled=lambda count: count > FRAMES - missed)
        process.kill()
    nats.start()
    with collecting(tmp_path, nats, simulator) as process:
        await process.until_logged("connection_subscribed", times=2)
        await process.until_status(outbox=0, spooled=0, requests_pending=0)
        assert process.stop() == 0
    frames = await read_raw(bus)
    assert_all_there_in_order(frames, recorded_frames(recordings, SESSION), missed)
    old = {entry["id"] for entry in before["connections"]}
    new = {frame.connection for frame in frames if frame.origin == "ws"} - old
    assert len(old) == len(new) == 2
    assert max(f.sequence for f in frames if f.connection in old) < min(
        f.sequence for f in frames if f.connection in new
    )
    closed = [frame.connection for frame, event in sessions_of(frames) if event.event == "closed"]
    assert set(closed) == new, "the killed one had no time to say so"


async def test_what_finds_no_room_is_dropped_and_told_exactly(
    tmp_path: Path, recordings: Path, nats: NatsServer, bus: Bus, simulator: Simulator
) -> None:
    nats.kill()
    room = {"TAPELINE_COLLECTOR_SPOOL_BYTES": str(1024**2), "TAPELINE_COLLECTOR_MEMORY_BYTES": "65536"}
    with collecting(tmp_path, nats, simulator, **room) as process:
        missed = await all_received(process, simulator)
        lost = (await process.until_status(dropped=lambda count: count > 0))["dropped"]
        nats.start()
        await process.until_status(spooled=0, outbox=0)
        assert process.stop() == 0
    assert "spool_full" in process.events()
    frames = first_copies(await read_raw(bus))
    data = data_of(frames)
    assert len(data) + lost == FRAMES - missed
    told = [(frame, event) for frame, event in sessions_of(frames) if event.event == "dropped"]
    assert sum(event.frames for _, event in told) == lost
    have = {(frame.connection, frame.number) for frame in data}
    missing = set()
    for frame, event in told:
        assert event.first_number is not None
        assert event.last_number == frame.number
        assert (frame.connection, event.last_number) not in have
        # Numbers are per connection: those of other partitions lie between the bounds too.
        in_part = {f.number for f in frames if (f.connection, f.part) == (frame.connection, frame.part)}
        assert not in_part & set(range(event.first_number, event.last_number))
        missing |= {(frame.connection, n) for n in range(event.first_number, event.last_number + 1)}
        assert all(symbol in PERPS and channels for symbol, channels in event.channels.items())
    # What is on RAW and what is told as lost make every number of each connection.
    for line in {frame.connection for frame in data}:
        known = {frame.number for frame in frames if frame.connection == line}
        known |= {number for name, number in missing if name == line}
        assert known == set(range(1, max(known) + 1))


async def test_a_hang_up_is_on_record_and_is_followed_by_a_new_connection_and_snapshots(
    tmp_path: Path, nats: NatsServer, bus: Bus, simulator: Simulator
) -> None:
    with collecting(tmp_path, nats, simulator) as process:
        await process.until_status(requests_pending=0, received=lambda count: count > 50)
        simulator.fault(fault="refuse", count=2, status=503)
        simulator.fault(fault="close", code=1001)
        await process.until_logged("connection_subscribed", times=4)
        await process.until_status(requests_pending=0, outbox=0)
        assert process.events().count("connection_failed") == 2
        assert process.stop() == 0
    frames = first_copies(await read_raw(bus))
    per_line: dict[str, list[str]] = {}
    everywhere = subjects.partition("binance", "perp", "_all")
    for frame, event in sessions_of(frames):
        if frame.part == everywhere and event.event != "alive":
            per_line.setdefault(frame.connection, []).append(event.event)
    assert list(per_line.values()) == [["opened", "subscribed", "closed"]] * 4
    reasons = [event.reason or "" for _, event in sessions_of(frames) if event.event == "closed"]
    assert any(re.fullmatch("closed by the exchange: 1001 simulated fault", reason) for reason in reasons)
    snapshots = Counter(frame.symbol for frame in frames if frame.channel == "depth_snapshot")
    assert snapshots == dict.fromkeys(PERPS, 2)
    # The symbols of a partition are named where they are filed.
    for frame, event in sessions_of(frames):
        for symbol in event.channels:
            assert subjects.partition("binance", "perp", symbol) == frame.part


async def test_an_announced_shutdown_leads_to_a_replacement_that_misses_nothing(
    tmp_path: Path, recordings: Path, nats: NatsServer, bus: Bus, simulator: Simulator
) -> None:
    with collecting(tmp_path, nats, simulator, TAPELINE_COLLECTOR_OVERLAP_S="2") as process:
        await process.until_status(ready=True, received=lambda count: count > 50)
        missed = (await simulator.status_of("perp"))["missed"]  # before both connections had subscribed
        simulator.fault(fault="insert", frame='{"e":"serverShutdown","E":1}')
        await process.until_logged("connection_closed")
        finished = await simulator.until_finished("perp")
        assert finished["missed"] == missed
        status = await process.until_status(outbox=0)
        assert len(status["connections"]) == 2
        assert process.stop() == 0
    frames = first_copies(await read_raw(bus))
    sent = recorded_frames(recordings, SESSION)
    bodies = {frame.body for frame in data_of(frames)}
    assert bodies <= set(sent) and len(bodies) == FRAMES - missed
    [old] = {f.connection for f, event in sessions_of(frames) if event.event == "closed" and event.reason == "replaced"}
    for part in {frame.part for frame in frames if frame.connection == old}:
        events = [(f.connection == old, e.event) for f, e in sessions_of(frames) if f.part == part]
        gone = events.index((True, "closed"))
        assert (False, "subscribed") in events[:gone]


async def test_a_limit_pauses_requests_and_what_is_no_answer_is_not_published(
    tmp_path: Path, nats: NatsServer, bus: Bus, simulator: Simulator
) -> None:
    simulator.fault(fault="reject", status=429, retry_after_s=1, count=2, path="exchangeInfo")
    with collecting(tmp_path, nats, simulator) as process:
        await process.until_logged("requests_paused", times=2)
        await process.until_status(requests_pending=0, received=lambda count: count > 0)
        await bus.say(subjects.resync("binance", "perp", PERPS[0]), b'{"connection":"","sequence":1,"reason":"test"}')
        await process.until_logged("resync")
        await bus.say(subjects.resync("binance", "perp", PERPS[0]), b'{"connection":"gone","sequence":1,"reason":"x"}')
        await process.until_logged("resync_ignored")
        # Asked for twice: the second is what a killed normaliser says when it reads the same frames once more.
        for reason in ("broke", "broke, read again"):
            body = b'{"connection":"","sequence":2,"reason":"%b","asked_at":1700000000000000}' % reason.encode()
            await bus.say(subjects.resync("binance", "perp", PERPS[1]), body)
        await bus.say(subjects.resync("binance", "perp", PERPS[0]), b'{"connection":"gone","sequence":1,"reason":"x"}')
        await process.until_logged("resync_ignored", times=2)
        await process.until_status(requests_pending=0, outbox=0)
        assert process.stop() == 0
    frames = first_copies(await read_raw(bus))
    rest = [frame for frame in frames if frame.origin == "rest"]
    assert all(frame.body.startswith(b"{") and b"-1003" not in frame.body for frame in rest)
    instruments = [frame for frame in rest if frame.channel == "instruments"]
    assert [frame.part for frame in instruments] == list(range(16))
    assert {frame.request for frame in instruments} == {"/fapi/v1/exchangeInfo"}
    snapshots = Counter(frame.symbol for frame in rest if frame.channel == "depth_snapshot")
    assert snapshots == {**dict.fromkeys(PERPS, 1), PERPS[0]: 2, PERPS[1]: 2}
    for frame in rest:
        assert frame.requested_at is not None and frame.requested_at <= frame.received_at
