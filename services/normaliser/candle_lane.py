"""Candles of an exchange that does not always say which one is final: the next one's open says it."""

from __future__ import annotations

from msgspec.structs import fields

from schemas import records
from services.normaliser.gaps import GapType
from services.normaliser.lane import Lane

UPDATE = records.CandleUpdate.KIND
_FIELDS = [field.name for field in fields(records.CandleUpdate)]


class CandleLane(Lane):
    """Candle updates; a candle is put out as closed, as it was last seen, when a later one appears.

    Not so when anything may have been missed since it was last seen: what it closed at is then unknown, and the gap of
    closed candles covers it.
    """

    intact = True
    """Nothing was missed since the last update."""

    def accept(self, record: records.Record) -> None:
        """Put the leader's next update out, and before it the candle that it closes."""
        assert isinstance(record, records.CandleUpdate)
        last, closed = self.last.get(UPDATE), self.last.get(records.Candle.KIND)
        if (
            self.intact
            and isinstance(last, records.CandleUpdate)
            and record.timestamp > last.timestamp
            and (closed is None or closed.timestamp < last.timestamp)
            and not (self.overlap and self.passed(record, last))
        ):
            super().accept(records.Candle(**{name: getattr(last, name) for name in _FIELDS} | {"closed": True}))
        super().accept(record)
        self.intact = True

    def open_holes(self, gap_type: GapType, why: str, lost_from: int, lost_to: int | None, *, detected: int) -> None:
        """Publish the gaps; the candle that is open may have changed in them."""
        self.intact = False
        super().open_holes(gap_type, why, lost_from, lost_to, detected=detected)
