"""One polled statistic of one instrument, or of many in one answer."""

from __future__ import annotations

from collections.abc import Sequence

from schemas import records
from schemas.frames import RawFrame
from services.normaliser.desk import Desk

_REMEMBERED = 8
"""REST connections whose last frame number is kept, to know their answers when they are published again."""


class PollLane:
    """Polled statistics: rows come again with every answer, and are known by the exchange's stamp."""

    def __init__(self, desk: Desk, symbol: str) -> None:
        self.desk = desk
        self.symbol = symbol
        """Whose answers these are; `_all` where one answer is about many."""
        self.numbers: dict[str, int] = {}
        self.last: dict[str, int] = {}
        """The newest stamp of each row that was put out."""

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
            name = self._name(record)
            if record.timestamp <= self.last.get(name, -1) or self.desk.was_refilled(record):
                self.desk.counters.duplicates += 1
                continue
            self.last[name] = record.timestamp
            self.desk.emit(record)

    def _name(self, record: records.Record) -> str:
        """Return what tells a row apart from those that have a sequence of stamps of their own."""
        name = record.KIND
        if record.symbol != self.symbol:
            name += f" {record.symbol}"
        if isinstance(record, records.FundingRate):
            name += f" {record.rate_kind}"
        return name
