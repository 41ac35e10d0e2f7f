"""One polled statistic of one instrument."""

from __future__ import annotations

from collections.abc import Sequence

from schemas import records
from schemas.frames import RawFrame
from services.normaliser.desk import Desk

_REMEMBERED = 8
"""REST connections whose last frame number is kept, to know their answers when they are published again."""


class PollLane:
    """Polled statistics: rows come again with every answer, and are known by the exchange's stamp."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.numbers: dict[str, int] = {}
        self.last: dict[str, int] = {}

    def fresh(self, frame: RawFrame) -> bool:
        """Whether a frame was not seen before; remembers it."""
        if frame.number <= self.numbers.get(frame.connection, -1):
            return False
        self.numbers.pop(frame.connection, None)
        self.numbers[frame.connection] = frame.number
        if len(self.numbers) > _REMEMBERED:
            del self.numbers[next(iter(self.numbers))]
        return True

    def deliver(self, found: Sequence[records.Record]) -> None:
        """Put out the rows that are newer than the last one."""
        for record in found:
            if record.timestamp <= self.last.get(record.KIND, -1):
                self.desk.counters.duplicates += 1
                continue
            self.last[record.KIND] = record.timestamp
            self.desk.emit(record)
