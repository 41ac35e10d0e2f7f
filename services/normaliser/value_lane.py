"""Records without numbers of which each counts: trades without usable ids, liquidations, streams of a whole market.

A record is known by what the exchange said of it, and by how many equal ones came before it on its connection: the
third of three equal trades is told although two were, and a second connection's three are the same three. Trades that
bear an id are told once, however often one connection says them. What was told is remembered for a while of the
exchange's clock; connections do not lag further behind one another than that.
"""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

import msgspec

from schemas import records
from services.normaliser.desk import Desk
from services.normaliser.lane import Lane
from services.normaliser.link import Link
from services.shared.exchanges.declaration import Channel

Key = tuple[int, str]
"""When it was said, on the exchange's clock, and all else that tells it apart."""

_REMEMBERED_US = 10_000_000
_REMEMBERED = 2_048
"""Of each connection and of what was told; a saved state stays well below what a key-value store takes."""


class ValueLane(Lane):
    """Records known by their values and their count."""

    quick: ClassVar[bool] = False

    def __init__(self, desk: Desk, exchange: str, market: str, symbol: str, channel: Channel) -> None:
        super().__init__(desk, exchange, market, symbol, channel)
        self.told: dict[Key, int] = {}
        """How many of each were put out, oldest first."""
        self.counts: dict[str, dict[Key, int]] = {}
        """Connection -> how many of each it has said."""
        self.forgotten = 0
        """What is not younger than this was told, and is not remembered any more."""

    def accept(self, record: records.Record) -> None:
        """Put the leader's next record out, unless as many like it were told already."""
        assert self.leader is not None
        key = _key(record)
        said = self.counts.setdefault(self.leader.name, {})
        count = said[key] = 1 if _is_named(record) else said.get(key, 0) + 1
        _trim(said, key[0])
        if count <= self.told.get(key, 0):
            self.desk.counters.duplicates += 1
            return
        self.told[key] = count
        self.forgotten = max(self.forgotten, _trim(self.told, key[0]))
        self.overlap = False
        if self.holes:
            self.settle(record.KIND, record)
        self.last[record.KIND] = record
        self.desk.emit(record)

    def untold(self, link: Link) -> list[records.Record]:
        """Return what a connection has aside beyond what was told; the rest counts as said by it."""
        said = self.counts.setdefault(link.name, {}) if link.name in self.links else {}
        waiting: Counter[Key] = Counter()
        left = []
        for record in link.aside:
            key = _key(record)
            if not waiting[key] and (key[0] <= self.forgotten or said.get(key, 0) < self.told.get(key, 0)):
                said[key] = said.get(key, 0) + 1
                _trim(said, key[0])
            else:
                waiting[key] += 1
                left.append(record)
        return left

    def inherited(self, heir: Link) -> list[records.Record]:
        """Return what a new leader has aside that was not told."""
        return self.untold(heir)

    def forget(self, name: str) -> None:
        """An ended connection does not come back."""
        self.counts.pop(name, None)

    def lose(self, why: str) -> None:
        """Whoever fed the lane, it is not known what it said."""
        super().lose(why)
        self.counts = {}


def _is_named(record: records.Record) -> bool:
    """Whether the exchange names a record: then two that are equal are one, said twice."""
    return isinstance(record, records.Trade) and record.trade_id is not None


def _key(record: records.Record) -> Key:
    if isinstance(record, records.Trade):
        return record.timestamp, f"{record.symbol} {record.price} {record.quantity} {record.side} {record.trade_id}"
    return record.timestamp, records.encode(msgspec.structs.replace(record, received_at=0)).decode()


def _trim(counts: dict[Key, int], now: int) -> int:
    """Forget what is far behind `now`, or too much; return up to when, 0 when nothing was forgotten."""
    until = 0
    while counts:
        oldest = next(iter(counts))
        if oldest[0] >= now - _REMEMBERED_US and len(counts) <= _REMEMBERED:
            break
        del counts[oldest]
        until = max(until, oldest[0])
    return until
