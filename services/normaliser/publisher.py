"""One atomic batch for all partitions of a process.

An atomic batch costs the server about 1.5 ms however small it is (measured: nats-server 2.15, file storage), a message
in it some 10 us. So what the partitions have ready is gathered for a moment and stored together: each partition's part
carries its own fence, and an owner that was overtaken is found by publishing the parts alone.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from schemas.errors import Busy, Overtaken, PipelineError
from services.shared.runtime.bus import MAX_BATCH, Bus, Outgoing
from services.shared.runtime.gathering import Gathering
from services.shared.runtime.ring import Ring

_PLENTY_MESSAGES = 200
_LONGEST = 2
"""At high rates parts are gathered for so many times as long."""


class _Part(NamedTuple):
    """One partition's messages, the checkpoint last; `stored` becomes the checkpoint's stream sequence."""

    messages: list[Outgoing]
    stored: asyncio.Future[int]


class Publisher:
    """Stores the parts that the partitions hand in, several in one atomic batch. `run` does the work."""

    def __init__(self, bus: Bus, ring: Ring, gather_s: float, stop: asyncio.Event) -> None:
        self._bus = bus
        self._ring = ring
        self._gathering = Gathering(gather_s, _PLENTY_MESSAGES, _LONGEST)
        self._stop = stop
        self._parts: list[_Part] = []
        self._handed_in = asyncio.Event()

    async def publish(self, messages: list[Outgoing]) -> int:
        """Store messages, at most `MAX_BATCH`, all or none; return the stream sequence of the last.

        Raises what `Bus.publish_batch` raises: Overtaken, Busy or Broken.
        """
        part = _Part(messages, asyncio.get_running_loop().create_future())
        self._parts.append(part)
        self._handed_in.set()
        return await part.stored

    async def run(self) -> None:
        """Store what is handed in, for as long as the task lives."""
        while True:
            await self._handed_in.wait()
            await asyncio.sleep(self._gathering.seconds)
            parts = self._take()
            self._gathering.took(sum(len(part.messages) for part in parts))
            if await self._has_room(sum(len(message.body) for part in parts for message in part.messages)):
                await self._store(parts)
            else:
                for part in parts:
                    _fail(part, Busy("MD is full of what is not stored yet, and the time to stop has come"))
            if not self._parts:
                self._handed_in.clear()

    async def _has_room(self, size: int) -> bool:
        """Wait while MD would discard what is not in its table yet; False when the time to stop comes first."""
        ring = self._ring
        if await ring.has_room(size):
            return True
        while ring.near_tail and not self._stop.is_set():
            try:
                await asyncio.wait_for(self._stop.wait(), ring.check_s)
            except TimeoutError:
                await ring.look()
        return not ring.near_tail

    def _take(self) -> list[_Part]:
        """Take as many parts as one batch holds, first come first served."""
        count = size = 0
        for part in self._parts:
            size += len(part.messages)
            if size > MAX_BATCH:
                break
            count += 1
        taken, self._parts = self._parts[:count], self._parts[count:]
        return taken

    async def _store(self, parts: list[_Part]) -> None:
        try:
            last = await self._bus.publish_batch([message for part in parts for message in part.messages])
        except Overtaken as error:
            if len(parts) == 1:
                _fail(parts[0], error)
                return
            # One of them lost its partition to another owner; the others did not.
            for part in parts:
                await self._store([part])
        except PipelineError as error:
            for part in parts:
                _fail(part, error)
        else:
            # A batch is stored without anything in between.
            for part in reversed(parts):
                if not part.stored.done():
                    part.stored.set_result(last)
                last -= len(part.messages)


def _fail(part: _Part, error: PipelineError) -> None:
    if not part.stored.done():
        part.stored.set_exception(error)
