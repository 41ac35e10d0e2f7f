"""Outbox -> NATS, one batch in flight; to the spool while NATS does not answer.

A batch is atomic, so that a partition's messages are stored in their order or not at all; where it has at most one
message of each partition they go side by side.

Spool and outbox are one queue: the spool is its front. A batch without an answer is sent again, the same messages in
the same order; the server may have stored it the first time, and readers drop the doubles by frame number.
"""

from __future__ import annotations

import asyncio

import structlog

from schemas.errors import Broken, Busy
from services.collector import metrics
from services.collector.outbox import Outbox, Packed
from services.collector.spool import Spool
from services.shared.runtime.bus import MAX_BATCH, Bus, Outgoing
from services.shared.runtime.gathering import Gathering
from services.shared.runtime.ring import Ring

BATCH_BYTES = 4 * 1024**2
_PLENTY_FRAMES = 100
_LONGEST = 4
"""At high rates frames are gathered for so many times as long."""
_PATIENCE_S = 0.5
"""Seconds without an answer after which what waits is written to disk; also the pace of trying again."""


class Publisher:
    """Publishes an outbox. `bus` is None until the first connection to NATS."""

    def __init__(self, outbox: Outbox, spool: Spool, wake: asyncio.Event, gather_s: float) -> None:
        self.bus: Bus | None = None
        self.published = 0
        """Frames that NATS has acknowledged."""
        self.ring: Ring | None = None
        """RAW. While it is so full that more would discard what no normaliser has read, frames go to the spool."""
        self._outbox = outbox
        self._spool = spool
        self._wake = wake
        self._gathering = Gathering(gather_s, _PLENTY_FRAMES, _LONGEST)
        self._refused = False
        self._full = False
        self._dropped = 0

    async def run(self, ending: asyncio.Event, log: structlog.stdlib.BoundLogger) -> None:
        """Publish until `ending` is set and nothing is left in memory. Raises Broken when NATS can never take it."""
        loop = asyncio.get_running_loop()
        ended = asyncio.ensure_future(ending.wait())
        began = loop.time()
        try:
            while not ending.is_set():
                if not self._spool.messages and not self._outbox.waiting:
                    woken = asyncio.ensure_future(self._wake.wait())
                    await asyncio.wait({woken, ended}, return_when=asyncio.FIRST_COMPLETED)
                    woken.cancel()
                    self._wake.clear()
                    began = loop.time()
                if not self._spool.messages and (left := self._gathering.left(began, loop.time())):
                    await asyncio.wait({ended}, timeout=left)
                began = loop.time()
                if not await self._publish_some(log):
                    await asyncio.wait({ended}, timeout=_PATIENCE_S / 2)
            await self._flush(log)
        finally:
            ended.cancel()

    async def _flush(self, log: structlog.stdlib.BoundLogger) -> None:
        self._outbox.settle_all()
        while self._outbox.waiting and not self._spool.messages:
            if not await self._publish_some(log):
                break
        self._spill(log)
        if self._spool.messages:
            log.warning("frames_left_in_spool", frames=self._spool.frames, bytes=self._spool.bytes)
        if self._outbox.waiting:
            log.error("frames_lost", frames=self._outbox.waiting, reason=self._spool.write_error or "the spool is full")

    async def _publish_some(self, log: structlog.stdlib.BoundLogger) -> bool:
        """Publish the next batch; False when NATS did not take it."""
        self._outbox.settle()
        if self._spool.messages > MAX_BATCH:
            self._spill(log)  # far behind: what waits in memory would be at risk for long
        batch = self._peek()
        if not batch:
            return True
        bus = self.bus
        size = sum(len(item.message.body) for item in batch)
        if bus is None or not bus.connected or (self.ring is not None and not await self.ring.has_room(size)):
            self._refused = True
            self._spill(log)
            return False
        outgoing = [Outgoing(item.message.subject, item.message.body, item.message.headers) for item in batch]
        # In one partition order is everything; messages of different ones need not wait for each other.
        apart = len({item.message.subject.rsplit(".", 1)[1] for item in batch}) == len(batch)
        task = asyncio.ensure_future(bus.publish_each(outgoing) if apart else bus.publish_batch(outgoing))
        while not (await asyncio.wait({task}, timeout=_PATIENCE_S))[0]:
            self._spill(log)
        try:
            await task
        except Busy as error:
            metrics.BATCHES_REFUSED.inc()
            if not self._refused:
                log.warning("publishing_refused", error=str(error))
            self._refused = True
            self._spill(log)
            return False
        except Broken:
            self._spill(log)
            raise
        if self._refused:
            self._refused = False
            log.info("publishing_again", frames=self._spool.frames)
        frames = self._pop(len(batch))
        self._gathering.took(frames)
        self.published += frames
        metrics.FRAMES_PUBLISHED.inc(frames)
        self.measure(log)
        return True

    def _peek(self) -> list[Packed]:
        source = self._spool if self._spool.messages else self._outbox
        return source.peek(MAX_BATCH, BATCH_BYTES)

    def _pop(self, count: int) -> int:
        """Forget the first messages of the queue, wherever they are by now: a batch in flight may have been spilled."""
        on_disk = min(count, self._spool.messages)
        return self._spool.pop(on_disk) + self._outbox.pop(count - on_disk)

    def _spill(self, log: structlog.stdlib.BoundLogger) -> None:
        """Move what waits in memory to disk, as far as there is room."""
        self._outbox.settle()
        began = not self._spool.messages
        self._outbox.pack()
        while batch := self._outbox.peek(MAX_BATCH, BATCH_BYTES):
            taken = self._spool.append(batch)
            frames = self._outbox.pop(taken)
            metrics.FRAMES_SPOOLED.inc(frames)
            if taken < len(batch):
                if not self._full:
                    reason = self._spool.write_error or "no room"
                    log.error("spool_full", bytes=self._spool.bytes, frames=self._spool.frames, reason=reason)
                self._full = True
                break
        else:
            self._full = False
        if began and self._spool.messages:
            log.warning("spooling", frames=self._spool.frames, bytes=self._spool.bytes)
        self.measure(log)

    def measure(self, log: structlog.stdlib.BoundLogger) -> None:
        """Bring the gauges up to date, and say when frames were lost."""
        metrics.OUTBOX_BYTES.set(self._outbox.bytes)
        metrics.SPOOL_BYTES.set(self._spool.bytes)
        lost = self._outbox.dropped - self._dropped
        if lost:
            if not self._dropped:
                log.error("frames_dropped", frames=lost)
            metrics.FRAMES_DROPPED.inc(lost)
            self._dropped += lost
