"""What was told, on the bus: signals stored with the checkpoint that says so, one batch on its way at a time.

A batch is stored whole or not at all, under the sequence of the checkpoint before it, so that a paused former process
is refused. While a batch is on its way the next messages are read and worked on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from schemas import records, streams, subjects
from services.arbitrage_signal import metrics
from services.arbitrage_signal.saved import Saved
from services.arbitrage_signal.signals import Output
from services.shared.runtime.bus import EXPECTED_SUBJECT_SEQUENCE, MAX_BATCH, Bus, Outgoing
from services.shared.runtime.clock import now_us


class Checkpoint(msgspec.Struct, frozen=True):
    """Everything that follows from MD up to `sequence` is told, and the first `done` signals after it.

    `rebuild_from`: MD is read again behind this sequence; `saved` is as of `sequence`.
    """

    sequence: int
    rebuild_from: int
    saved: Saved
    done: int = 0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Checkpoint).decode


def outgoing(record: Output) -> Outgoing:
    """Return a signal as it is published."""
    kind = subjects.ARBITRAGE if isinstance(record, records.ArbitrageOpportunity) else subjects.ARBITRAGE_SPREAD
    return Outgoing(subjects.signal(kind, record.symbol), records.encode(record))


class Journal:
    """Stores signals and checkpoints. `stored` is the last checkpoint that is known to be stored."""

    def __init__(self, bus: Bus) -> None:
        self.stored = Checkpoint(0, 0, Saved())
        self._bus = bus
        self._fence = 0
        self._flight: asyncio.Task[None] | None = None

    async def open(self) -> Checkpoint | None:
        """Return the last checkpoint and go on behind it; None when there was none yet. Raises Busy."""
        await self.give_up()
        found = await self._bus.last_of(streams.MD, subjects.arbitrage_checkpoint())
        self._fence = 0 if found is None else found.sequence
        if found is None:
            return None
        self.stored = _decode(found.body)
        return self.stored

    @property
    def flying(self) -> bool:
        """Whether something is on its way."""
        return self._flight is not None

    @property
    def free(self) -> bool:
        """Whether nothing is on its way that `store` would wait for."""
        return self._flight is None or self._flight.done()

    async def store(self, told: Sequence[Output], checkpoint: Checkpoint) -> None:
        """Begin to store what was told up to a checkpoint, when what was begun before is stored.

        Raises Overtaken, Busy or Broken when that was not.
        """
        await self.settle()
        at, rest = self.stored.done, list(told)
        while len(rest) >= MAX_BATCH:
            part, rest = rest[: MAX_BATCH - 1], rest[MAX_BATCH - 1 :]
            at += len(part)
            self._begin(part, msgspec.structs.replace(self.stored, done=at))
            await self.settle()
        self._begin(rest, checkpoint)

    async def settle(self) -> None:
        """Wait until all that was begun is stored. Raises as `store`."""
        flight, self._flight = self._flight, None
        if flight is not None:
            await flight

    async def give_up(self) -> None:
        """Wait for what is on its way, whether it succeeds or not."""
        flight, self._flight = self._flight, None
        if flight is not None:
            await asyncio.gather(flight, return_exceptions=True)

    def _begin(self, told: Sequence[Output], checkpoint: Checkpoint) -> None:
        expected = {EXPECTED_SUBJECT_SEQUENCE: str(self._fence)}
        messages = [outgoing(record) for record in told]
        messages.append(Outgoing(subjects.arbitrage_checkpoint(), _encode(checkpoint), expected))

        async def publish() -> None:
            self._fence = await self._bus.publish_batch(messages)
            self.stored = checkpoint
            now = now_us()
            for record in told:
                if isinstance(record, records.ArbitrageOpportunity) and record.event == "open":
                    metrics.LATENCY.observe((now - record.received_at) / 1_000_000)

        self._flight = asyncio.create_task(publish())
