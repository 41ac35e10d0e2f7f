"""A run that is prepared before it is sent, over real sockets: the same frames as otherwise, ledger, refusals."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pyarrow.parquet as pq
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from schemas.errors import SettingsError
from services.exchange_simulator import generator
from services.exchange_simulator.generator.rehearsed import Rehearsal
from services.exchange_simulator.server import Server
from services.exchange_simulator.settings import SimulatorSettings

START_US = 1_760_000_000_000_000
STREAMS = "btcusdt@depth@100ms/btcusdt@bookTicker"


def settings(folder: Path, **more: Any) -> SimulatorSettings:
    return SimulatorSettings(
        data_dir=folder,
        exchanges=("binance",),
        markets=("perp",),
        symbols=("BTC",),
        events_per_s=200,
        start_us=START_US,
        duration_s=1,
        **more,
    )


def made_up_on_the_way(folder: Path) -> list[bytes]:
    """Return what a session is handed that asks a market every 10 ms of its own time."""
    (venue,) = generator.build(settings(folder))
    session = venue.connect("/public/stream", f"streams={STREAMS}", START_US)
    found: list[bytes] = []
    for now_us in range(START_US, START_US + 1_010_000, 10_000):
        while frames := session.frames(now_us, 1_000):
            found += frames
    return found


async def until_told(server: Server, what: str) -> None:
    async with asyncio.timeout(20):
        while True:
            if server.status()[what]:
                return
            await asyncio.sleep(0.01)


async def test_a_rehearsed_run_is_the_run(tmp_path: Path) -> None:
    rehearsal = Rehearsal.of(settings(tmp_path, rehearsed=True))
    async with Server(rehearsal.venues, rehearsal=rehearsal) as server, aiohttp.ClientSession() as http:
        at = f"127.0.0.1:{server.port}"

        async def order(what: str) -> int:
            async with http.post(f"http://{at}/simulator/{what}") as answer:
                return answer.status

        async with connect(f"ws://{at}/binance/perp/public/stream?streams={STREAMS}", max_queue=None) as socket:
            async with http.get(f"http://{at}/binance/perp/fapi/v1/depth?symbol=BTCUSDT&limit=5") as answer:
                snapshot = json.loads(await answer.read())
            assert await order("start") == 409
            assert await order("prepare") == 202
            await until_told(server, "prepared")
            with pytest.raises(InvalidStatus, match="503"):
                await connect(f"ws://{at}/binance/perp/public/stream?streams={STREAMS}")
            assert server.status()["frames_sent"] == 0
            assert await order("start") == 200
            expected = made_up_on_the_way(tmp_path / "other")
            async with asyncio.timeout(20):
                received = [await socket.recv(decode=False) for _ in expected]
            await until_told(server, "finished")
            assert received == expected
            assert len(expected) > 50
            changes = [data for data in (json.loads(frame)["data"] for frame in received) if data["e"] == "depthUpdate"]
            assert changes[0]["pu"] == snapshot["lastUpdateId"]
            assert server.status()["delivered"] == rehearsal.frames == len(expected)
    rows = pq.read_table(sorted((tmp_path / "ledger").glob("binance.perp.book_change-*.parquet")))
    assert rows.column("last_sequence").to_pylist() == [change["u"] for change in changes]


def test_a_run_without_an_end_cannot_be_rehearsed(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="duration_s"):
        Rehearsal.of(settings(tmp_path, rehearsed=True).model_copy(update={"duration_s": None}))
