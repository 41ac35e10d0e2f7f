"""The collector against the real simulator and a real nats-server."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from schemas import subjects
from services.shared.runtime.bus import Bus
from tests.collector_rig import Simulator, collector, first_copies, open_bus, read_raw, recorded_frames, run_simulator
from tests.nats_server import NatsServer, run_nats

PERPS = ["SUSHI-USDT-PERP", "AKRO-USDT-PERP", "CTK-USDT-PERP", "KEEP-USDT-PERP"]
FUTURES = "BINANCE_FUTURES.ws.1.0"


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
    with run_simulator(tmp_path / "simulator", recordings, TAPELINE_EXCHANGE_SIMULATOR_PACE="0") as running:
        yield running


async def test_every_frame_of_the_futures_session_is_on_raw_untouched_and_in_order(
    tmp_path: Path, recordings: Path, nats: NatsServer, bus: Bus, simulator: Simulator
) -> None:
    process = collector(tmp_path / "collector", nats.url, simulator.base, PERPS, TAPELINE_COLLECTOR_MARKETS="perp")
    try:
        await process.until_status(received=1535, outbox=0, spooled=0)
    finally:
        assert process.stop() == 0
    frames = await read_raw(bus)
    assert first_copies(frames) == frames, "nothing was published twice"

    data = [frame for frame in frames if frame.origin == "ws" and frame.channel != subjects.SESSION]
    sent = recorded_frames(recordings, FUTURES)
    assert len(sent) == 1535
    assert Counter(frame.body for frame in data) == Counter(sent)
    assert Counter(frame.channel for frame in data) == {"depth": 764, "quotes": 613, "trades": 91, "candles_1m": 67}

    lines = {frame.connection for frame in data}
    assert len(lines) == 2  # one for each route
    for line in lines:
        own = sorted((frame for frame in data if frame.connection == line), key=lambda frame: frame.number)
        bodies = {frame.body for frame in own}
        assert [frame.body for frame in own] == [body for body in sent if body in bodies]
        # With the session events, every number from 1 is there once per partition it went to.
        of_line = [frame for frame in frames if frame.connection == line]
        numbers = sorted({frame.number for frame in of_line})
        assert numbers == list(range(1, numbers[-1] + 1))
    for frame in data:
        assert frame.part == subjects.partition("binance", "perp", frame.symbol)
        assert frame.body.startswith(
            b'{"stream":"' + frame.symbol.removesuffix("-USDT-PERP").lower().encode() + b"usdt@"
        )
