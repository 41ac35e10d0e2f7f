"""One exchange market: what is listed decides what is collected, on as many connections as it takes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from schemas.control import Priority
from schemas.records import Instrument
from services.collector import metrics, plan
from services.collector.budget_keeper import Leave
from services.collector.clock import ClockWatch
from services.collector.core import RestLink, Topic
from services.collector.feeds import Feeds
from services.collector.instruments import Instruments
from services.collector.line import Wiring
from services.collector.outbox import Origin, Outbox
from services.collector.pacing import Paced
from services.collector.polling import Polling, path_of
from services.collector.pool import Room
from services.collector.rest import Request, Rest
from services.collector.settings import CollectorSettings
from services.collector.universe import Universe
from services.shared.exchanges.declaration import Market, Poll
from services.shared.runtime.clock import now_us
from services.shared.runtime.http import Answer, Http


class Resync(msgspec.Struct, frozen=True):
    """The body of a `control.resync` message: the connection and sequence at which the book is known to be good.

    `asked_at` is when the need was seen, our clock in microseconds: a normaliser that was killed sees it once more in
    the frames that it reads once more. 0 where somebody asks by hand.
    """

    connection: str = ""
    sequence: int | None = None
    reason: str = ""
    asked_at: int = 0


_decode_resync = msgspec.json.Decoder(Resync).decode


class MarketCollector:
    """Collects one market until it is told to stop. `on_list` is told that its list was read."""

    def __init__(
        self,
        market: Market,
        settings: CollectorSettings,
        outbox: Outbox,
        http: Http,
        log: structlog.stdlib.BoundLogger,
        connects: Paced,
        budget: Leave,
        on_change: Callable[[], None],
        universe: Universe,
        on_list: Callable[[MarketCollector], None],
        room: Room | None = None,
    ) -> None:
        key = f"{market.exchange}.{market.market}"
        self.market = market
        self.planned = False
        """Whether the instrument list has been read and it is known what to collect."""
        self._settings = settings
        self._log = log.bind(exchange=market.exchange, market=market.market)
        self._source = random.Random()
        rest_url = settings.rest_urls.get(key, market.rest_url)
        self.rest = Rest(market, rest_url, http, budget, self._log)
        name = f"{settings.name}.{now_us() // 1000:x}.rest-{market.exchange}-{market.market}"
        self._link = RestLink(Origin(market.exchange, market.market, settings.name, name, rest_url), outbox)
        self.instruments = Instruments(
            market, self.rest, self._link, settings.instruments_every_s, self._log, lambda: on_list(self)
        )
        polls = plan.polls(market, settings.channels) if settings.polls else []
        self._polling = Polling(
            polls,
            market.rest,
            self.rest,
            lambda: self._chosen,
            lambda: outbox.crowded,
            self._book_stands,
            self._publish,
            self._link.announce_audit,
            settings.audit_after_s,
        )
        self._clock = ClockWatch(market, self.rest, settings.clock_every_s, self._publish, self._log)
        self._universe = universe
        self._chosen: tuple[Instrument, ...] = ()
        self._left_out: dict[str, str] = {}
        self._on_change = on_change
        self.feeds = Feeds(
            Wiring(
                market,
                settings.ws_urls.get(key, market.ws_url),
                settings,
                outbox,
                self._log,
                self._source,
                connects,
                self._subscribed,
                on_change,
                room or Room(None),
            )
        )
        self._listed = asyncio.Event()
        self._snapshots: dict[str, Request] = {}
        """Snapshots that were asked for and have not come, by symbol."""
        self._resync_asked_at: dict[str, int] = {}
        """When the last resync that was taken was asked for, our clock, by symbol."""

    @property
    def ready(self) -> bool:
        """Whether every planned connection is subscribed."""
        return self.planned and self.feeds.ready

    @property
    def symbols(self) -> int:
        """How many instruments are collected."""
        return len(self._chosen)

    @property
    def frames(self) -> int:
        """Data frames received from WebSocket connections."""
        return self.feeds.frames

    def connections(self) -> list[dict[str, Any]]:
        """Return the state of each connection, for /status."""
        return [
            {
                "id": line.link.origin.connection,
                "market": f"{self.market.exchange}.{self.market.market}",
                "route": route,
                "state": line.state,
                "streams": len(line.link.confirmed),
                "frames": line.link.frames,
            }
            for route, line in self.feeds.lines()
        ]

    async def run(self, stop: asyncio.Event) -> None:
        """Collect until `stop` is set; connections are closed in good order then."""
        feeding = asyncio.create_task(self.feeds.run(stop))
        stopped = asyncio.ensure_future(stop.wait())
        helpers = [
            asyncio.create_task(work)
            for work in (
                self.rest.run(self._source),
                self.instruments.run(self._source),
                self._poll(),
                self._clock.run(),
            )
        ]
        try:
            done, _ = await asyncio.wait({stopped, feeding, *helpers}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped}:
                task.result()
        finally:
            stopped.cancel()
            for task in helpers:
                task.cancel()
            if not stop.is_set():  # something failed: the connections still close in good order
                feeding.cancel()
            await asyncio.gather(feeding, *helpers, return_exceptions=True)

    async def _poll(self) -> None:
        await self._listed.wait()
        await self._polling.run()

    def plan(self) -> None:
        """Collect what is wanted of what is listed now, and nothing else. What goes on being wanted is not touched."""
        listing = self.instruments.listing
        before = {item.symbol for item in self._chosen}
        chosen = self._universe.choose(self.market, before)
        self._complain(dict(chosen.left_out))
        after = {item.symbol for item in chosen.instruments}
        for symbol in sorted(before - after):
            item = listing.by_symbol.get(symbol)
            reason = "it is listed no more" if item is None else f"its status is {item.status}"
            self._log.info("symbol_dropped", symbol=symbol, reason=reason)
        if self.planned and after - before:
            self._log.info("symbols_new", count=len(after - before), name=", ".join(sorted(after - before)))
        self._chosen = chosen.instruments
        for symbol in [symbol for symbol in self._snapshots if symbol not in after]:
            del self._snapshots[symbol]
        self.feeds.want(plan.topics(self.market, chosen.instruments, self._settings.channels))
        if not self.planned:
            self.planned = True
            self._log.info("market_planned", count=self.symbols, value=len(self.feeds))
        self._listed.set()
        self._on_change()

    def _complain(self, left_out: dict[str, str]) -> None:
        """Say of each symbol that cannot be collected why, once."""
        for symbol, reason in left_out.items():
            if self._left_out.get(symbol) != reason:
                self._log.warning("symbol_left_out", symbol=symbol, reason=reason)
        self._left_out = left_out

    # -- books -----------------------------------------------------------------------------------------------------

    def resync(self, subject: str, data: bytes) -> None:
        """Take a `control.resync` message: ask for one book's snapshot, unless it is about a connection long gone."""
        symbol = subject.rsplit(".", 1)[-1]
        try:
            request = _decode_resync(data)
        except msgspec.DecodeError as error:
            self._log.warning("resync_refused", symbol=symbol, error=str(error))
            return
        if 0 < request.asked_at <= self._resync_asked_at.get(symbol, 0):
            return  # answered before: to subscribe again would lose changes of a book that is well
        self._resync_asked_at[symbol] = request.asked_at
        if symbol in self._snapshots:
            return  # on its way: of a thousand books that begin, the last one is asked for many times meanwhile
        item = self.instruments.listing.by_symbol.get(symbol)
        current = {
            line.link.origin.connection: line
            for _, line in self.feeds.lines()
            if Topic(self.market.book_channel, symbol) in line.link.confirmed.values()
        }
        if item is None or (request.connection and request.connection not in current) or not current:
            self._log.info("resync_ignored", symbol=symbol, connection=request.connection, reason=request.reason)
            return
        self._log.info("resync", symbol=symbol, connection=request.connection, reason=request.reason)
        if self.market.book_snapshot is not None:
            self._snapshot(self.market.book_snapshot, item, Priority.RESYNC)
            return
        for name, line in current.items():
            if request.connection in ("", name):
                line.resync(symbol)

    def _subscribed(self, topics: list[Topic], covered: bool) -> None:
        """Fetch a book's snapshot after each subscription of its changes; less urgently when another line leads."""
        if self.market.book_snapshot is None:
            return  # the channel begins with one by itself
        by_symbol = self.instruments.listing.by_symbol
        for topic in topics:
            if topic.channel == self.market.book_channel and topic.symbol in by_symbol:
                priority = Priority.URGENT if covered else Priority.STARTUP
                self._snapshot(self.market.book_snapshot, by_symbol[topic.symbol], priority)

    def _snapshot(self, poll: Poll, item: Instrument, priority: Priority) -> None:
        symbol = item.symbol
        asked = self._snapshots.get(symbol)
        if asked is not None and not asked.attempts:
            return  # it will be young enough for whoever asks now
        path = path_of(poll, item)

        def done(answer: Answer | None) -> None:
            if self._snapshots.get(symbol) is request:
                del self._snapshots[symbol]
            if answer is not None:
                self._publish(poll.name, symbol, path, answer)

        request = self._snapshots[symbol] = self.rest.add(priority, path, poll.weight, poll.name, done)

    def _book_stands(self, item: Instrument) -> bool:
        """Whether a book's changes are subscribed, and its snapshot, where it needs one, has come."""
        name = self.market.channels[self.market.book_channel].stream(item.exchange_symbol)
        if item.symbol in self._snapshots:
            return False
        return any(name in line.link.confirmed for _, line in self.feeds.lines())

    def _publish(self, channel: str, symbol: str, path: str, answer: Answer) -> None:
        self._link.publish(channel, symbol, answer.body, path, answer.requested_at, answer.received_at)

    def count(self, counted: dict[str, int]) -> None:
        """Bring the frame counters up to date; `counted` holds what was counted so far."""
        labels = (self.market.exchange, self.market.market)
        key = ".".join(labels)
        metrics.FRAMES_RECEIVED.labels(*labels).inc(self.frames - counted.get(key, 0))
        counted[key] = self.frames
        metrics.FRAMES_UNKNOWN.labels(*labels).inc(self.feeds.unknown - counted.get(f"{key}.unknown", 0))
        counted[f"{key}.unknown"] = self.feeds.unknown
