"""The collector: markets in, one outbox, NATS or the spool out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nats.aio.msg import Msg

from schemas import streams, subjects
from schemas.errors import Busy, SettingsError
from services.collector.budgets import Budgets
from services.collector.consulted import Consulted, consulted
from services.collector.market import MarketCollector
from services.collector.outbox import Outbox
from services.collector.pacing import Pace, connects_pace
from services.collector.pool import Room
from services.collector.publisher import Publisher
from services.collector.settings import CollectorSettings
from services.collector.spool import Spool
from services.collector.universe import Pattern, Universe, pattern
from services.shared.exchanges.declaration import Limits, Market
from services.shared.exchanges.registry import MARKETS
from services.shared.runtime import bus
from services.shared.runtime.http import Http
from services.shared.runtime.ring import Ring, oldest_unread_of_raw
from services.shared.runtime.run import Context

_COUNT_EVERY_S = 1.0


def pick(settings: CollectorSettings, markets: Mapping[tuple[str, str], Market]) -> list[Market]:
    """Return the markets that the settings name. Raises SettingsError when there is none."""
    picked = [
        market
        for (exchange, name), market in markets.items()
        if exchange in settings.exchanges and (not settings.markets or name in settings.markets)
    ]
    if not picked:
        raise SettingsError(
            f"{settings.variable('exchanges')} and {settings.variable('markets')} leave nothing to collect; "
            f"there are {', '.join('.'.join(key) for key in sorted(markets))}"
        )
    return picked


def universe_of(settings: CollectorSettings) -> Universe:
    """Return what the settings choose. Raises SettingsError when there is nothing to compare."""
    if settings.universe == "arbitrage" and not settings.symbols and len({*settings.exchanges, *settings.compare}) < 2:
        raise SettingsError(
            f"{settings.variable('universe')} is 'arbitrage', which compares what two exchanges list: name another "
            f"one in {settings.variable('exchanges')}, or, if it is not to be collected here, in "
            f"{settings.variable('compare')}"
        )
    include, exclude = ([pattern(text, MARKETS) for text in texts] for texts in (settings.include, settings.exclude))
    return Universe(settings.universe, settings.symbols, include, exclude)


def room_of(limits: Limits, share: float) -> Room:
    """Return the room for lasting connections; what is left of the limit is for successors, and for requests."""
    return Room(None if limits.connections is None else max(1, int(limits.connections * share)))


class Collector:
    """One collector process. `markets` is everything that could be collected."""

    def __init__(
        self, settings: CollectorSettings, context: Context, markets: Mapping[tuple[str, str], Market]
    ) -> None:
        self._settings = settings
        self._context = context
        self._picked = pick(settings, markets)
        self._consulted = consulted(settings, markets, self._picked)
        self._universe = universe_of(settings)
        self._unmatched: set[Pattern] = set()
        self._wake = asyncio.Event()
        self._outbox = Outbox(settings.memory_bytes, self._wake.set)
        self._budgets = Budgets([*self._picked, *self._consulted], settings, context.log)
        self._collectors: list[MarketCollector] = []
        self._readers: list[Consulted] = []

    async def run(self) -> None:
        """Collect until the context says stop; then close, and bring what is in memory to NATS or to disk."""
        settings, context = self._settings, self._context
        spool = await asyncio.to_thread(Spool, settings.spool_dir, settings.spool_bytes)
        try:
            for cut in spool.cuts:
                context.log.warning("spool_cut", path=str(cut.path), bytes=cut.bytes)
            if spool.messages:
                context.log.info("spool_found", frames=spool.frames, bytes=spool.bytes)
            publisher = Publisher(self._outbox, spool, self._wake, settings.gather_s)
            async with Http(settings.request_timeout_s, settings.exchange_ca_file) as http:
                connects: dict[str, Pace] = {}
                rooms: dict[str, Room] = {}
                for market in self._picked:
                    pace = connects_pace(market.limits, settings.request_share)
                    self._collectors.append(
                        MarketCollector(
                            market,
                            settings,
                            self._outbox,
                            http,
                            context.log,
                            connects.setdefault(market.exchange, pace),
                            self._budgets.of(market),
                            self._changed,
                            self._universe,
                            self._listed,
                            rooms.setdefault(market.exchange, room_of(market.limits, settings.request_share)),
                        )
                    )
                self._readers = [
                    Consulted(market, settings, http, self._budgets.of(market), context.log, self._listed)
                    for market in self._consulted
                ]
                context.health.status = lambda: self._status(publisher, spool)
                await self._collect(publisher)
        finally:
            spool.close()

    async def _collect(self, publisher: Publisher) -> None:
        ending = asyncio.Event()
        connecting = asyncio.create_task(self._connect(publisher))
        counting = asyncio.create_task(self._count())
        publishing = asyncio.create_task(publisher.run(ending, self._context.log))
        stop = self._context.stop
        collecting = [asyncio.create_task(item.run(stop)) for item in self._collectors]
        collecting += [asyncio.create_task(reader.run(stop)) for reader in self._readers]
        stopped = asyncio.ensure_future(self._context.stop.wait())
        try:
            # Any of these may fail; only the markets may end of themselves, and only when told to.
            tasks = {publishing, connecting, counting, *collecting}
            while not stopped.done() and tasks:
                done, _ = await asyncio.wait({*tasks, stopped}, return_when=asyncio.FIRST_COMPLETED)
                for task in done - {stopped}:
                    task.result()
                tasks -= done
            await asyncio.gather(*collecting)
        finally:
            self._context.stop.set()
            await asyncio.gather(*collecting, return_exceptions=True)
            ending.set()
            counting.cancel()
            stopped.cancel()
            results = await asyncio.gather(publishing, return_exceptions=True)
            connecting.cancel()
            await asyncio.gather(connecting, counting, return_exceptions=True)
            if publisher.bus is not None:
                await publisher.bus.close()
        if isinstance(results[0], BaseException):
            raise results[0]

    async def _connect(self, publisher: Publisher) -> None:
        """Connect to NATS whenever it comes; what arrives before goes to the spool."""
        context = self._context
        try:
            connected = await bus.connect(self._settings, "collector", context.log, context.stop)
        except Busy:
            return  # stopped first
        for item in self._collectors:
            market = item.market
            await connected.respond(subjects.resync_filter(market.exchange, market.market), _resync_handler(item))
        publisher.ring = Ring(connected, streams.RAW, oldest_unread_of_raw, self._settings.ring_check_s, context.log)
        publisher.bus = connected
        await self._budgets.open(connected)

    def _changed(self) -> None:
        self._context.health.set_ready(all(item.ready for item in self._collectors))

    def _listed(self, reader: MarketCollector | Consulted) -> None:
        """Take a list that was read: it decides what is collected of its market, and may do so of others."""
        key = (reader.market.exchange, reader.market.market)
        others = self._universe.learn(key, reader.instruments.listing)
        for item in self._collectors:
            if item is reader or (others and item.planned):
                item.plan()
        unmatched = self._universe.unmatched((market.exchange, market.market) for market in self._picked)
        for each in unmatched:
            if each not in self._unmatched:
                self._context.log.error("pattern_matches_nothing", value=each.text)
        self._unmatched = set(unmatched)

    async def _count(self) -> None:
        counted: dict[str, int] = {}
        while True:
            await asyncio.sleep(_COUNT_EVERY_S)
            for item in self._collectors:
                item.count(counted)

    def _status(self, publisher: Publisher, spool: Spool) -> dict[str, Any]:
        return {
            "received": sum(item.frames for item in self._collectors),
            "published": publisher.published,
            "outbox": self._outbox.waiting,
            "spooled": spool.frames,
            "dropped": self._outbox.dropped,
            "connections": [entry for item in self._collectors for entry in item.connections()],
            "symbols": sum(item.symbols for item in self._collectors),
            "requests_pending": sum(item.rest.pending for item in self._collectors),
            "snapshots_pending": sum(item.rest.snapshots_pending for item in self._collectors),
            "budgets": self._budgets.status(),
        }


def _resync_handler(item: MarketCollector) -> Callable[[Msg], Awaitable[None]]:
    async def handle(message: Msg) -> None:
        item.resync(message.subject, message.data)

    return handle
