"""Keeps one slot's streams covered by a connection, always: opens, reopens, and replaces it in time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from schemas.errors import Busy
from services.collector.line import SECOND_US, Line, Wiring
from services.collector.pacing import Backoff
from services.collector.pool import Slot
from services.shared.runtime.clock import monotonic_us, now_us

SETTLE_S = 1.0
"""What the exchange sent on an old connection just before another one covers the same has this long to arrive."""


class Feed:
    """The streams of one slot, for as long as it is needed."""

    def __init__(self, wiring: Wiring, route: str, slot: Slot) -> None:
        self.route = route
        self.slot = slot
        self.line: Line | None = None
        self.lines: list[Line] = []
        """Every connection of it that is not gone: two during a replacement."""
        self._gone_frames = self._gone_unknown = 0
        self._wiring = wiring
        self._ended = asyncio.Event()
        self._end_reason = ""
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

    def covers(self, name: str) -> bool:
        """Whether a connection of this feed delivers a stream, as far as can be told."""
        now, quiet_us = now_us(), int(self._wiring.settings.overlap_s * SECOND_US)
        return any(line.link.covers(name, now, quiet_us) for line in self.lines)

    def changed(self) -> None:
        """The slot's streams are others now."""
        for line in self.lines:
            line.changed()

    def end(self, reason: str) -> None:
        """Close in good order; `run` returns then."""
        self._end_reason = self._end_reason or reason
        self._ended.set()

    async def run(self) -> None:
        """Keep a connection up until `end`."""
        ended = asyncio.ensure_future(self._ended.wait())
        current: tuple[Line, asyncio.Task[None]] | None = None
        try:
            while not self._ended.is_set():
                if current is None:
                    current = await self._start(ended, replacing=False)
                    continue
                line, running = current
                replace = asyncio.ensure_future(line.wants_replacement.wait())
                await asyncio.wait({running, replace, ended}, return_when=asyncio.FIRST_COMPLETED)
                replace.cancel()
                if running.done():
                    running.result()
                    current = None
                    await self._pause(ended, line)
                elif line.wants_replacement.is_set() and not self._ended.is_set():
                    current = await self._replace(current, ended)
        finally:
            ended.cancel()
            if current is not None:
                current[0].close(self._end_reason or "the collector fails")
                await current[1]

    async def _start(self, ended: asyncio.Future[Any], replacing: bool) -> tuple[Line, asyncio.Task[None]] | None:
        """Open the next connection as soon as the exchange's limit of attempts allows it."""
        connects = self._wiring.connects
        while wait := connects.wait_us(1, monotonic_us()):
            await asyncio.wait({ended}, timeout=wait / SECOND_US)
            if ended.done():
                return None
        connects.spend(1, monotonic_us())
        line = Line(self._wiring, self.route, self.slot, replacing)
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

    async def _pause(self, ended: asyncio.Future[Any], line: Line) -> None:
        if line.ready.is_set():
            self._backoff.reset()
        if not ended.done():
            await asyncio.wait({ended}, timeout=self._backoff.next_s())

    async def _replace(
        self, current: tuple[Line, asyncio.Task[None]], ended: asyncio.Future[Any]
    ) -> tuple[Line, asyncio.Task[None]] | None:
        """Put a successor in place before the old connection goes: nothing is missed in between."""
        old, running = current
        started = await self._start(ended, replacing=True)
        if started is None:
            return current
        new, coming = started
        ready = asyncio.ensure_future(new.ready.wait())
        await asyncio.wait({ready, coming, running, ended}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if coming.done():
            coming.result()
            old.wants_replacement.clear()
            old.link.replacement_failed()
            await asyncio.wait({ended, running}, timeout=self._backoff.next_s(), return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                old.reason_for_replacement("the last successor did not come up")
            return current
        if not ended.done() and not running.done():
            await self._overlap(new, {coming, running, ended})
        self.line = new
        old.close("replaced")
        await running
        return started

    async def _overlap(self, new: Line, events: Iterable[asyncio.Future[Any]]) -> None:
        """Wait until the successor delivers every stream, or has had its time to; then for what is on its way."""
        quiet_us = int(self._wiring.settings.overlap_s * SECOND_US)
        until = monotonic_us() + quiet_us
        waiting = set(events)
        while monotonic_us() < until and not all(
            new.link.covers(name, now_us(), quiet_us) for name in new.link.streams
        ):
            done, _ = await asyncio.wait(waiting, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return
        await asyncio.wait(waiting, timeout=SETTLE_S, return_when=asyncio.FIRST_COMPLETED)
