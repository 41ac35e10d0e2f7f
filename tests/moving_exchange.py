"""A small live exchange in Binance's words: listings come and go while it talks, and it keeps count of who hears what.

Trades are numbered from 1 per symbol. The book's update ids are the trades' numbers; as on the real exchange every
connection cuts them into changes at places of its own, and a quantity is what the level holds after the change.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web

from tests.normaliser_rig import exchange_info

LEVELS = 5
"""Prices a side; update `id` sets level `id % LEVELS` of both sides to the quantity `id`."""

_TICK_S = 0.004
_LATE_S = 0.03
"""A subscription takes effect, and is confirmed, so long after it was asked for; its end at once."""


def level(side: str, index: int) -> str:
    """The price of a level, best first."""
    return str(100 - index if side == "bids" else 101 + index)


def book_at(number: int) -> dict[str, list[list[str]]]:
    """Both sides as they stand at an update id, best first."""
    sides: dict[str, list[list[str]]] = {}
    for side in ("bids", "asks"):
        held = {index: max(n for n in range(-LEVELS, number + 1) if n % LEVELS == index) for index in range(LEVELS)}
        sides[side] = [[level(side, index), str(n)] for index, n in sorted(held.items()) if n > 0]
    return sides


class Client:
    """One connection: what it has subscribed, and where its last book change of each symbol ended."""

    def __init__(
        self, socket: web.WebSocketResponse[bool], transport: asyncio.WriteTransport | None, index: int
    ) -> None:
        self.socket = socket
        self.transport = transport
        self.index = index
        self.streams: dict[str, None] = {}
        self.most = 0
        self.ended: dict[str, int] = {}
        self.open = True

    def abort(self) -> None:
        """Break the line: no farewell."""
        self.open = False
        if self.transport is not None:
            self.transport.abort()


class MovingExchange:
    """Talks to whoever listens; `list` says what is listed from now on."""

    def __init__(self) -> None:
        self.base = ""
        self.listed: tuple[str, ...] = ()
        self.numbers: dict[str, int] = {}
        self.clients: list[Client] = []

    @property
    def open_clients(self) -> list[Client]:
        return [client for client in self.clients if client.open]

    def list(self, *bases: str) -> None:
        self.listed = bases
        self.numbers |= {base: self.numbers.get(base, 0) for base in bases}

    async def get(self, request: web.Request) -> web.Response:
        if request.path.endswith("exchangeInfo"):
            return web.Response(body=exchange_info(*self.listed), content_type="application/json")
        number = self.numbers[request.query["symbol"].removesuffix("USDT")]
        now = _now_ms()
        body = {"lastUpdateId": number, "E": now, "T": now, **book_at(number)}
        return web.Response(text=json.dumps(body), content_type="application/json")

    async def stream(self, request: web.Request) -> web.StreamResponse:
        socket: web.WebSocketResponse[bool] = web.WebSocketResponse()
        await socket.prepare(request)
        client = Client(socket, request.transport, len(self.clients))
        self.clients.append(client)
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    continue
                asked = json.loads(message.data)
                if asked["method"] == "SUBSCRIBE":
                    await asyncio.sleep(_LATE_S)
                for name in asked["params"]:
                    if asked["method"] == "SUBSCRIBE":
                        client.streams[name] = None
                        client.ended[name.split("usdt@")[0].upper()] = self.numbers[name.split("usdt@")[0].upper()]
                    else:
                        del client.streams[name]
                client.most = max(client.most, len(client.streams))
                await socket.send_str(json.dumps({"result": None, "id": asked["id"]}))
        finally:
            client.open = False
        return socket

    async def talk(self) -> None:
        tick = 0
        while True:
            tick += 1
            for base in self.listed:
                self.numbers[base] += 1
            for client in self.open_clients:
                await self._tell(client, tick)
            await asyncio.sleep(_TICK_S)

    async def _tell(self, client: Client, tick: int) -> None:
        for name in list(client.streams):
            base, topic = name.split("usdt@")
            number = self.numbers[base.upper()]
            if base.upper() not in self.listed:
                continue
            if topic == "aggTrade":
                data = _trade(base.upper(), number)
            elif (tick + client.index) % 3:  # each connection has a rhythm of its own
                continue
            else:
                data = _change(base.upper(), client.ended[base.upper()], number)
                client.ended[base.upper()] = number
            try:
                await client.socket.send_str(json.dumps({"stream": name, "data": data}))
            except ConnectionError:
                return


def _trade(base: str, number: int) -> dict[str, object]:
    now = _now_ms()
    ids = {"a": number, "f": number, "l": number}
    return {"e": "aggTrade", "E": now, "s": f"{base}USDT", **ids, "p": "100", "q": "1", "T": now, "m": False}


def _change(base: str, before: int, number: int) -> dict[str, object]:
    now = _now_ms()
    touched = {n % LEVELS: n for n in range(before + 1, number + 1)}
    sides = {side: [[level(side, index), str(n)] for index, n in touched.items()] for side in ("bids", "asks")}
    ids = {"U": before + 1, "u": number, "pu": before}
    return {"e": "depthUpdate", "E": now, "T": now, "s": f"{base}USDT", **ids, "b": sides["bids"], "a": sides["asks"]}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def run_moving_exchange() -> AsyncIterator[MovingExchange]:
    """Serve it on a free port."""
    made = MovingExchange()
    app = web.Application()
    app.add_routes([web.get("/{route}/stream", made.stream), web.get("/{path:.*}", made.get)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.base = f"127.0.0.1:{runner.addresses[0][1]}"
    talking = asyncio.create_task(made.talk())
    try:
        yield made
    finally:
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
        await runner.cleanup()
