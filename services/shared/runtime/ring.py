"""How far the slowest of our own readers is from a ring's tail: who publishes stops before it would be overrun.

RAW and MD discard their oldest messages when they are full. That is right for what everybody has read, and a loss for
what somebody still needs. So whoever publishes into a full ring looks now and then for the oldest message that a reader
of ours still needs: behind the normaliser's checkpoints for RAW, behind the storage-batcher's entries for MD. A reader
with nothing to read needs nothing, however long ago it last moved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from schemas import streams, subjects, tables
from schemas.errors import Busy
from services.shared.runtime.bus import Bus

FULL = 0.9
"""Share of its bytes from which a ring is taken to be about to discard."""

NEAR, CLEAR = 0.1, 0.2
"""What is needed within this first share of what the ring holds is near its tail; beyond the second it is clear."""


LOOK_SHARE = 0.02
"""After this share of the ring's size was published, it is looked at again however short a time has passed."""


class _Checkpoint(msgspec.Struct):
    raw_sequence: int


class _Slice(msgspec.Struct):
    """What the storage-batcher's entry says of its position; its own module has the whole."""

    table: str
    state: str
    first: int
    last: int


_checkpoint = msgspec.json.Decoder(_Checkpoint).decode
_slice = msgspec.json.Decoder(_Slice).decode


async def oldest_unread_of_raw(bus: Bus) -> int | None:
    """Return the first RAW sequence that a partition's normaliser has not processed; None when there is none."""
    found: list[int] = []
    for part in range(subjects.PARTITIONS):
        stored = await bus.last_of(streams.MD, subjects.checkpoint(part))
        passed = _checkpoint(stored.body).raw_sequence if stored is not None else 0
        unread = await bus.next_of(streams.RAW, subjects.raw_filter(part), passed + 1)
        if unread is not None:
            found.append(unread)
    return min(found, default=None)


async def oldest_unstored_of_md(bus: Bus) -> int | None:
    """Return the first MD sequence that is not in its table yet; None when there is none."""
    passed = {table.name: 0 for table in tables.TABLES}
    for value in (await bus.values(streams.BATCHES)).values():
        item = _slice(value)
        passed[item.table] = item.last if item.state == "stored" else item.first - 1
    found = [
        unread
        for table in tables.TABLES
        if (unread := await bus.next_of(streams.MD, table.subject, passed[table.name] + 1)) is not None
    ]
    return min(found, default=None)


class Ring:
    """One ring, what its readers still need, and whether there is room to publish."""

    def __init__(
        self,
        bus: Bus,
        stream: streams.Stream,
        oldest_needed: Callable[[Bus], Awaitable[int | None]],
        check_s: float,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self.near_tail = False
        """Whether publishing more would soon discard what a reader of ours needs."""
        self.middle = 0
        """The sequence in the middle of what the ring held when it was last looked at; 0 while it is not half full."""
        self.check_s = check_s
        self._bus = bus
        self._stream = stream
        self._oldest_needed = oldest_needed
        self._log = log
        self._looked_at = -check_s
        self._size = 0
        self._published = 0

    async def has_room(self, size: int) -> bool:
        """Return whether `size` bytes more may be published; looks anew now and then, by time and by what went in."""
        self._published += size
        due = asyncio.get_running_loop().time() - self._looked_at > self.check_s
        if due or self._published > LOOK_SHARE * self._size:
            await self.look()
        return not self.near_tail

    async def look(self) -> None:
        """Find out again; what was known stands while the server does not answer."""
        was = self.near_tail
        self._looked_at = asyncio.get_running_loop().time()
        try:
            self.near_tail = await self._is_near()
        except Busy:
            return
        self._published = 0
        if self.near_tail and not was:
            self._log.warning("ring_near_tail", name=self._stream.name)
        elif was and not self.near_tail:
            self._log.info("ring_clear", name=self._stream.name)

    async def _is_near(self) -> bool:
        state, self._size = await self._bus.fill(self._stream)
        self.middle = (state.first_seq + state.last_seq) // 2 if state.bytes > self._size / 2 else 0
        if self._size <= 0 or state.bytes < FULL * self._size:
            return False
        # Asked for only when it matters: a ring that has room needs no such questions.
        needed = await self._oldest_needed(self._bus)
        held = max(1, state.last_seq - state.first_seq + 1)
        share = 1.0 if needed is None else (needed - state.first_seq) / held
        return share < (CLEAR if self.near_tail else NEAR)
