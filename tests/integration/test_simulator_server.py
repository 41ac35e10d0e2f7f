"""The simulator's server over real sockets: replayed sessions, limits, keep-alive, status."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from services.exchange_simulator.replay import build
from services.exchange_simulator.server import Server
from services.exchange_simulator.venue import KeepAlive

HANDSHAKE = (
    b"GET %b HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)


@asynccontextmanager
async def serving(
    recordings: Path, pace: float = 0, patience_s: float = 15, **keep_alive: float
) -> AsyncIterator[Server]:
    venues, _ = build(recordings, ("binance",), pace, patience_s)
    async with Server(venues, **keep_alive) as server:
        yield server


def open_ws(server: Server, path: str, **options: Any) -> connect:
    url = f"ws://127.0.0.1:{server.port}/binance/{path}"
    return connect(url, ping_interval=None, max_queue=None, **options)


async def get(server: Server, path: str) -> tuple[int, bytes, Any]:
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"http://127.0.0.1:{server.port}/{path}") as answer,
    ):
        return answer.status, await answer.read(), answer.headers


async def until(server: Server, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask for the status until it is so; the test's own limit ends a wait in vain."""
    async with asyncio.timeout(20), aiohttp.ClientSession() as client:
        while True:
            async with client.get(f"http://127.0.0.1:{server.port}/simulator/status") as answer:
                status = await answer.json()
            if reached(status):
                return status
            await asyncio.sleep(0.01)


async def receive(socket: ClientConnection, count: int) -> list[bytes]:
    async with asyncio.timeout(20):
        return [await socket.recv(decode=False) for _ in range(count)]


def recorded(recordings: Path, name: str) -> list[bytes]:
    lines = (recordings / "binance" / "cryptofeed" / name).read_bytes().rstrip(b"\n").split(b"\n")
    return [line.split(b": ", 1)[1] for line in lines[1:]]


def stream_of(frame: bytes) -> str:
    return json.loads(frame)["stream"]


async def test_a_futures_session_arrives_whole_over_two_connections_and_is_confirmed(recordings: Path) -> None:
    frames = recorded(recordings, "BINANCE_FUTURES.ws.1.0")
    streams = list(dict.fromkeys(stream_of(frame) for frame in frames))
    public = [frame for frame in frames if "@depth" in stream_of(frame) or "@bookTicker" in stream_of(frame)]
    market = [frame for frame in frames if frame not in public]
    assert (len(public), len(market)) == (764 + 613, 91 + 67)
    subscribe = json.dumps({"method": "SUBSCRIBE", "params": streams, "id": 1})
    async with serving(recordings) as server, open_ws(server, "perp/public/stream") as one:
        await one.send(subscribe)
        got = await receive(one, 1 + len(public))
        assert got[0] == b'{"result":null,"id":1}'
        assert got[1:] == public
        status = await until(server, lambda status: status["delivered"] == len(public))
        assert not status["finished"], "the other route's streams still wait"
        async with open_ws(server, f"perp/market/stream?streams={'/'.join(streams)}") as two:
            assert await receive(two, len(market)) == market
            status = await until(server, lambda status: status["delivered"] == 1535)
            perp = status["markets"][1]
            assert perp == {
                "exchange": "binance",
                "market": "perp",
                "ws_url": f"ws://127.0.0.1:{server.port}/binance/perp",
                "rest_url": f"http://127.0.0.1:{server.port}/binance/perp",
                "symbols": ["SUSHIUSDT", "AKROUSDT", "KEEPUSDT", "CTKUSDT"],
                "connections": 2,
                "frames_sent": 1535,
                "delivered": 1535,
                "missed": 0,
                "finished": True,
                "faults": {},
                "asked": {},
                "over_the_limit": 0,
            }
            assert (status["frames_sent"], status["finished"]) == (1535, False), "spot has not begun"
            await (await two.ping())


async def test_a_connection_that_goes_away_and_comes_back_goes_on_where_it_was(recordings: Path) -> None:
    frames = recorded(recordings, "BINANCE.ws.1.0")
    streams = "/".join(dict.fromkeys(stream_of(frame) for frame in frames))
    async with serving(recordings) as server:
        async with open_ws(server, "spot/stream?streams=nknusdt@depth@100ms") as socket:
            depth = [frame for frame in frames if stream_of(frame) == "nknusdt@depth@100ms"]
            assert await receive(socket, len(depth)) == depth
        async with open_ws(server, f"spot/stream?streams={streams}") as socket:
            rest = [frame for frame in frames if frame not in depth]
            assert await receive(socket, len(rest)) == rest
            await until(server, lambda status: status["markets"][0]["finished"])


async def test_a_url_may_name_as_many_streams_as_a_connection_may_have(recordings: Path) -> None:
    silent = "/".join(f"{'x' * 30}{number}@depth@100ms" for number in range(1023))
    frames = [frame for frame in recorded(recordings, "BINANCE.ws.1.0") if b'"nknusdt@bookTicker"' in frame]
    async with (
        serving(recordings) as server,
        open_ws(server, f"spot/stream?streams={silent}/nknusdt@bookTicker") as socket,
    ):
        assert await receive(socket, len(frames)) == frames


class Flood:
    """A venue, and its only session, that always has another kilobyte."""

    exchange, market, keep_alive = "flood", "spot", KeepAlive(20, 60)
    frame = b"x" * 1024

    def symbols(self) -> list[str]:
        return []

    def connect(self, path: str, query: str, now_us: int) -> Flood:
        return self

    def frames(self, now_us: int, limit: int) -> list[bytes]:
        return [self.frame] * limit

    def next_due_us(self) -> int:
        return 0

    def close(self, now_us: int) -> None:
        pass

    def finished(self, now_us: int) -> bool:
        return False

    def missed(self) -> int:
        return 0


async def test_the_server_waits_for_a_client_that_does_not_read() -> None:
    async with Server([Flood()]) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=4096)
        writer.write(HANDSHAKE % b"/flood/spot/ws")
        await reader.readuntil(b"\r\n\r\n")
        waits: list[int] = []

        def stands(status: dict[str, Any]) -> bool:
            waits.append(status["frames_sent"])
            return len(waits) > 20 and len(set(waits[-20:])) == 1

        before = (await until(server, stands))["frames_sent"]
        assert before > 0
        await reader.readexactly(before * 1024 // 2)
        await until(server, lambda status: status["frames_sent"] > before)
        writer.close()
        await until(server, lambda status: status["markets"][0]["connections"] == 0)


async def test_a_client_that_has_not_read_has_confirmed_nothing(recordings: Path) -> None:
    async with serving(recordings) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(HANDSHAKE % b"/binance/spot/ws/nknusdt@depth@100ms")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        assert b"permessage-deflate" not in head
        status = await until(server, lambda status: status["frames_sent"] == 150)
        assert (status["delivered"], status["finished"]) == (0, False)
        writer.close()
        await until(server, lambda status: status["markets"][0]["connections"] == 0)


async def test_a_pong_confirms_the_frames_before_its_ping_and_no_others(recordings: Path) -> None:
    async with serving(recordings) as server, aiohttp.ClientSession() as client:
        url = f"http://127.0.0.1:{server.port}/binance/spot/stream?streams=nknusdt@depth@100ms"
        async with client.ws_connect(url, autoping=False) as socket:

            async def read_to_ping() -> tuple[int, bytes]:
                texts = 0
                while (message := await socket.receive(20)).type is aiohttp.WSMsgType.TEXT:
                    texts += 1
                assert message.type is aiohttp.WSMsgType.PING
                return texts, message.data

            texts, first = await read_to_ping()
            assert texts == 150
            await socket.send_json({"method": "SUBSCRIBE", "params": ["lrcbtc@depth@100ms"], "id": 1})
            texts, second = await read_to_ping()
            assert texts == 1 + 15
            await socket.pong(b"never sent")
            await socket.pong(first)
            status = await until(server, lambda status: status["delivered"] > 0)
            assert (status["frames_sent"], status["delivered"]) == (165, 150)
            await socket.pong(second)
            await until(server, lambda status: status["delivered"] == 165)


async def test_at_a_pace_frames_nobody_reads_are_missed_and_the_replay_ends(recordings: Path) -> None:
    async with (
        serving(recordings, pace=1000) as server,
        open_ws(server, "spot/stream?streams=nknusdt@depth@100ms") as socket,
    ):
        frames = [frame for frame in recorded(recordings, "BINANCE.ws.1.0") if b'"nknusdt@depth@100ms"' in frame]
        assert await receive(socket, 150) == frames
        status = await until(server, lambda status: status["markets"][0]["finished"])
        assert (status["delivered"], status["missed"]) == (150, 115)


async def test_more_messages_than_allowed_close_the_connection(recordings: Path) -> None:
    async with serving(recordings) as server, open_ws(server, "spot/ws") as socket:
        for _ in range(6):
            await socket.send(b'{"method":"LIST_SUBSCRIPTIONS","id":1}', text=True)
        assert await receive(socket, 5) == [b'{"result":[],"id":1}'] * 5
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await receive(socket, 1)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "Too many requests")


async def test_pings_of_the_client_count_as_messages_and_are_answered(recordings: Path) -> None:
    async with serving(recordings) as server, open_ws(server, "spot/ws") as socket:
        for _ in range(5):
            await (await socket.ping())
        await socket.ping()
        async with asyncio.timeout(20):
            await socket.wait_closed()
        assert socket.close_code == 1008


async def test_pongs_of_the_client_count_as_messages_too(recordings: Path) -> None:
    async with serving(recordings) as server, open_ws(server, "spot/ws") as socket:
        for _ in range(6):
            await socket.pong()
        async with asyncio.timeout(20):
            await socket.wait_closed()
        assert socket.close_code == 1008


async def test_the_server_pings_and_cuts_a_connection_without_pongs(recordings: Path) -> None:
    async with serving(recordings, ping_every_s=0.05, pong_within_s=0.2) as server:
        async with open_ws(server, "perp/public/ws/ctkusdt@depth@100ms") as socket:
            await receive(socket, 185)
            await until(server, lambda status: status["delivered"] == 185)
        async with aiohttp.ClientSession() as client:
            url = f"http://127.0.0.1:{server.port}/binance/perp/public/ws"
            async with client.ws_connect(url, autoping=False) as mute:
                ping = await mute.receive(20)
                assert (ping.type, len(ping.data)) == (aiohttp.WSMsgType.PING, 13)
                while (message := await mute.receive(20)).type is aiohttp.WSMsgType.PING:
                    pass
                assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 1008, "Pong timeout")


async def test_refused_paths_and_unknown_markets(recordings: Path) -> None:
    async with serving(recordings) as server:
        for path, status in (("perp/nothing", 404), ("perp/public/ws?timeUnit=MICROSECOND", 400), ("coin/ws", 404)):
            with pytest.raises(websockets.InvalidStatus) as refused:
                await open_ws(server, path)
            assert refused.value.response.status_code == status
        status, body, _ = await get(server, "binance/coin/api")
        assert (status, b"served are /binance/spot, /binance/perp" in body) == (404, True)


async def test_rest_headers_and_bodies_over_http(recordings: Path) -> None:
    async with serving(recordings) as server:
        status, body, headers = await get(server, "binance/perp/fapi/v1/depth?symbol=CTKUSDT&limit=1000")
        line = next(
            line
            for line in (recordings / "binance/cryptofeed/BINANCE_FUTURES.http.0.0").read_bytes().split(b"\n")
            if b"symbol=CTKUSDT" in line
        )
        assert (status, body) == (200, line.split(b": ", 1)[1])
        assert headers["X-MBX-USED-WEIGHT-1M"] == "20"
        assert headers["Content-Type"] == "application/json;charset=UTF-8"
        status, body, _ = await get(server, "binance/spot/api/v3/depth?symbol=NOPE")
        assert (status, body) == (400, b'{"code":-1121,"msg":"Invalid symbol."}')


async def test_stopping_says_going_away(recordings: Path) -> None:
    async with serving(recordings) as server:
        socket = await open_ws(server, "spot/ws")
    await socket.wait_closed()
    assert socket.close_code == 1001
