"""Serves venues on one loopback port: WebSocket and REST under `/<exchange>/<market>`, and the simulator's own paths.

With `secure`, each market is also served by TLS on a port of its own, on the exchange's own paths (see tls.py).
`GET /simulator/status` tells what is served and how far it is; `POST /simulator/fault` orders a fault (see faults.py),
`/simulator/prepare` and `/simulator/start` a run that is prepared before it is sent (see generator/rehearsed.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import web

from schemas.errors import Broken
from services.exchange_simulator import fault_orders
from services.exchange_simulator.connection import Connection, now_us
from services.exchange_simulator.fault_schedule import Schedule
from services.exchange_simulator.faults import FaultySession
from services.exchange_simulator.generator.rehearsed import Rehearsal
from services.exchange_simulator.served import Served
from services.exchange_simulator.tls import Secure, application
from services.exchange_simulator.venue import Answer, Closing, KeepAlive, Refused, Venue

_JSON = "application/json;charset=UTF-8"
_SHUTDOWN_S = 3.0
_MAX_URL_BYTES = 128 * 1024
"""A combined-stream URL may name 1024 streams."""


class Server:
    """The simulator's one port. Use as an async context manager; `port` is the bound one from then on."""

    def __init__(
        self,
        venues: Sequence[Venue],
        host: str = "127.0.0.1",
        port: int = 0,
        ping_every_s: float | None = None,
        pong_within_s: float | None = None,
        schedules: Mapping[str, Schedule] | None = None,
        secure: Secure | None = None,
        rehearsal: Rehearsal | None = None,
    ) -> None:
        """Serve `venues` on `host`, port 0 being any free one; the two times replace the exchanges' own keep-alive.

        `schedules` are those of the exchanges that faults befall by themselves.

        Raises ValueError when two venues are the same exchange market.
        """
        self.host = host
        self.port = port
        self._schedules = dict(schedules or {})
        self._befalling: list[asyncio.Task[None]] = []
        self._markets: dict[tuple[str, str], Served] = {}
        for venue in venues:
            key = (venue.exchange, venue.market)
            if key in self._markets:
                raise ValueError(f"two venues for {venue.exchange} {venue.market}")
            own = venue.keep_alive
            keep_alive = KeepAlive(ping_every_s or own.ping_every_s, pong_within_s or own.pong_within_s)
            self._markets[key] = Served(venue, keep_alive)
        app = web.Application()
        app.add_routes(
            [
                web.get("/simulator/status", self._status),
                web.post("/simulator/fault", self._fault),
                web.post("/simulator/prepare", self._prepare),
                web.post("/simulator/start", self._start),
                web.get("/{exchange}/{market}/{path:.*}", self._serve),
            ]
        )
        self._runner = _runner(app)
        self._secure = secure
        self._secure_runners: list[web.AppRunner] = []
        self._rehearsal = rehearsal
        self._preparing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Listen. Raises Broken when the port cannot be opened."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.host, self.port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise Broken(
                f"port {self.port} on {self.host} cannot be opened: {error.strerror}", port=self.port
            ) from None
        self.port = self._runner.addresses[0][1]
        if self._secure is not None:
            for key, market in self._markets.items():
                self._secure_runners.append(_runner(application(partial(self._answer, market))))
                await self._secure.open(key, self._secure_runners[-1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection (1001, going away) and the port."""
        tasks = [*self._befalling, *([self._preparing] if self._preparing else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        open_ones = [connection for market in self._markets.values() for connection in market.connections()]
        for connection in open_ones:
            connection.cut(Closing(1001, "the simulator stops"))
        # First the closing handshakes: once the runner shuts down, it reads nothing more from any client.
        await asyncio.gather(*(connection.ended.wait() for connection in open_ones))
        for runner in (self._runner, *self._secure_runners):
            await runner.cleanup()

    def status(self) -> dict[str, Any]:
        """Return what `GET /simulator/status` answers.

        `delivered` counts the frames a client has proven by a pong to have read; `finished`: every venue has handed out
        everything, and every open connection has confirmed all it got; `asked`: GETs by path; `over_the_limit`: those
        that were refused since too much was asked, but for refusals on order.
        """
        markets = [market.status(self.host, self.port) for market in self._markets.values()]
        if self._secure is not None:
            for market in markets:
                market.update(self._secure.urls(market["exchange"], market["market"]))
        return {
            "markets": markets,
            "frames_sent": sum(market["frames_sent"] for market in markets),
            "delivered": sum(market["delivered"] for market in markets),
            "missed": sum(market["missed"] for market in markets),
            "finished": all(market["finished"] for market in markets),
            "prepared": self._rehearsal is not None and self._rehearsal.prepared,
        }

    async def _status(self, _: web.Request) -> web.Response:
        return _json(200, self.status())

    async def _fault(self, request: web.Request) -> web.Response:
        try:
            fault = fault_orders.decode(await request.read())
        except ValueError as error:
            return _json(400, {"error": str(error)})
        hit = [
            market
            for (exchange, name), market in self._markets.items()
            if fault.exchange in (None, exchange) and fault.market in (None, name)
        ]
        if not hit:
            served = ", ".join(f"{exchange}/{name}" for exchange, name in self._markets)
            return _json(400, {"error": f"no market {fault.exchange}/{fault.market}; served are {served}"})
        for market in hit:
            market.order(fault)
        return _json(200, {"markets": [f"{market.venue.exchange}/{market.venue.market}" for market in hit]})

    async def _prepare(self, _: web.Request) -> web.Response:
        if self._rehearsal is None:
            return _json(400, {"error": "this run is not rehearsed: see the setting of that name"})
        if self._preparing is None:
            self._preparing = asyncio.ensure_future(self._rehearsal.prepare())
        return _json(202, {"prepared": self._rehearsal.prepared})

    async def _start(self, _: web.Request) -> web.Response:
        if self._rehearsal is None or not self._rehearsal.prepared:
            return _json(409, {"error": "nothing is prepared: POST /simulator/prepare, then ask the status"})
        self._rehearsal.start(now_us())
        for market in self._markets.values():
            market.wake()
        return _json(200, {"frames": self._rehearsal.frames})

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        market = self._markets.get((request.match_info["exchange"], request.match_info["market"]))
        if market is None:
            served = ", ".join(f"/{exchange}/{name}" for exchange, name in self._markets)
            return _json(404, {"error": f"nothing is simulated at {request.path}; served are {served}"})
        return await self._answer(market, request)

    async def _answer(self, market: Served, request: web.Request) -> web.StreamResponse:
        path = f"/{request.match_info['path']}"
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._connect(market, path, request)
        return _response(market.answer(path, dict(request.query), now_us()))

    async def _connect(self, market: Served, path: str, request: web.Request) -> web.StreamResponse:
        try:
            market.faults.connecting(now_us())
            session = market.venue.connect(path, request.rel_url.raw_query_string, now_us())
        except Refused as refused:
            return web.Response(status=refused.status, text=refused.reason)
        socket: web.WebSocketResponse[bool] = web.WebSocketResponse(
            autoping=False, compress=request.secure, decode_text=False, writer_limit=0
        )
        try:
            await socket.prepare(request)
        except BaseException:
            session.close(now_us())
            raise
        transport = request.transport
        if transport is None:  # the client went away during the handshake
            session.close(now_us())
            return socket
        faulty = FaultySession(session, market.faults)
        connection = Connection(faulty, socket, transport, market.keep_alive, market.wake)
        market.opened(connection, faulty)
        self._begin(market.venue.exchange)
        try:
            await connection.run()
        finally:
            market.ended(connection)
        return socket

    def _begin(self, exchange: str) -> None:
        """Begin the faults of an exchange with its first connection."""
        schedule = self._schedules.pop(exchange, None)
        if schedule is not None:
            schedule.begin(now_us())
            self._befalling.append(asyncio.ensure_future(self._befall(exchange, schedule)))

    async def _befall(self, exchange: str, schedule: Schedule) -> None:
        """Order what falls due, as long as the exchange has something to say."""
        markets = [market for (name, _), market in self._markets.items() if name == exchange]
        while (due_us := schedule.due_us()) is not None:
            await asyncio.sleep(max(due_us - now_us(), 0) / 1_000_000)
            if all(market.venue.finished(now_us()) for market in markets):
                return
            for fault in schedule.due(now_us()):
                self._markets[exchange, str(fault.market)].order(fault)


def _runner(app: web.Application) -> web.AppRunner:
    return web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=_SHUTDOWN_S,
        max_line_size=_MAX_URL_BYTES,
        max_field_size=_MAX_URL_BYTES,
    )


def _response(answer: Answer) -> web.Response:
    headers = dict(answer.headers)
    headers.setdefault("Content-Type", _JSON)
    return web.Response(status=answer.status, body=answer.body, headers=headers)


def _json(status: int, body: object) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), headers={"Content-Type": _JSON})
