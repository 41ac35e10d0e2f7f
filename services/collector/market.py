"""One exchange market: its instruments, its feeds, its snapshots and polls."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec
import structlog

from schemas import subjects
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from schemas.records import Instrument
from services.collector import metrics, plan
from services.collector.core import RestLink, Topic
from services.collector.feed import SECOND_US, Feed, Wiring
from services.collector.outbox import Origin, Outbox
from services.collector.pacing import Backoff, Budget
from services.collector.rest import Priority, Request, Rest
from services.collector.settings import CollectorSettings
from services.collector.tasks import together
from services.shared.exchanges.declaration import Listing, Market, Poll
from services.shared.runtime.clock import now_us
from services.shared.runtime.http import Answer, Http

REPUBLISH_US = 3_600 * SECOND_US
"""An unchanged instrument list is published again after this long, so that RAW's ring always holds one."""


class Resync(msgspec.Struct, frozen=True):
    """The body of a `control.resync` message: the connection and sequence at which the book is known to be good."""

    connection: str = ""
    sequence: int | None = None
    reason: str = ""


_decode_resync = msgspec.json.Decoder(Resync).decode


class MarketCollector:
    """Collects one market until it is told to stop."""

    def __init__(
        self,
        market: Market,
        settings: CollectorSettings,
        outbox: Outbox,
        http: Http,
        log: structlog.stdlib.BoundLogger,
        connects: Budget,
        on_change: Callable[[], None],
    ) -> None:
        key = f"{market.exchange}.{market.market}"
        self.market = market
        self.feeds: list[Feed] = []
        self._wiring: Wiring | None = None
        self.planned = False
        """Whether the instrument list has been read and the feeds are known."""
        self._settings = settings
        self._outbox = outbox
        self._log = log.bind(exchange=market.exchange, market=market.market)
        self._source = random.Random()
        rest_url = settings.rest_urls.get(key, market.rest_url)
        self._ws_url = settings.ws_urls.get(key, market.ws_url)
        self.rest = Rest(market, rest_url, http, settings.request_share, self._log)
        name = f"{settings.name}.{now_us() // 1000:x}.rest-{market.exchange}-{market.market}"
        self._link = RestLink(Origin(market.exchange, market.market, settings.name, name, rest_url), outbox)
        self._connects = connects
        self._on_change = on_change
        self._listing = Listing()
        self._chosen: tuple[Instrument, ...] = ()
        self._published: tuple[Instrument, ...] = ()
        self._published_at = 0
        self._snapshots: dict[str, Request] = {}
        """Snapshots that were asked for and have not come, by symbol."""
        self._grown = asyncio.Event()
        """Set when there are new feeds."""
        self._polling: set[tuple[str, str]] = set()

    @property
    def ready(self) -> bool:
        """Whether every planned connection is subscribed."""
        return self.planned and all(feed.ready for feed in self.feeds)

    @property
    def symbols(self) -> int:
        """How many instruments are collected."""
        return len(self._chosen)

    @property
    def frames(self) -> int:
        """Data frames received from WebSocket connections."""
        return sum(feed.frames for feed in self.feeds)

    def connections(self) -> list[dict[str, Any]]:
        """Return the state of each connection, for /status."""
        return [
            {
                "id": line.link.origin.connection,
                "market": f"{self.market.exchange}.{self.market.market}",
                "route": feed.planned.route,
                "state": line.state,
                "streams": len(line.link.confirmed),
                "frames": line.link.frames,
            }
            for feed in self.feeds
            for line in feed.lines
        ]

    async def run(self, stop: asyncio.Event) -> None:
        """Collect until `stop` is set; connections are closed in good order then."""
        requests = asyncio.create_task(self.rest.run(self._source))
        stopped = asyncio.ensure_future(stop.wait())
        helpers: list[asyncio.Task[None]] = [requests]
        try:
            if not await self._first_instruments(stopped):
                return
            self._plan()
            helpers += [asyncio.create_task(self._refresh()), asyncio.create_task(self._poll())]
            running: dict[Feed, asyncio.Task[None]] = {}
            try:
                while not stop.is_set():
                    for feed in self.feeds:
                        if feed not in running:
                            running[feed] = asyncio.create_task(feed.run(stop))
                    grown = asyncio.ensure_future(self._grown.wait())
                    done, _ = await asyncio.wait(
                        {stopped, grown, *helpers, *running.values()}, return_when=asyncio.FIRST_COMPLETED
                    )
                    self._grown.clear()
                    grown.cancel()
                    for task in done - {stopped, grown}:
                        task.result()
            finally:
                if not stop.is_set():  # something failed: the feeds still close in good order
                    for task in running.values():
                        task.cancel()
                await asyncio.gather(*running.values(), return_exceptions=True)
        finally:
            stopped.cancel()
            for task in helpers:
                task.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)

    def resync(self, subject: str, data: bytes) -> None:
        """Take a `control.resync` message: ask for one book's snapshot, unless it is about a connection long gone."""
        symbol = subject.rsplit(".", 1)[-1]
        try:
            request = _decode_resync(data)
        except msgspec.DecodeError as error:
            self._log.warning("resync_refused", symbol=symbol, error=str(error))
            return
        item = self._listing.by_symbol.get(symbol)
        current = {
            line.link.origin.connection: line
            for feed in self.feeds
            for line in feed.lines
            if Topic(self.market.book_channel, symbol) in line.link.confirmed.values()
        }
        if item is None or (request.connection and request.connection not in current) or not current:
            self._log.info("resync_ignored", symbol=symbol, connection=request.connection, reason=request.reason)
            return
        self._log.info("resync", symbol=symbol, connection=request.connection, reason=request.reason)
        if self.market.book_snapshot is not None:
            self._snapshot(self.market.book_snapshot, symbol, Priority.RESYNC)
            return
        for name, line in current.items():
            if request.connection in ("", name):
                line.resync(symbol)

    async def _first_instruments(self, stopped: asyncio.Future[Any]) -> bool:
        """Read the instruments, however long it takes; False when stopped before."""
        backoff = Backoff(1.0, 60.0, self._source)
        while not stopped.done():
            answered = self._ask_instruments(Priority.URGENT)
            await asyncio.wait({answered, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if answered.done() and answered.result():
                return True
            if not stopped.done():
                self._log.warning("instruments_missing", attempt=backoff.failures + 1)
                await asyncio.wait({stopped}, timeout=backoff.next_s())
        return False

    def _ask_instruments(self, priority: Priority) -> asyncio.Future[bool]:
        """Ask for the list; the future says whether a usable one came."""
        answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        poll = self.market.instruments

        def done(answer: Answer | None) -> None:
            if not answered.done():
                answered.set_result(answer is not None and self._take_instruments(poll.path, answer))

        self.rest.add(priority, poll.path, poll.weight, poll.name, done)
        return answered

    def _take_instruments(self, path: str, answer: Answer) -> bool:
        exchange, market, collector, connection, _ = self._link.origin
        name = self.market.instruments.name
        frame = RawFrame(
            exchange, market, name, subjects.ALL, collector, connection, 0, answer.received_at, "rest", answer.body
        )
        try:
            found = self.market.instruments.parse(frame, Listing())
        except BadFrame as error:
            self._log.error("instruments_refused", error=str(error), bytes=len(answer.body))
            # Published all the same: the normaliser keeps what it refuses, with its bytes.
            self._publish(name, subjects.ALL, path, answer, everywhere=True)
            return False
        listed = tuple(item for item in found if isinstance(item, Instrument))
        plain = tuple(msgspec.structs.replace(item, timestamp=0, received_at=0) for item in listed)
        now = answer.received_at
        if plain != self._published or now - self._published_at >= REPUBLISH_US:
            self._published, self._published_at = plain, now
            self._publish(name, subjects.ALL, path, answer, everywhere=True)
        self._listing = Listing(listed)
        if self._wiring is not None:
            self._grow(self._wiring)
        return True

    def _publish(self, channel: str, symbol: str, path: str, answer: Answer, everywhere: bool = False) -> None:
        self._link.publish(
            channel, symbol, answer.body, path, answer.requested_at, answer.received_at, everywhere=everywhere
        )

    def _plan(self) -> None:
        settings = self._settings
        chosen = plan.choose(self.market, self._listing, settings.universe, settings.symbols)
        for symbol, reason in chosen.left_out:
            self._log.warning("symbol_left_out", symbol=symbol, reason=reason)
        self._chosen = chosen.instruments
        self._wiring = Wiring(
            self.market,
            self._ws_url,
            settings,
            self._outbox,
            self._log,
            self._source,
            self._connects,
            self._subscribed,
            self._on_change,
        )
        self._add_feeds(self._wiring, chosen.instruments)
        self.planned = True
        self._log.info("market_planned", count=self.symbols, value=len(self.feeds))
        self._on_change()

    def _add_feeds(self, wiring: Wiring, instruments: tuple[Instrument, ...]) -> None:
        known = {name for feed in self.feeds for name in feed.planned.streams}
        routes = plan.topics(self.market, instruments, self._settings.channels, known)
        self.feeds += [Feed(wiring, planned) for planned in plan.connections(self.market, routes)]

    def _grow(self, wiring: Wiring) -> None:
        """Collect what has begun to trade, on connections of its own. What has ended falls silent of itself."""
        settings = self._settings
        known = {item.symbol for item in self._chosen}
        chosen = plan.choose(self.market, self._listing, settings.universe, settings.symbols)
        new = tuple(item for item in chosen.instruments if item.symbol not in known)
        if new:
            self._log.info("symbols_new", count=len(new), name=", ".join(item.symbol for item in new))
            self._chosen += new
            self._add_feeds(wiring, new)
            self._grown.set()
            self._on_change()

    def _subscribed(self, topics: list[Topic], replacing: bool) -> None:
        """Fetch a book's snapshot after each subscription of its changes; less urgently when another line leads."""
        if self.market.book_snapshot is None:
            return  # the channel begins with one by itself
        for topic in topics:
            if topic.channel == self.market.book_channel:
                priority = Priority.URGENT if replacing else Priority.SNAPSHOT
                self._snapshot(self.market.book_snapshot, topic.symbol, priority)

    def _snapshot(self, poll: Poll, symbol: str, priority: Priority) -> None:
        asked = self._snapshots.get(symbol)
        # One that has not been sent yet will be young enough for whoever asks now.
        if asked is not None and (priority is Priority.RESYNC or not asked.attempts):
            return
        path = _path(poll, self._listing.by_symbol[symbol])

        def done(answer: Answer | None) -> None:
            if self._snapshots.get(symbol) is request:
                del self._snapshots[symbol]
            if answer is not None:
                self._publish(poll.name, symbol, path, answer)

        request = self._snapshots[symbol] = self.rest.add(priority, path, poll.weight, poll.name, done)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(self._settings.instruments_every_s)
            await self._ask_instruments(Priority.URGENT)

    async def _poll(self) -> None:
        """Ask for statistics, each endpoint's symbols spread evenly over its period."""
        own = {poll.name for poll in (self.market.instruments, self.market.book_snapshot) if poll is not None}
        polls = [poll for poll in plan.polls(self.market, self._settings.channels) if poll.name not in own]
        if not self._settings.polls or not polls:
            await asyncio.Event().wait()
        await together(*(self._poll_one(poll) for poll in polls))

    async def _poll_one(self, poll: Poll) -> None:
        assert poll.every_s is not None
        loop = asyncio.get_running_loop()
        start = loop.time()
        while True:
            asked: list[Instrument | None] = [*self._chosen] if poll.per_symbol else [None]
            for index, item in enumerate(asked):
                await asyncio.sleep(start + index * poll.every_s / len(asked) - loop.time())
                key = (poll.name, subjects.ALL if item is None else item.symbol)
                # While memory and spool are full nothing more is asked for than must be.
                if key not in self._polling and not self._outbox.crowded:
                    self._polling.add(key)
                    path = _path(poll, item)
                    done = partial(self._polled, poll, key, path)
                    self.rest.add(Priority.POLL, path, poll.weight, poll.name, done, retry=False)
            start += poll.every_s
            await asyncio.sleep(start - loop.time())

    def _polled(self, poll: Poll, key: tuple[str, str], path: str, answer: Answer | None) -> None:
        self._polling.discard(key)
        if answer is not None:
            self._publish(poll.name, key[1], path, answer)

    def count(self, counted: dict[str, int]) -> None:
        """Bring the frame counters up to date; `counted` holds what was counted so far."""
        labels = (self.market.exchange, self.market.market)
        key = ".".join(labels)
        metrics.FRAMES_RECEIVED.labels(*labels).inc(self.frames - counted.get(key, 0))
        counted[key] = self.frames
        unknown = sum(feed.unknown for feed in self.feeds)
        metrics.FRAMES_UNKNOWN.labels(*labels).inc(unknown - counted.get(f"{key}.unknown", 0))
        counted[f"{key}.unknown"] = unknown


def _path(poll: Poll, item: Instrument | None) -> str:
    return poll.filled(quote(item.exchange_symbol, safe="") if item is not None else "", now_us() // 1_000)
