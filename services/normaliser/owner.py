"""One RAW partition in one owner's hands: read in order, publish with a checkpoint, save, resume.

The records of a RAW message and the checkpoint that says so are stored in one atomic batch, under the sequence of the
checkpoint before it. So a message counts as processed exactly when its records are stored, and an owner that was paused
while another took over is refused. At start, and whenever an answer did not come, the owner reads the checkpoint and
the saved state, re-reads RAW up to the checkpoint without publishing, and goes on.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec
import structlog

from schemas import streams, subjects
from schemas.errors import Busy, Overtaken
from schemas.frames import RECEIVED
from services.normaliser import metrics
from services.normaliser.core import CoreOptions, Output, PartitionCore
from services.normaliser.publisher import Publisher
from services.normaliser.settings import NormaliserSettings
from services.shared.exchanges.registry import MARKETS
from services.shared.runtime.bus import EXPECTED_SUBJECT_SEQUENCE, MAX_BATCH, Bus, Outgoing
from services.shared.runtime.clock import now_us
from services.shared.runtime.reader import Incoming, Reader
from services.shared.runtime.ring import Ring

READ_TIMEOUT_S = 0.5
BATCH_BYTES = 4 * 1024**2
CHECKPOINT_AGAIN_S = 60.0
"""How old an idle owner's checkpoint grows before it is repeated."""

REPORT_EVERY_S = 1.0

CHECKPOINT_COPY = "checkpoint"
"""Key of the checkpoint's copy beside the saved states."""

COPY_EVERY_S = 5.0
"""An owner that has nothing to do copies its checkpoint at most this often."""

RESYNC_NEAR = 200
"""Fresh books are only asked for this close behind RAW's end: from far behind, the answer would be older than RAW."""


class Checkpoint(msgspec.Struct, frozen=True):
    """Every record of RAW up to `raw_sequence` is stored, and the first `done` ones of the message after it."""

    raw_sequence: int
    done: int = 0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Checkpoint).decode


class Owner:
    """Reads, processes and publishes one partition until `stop` is set."""

    def __init__(
        self,
        part: int,
        bus: Bus,
        publisher: Publisher,
        ring: Ring,
        settings: NormaliserSettings,
        log: structlog.stdlib.BoundLogger,
        stop: asyncio.Event,
    ) -> None:
        self.part = part
        self.reading = False
        self._bus = bus
        self._publisher = publisher
        self._ring = ring
        self._settings = settings
        self._log = log.bind(partition=part)
        self._stop = stop
        self._key = f"{part:02d}"
        self._subject = subjects.checkpoint(part)
        self._checkpoint = Checkpoint(0)
        self._checkpoint_sequence = 0
        self._checkpoint_at = 0.0
        self._core = self._new_core()
        self._meter = metrics.Meter(part)
        self._next_report_at = 0.0
        self._reader: Reader | None = None
        self._done_before = 0
        self._busy = False
        """Whether messages were read that are not published yet."""
        self._copied = Checkpoint(0)
        self._copy_at = 0.0
        self._save_queue: list[str] = []
        self._next_save_at = 0.0

    @property
    def pending(self) -> int:
        """RAW messages of this partition that are not yet published as records, as far as is known."""
        if self._reader is None or not self.reading:
            return 1
        return self._reader.pending + (1 if self._busy else 0)

    def status(self) -> dict[str, Any]:
        """Where this partition stands, and what its core has counted since it was made."""
        return {
            "raw_sequence": self._checkpoint.raw_sequence,
            "pending": self.pending,
            "counts": self._core.counters.as_dict(),
        }

    async def work(self) -> None:
        """Own the partition until stopped; whatever goes wrong with NATS, start over from the checkpoint."""
        pause = 0.1
        while not self._stop.is_set():
            try:
                await self._own()
            except Overtaken as error:
                self._log.warning("partition_overtaken", error=str(error))
                metrics.OVERTAKEN.inc()
                pause = min(pause * 2, 10.0)
            except Busy as error:
                self._log.warning("partition_waiting", error=str(error))
                pause = min(pause * 2, 5.0)
            else:
                pause = 0.1
            finally:
                self.reading = self._busy = False
                await self._close_reader()
            if not self._stop.is_set():
                await _sleep(self._stop, random.uniform(pause / 2, pause))

    def _new_core(self) -> PartitionCore:
        options = CoreOptions(
            book_depth=self._settings.book_depth,
            book_interval_us=round(self._settings.book_interval_s * 1_000_000),
            candle_intervals=self._settings.candle_intervals,
        )
        return PartitionCore(self.part, MARKETS, options)

    async def _own(self) -> None:
        await self._resume()
        self.reading = True
        while not self._stop.is_set():
            reader = self._reader
            assert reader is not None
            incoming = await reader.read(MAX_BATCH, READ_TIMEOUT_S)
            if incoming:
                self._busy = True
                await self._process(incoming)
                self._busy = False
            else:
                await self._idle()
            await self._save_some()
            self._report()
        await self._save_all()

    def _report(self) -> None:
        """Bring the counters to the metrics, now and then: a scrape looks every few seconds."""
        now = asyncio.get_running_loop().time()
        if now >= self._next_report_at:
            self._next_report_at = now + REPORT_EVERY_S
            for name in self._meter.report(self._core.counters, self.pending):
                self._log.warning("field_unknown", name=name)

    async def _resume(self) -> None:
        """Read checkpoint and saved state, and open RAW where the state ends."""
        stored = await self._bus.last_of(streams.MD, self._subject)
        saved = await self._bus.saved(streams.BOOKS, self._key)
        # MD has discarded the checkpoint of a partition that nobody owned for long: its copy stands for it.
        copy = saved.pop(CHECKPOINT_COPY, None)
        body = stored.body if stored else copy
        self._checkpoint = _decode(body) if body else Checkpoint(0)
        self._checkpoint_sequence = stored.sequence if stored else 0
        self._core = self._new_core()
        self._meter.restart()
        after = self._core.restore(saved)
        first, last = await self._bus.bounds(streams.RAW)
        after = min(after, self._checkpoint.raw_sequence)
        if after + 1 < first:
            # The ring has discarded frames that the saved state has not seen: what they held is a gap, unless the
            # checkpoint says that it was stored.
            self._log.error("raw_discarded", missing=first - 1 - after)
            self._core.lost(after + 1, first - 1)
            after = first - 1
        self._reader = Reader(
            self._bus, streams.RAW, [subjects.raw_filter(self.part)], after, window=self._settings.window
        )
        self._save_queue = []
        self._done_before = self._checkpoint.done
        self._log.debug("partition_resumed", stream_seq=after, missing=max(0, last - after))

    async def _process(self, incoming: list[Incoming]) -> None:
        """Turn RAW messages into records and publish them, in as few atomic batches as they fit into."""
        batch: list[Output] = []
        size = 0
        received = ""
        for message in incoming:
            outputs = self._core.process(message.sequence, message.subject, message.headers, message.body)
            if message.sequence <= self._checkpoint.raw_sequence:
                continue  # read again only to rebuild the state: its records are stored
            done, self._done_before = self._done_before, 0
            if outputs and not received and message.headers:
                received = message.headers.get(RECEIVED, "")
            for number, output in enumerate(outputs[done:], done):
                if len(batch) == MAX_BATCH - 1 or size > BATCH_BYTES:
                    await self._publish(batch, Checkpoint(message.sequence - 1, number))
                    batch, size = [], 0
                batch.append(output)
                size += len(output.body)
        if incoming[-1].sequence > self._checkpoint.raw_sequence:
            await self._publish(batch, Checkpoint(incoming[-1].sequence))
        if received.isdecimal():
            metrics.LATENCY.observe(max(0, now_us() - int(received)) / 1_000_000)
        await self._ask_for_books()

    async def _publish(self, outputs: list[Output], checkpoint: Checkpoint) -> None:
        expected = {EXPECTED_SUBJECT_SEQUENCE: str(self._checkpoint_sequence)}
        messages = [Outgoing(output.subject, output.body) for output in outputs]
        messages.append(Outgoing(self._subject, _encode(checkpoint), expected))
        self._checkpoint_sequence = await self._publisher.publish(messages)
        self._checkpoint = checkpoint
        self._checkpoint_at = asyncio.get_running_loop().time()
        metrics.PUBLISHED.inc(len(outputs))

    async def _ask_for_books(self) -> None:
        """Ask for the books that broke, once they are near the present; the core asks again if nothing comes."""
        resyncs = self._core.take_resyncs()
        reader = self._reader
        if reader is None or reader.pending > RESYNC_NEAR:
            return
        for resync in resyncs:
            told = {
                "connection": resync.connection,
                "sequence": resync.sequence,
                "reason": resync.reason,
                "asked_at": resync.asked_at,
            }
            await self._bus.say(subjects.resync(resync.exchange, resync.market, resync.symbol), _encode(told))
            metrics.RESYNCS.labels(resync.exchange, resync.market).inc()

    async def _idle(self) -> None:
        """Repeat the checkpoint when it grows old, so that MD, a ring, never discards the only one; keep a copy."""
        now = asyncio.get_running_loop().time()
        age = now - self._checkpoint_at
        if self._checkpoint_sequence and (age > CHECKPOINT_AGAIN_S or self._checkpoint_sequence < self._ring.middle):
            await self._publish([], self._checkpoint)
        if self._copied != self._checkpoint and now - self._copy_at > COPY_EVERY_S:
            await self._save(CHECKPOINT_COPY)
            self._copied, self._copy_at = self._checkpoint, now

    async def _save_some(self) -> None:
        """Save a unit when one is due, so that each is saved about every `save_every_s` and none at the same time.

        Called when everything processed is published: a saved state is never ahead of the checkpoint.
        """
        now = asyncio.get_running_loop().time()
        if now < self._next_save_at or self._reader is None or self._reader.last > self._checkpoint.raw_sequence:
            return
        if not self._save_queue:
            self._save_queue = [*self._core.units(), CHECKPOINT_COPY]
        self._next_save_at = now + self._settings.save_every_s / len(self._save_queue)
        await self._save(self._save_queue.pop())

    async def _save_all(self) -> None:
        if self._reader is not None and self._reader.last <= self._checkpoint.raw_sequence:
            for key in (*self._core.units(), CHECKPOINT_COPY):
                await self._save(key)

    async def _save(self, key: str) -> None:
        value = _encode(self._checkpoint) if key == CHECKPOINT_COPY else self._core.save(key)
        await self._bus.save(streams.BOOKS, f"{self._key}.{key}", value)

    async def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
