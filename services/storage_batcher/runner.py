"""The storage batcher at work: one reader in front, a delivery per table behind, and what it says of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any

from schemas import streams, tables
from schemas.errors import Broken, Busy
from services.shared.runtime.bus import Bus, connect
from services.shared.runtime.reader import Reader
from services.shared.runtime.run import Context
from services.shared.runtime.warehouse import Warehouse
from services.storage_batcher import metrics
from services.storage_batcher.core import Batcher, Slice
from services.storage_batcher.lane import Lane, Stream
from services.storage_batcher.ledger import Ledger
from services.storage_batcher.letters import Letters
from services.storage_batcher.patience import Patience
from services.storage_batcher.settings import StorageBatcherSettings

TICK_S = 0.05
"""How often the clock is looked at: the precision of a batch's age."""

CHECK_S = 0.25
"""How often the stream's end is asked for: how old the figures of /status may be."""

READ_MOST = 4_000

CLAIM_ATTEMPTS = 5
"""How often a starting process claims a slice whose owner writes at the same moment."""


async def serve(settings: StorageBatcherSettings, context: Context) -> None:
    """Store records until `context.stop` is set, then drain. Raises Broken when going on cannot help."""
    try:
        bus = await connect(settings, "storage-batcher", context.log, context.stop)
    except Busy:
        return
    try:
        async with Warehouse.of(settings, settings.insert_timeout_s) as warehouse:
            await Runner(settings, context, bus, warehouse).run()
    finally:
        await bus.close()


class Runner:
    """Reads MD in order, hands messages to slices, and starts what is due."""

    def __init__(self, settings: StorageBatcherSettings, context: Context, bus: Bus, warehouse: Warehouse) -> None:
        self._settings = settings
        self._context = context
        self._log = context.log
        self._bus = bus
        self._warehouse = warehouse
        self._patience = Patience(settings.retry_first_s, settings.retry_most_s, context.log)
        self._owned_tables = settings.owned()
        self._core = Batcher(
            [Slice(table, settings.policy(table), settings.batch_spacing_s) for table in self._owned_tables],
            settings.memory_rows,
            settings.memory_bytes,
        )
        self._lanes: dict[Slice, Lane] = {}
        self._reader: Reader | None = None
        self._reread = True
        self._read_failures = 0
        self._known = 0
        self._end = 0
        self._lost = 0
        self._caught_up = False
        self._check_at = 0.0
        self._probe_at = 0.0
        self._probe_error: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._fatal: BaseException | None = None
        self._unknown_seen: dict[str, int] = {}

    async def run(self) -> None:
        """Work until told to stop, then drain."""
        self._context.health.status = self.status
        try:
            if not await self._unless_stopped(self._start()):
                return
            while not self._context.stop.is_set():
                await self._turn()
            await self._drain()
        finally:
            self._context.health.set_ready(False)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self._reader is not None:
                await self._reader.close()

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do `work`; return False when the stop came first."""
        task = asyncio.create_task(work)
        stop = asyncio.create_task(self._context.stop.wait())
        try:
            await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
                return True
            return False
        finally:
            for one in (task, stop):
                one.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)

    async def _start(self) -> None:
        bucket = await self._patience.keep("open", lambda: self._bus.bucket(streams.BATCHES))
        ledger = Ledger(self._bus, bucket)
        letters = Letters(self._bus)
        stream = Stream(self._bus)
        for one in self._core.slices:
            lane = Lane(one, self._settings, stream, ledger, letters, self._warehouse, self._patience, self._log)
            self._lanes[one] = lane
            await self._patience.keep("claim", partial(lane.take_over, CLAIM_ATTEMPTS), table=one.table.name)
        self._log.info("slices_claimed", count=len(self._core.owned), stream_seq=self._core.position)

    async def _turn(self) -> None:
        """Start what is due, then read, or wait where there is no room."""
        loop = asyncio.get_running_loop()
        self._pump(loop.time())
        try:
            reader = await self._current_reader()
            if reader is None or self._core.full():
                await self._rest()
            elif messages := await reader.read(READ_MOST, TICK_S):
                self._core.add(messages, loop.time())
            if loop.time() >= self._check_at:
                await self._check(reader)
                self._read_failures = 0
                self._check_at = loop.time() + CHECK_S
        except Busy as error:
            await self._reading_failed(error)

    async def _current_reader(self) -> Reader | None:
        if self._reread:
            self._reread = False  # a slice may be won or lost while the servers are asked
            if self._reader is not None:
                await self._reader.close()
                self._reader = None
            if self._core.owned:
                everything = len(self._owned_tables) == len(tables.TABLES)
                # Who wants all but the checkpoints asks for all: several filters cost the server more than these.
                filters = () if everything else tuple(table.subject for table in self._owned_tables)
                self._known = self._core.read_after()
                try:
                    first, _ = await self._bus.bounds(streams.MD)
                except Busy:
                    self._reread = True
                    raise
                self._note_ring(first)
                self._reader = Reader(self._bus, streams.MD, filters, self._known, self._settings.read_window)
        return self._reader

    async def _rest(self) -> None:
        self._wake.clear()
        try:
            await asyncio.wait_for(self._wake.wait(), TICK_S)
        except TimeoutError:
            pass

    async def _reading_failed(self, error: Busy) -> None:
        self._caught_up = False
        self._context.health.set_ready(False)
        self._read_failures += 1
        metrics.RETRIES.labels("read", "NATS").inc()
        if self._read_failures == 1 or self._read_failures % 20 == 0:
            self._log.warning("retrying", stage="read", attempt=self._read_failures, error=str(error))
        await asyncio.sleep(min(1.0, self._patience.pause_s(self._read_failures)))

    async def _check(self, reader: Reader | None) -> None:
        """See how far the stream goes, and whether the ring or a crash of the server has taken something away."""
        first, end = await self._bus.bounds(streams.MD)
        if reader is None:
            self._caught_up = True  # others read; how far they have come stands in their entries
        else:
            if end < reader.last:
                raise Broken(
                    f"stream {streams.MD.name} ends at {end}, before message {reader.last} that was read from it: "
                    "it was made anew, or lost its end",
                    stream_seq=reader.last,
                )
            self._known = max(self._known, reader.last)
            self._note_ring(first)
            reached = await reader.caught_up_to()
            self._caught_up = reached is not None
            if reached is not None:
                self._known = max(self._known, reached)
                self._core.caught_up(reached)
                end = max(end, reached)
        self._end = end
        self._context.health.set_ready(self._bus.connected and self.clickhouse_error is None)
        self._report()

    def _note_ring(self, first: int) -> None:
        """Count what the ring discarded before it was read; at most, since other kinds' messages are among it."""
        missing = first - 1 - self._known
        if missing > 0:
            self._known = first - 1
            self._lost += missing
            metrics.LOST.inc(missing)
            self._log.error("ring_overtook", stream_seq=first, missing=missing)

    def _pump(self, now: float, *, draining: bool = False) -> None:
        """Start every delivery that is due and has room, and what keeps the idle ones on record."""
        if self._fatal is not None:
            raise self._fatal
        flying = sum(1 for one in self._core.slices if one.flying is not None)
        for one in self._core.due(now, draining=draining):
            if flying >= self._settings.inserts:
                break
            lane = self._lanes[one]
            if not lane.busy:
                flying += 1
                self._begin(lane, lane.deliver(one.take(now)))
        if draining:
            return
        for lane in self._lanes.values():
            work = lane.upkeep(now)
            if work is not None:
                self._begin(lane, work)
        if now >= self._probe_at:
            self._probe_at = now + self._settings.record_every_s
            self._spawn(self._probe())

    def _begin(self, lane: Lane, work: Coroutine[Any, Any, bool]) -> None:
        lane.busy = True

        async def do() -> None:
            try:
                if await work:
                    self._reread = True
            finally:
                lane.busy = False

        self._spawn(do())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()
        if not task.cancelled() and task.exception() is not None:
            self._fatal = self._fatal or task.exception()

    async def _probe(self) -> None:
        try:
            await self._warehouse.execute("SELECT 1")
        except Busy as error:
            self._probe_error = str(error)
        else:
            self._probe_error = None
        metrics.CLICKHOUSE_UP.set(0 if self.clickhouse_error else 1)

    async def _drain(self) -> None:
        """Store what was read and record where everything stands, within the time that a stop may take."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.drain_s
        while self._core.due(loop.time(), draining=True) or any(one.flying is not None for one in self._core.slices):
            self._pump(loop.time(), draining=True)
            if loop.time() >= deadline:
                self._log.warning(
                    "drain_ended_early", rows=self._core.rows, reason="they stay in MD until the next start"
                )
                break
            await self._rest()
        for lane in self._lanes.values():
            if lane.slice.idle and not lane.busy:
                try:
                    await lane.record()
                except Busy as error:
                    self._log.warning("position_not_recorded", error=str(error))
                    break
        self._log.info("drained", rows=sum(lane.delivery.stored_rows for lane in self._lanes.values()))

    @property
    def clickhouse_error(self) -> str | None:
        """Why ClickHouse takes nothing at present, or None."""
        errors = (lane.delivery.clickhouse_error for lane in self._lanes.values())
        return next((error for error in errors if error), self._probe_error)

    @property
    def pending_messages(self) -> int:
        """Messages between the tables and the stream's end as it was last seen, about; 0 only when there is none."""
        behind = self._core.position < self._end
        if self._lanes and self._caught_up and not behind:
            return 0
        return max(1, (self._reader.pending if self._reader else 0) + self._core.rows)

    def status(self) -> dict[str, Any]:
        """Return what /status shows. `position`: everything in MD up to this sequence is in the tables."""
        error = self.clickhouse_error
        return {
            "pending_messages": self.pending_messages,
            "pending_rows": self._core.rows,
            "position": self._core.position,
            "stream_end": self._end,
            "clickhouse": "away" if error else "ok",
            "clickhouse_error": error,
            "refused": sum(lane.delivery.refused_rows for lane in self._lanes.values()),
            "lost_messages": self._lost + sum(lane.delivery.lost_rows for lane in self._lanes.values()),
            "tables": {one.table.name: lane.status(self._end) for one, lane in self._lanes.items()},
        }

    def _report(self) -> None:
        metrics.PENDING_ROWS.set(self._core.rows)
        metrics.PENDING_MESSAGES.set(self.pending_messages)
        for one in self._core.slices:
            metrics.LAG.labels(one.table.name).set(max(0, self._end - one.position))
        for kind, count in self._core.unknown.items():
            seen = self._unknown_seen.get(kind, 0)
            if not seen:
                self._log.warning("kind_without_table", kind=kind)
            metrics.UNKNOWN.labels(kind).inc(count - seen)
            self._unknown_seen[kind] = count
