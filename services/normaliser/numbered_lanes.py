"""Lanes whose records the exchange numbers: trades, mostly without holes, and quotes with holes."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from schemas import records
from schemas.spans import Pair, Spans
from services.normaliser.desk import Desk
from services.normaliser.gaps import Hole, Skip, gap_of
from services.normaliser.lane import Lane
from services.normaliser.sayings import same
from services.shared.exchanges.declaration import Channel, Numbering

_MOST_SKIPS = 64
"""Jumps that are remembered, the newest: what was jumped over longer ago comes no more."""
_MOST_LATE = 4_096
"""Runs of trades stored late that are remembered, the newest: gaps older than that are long closed."""


class NumberedLane(Lane):
    """Trades by number: where numbers have no holes a jump is a gap, known exactly.

    One not above the last is old, unless it was jumped over: frames may come out of order. It is stored then, late, and
    a gap of which all has come is told to be filled.
    """

    by_ones: ClassVar[bool] = True

    def __init__(self, desk: Desk, exchange: str, market: str, symbol: str, channel: Channel) -> None:
        super().__init__(desk, exchange, market, symbol, channel)
        self._spans = channel.numbering is Numbering.SPANS
        self._rises = channel.numbering is Numbering.RISING
        self.skips: list[Skip] = []
        """Jumps over numbers that may still come, oldest first."""
        self.first: int | None = None
        """The lowest number told since the numbers began: what comes late from below it was never told."""
        self.late = Spans()
        """Numbers of the trades that came late: the exchange's history must not bring them once more."""
        desk.late[exchange, market, symbol, channel.kinds[0], None] = self._came_late

    def accept(self, record: records.Record) -> None:
        """Put the leader's next trade out, with the gap before it if numbers were skipped."""
        assert isinstance(record, records.Trade)
        last = self.last.get(record.KIND)
        number = record.sequence
        if number is not None and isinstance(last, records.Trade) and last.sequence is not None:
            if number <= last.sequence:
                self._old(record, number)
                return
            if self.holes:
                if self.desk.was_refilled(record):
                    self.desk.counters.duplicates += 1  # late: the exchange has told the far side before it did
                    return
                self.settle(record.KIND, record)
            elif self._rises:
                self._jumped(None, record, ((last.sequence + 1, number - 1),))
            elif number != last.sequence + 1 and self._before(record, number) > last.sequence:
                self._skipped(last, last.sequence, record, number)
        else:
            self.first = self._first_of(record, number)
            if self.holes:
                self.settle(record.KIND, record)
        self.last[record.KIND] = record
        self.desk.emit(record)

    def _first_of(self, record: records.Trade, number: int | None) -> int | None:
        return number if number is None or self._rises else self._before(record, number) + 1

    def _before(self, record: records.Trade, number: int) -> int:
        """Return the number at which the trade before this one ended, as far as numbers tell."""
        if self._rises:
            return -1
        if not self._spans:
            return number - 1
        return number - (record.trade_count or 1) if record.first_trade_id is None else record.first_trade_id - 1

    def _skipped(self, last: records.Trade, last_number: int, record: records.Trade, number: int) -> None:
        hole = Hole(
            gap_type="sequence",
            evidence=f"id {self._before(record, number) + 1} follows {last_number}",
            detected=record.received_at,
            lost_from=last.received_at,
            lost_to=record.received_at,
            after=last.timestamp - 1,
            last_sequence=last_number,
        )
        before = self._before(record, number)
        self._jumped(hole, record, ((last_number + 1, before),))
        self.tell_gap(
            gap_of(
                self.place(record.KIND),
                hole,
                received_at=record.received_at,
                before=record.timestamp + 1,
                last_missing=before,
            )
        )

    def _jumped(self, hole: Hole | None, record: records.Trade, over: tuple[Pair, ...]) -> None:
        """Remember the numbers that were jumped over, if there are any between."""
        if over[0][0] <= over[0][1]:
            self.skips.append(Skip(hole, record.timestamp + 1, over))
            del self.skips[:-_MOST_SKIPS]

    def _old(self, record: records.Trade, number: int) -> None:
        """Take a trade not above the last one: stored if it was jumped over or lies before all, else repeated."""
        for skip in self.skips:
            missing = Spans(skip.missing)
            if number not in missing:
                continue
            begins = number if self._rises else self._before(record, number) + 1
            left = missing - Spans(((begins, number),))
            skip.missing = left.pairs
            if self.desk.was_refilled(record):
                break
            self._remember_late(number)
            self.desk.emit(record)
            if not left:
                self.skips.remove(skip)
                if skip.hole is not None:
                    self._filled(skip.hole, skip.before, record, number)
            return
        if self.first is not None and number < self.first and not self.desk.was_refilled(record):
            self.first = self._first_of(record, number)
            self._remember_late(number)
            self.desk.emit(record)
            return
        self.desk.counters.duplicates += 1

    def _filled(self, hole: Hole, before: int, record: records.Trade, number: int) -> None:
        self.tell_gap(
            gap_of(
                self.place(record.KIND),
                hole,
                received_at=record.received_at,
                before=before,
                status="filled",
                evidence=f"all came later, out of order; {number} was the last",
            )
        )

    def _remember_late(self, number: int) -> None:
        self.late = Spans((self.late | Spans.of((number,))).pairs[-_MOST_LATE:])

    def _came_late(self, record: records.Record) -> bool:
        """Whether a trade came late. Asked once: one that goes missing from its table afterwards may be refilled."""
        number = Spans.of((_number(record),))
        came = bool(self.late & number)
        self.late -= number
        return came

    def interrupted(self) -> None:
        """Coverage begins anew after a hole: what was jumped over before comes no more."""
        super().interrupted()
        self.skips = []

    def begin_anew(self) -> None:
        """Whatever comes next follows nothing that was before: numbers may have begun anew too."""
        super().begin_anew()
        self.first = None
        for kind, last in self.last.items():
            self.last[kind] = msgspec.structs.replace(last, sequence=None)

    def passed(self, record: records.Record, last: records.Record) -> bool:
        """Whether a trade's number is not above the last one's."""
        return _number(record) <= _number(last)

    def said(self, record: records.Record, last: records.Record) -> bool:
        """Whether `record` is `last` once more."""
        return _number(record) == _number(last)

    def known_by(self, record: records.Record) -> int | None:
        """Return a trade's number."""
        return record.sequence if isinstance(record, records.Trade) else None

    def moment(self, record: records.Record) -> int:
        """Return the match time."""
        return record.timestamp

    def last_number(self, kind: str) -> int | None:
        """Return the last trade's number, if its successor's is known by it."""
        last = self.last.get(kind)
        return last.sequence if isinstance(last, records.Trade) and not self._rises else None

    def settle(self, kind: str, record: records.Record) -> None:
        """Publish a hole once more: the numbers say exactly what was missed, or that nothing was."""
        hole = self.holes.get(kind)
        assert isinstance(record, records.Trade)
        if hole is None or hole.last_sequence is None or record.sequence is None:
            super().settle(kind, record)
            return
        del self.holes[kind]
        before = self._before(record, record.sequence)
        missing = before > hole.last_sequence
        self.tell_gap(
            gap_of(
                self.place(kind),
                hole,
                received_at=record.received_at,
                before=record.timestamp + 1,
                last_missing=before if missing else None,
                status="open" if missing else "filled",
                evidence=None if missing else f"ids {hole.last_sequence} and {before + 1} are contiguous",
            )
        )


class QuoteLane(Lane):
    """Quotes: numbered, though not without holes."""

    def accept(self, record: records.Record) -> None:
        """Put the leader's next quote out, unless it was already; most are plainly newer than the last."""
        assert isinstance(record, records.Quote)
        last = self.last.get("quote")
        number = record.sequence
        if number is None or last is None or self.holes or self.overlap or number == _number(last):
            super().accept(record)
            return
        self.last["quote"] = record
        self.desk.emit(record)

    def said(self, record: records.Record, last: records.Record) -> bool:
        """Whether `record` is `last` once more: of one number, and equal but for when it was sent."""
        if _number(record) != _number(last):
            return False
        if record.sequence is None:  # type: ignore[attr-defined]  # quotes only come here
            return same(record, last)
        return same(record, msgspec.structs.replace(last, timestamp=record.timestamp, sent_at=_sent_at(record)))

    def passed(self, record: records.Record, last: records.Record) -> bool:
        """Whether a quote's number is not above the last one's."""
        return _number(record) <= _number(last)

    def known_by(self, record: records.Record) -> int | None:
        """Return a quote's number."""
        return record.sequence if isinstance(record, records.Quote) else None

    def moment(self, record: records.Record) -> int:
        """Return the match time, or our receive time where the exchange gives none."""
        return record.timestamp


def _sent_at(record: records.Record) -> int | None:
    sent_at: int | None = getattr(record, "sent_at", None)
    return sent_at


def _number(record: records.Record) -> int:
    number: int | None = getattr(record, "sequence", None)
    return -1 if number is None else number
