"""Faults on order, over real sockets: each does what it says, to whom it says, and no more."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import websockets

from services.exchange_simulator.server import Server
from tests.integration.test_simulator_server import get, open_ws, receive, recorded, serving, until

NKN = "nknusdt@depth@100ms"
LRC = "lrcbtc@depth@100ms"


@pytest.fixture
async def server(recordings: Path) -> AsyncIterator[Server]:
    async with serving(recordings) as running:
        yield running


async def fault(server: Server, **order: Any) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"http://127.0.0.1:{server.port}/simulator/fault", json=order) as answer,
    ):
        return {"status": answer.status, **await answer.json()}


def frames_of(recordings: Path, *streams: str) -> list[bytes]:
    return [
        frame
        for frame in recorded(recordings, "BINANCE.ws.1.0")
        if any(f'"{stream}"'.encode() in frame for stream in streams)
    ]


async def test_drop_and_truncate_spoil_the_next_frames_that_match(server: Server, recordings: Path) -> None:
    frames = frames_of(recordings, NKN, LRC)
    mine = [frame for frame in frames if NKN.encode() in frame]
    assert (await fault(server, fault="drop", match=NKN, count=2, market="spot"))["status"] == 200
    await fault(server, fault="truncate", match=NKN, market="spot")
    await fault(server, fault="drop", match=LRC, market="perp")
    async with open_ws(server, f"spot/stream?streams={NKN}/{LRC}") as socket:
        wanted = [frame for frame in frames if frame not in mine[:2]]
        wanted[wanted.index(mine[2])] = mine[2][: len(mine[2]) // 2]
        assert await receive(socket, len(wanted)) == wanted
        status = await until(server, lambda status: status["delivered"] == len(wanted))
        assert status["frames_sent"] == len(frames) - 2


async def test_a_garbage_frame_reaches_an_open_connection(server: Server) -> None:
    async with open_ws(server, "spot/ws") as socket:
        await fault(server, fault="insert", frame="{not json")
        assert await receive(socket, 1) == [b"{not json"]
        await fault(server, fault="insert", frame_base64=base64.b64encode(b"\x00\xff").decode())
        assert await receive(socket, 1) == [b"\x00\xff"]


async def test_a_garbage_frame_may_follow_a_frame_on_its_connection(server: Server, recordings: Path) -> None:
    frames = frames_of(recordings, NKN)
    await fault(server, fault="insert", frame="{not json", behind=NKN, market="spot")
    async with open_ws(server, "spot/ws") as other, open_ws(server, f"spot/stream?streams={NKN}") as socket:
        assert await receive(socket, len(frames) + 1) == [frames[0], b"{not json", *frames[1:]]
        await (await other.ping())


@pytest.mark.parametrize(("abort", "code"), [(False, 1012), (True, 1006)])
async def test_close_cuts_the_connections_of_a_market(server: Server, recordings: Path, abort: bool, code: int) -> None:
    async with open_ws(server, "spot/ws") as spot, open_ws(server, "perp/public/ws") as perp:
        order = {"fault": "close", "exchange": "binance", "market": "spot", "code": 1012, "abort": abort}
        assert await fault(server, **order) == {"status": 200, "markets": ["binance/spot"]}
        await spot.wait_closed()
        assert spot.close_code == code
        await (await perp.ping())
        async with open_ws(server, f"spot/stream?streams={NKN}") as again:
            assert await receive(again, 150) == frames_of(recordings, NKN)


async def test_a_stalled_market_sends_nothing_but_answers(server: Server, recordings: Path) -> None:
    await fault(server, fault="stall", seconds=3600, market="spot")
    async with open_ws(server, f"spot/stream?streams={NKN}") as socket:
        await socket.send(b'{"method":"LIST_SUBSCRIPTIONS","id":1}', text=True)
        assert await receive(socket, 1) == [b'{"result":["nknusdt@depth@100ms"],"id":1}']
        await (await socket.ping())
        status = await until(server, lambda status: status["markets"][0]["connections"] == 1)
        assert status["frames_sent"] == 0
        await fault(server, fault="clear")
        assert await receive(socket, 150) == frames_of(recordings, NKN)


async def test_a_stall_ends_by_itself(server: Server, recordings: Path) -> None:
    await fault(server, fault="stall", seconds=0.1)
    async with open_ws(server, f"spot/stream?streams={NKN}") as socket:
        assert await receive(socket, 150) == frames_of(recordings, NKN)


async def test_refuse_turns_away_so_many_new_connections(server: Server) -> None:
    await fault(server, fault="refuse", count=2, status=429)
    for _ in range(2):
        async with aiohttp.ClientSession() as client:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.ws_connect(f"http://127.0.0.1:{server.port}/binance/spot/ws")
            assert refused.value.status == 429
    async with open_ws(server, "spot/ws") as socket:
        await (await socket.ping())


async def test_reject_answers_rest_with_429_or_418(server: Server) -> None:
    path = "binance/spot/api/v3/time"
    await fault(server, fault="reject", status=418, retry_after_s=7, market="spot", path="/time")
    assert (await get(server, "binance/perp/fapi/v1/time"))[0] == 200
    assert (await get(server, "binance/spot/api/v3/ping"))[0] == 200
    status, body, headers = await get(server, path)
    assert (status, headers["Retry-After"]) == (418, "7")
    assert re.fullmatch(rb'\{"code":-1003,"msg":"Way too many requests; IP banned until \d{13}\..*"\}', body)
    assert (await get(server, path))[0] == 200


@pytest.mark.parametrize(
    ("order", "complaint"),
    [
        ({"fault": "explode"}, "Invalid value 'explode'"),
        ({"fault": "drop", "mach": "x"}, "unknown field `mach`"),
        ({"fault": "drop", "count": 0}, "`int` >= 1"),
        ({"fault": "insert"}, "exactly one of frame and frame_base64"),
        ({"fault": "drop", "market": "option"}, "served are binance/spot, binance/perp"),
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused_by_name(server: Server, order: Any, complaint: str) -> None:
    answer = await fault(server, **order)
    assert answer["status"] == 400
    assert complaint in answer["error"]


async def test_a_connection_refused_or_lost_before_frames_leaves_the_rest_as_it_was(server: Server) -> None:
    await fault(server, fault="refuse")
    with pytest.raises(websockets.InvalidStatus):
        await open_ws(server, f"spot/stream?streams={NKN}")
    async with asyncio.timeout(20):
        status = await until(server, lambda status: status["markets"][0]["connections"] == 0)
    assert (status["frames_sent"], status["missed"]) == (0, 0)
