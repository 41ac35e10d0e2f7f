"""Candles that need more than to be passed on: those that only the next one's open closes, those built from minutes."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import fields

from schemas import records
from services.normaliser.desk import Desk
from services.normaliser.gaps import GapType
from services.normaliser.lane import Lane
from services.normaliser.windows import Windows
from services.shared.exchanges.declaration import Channel, Listing

UPDATE = records.CandleUpdate.KIND
_FIELDS = [field.name for field in fields(records.CandleUpdate)]


class CandleLane(Lane):
    """Candle updates. Where the exchange does not always say which one is final, the next one's open does.

    A candle is then put out as closed as it was last seen; not so when anything may have been missed since: what it
    closed at is unknown, and the gap of closed candles covers it.
    """

    def __init__(
        self, desk: Desk, exchange: str, market: str, symbol: str, channel: Channel, intervals: Iterable[str] = ()
    ) -> None:
        super().__init__(desk, exchange, market, symbol, channel)
        self.windows = Windows(intervals)
        """The longer candles that are built from this channel's."""
        self.intact = not channel.closes_itself
        """The last update is what its candle may be closed with: nothing was missed since."""

    def learn(self, frame: bytes, listing: Listing) -> None:
        """Find the form, unless each update may close the candle before it."""
        if self.channel.closes_itself:
            super().learn(frame, listing)

    def accept(self, record: records.Record) -> None:
        """Put the leader's next update out, before it the candle that it closes, and behind that what it completes."""
        assert isinstance(record, records.CandleUpdate)
        last, closed = self.last.get(UPDATE), self.last.get(records.Candle.KIND)
        if (
            self.intact
            and isinstance(last, records.CandleUpdate)
            and record.timestamp > last.timestamp
            and (closed is None or closed.timestamp < last.timestamp)
            and not (self.overlap and self.passed(record, last))
        ):
            self._accept(records.Candle(**{name: getattr(last, name) for name in _FIELDS} | {"closed": True}))
        self._accept(record)
        self.intact = not self.channel.closes_itself

    def _accept(self, record: records.CandleUpdate) -> None:
        super().accept(record)
        if isinstance(record, records.Candle) and self.last.get(record.KIND) is record:
            for longer in self.windows.take(record):
                self.desk.emit(longer)

    def open_holes(self, gap_type: GapType, why: str, lost_from: int, lost_to: int | None, *, detected: int) -> None:
        """Publish the gaps; the candle that is open may have changed in them."""
        self.intact = False
        super().open_holes(gap_type, why, lost_from, lost_to, detected=detected)
