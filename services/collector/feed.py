"""Keeps a set of streams covered by a connection, always: subscribes, watches, reconnects, and replaces in time."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from schemas.errors import Busy
from services.collector import metrics
from services.collector.core import Link, Need, Topic, WatchRules
from services.collector.outbox import Origin, Outbox
from services.collector.pacing import Backoff, Budget
from services.collector.plan import Planned
from services.collector.settings import CollectorSettings
from services.collector.talk import Talk
from services.shared.exchanges.declaration import Ask, Market, Notice, Reply
from services.shared.runtime.clock import monotonic_us, now_us
from services.shared.runtime.ws import Socket, open_socket

SECOND_US = 1_000_000
LIFETIME_SHARE = (0.93, 0.97)
"""A connection is replaced somewhere between these shares of the life that the exchange grants it."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What every feed of a market is given."""

    market: Market
    ws_url: str
    settings: CollectorSettings
    outbox: Outbox
    log: structlog.stdlib.BoundLogger
    source: random.Random
    connects: Budget
    """Of connection attempts, per exchange."""
    on_subscribed: Callable[[list[Topic], bool], None]
    """Told of each confirmed subscription; the second argument says that it belongs to a planned replacement."""
    on_change: Callable[[], None]


_names = itertools.count(1)


class Line:
    """One connection, from opening to end."""

    def __init__(self, wiring: Wiring, planned: Planned, replacing: bool) -> None:
        self.wiring = wiring
        self.planned = planned
        self.state = "waiting"
        self.ready = asyncio.Event()
        """Set when every stream is confirmed."""
        self.wants_replacement = asyncio.Event()
        self.reason = ""
        settings, market = wiring.settings, wiring.market
        self.url = wiring.ws_url.rstrip("/") + market.routes[planned.route]
        name = f"{settings.name}.{now_us() // 1000:x}.{next(_names)}"
        self.link = Link(
            market,
            Origin(market.exchange, market.market, settings.name, name, self.url),
            planned.streams,
            wiring.outbox,
            _rules(settings, market, wiring.source),
        )
        self.log = wiring.log.bind(connection=name)
        self._replacing = replacing
        self._talk: Talk | None = None
        self._unknown = 0
        self._resync = asyncio.Event()
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
        self._resync.set()
        return True

    async def run(self) -> str:
        """Open, subscribe, read until the end; return the reason. Raises Busy when it cannot be opened."""
        self.state = "opening"
        socket = await open_socket(self.url, self.wiring.settings.open_timeout_s, self.wiring.market.headers)
        link, market = self.link, self.wiring.market
        metrics.CONNECTIONS_OPENED.labels(market.exchange, market.market).inc()
        link.opened(now_us())
        self.state = "subscribing"
        self.log.info("connection_opened", url=self.url, count=len(self.planned.streams))
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
        """Ask for every stream, then for ever for those to begin anew or refused. Raises Busy when that fails."""
        await talk.greet()
        await talk.subscribe(list(self.planned.streams), self._confirmed)
        if not self.link.confirmed:
            raise Busy("every subscription was refused")
        self.state = "subscribed"
        self.ready.set()
        self.wiring.on_change()
        self.log.info("connection_subscribed", count=len(self.link.confirmed))
        while True:
            try:
                await asyncio.wait_for(self._resync.wait(), _ASK_AGAIN_S)
            except TimeoutError:
                refused = [name for name in self.planned.streams if name not in self.link.confirmed]
                await talk.subscribe(refused, self._confirmed)
            self._resync.clear()
            while self._resyncs:
                name = next(iter(self._resyncs))
                await talk.resubscribe(name)
                del self._resyncs[name]

    def _confirmed(self, names: list[str]) -> None:
        self.wiring.on_subscribed([self.planned.streams[name] for name in names], self._replacing)


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


class Feed:
    """The streams of one planned connection, for as long as the collector runs."""

    def __init__(self, wiring: Wiring, planned: Planned) -> None:
        self.planned = planned
        self.line: Line | None = None
        self.lines: list[Line] = []
        """Every connection of it that is not gone: two during a replacement."""
        self._gone_frames = self._gone_unknown = 0
        self._wiring = wiring
        self._backoff = Backoff(wiring.settings.backoff_base_s, wiring.settings.backoff_cap_s, wiring.source)

    @property
    def ready(self) -> bool:
        """Whether every stream is covered now."""
        return self.line is not None and self.line.state == "subscribed"

    @property
    def frames(self) -> int:
        """Data frames received so far."""
        return self._gone_frames + sum(line.link.frames for line in self.lines)

    @property
    def unknown(self) -> int:
        """Frames received so far that no stream asked for explains."""
        return self._gone_unknown + sum(line.link.unknown for line in self.lines)

    async def run(self, stop: asyncio.Event) -> None:
        """Keep a connection up until `stop` is set."""
        stopped = asyncio.ensure_future(stop.wait())
        current: tuple[Line, asyncio.Task[None]] | None = None
        try:
            while not stop.is_set():
                if current is None:
                    current = await self._start(stopped, replacing=False)
                    continue
                line, running = current
                replace = asyncio.ensure_future(line.wants_replacement.wait())
                await asyncio.wait({running, replace, stopped}, return_when=asyncio.FIRST_COMPLETED)
                replace.cancel()
                if running.done():
                    running.result()
                    current = None
                    await self._pause(stopped, line)
                elif line.wants_replacement.is_set() and not stop.is_set():
                    current = await self._replace(current, stopped)
        finally:
            stopped.cancel()
            if current is not None:
                current[0].close("the collector stops")
                await current[1]

    async def _start(self, stopped: asyncio.Future[Any], replacing: bool) -> tuple[Line, asyncio.Task[None]] | None:
        """Open the next connection as soon as the exchange's limit of attempts allows it."""
        connects = self._wiring.connects
        while wait := connects.wait_us(1, monotonic_us()):
            await asyncio.wait({stopped}, timeout=wait / SECOND_US)
            if stopped.done():
                return None
        connects.spend(1, monotonic_us())
        line = Line(self._wiring, self.planned, replacing)
        self.lines.append(line)
        if not replacing:
            self.line = line
        return line, asyncio.create_task(self._run(line))

    async def _run(self, line: Line) -> None:
        try:
            await line.run()
        except Busy as error:
            line.reason = str(error)
            line.state = "closed"
            line.log.warning("connection_failed", url=line.url, error=str(error), attempt=self._backoff.failures + 1)
        finally:
            self.lines.remove(line)
            self._gone_frames += line.link.frames
            self._gone_unknown += line.link.unknown
            self._wiring.on_change()

    async def _pause(self, stopped: asyncio.Future[Any], line: Line) -> None:
        if line.ready.is_set():
            self._backoff.reset()
        if not stopped.done():
            await asyncio.wait({stopped}, timeout=self._backoff.next_s())

    async def _replace(
        self, current: tuple[Line, asyncio.Task[None]], stopped: asyncio.Future[Any]
    ) -> tuple[Line, asyncio.Task[None]] | None:
        """Put a successor in place before the old connection goes: nothing is missed in between."""
        old, running = current
        started = await self._start(stopped, replacing=True)
        if started is None:
            return current
        new, coming = started
        ready = asyncio.ensure_future(new.ready.wait())
        await asyncio.wait({ready, coming, running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if coming.done():
            coming.result()
            old.wants_replacement.clear()
            old.link.replacement_failed()
            await asyncio.wait({stopped, running}, timeout=self._backoff.next_s(), return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                old.reason_for_replacement("the last successor did not come up")
            return current
        if not stopped.done() and not running.done():
            await self._overlap(new, {coming, running, stopped})
        self.line = new
        old.close("replaced")
        await running
        return started

    async def _overlap(self, new: Line, events: Iterable[asyncio.Future[Any]]) -> None:
        """Wait until the successor delivers, or has had its time."""
        until = monotonic_us() + int(self._wiring.settings.overlap_s * SECOND_US)
        waiting = set(events)
        while not new.link.frames and monotonic_us() < until:
            done, _ = await asyncio.wait(waiting, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return
        await asyncio.wait(waiting, timeout=_SETTLE_S, return_when=asyncio.FIRST_COMPLETED)


_SETTLE_S = 1.0
"""What the exchange sent on the old connection just before the successor was subscribed has this long to arrive."""
