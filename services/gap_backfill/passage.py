"""Whether a frame has come to its end: through the normaliser, and what was made of it through the storage-batcher."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from schemas import streams, subjects
from services.gap_backfill.series import Series, table_of
from services.shared.runtime.bus import Bus


class _Checkpoint(msgspec.Struct):
    raw_sequence: int


class _Slice(msgspec.Struct):
    table: str
    state: str
    first: int
    last: int


_checkpoint = msgspec.json.Decoder(_Checkpoint).decode
_slice = msgspec.json.Decoder(_Slice).decode


class Read(NamedTuple):
    """How far the normaliser has read a RAW partition, and the MD sequence of the checkpoint that says so."""

    raw_sequence: int
    md_sequence: int


async def read_up_to(bus: Bus, part: int) -> Read | None:
    """Return how far a RAW partition was read, or None while nothing says so. Raises Busy."""
    checkpoint = await bus.last_of(streams.MD, subjects.checkpoint(part))
    return None if checkpoint is None else Read(_checkpoint(checkpoint.body).raw_sequence, checkpoint.sequence)


async def stored_up_to(bus: Bus, series: Series, md_sequence: int) -> bool:
    """Return whether every row of a series' table up to this MD sequence is in it, or refused. Raises Busy."""
    table = table_of(series.kind)
    slices = [_slice(value) for value in (await bus.values(streams.BATCHES)).values()]
    stored = [item.last if item.state == "stored" else item.first - 1 for item in slices if item.table == table.name]
    if not stored:
        return False
    # The records stand before the checkpoint that says so.
    unstored = await bus.next_of(streams.MD, table.subject, min(stored) + 1)
    return unstored is None or unstored > md_sequence
