"""A channel whose frames tell only what has changed: each is read as the whole that it makes with those before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from schemas import records
from schemas.frames import RawFrame
from services.normaliser.desk import Desk
from services.normaliser.lane import Lane
from services.normaliser.link import Link
from services.shared.exchanges.declaration import BookSnapshot, Channel, Listing


class MergingLane(Lane):
    """Statistics that are merged, connection by connection; a statistic is told when anything of it has changed."""

    quick: ClassVar[bool] = False

    def __init__(self, desk: Desk, exchange: str, market: str, symbol: str, channel: Channel) -> None:
        super().__init__(desk, exchange, market, symbol, channel)
        assert channel.merge is not None
        self._merge = channel.merge
        self.whole: dict[str, bytes] = {}
        """Connection -> what its frames make together."""
        self.parse = self._parse

    def _parse(self, frame: RawFrame, listing: Listing) -> Sequence[records.Record | BookSnapshot]:
        whole = self._merge(self.whole.get(frame.connection), frame.body)
        found = self.channel.parse(msgspec.structs.replace(frame, body=whole), listing)
        self.whole[frame.connection] = whole
        return found

    def accept(self, record: records.Record) -> None:
        """Put the leader's next record out, unless nothing of it is new."""
        last = self.last.get(record.KIND)
        if last is None or self.holes or self.overlap or not _unchanged(record, last):
            super().accept(record)

    def forget(self, name: str) -> None:
        """An ended connection does not come back."""
        self.whole.pop(name, None)

    def lose(self, why: str) -> None:
        """Frames were discarded before they were read: what was merged lacks them."""
        super().lose(why)
        self.whole.clear()

    def dropped(self, link: Link, now: int, why: str) -> None:
        """The collector had no room for some frames: what was merged lacks them."""
        super().dropped(link, now, why)
        self.whole.pop(link.name, None)


def _unchanged(record: records.Record, last: records.Record) -> bool:
    """Whether a statistic is the last one once more. The mark price beside a funding rate is told by its own record."""
    times = {name: getattr(record, name) for name in ("timestamp", "received_at", "sent_at")}
    if isinstance(record, records.FundingRate):
        times["mark_price"] = record.mark_price
    return record == msgspec.structs.replace(last, **times)
