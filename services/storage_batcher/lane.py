"""One slice and everything that is done for it: taking it over, storing batches, recording, standing by."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import msgspec
import nats.errors
import structlog
from nats.nuid import NUID

from schemas import streams
from schemas.errors import Busy, Overtaken
from services.shared.runtime.bus import Bus
from services.shared.runtime.warehouse import Warehouse
from services.storage_batcher import entry as entries
from services.storage_batcher import metrics
from services.storage_batcher.core import Batch, Slice
from services.storage_batcher.delivery import Delivery
from services.storage_batcher.entry import Entry, StreamState
from services.storage_batcher.ledger import Ledger
from services.storage_batcher.letters import Letters
from services.storage_batcher.patience import Patience
from services.storage_batcher.settings import StorageBatcherSettings

_OWNER = NUID().next().decode()
"""This process, among all that ever wrote entries."""


class Stream:
    """Asks what MD holds."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def state(self) -> StreamState:
        """Return MD's state. Raises Busy."""
        try:
            info = await self._bus.js.stream_info(streams.MD.name)
        except (nats.errors.Error, OSError) as error:
            raise Busy(f"NATS did not answer for stream {streams.MD.name}: {error}") from error
        assert info.created is not None, "every server says when a stream was made"
        return StreamState(int(info.created.timestamp()), info.state.first_seq, info.state.last_seq)


class Lane:
    """A slice with its entry. At most one of its coroutines runs at a time: the runner sees to that with `busy`.

    The coroutines return whether reading has to begin anew, because the slice was won or lost.
    """

    def __init__(
        self,
        target: Slice,
        settings: StorageBatcherSettings,
        stream: Stream,
        ledger: Ledger,
        letters: Letters,
        warehouse: Warehouse,
        patience: Patience,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self.slice = target
        self.busy = False
        self.delivery = Delivery(target, ledger, letters, warehouse, patience, settings.refused_run, log)
        self._settings = settings
        self._stream = stream
        self._ledger = ledger
        self._log = log.bind(table=target.table.name)
        self._entry: Entry | None = None
        self._next_upkeep = 0.0
        self._seen_revision = 0
        self._unchanged = 0

    async def take_over(self, attempts: int = 1) -> bool:
        """Make the slice this process's own and go on where its entry stands. Raises Busy, Broken.

        With several attempts an owner that writes at the same moment is overtaken too; with one it keeps its slice.
        """
        for attempt in range(1, attempts + 1):
            found, revision = await self._ledger.read(self.slice.table.name, self.slice.name)
            stream = await self._stream.state()
            entry = entries.succeed(found, (self.slice.table.name, self.slice.name, _OWNER), stream)
            try:
                await self._ledger.claim(entry, revision)
            except Overtaken:
                if attempt == attempts:
                    return self._lost(found.position if found else 0)
            else:
                self._own(entry, found)
                break
        return True

    def _own(self, entry: Entry, found: Entry | None) -> None:
        if found is not None and found.stream != entry.stream:
            self._log.error("stream_replaced", stream_seq=found.last, reason="MD was made anew: reading from its start")
        elif found is not None and found.rewinds != entry.rewinds:
            self._log.error("stream_shortened", stream_seq=entry.last, missing=found.last - entry.last)
        self._entry = entry
        self.slice.own(entry)

    async def deliver(self, batch: Batch) -> bool:
        """Store a batch. Raises Broken."""
        assert self._entry is not None
        try:
            self._entry = await self.delivery.deliver(batch, self._entry)
        except Overtaken:
            return self._lost(self._entry.position)
        self.slice.stored()
        return False

    async def record(self) -> bool:
        """Write down that everything up to the slice's position is stored. Raises Busy."""
        assert self._entry is not None
        entry = msgspec.structs.replace(
            self._entry, state="stored", first=0, last=self.slice.position, rows=0, suspects=None
        )
        try:
            await self._ledger.write(entry)
        except Overtaken:
            return self._lost(self._entry.position)
        self._entry = entry
        return False

    def upkeep(self, now: float) -> Coroutine[Any, Any, bool] | None:
        """Return what is to be done for a slice without rows, or one that another process owns; often nothing."""
        if self.busy or now < self._next_upkeep or (self.slice.owned and not self.slice.idle):
            return None
        self._next_upkeep = now + self._settings.record_every_s
        return self._record_if_possible() if self.slice.owned else self._stand_by()

    async def _record_if_possible(self) -> bool:
        try:
            return await self.record()
        except Busy as error:
            self._log.debug("position_not_recorded", error=str(error))
            return False

    async def _stand_by(self) -> bool:
        """Follow the owner's entry, and take the slice over when the owner has been silent for too long."""
        try:
            found, revision = await self._ledger.read(self.slice.table.name, self.slice.name)
            if revision != self._seen_revision:
                self._seen_revision, self._unchanged = revision, 0
                self.slice.lose(found.position if found else 0)
                return False
            self._unchanged += 1
            if self._unchanged * self._settings.record_every_s < self._settings.takeover_s:
                return False
            self._log.warning("owner_silent", elapsed_s=self._settings.takeover_s)
            return await self.take_over()
        except Busy as error:
            self._log.debug("owner_not_seen", error=str(error))
            return False

    def _lost(self, position: int) -> bool:
        metrics.OVERTAKEN.labels(self.slice.table.name).inc()
        self._log.warning("slice_overtaken", reason="another process writes this table; standing by")
        self.slice.lose(position)
        self._seen_revision, self._unchanged = 0, 0
        return True

    def status(self, end: int) -> dict[str, Any]:
        """Return the slice's part of /status; `end` is MD's last sequence."""
        return {
            "rows": self.delivery.stored_rows,
            "position": self.slice.position,
            "lag": max(0, end - self.slice.position),
            "owned": self.slice.owned,
            "lost": self.delivery.lost_rows,
        }
