"""One connection, from opening to end: what is on it follows what is wanted of it, while it lives."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from schemas.errors import Busy
from services.collector import metrics
from services.collector.core import Link, Need, Topic, WatchRules
from services.collector.outbox import Origin, Outbox
from services.collector.pacing import Paced
from services.collector.pool import Room, Slot
from services.collector.settings import CollectorSettings
from services.collector.talk import Talk
from services.shared.exchanges.declaration import Ask, Market, Notice, Reply
from services.shared.runtime.clock import now_us
from services.shared.runtime.ws import Socket, open_socket

SECOND_US = 1_000_000
LIFETIME_SHARE = (0.93, 0.97)
"""A connection is replaced somewhere between these shares of the life that the exchange grants it."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What every connection of a market is given."""

    market: Market
    ws_url: str
    settings: CollectorSettings
    outbox: Outbox
    log: structlog.stdlib.BoundLogger
    source: random.Random
    connects: Paced
    """Of connection attempts, per exchange."""
    on_subscribed: Callable[[list[Topic], bool], None]
    """Told of each confirmed subscription; the second argument says that another connection covers it until now."""
    on_change: Callable[[], None]
    room: Room
    """For connections, per exchange."""


_names = itertools.count(1)


class Line:
    """One connection, from opening to end."""

    def __init__(self, wiring: Wiring, route: str, slot: Slot, replacing: bool) -> None:
        self.wiring = wiring
        self.state = "waiting"
        self.ready = asyncio.Event()
        """Set when every stream that was wanted at the start is confirmed, or refused."""
        self.wants_replacement = asyncio.Event()
        self.reason = ""
        settings, market = wiring.settings, wiring.market
        self.url = wiring.ws_url.rstrip("/") + market.routes[route]
        name = f"{settings.name}.{now_us() // 1000:x}.{next(_names)}"
        self.link = Link(
            market,
            Origin(market.exchange, market.market, settings.name, name, self.url),
            slot.streams,
            wiring.outbox,
            _rules(settings, market, wiring.source),
        )
        self.log = wiring.log.bind(connection=name)
        self._slot = slot
        self._replacing = replacing
        self._talk: Talk | None = None
        self._unknown = 0
        self._work = asyncio.Event()
        self._resyncs: dict[str, None] = {}
        """Book streams to be asked for anew, oldest request first."""
        self._closing = asyncio.Event()

    def close(self, reason: str) -> None:
        """End the connection in good order."""
        self.reason = self.reason or reason
        self._closing.set()

    def resync(self, symbol: str) -> bool:
        """Have a book's stream end and begin anew on this connection; False when it carries none, or is asked to."""
        book = Topic(self.wiring.market.book_channel, symbol)
        name = next((name for name, topic in self.link.confirmed.items() if topic == book), None)
        if name is None or name in self._resyncs:
            return False
        self._resyncs[name] = None
        self._work.set()
        return True

    def changed(self) -> None:
        """Make what is asked for what is wanted of the slot now."""
        self._work.set()

    async def run(self) -> str:
        """Open, subscribe, read until the end; return the reason. Raises Busy when it cannot be opened."""
        self.state = "opening"
        settings, link, market = self.wiring.settings, self.link, self.wiring.market
        socket = await open_socket(
            self.url, settings.open_timeout_s, market.headers, settings.compression, settings.exchange_ca_file
        )
        metrics.CONNECTIONS_OPENED.labels(market.exchange, market.market).inc()
        link.opened(now_us())
        self.state = "subscribing"
        self.log.info("connection_opened", url=self.url, count=len(link.streams))
        talk = self._talk = Talk(market, self.wiring.settings, link, socket, self.log)
        reading = asyncio.ensure_future(socket.pump(self._take))
        others: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(work) for work in (self._keep(socket, talk), self._closing.wait())
        ]
        try:
            await asyncio.wait([reading, *others], return_when=asyncio.FIRST_COMPLETED)
            for task in others:
                if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                    if not isinstance(error, Busy):
                        raise error
                    self.reason = self.reason or str(error)
            self.state = "closing"
            if not reading.done():
                await self._end(socket, reading)
            self.reason = self.reason or reading.result()
            return self.reason
        finally:
            for task in (reading, *others):
                task.cancel()
            await asyncio.gather(reading, *others, talk.end(), return_exceptions=True)
            socket.abort()
            self.state = "closed"
            if self._closing.is_set():
                link.unsubscribed(self._unwanted(), now_us())
            link.closed(self.reason or "broken off", now_us())
            metrics.CONNECTIONS_CLOSED.labels(market.exchange, market.market).inc()
            self.log.info("connection_closed", reason=self.reason, frames=link.frames)

    async def _end(self, socket: Socket, reading: asyncio.Future[str]) -> None:
        """Close, while the reader takes what is still in the pipe."""
        if self._closing.is_set():
            await asyncio.gather(socket.close(), reading)
        else:  # dead or refused: nothing more is to be expected of the other side
            socket.abort()
            await reading

    def _take(self, body: bytes, received_at: int) -> None:
        found = self.link.received(body, received_at)
        if found is None or self._talk is None:
            return
        if isinstance(found, Reply):
            self._talk.replied(found, received_at)
        elif isinstance(found, Ask):
            self._talk.asked(found)
        elif isinstance(found, Notice):
            self.log.info("exchange_notice", reason=found.text)
            if found.reconnect:
                self.reason_for_replacement(f"announced: {found.text}")

    def reason_for_replacement(self, reason: str) -> None:
        """Ask for a successor."""
        self.log.info("replacement_planned", reason=reason)
        self.wants_replacement.set()

    async def _keep(self, socket: Socket, talk: Talk) -> None:
        """Subscribe, and look at the clock for as long as the connection lives. Raises Busy when it is to end."""
        rule = self.wiring.market.keep_alive
        talking = [asyncio.ensure_future(self._subscribe(talk))]
        if rule is not None:
            talking.append(asyncio.ensure_future(talk.keep_alive(rule)))
        every_s = self.wiring.settings.alive_every_s / 2
        pings: set[asyncio.Task[None]] = set()
        try:
            while True:
                await asyncio.sleep(every_s)
                for task in talking:
                    if task.done():
                        await task
                was_silent = self.link.silent
                judgement = self.link.look(now_us())
                if self.link.unknown > self._unknown:
                    self.log.warning("frames_unknown", count=self.link.unknown - self._unknown)
                    self._unknown = self.link.unknown
                if self.link.silent and not was_silent:
                    self.log.warning("connection_silent", url=self.url)
                if judgement.need is Need.RECONNECT:
                    raise Busy(judgement.reason)
                if judgement.need is Need.REPLACE:
                    self.reason_for_replacement(judgement.reason)
                elif judgement.need is Need.PING and pings:
                    talk.doubted()
                elif judgement.need is Need.PING and talk.may_ping():
                    task = asyncio.ensure_future(self._ping(socket))
                    pings.add(task)
                    task.add_done_callback(pings.discard)
        finally:
            for task in (*talking, *pings):
                task.cancel()
            await asyncio.gather(*talking, *pings, return_exceptions=True)

    async def _ping(self, socket: Socket) -> None:
        try:
            await socket.ping()
        except Busy:
            return  # the reader sees the end itself
        self.link.answered(now_us())

    async def _subscribe(self, talk: Talk) -> None:
        """Ask for every stream, then for ever for what is wanted besides, to begin anew, or was refused.

        Raises Busy when that fails. Once the connection carries something, what it carries already is worth more than
        what is asked for: then only a book that does not begin anew ends it.
        """
        link = self.link
        await talk.greet()
        await talk.subscribe(list(link.streams), self._confirmed)
        if link.streams and not link.confirmed:
            raise Busy("every subscription was refused")
        self.state = "subscribed"
        self.ready.set()
        self.wiring.on_change()
        self.log.info("connection_subscribed", count=len(link.confirmed))
        while True:
            await self._give_up(talk, self._unwanted())
            new = {name: topic for name, topic in self._slot.streams.items() if name not in link.streams}
            link.add(new)
            await self._ask_for(talk, list(new))
            while self._resyncs:
                name = next(iter(self._resyncs))
                if name in link.confirmed:
                    await talk.resubscribe(name)
                del self._resyncs[name]
            try:
                await asyncio.wait_for(self._work.wait(), _ASK_AGAIN_S)
                self._work.clear()
            except TimeoutError:
                await self._ask_for(talk, [name for name in link.streams if name not in link.confirmed])

    def _unwanted(self) -> list[str]:
        return [name for name in self.link.streams if name not in self._slot.streams]

    async def _give_up(self, talk: Talk, names: list[str]) -> None:
        """End streams that are not wanted here any more."""
        if not names:
            return
        try:
            await talk.unsubscribe([name for name in names if name in self.link.confirmed])
        except Busy as error:
            self.log.warning("unsubscription_failed", error=str(error), count=len(names))
        self.link.unsubscribed(names, now_us())
        self.log.info("streams_given_up", count=len(names))

    async def _ask_for(self, talk: Talk, names: list[str]) -> None:
        """Ask for further streams."""
        if not names:
            return
        try:
            await talk.subscribe(names, self._confirmed)
        except Busy as error:
            self.log.warning("subscription_failed", error=str(error), count=len(names))
        confirmed = sum(name in self.link.confirmed for name in names)
        self.log.info("streams_added", count=confirmed)

    def _confirmed(self, names: Sequence[str]) -> None:
        """Tell of confirmed streams: those that another connection covers until now apart from the others."""
        streams, arriving = self.link.streams, self._slot.arriving
        for covered in (False, True):
            topics = [
                streams[name] for name in names if name in streams and (self._replacing or name in arriving) is covered
            ]
            if topics:
                self.wiring.on_subscribed(topics, covered)


_ASK_AGAIN_S = 300.0
"""A stream that was refused while others were not is asked for again after this."""


def _rules(settings: CollectorSettings, market: Market, source: random.Random) -> WatchRules:
    def us(seconds: float) -> int:
        return int(seconds * SECOND_US)

    return WatchRules(
        alive_every_us=us(settings.alive_every_s),
        silence_report_us=us(settings.silence_report_s),
        silence_timeout_us=us(settings.silence_timeout_s),
        dead_after_us=us(settings.dead_after_s),
        lifetime_us=us(market.limits.lifetime_s * source.uniform(*LIFETIME_SHARE)),
    )
