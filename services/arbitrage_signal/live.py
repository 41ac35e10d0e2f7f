"""The live service: MD read in order through the core, what it tells stored with a checkpoint, once.

Signals and the checkpoint that says how far MD was read are stored in one atomic batch, under the sequence of the
checkpoint before, as the normaliser does it: a restart tells nothing twice and leaves nothing out, and a paused former
process is refused. The market itself is not saved: MD is read again from a little before the checkpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog

from schemas import streams, subjects
from schemas.errors import BadRecord, Broken, Busy, Overtaken
from schemas.records import ArbitrageOpportunity
from services.arbitrage_signal import metrics, stored
from services.arbitrage_signal.core import ArbitrageCore
from services.arbitrage_signal.journal import Checkpoint, Journal
from services.arbitrage_signal.saved import Saved
from services.arbitrage_signal.settings import ArbitrageSignalSettings
from services.arbitrage_signal.signals import Output
from services.shared.runtime.bus import Bus
from services.shared.runtime.reader import Incoming, Reader
from services.shared.runtime.warehouse import Warehouse

READ_MOST = 1_000
READ_TIMEOUT_S = 0.5
WINDOW = 8_000
SLICE = 50
"""So many messages are worked on at a stretch. Between two of them an opportunity is on its way, and what has come from
the server meanwhile is taken in."""

GATHER_S = 0.1
"""Spreads wait so long for company: they are for charts, and a batch costs the server as much as thirty messages."""

MOST_HELD = 2_000
CHECKPOINT_EVERY_S = 5.0
"""How often the checkpoint follows what is read while there is nothing to tell."""

REPORT_EVERY_S = 1.0

BACKGROUND = tuple(subjects.md_filter(kind) for kind in ("instrument", "clock_offset"))
"""What stays true until it is told anew."""

FILTERS = (
    *BACKGROUND,
    *(subjects.md_filter(kind) for kind in ("quote", "orderbook", "book_change")),
    subjects.GAP_ALL,
)
"""What the core takes."""


class Live:
    """Reads, signals and publishes until `stop` is set."""

    def __init__(
        self,
        bus: Bus,
        warehouse: Warehouse,
        settings: ArbitrageSignalSettings,
        log: structlog.stdlib.BoundLogger,
        stop: asyncio.Event,
    ) -> None:
        self.reading = False
        self._bus = bus
        self._warehouse = warehouse
        self._terms = settings.terms()
        self._log = log
        self._stop = stop
        self._core = ArbitrageCore(self._terms)
        self._meter = metrics.Meter()
        self._reader: Reader | None = None
        self._busy = False
        self._journal = Journal(bus)
        self._checkpoint_at = 0.0
        self._skip = 0
        self._held: list[Output] = []
        """Told, and not yet on its way."""
        self._held_since = 0.0
        self._urgent = False
        """Whether an opportunity is among them."""
        self._report_at = 0.0

    async def work(self) -> None:
        """Signal until stopped; whatever goes wrong with the servers, start over from the checkpoint."""
        pause = 0.1
        while not self._stop.is_set():
            try:
                await self._own()
            except Overtaken as error:
                self._log.warning("signal_overtaken", error=str(error))
                metrics.OVERTAKEN.inc()
                pause = min(pause * 2, 10.0)
            except Busy as error:
                self._log.warning("signal_waiting", error=str(error))
                pause = min(pause * 2, 5.0)
            else:
                pause = 0.1
            finally:
                self.reading = self._busy = False
                await self._journal.give_up()
                await self._close_reader()
            if not self._stop.is_set():
                await _sleep(self._stop, pause)

    def status(self) -> dict[str, Any]:
        """What /status shows."""
        signals = self._core.signals
        return {
            "pending_messages": self._pending,
            "position": self._journal.stored.sequence,
            "instruments": len(self._core.legs),
            "pairs": self._pairs(),
            "opportunities_open": len(signals.open),
            "suspended": sorted(signals.suspended),
            "counts": dict(signals.counters),
        }

    def _pairs(self) -> int:
        return sum(map(len, self._core.signals.pairs.values())) // 2

    @property
    def _pending(self) -> int:
        if self._reader is None or not self.reading:
            return 1
        return self._reader.pending + (1 if self._busy or self._held or self._journal.flying else 0)

    async def _own(self) -> None:
        await self._resume()
        reader = self._reader
        assert reader is not None
        self.reading = True
        while not self._stop.is_set():
            incoming = await reader.read(READ_MOST, GATHER_S if self._held or self._journal.flying else READ_TIMEOUT_S)
            if incoming:
                self._busy = True
                await self._process(incoming)
                self._busy = False
            now = asyncio.get_running_loop().time()
            if self._gathered(now) or now - self._checkpoint_at > CHECKPOINT_EVERY_S:
                await self._flush(reader.last)
            if not incoming:
                await self._journal.settle()
            self._report()
        await self._flush(reader.last)
        await self._journal.settle()

    # -- start -----------------------------------------------------------------------------------------------------

    async def _resume(self) -> None:
        """Know the market as of the checkpoint, and read on behind it; without one, from MD's end."""
        found = await self._journal.open()
        first, last = await self._bus.bounds(streams.MD)
        checkpoint = found or Checkpoint(last, last, Saved())
        self._checkpoint_at = asyncio.get_running_loop().time()
        self._core = core = ArbitrageCore(self._terms)
        self._meter.restart()
        self._held, self._urgent = [], False
        core.signals.signalling = False
        self._skip = 0
        await self._background(checkpoint.rebuild_from)
        after = max(checkpoint.rebuild_from, first - 1)
        self._reader = reader = Reader(self._bus, streams.MD, FILTERS, after, window=WINDOW)
        rest = await self._rebuild(reader, checkpoint.sequence)
        core.restore(checkpoint.saved)
        if found is None:
            await self._journal.store([], checkpoint)
        self._log.info("signal_resumed", stream_seq=checkpoint.sequence, count=len(core.legs))
        if checkpoint.sequence + 1 < first:
            self._log.error("md_discarded", missing=first - 1 - checkpoint.sequence)
            core.signals.abandon("lost")
            await self._tell(core.signals.take(), first - 1)
        else:
            self._skip = checkpoint.done
        if rest:
            await self._process(rest)

    async def _background(self, before: int) -> None:
        """Hand the core each instrument's latest terms: what the table has, then what MD has of before `before`.

        And with them every clock offset of before: the first is told before the first record of a market.
        """
        try:
            for terms in await stored.instruments(self._warehouse):
                self._core.process(terms.sequence, terms.subject, terms.body)
        except BadRecord as error:
            raise Broken(f"the table of instruments cannot be read: {error}") from error
        reader = Reader(self._bus, streams.MD, BACKGROUND, 0)
        try:
            while (await reader.caught_up_to()) is None:
                for message in await reader.read(READ_MOST, READ_TIMEOUT_S):
                    if message.sequence <= before:
                        self._core.process(message.sequence, message.subject, message.body)
        finally:
            await reader.close()

    async def _rebuild(self, reader: Reader, until: int) -> list[Incoming]:
        """Make up for the past up to `until`, telling nothing; return what was read beyond it."""
        while reader.last < until and not self._stop.is_set():
            incoming = await reader.read(READ_MOST, READ_TIMEOUT_S)
            for place, message in enumerate(incoming):
                if message.sequence > until:
                    return incoming[place:]
                self._core.process(message.sequence, message.subject, message.body)
            if not incoming and await reader.caught_up_to() is not None:
                break
        return []

    # -- signals ---------------------------------------------------------------------------------------------------

    async def _process(self, incoming: Sequence[Incoming]) -> None:
        clock = asyncio.get_running_loop().time
        for begin in range(0, len(incoming), SLICE):
            part = incoming[begin : begin + SLICE]
            for message in part:
                if told := self._core.process(message.sequence, message.subject, message.body):
                    self._hold(told, clock())
            if self._journal.free and (self._urgent or self._gathered(clock())):
                await self._flush(part[-1].sequence)
            await asyncio.sleep(0)
        metrics.READ.inc(len(incoming))
        if self._urgent or len(self._held) > MOST_HELD:
            await self._flush(incoming[-1].sequence)
        for suspension in self._core.signals.suspensions:
            if suspension.suspended:
                self._log.warning("pair_suspended", name=suspension.pair, reason="its prices are too far apart")
            else:
                self._log.info("pair_trusted_again", name=suspension.pair)
        self._core.signals.suspensions.clear()

    def _hold(self, told: list[Output], now: float) -> None:
        if not self._held:
            self._held_since = now
        self._held += told
        self._urgent = self._urgent or any(isinstance(record, ArbitrageOpportunity) for record in told)

    def _gathered(self, now: float) -> bool:
        """Tell whether what is held has waited long enough."""
        return bool(self._held) and now - self._held_since > GATHER_S

    async def _flush(self, sequence: int) -> None:
        """Store what is held, and that everything up to a message is told; that alone where nothing is held."""
        held, self._held, self._urgent = self._held, [], False
        if held:
            await self._tell(held, sequence)
        else:
            await self._store([], sequence)

    async def _tell(self, told: list[Output], sequence: int) -> None:
        """Store what was told; what a former run had stored of it already is passed over."""
        done = min(self._skip, len(told))
        self._skip -= done
        if done < len(told):
            await self._store(told[done:], sequence)

    async def _store(self, told: list[Output], sequence: int) -> None:
        core = self._core
        self._checkpoint_at = asyncio.get_running_loop().time()
        await self._journal.store(told, Checkpoint(sequence, core.rebuild_from(), core.save(), self._skip))

    def _report(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._report_at:
            return
        self._report_at = now + REPORT_EVERY_S
        signals = self._core.signals
        self._meter.report(signals.counters)
        metrics.OPEN.set(len(signals.open))
        metrics.PAIRS.set(self._pairs())
        metrics.SUSPENDED.set(len(signals.suspended))
        metrics.PENDING.set(self._pending)

    async def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
