"""Counting what goes out of one partition, for the unit of the instrument that it is about."""

from __future__ import annotations

from collections.abc import Mapping

from schemas import subjects
from services.normaliser.desk import Desk
from services.normaliser.tally import MINUTE_US, Instrument
from services.normaliser.units import Unit

NOT_COUNTED = frozenset(("instrument", "connection", "book_audit", "clock_offset", "coverage", "gap", "dead"))
"""What no exchange says of its market."""


_NEVER = 1 << 62


class Counting:
    """Counts a message's records, and tells the counts of a minute when a later one has begun on our clock.

    A record about an instrument without a unit of its own in this partition is counted by its market's `_all` unit.
    """

    def __init__(self, desk: Desk, units: Mapping[Instrument, Unit]) -> None:
        self._desk = desk
        self._units = units
        self._oldest = _NEVER
        """No unit has a minute to tell before one later than this."""
        self._counted_by: dict[str, Unit | None] = {}

    def forget(self) -> None:
        """There is a new unit: look up anew who counts what, and what is due."""
        self._counted_by.clear()
        self._oldest = 0

    def count(self, raw_sequence: int) -> None:
        """Count what is in the tray, of the RAW message `raw_sequence`."""
        for output in self._desk.tray:
            try:
                unit = self._counted_by[output.subject]
            except KeyError:
                unit = self._counted_by[output.subject] = self._counter(output.subject)
            if unit is not None and raw_sequence > unit.seen:
                unit.tally.count(output.subject, output.body)

    def turn(self, raw_sequence: int, now: int) -> None:
        """Tell the minutes that are over when the RAW message `raw_sequence` is about to be read, received at `now`.

        Whether a unit does depends on its own state and the message alone, so that a restart tells the same.
        """
        minute = now // MINUTE_US
        if minute <= self._oldest:
            return
        for name in sorted(self._units):
            unit = self._units[name]
            if unit.tally.minute < minute and raw_sequence > unit.seen:
                for coverage in unit.tally.tell(minute, unit.frames(), name, now):
                    self._desk.emit(coverage)
        self._oldest = min(unit.tally.minute for unit in self._units.values())

    def _counter(self, subject: str) -> Unit | None:
        prefix, kind, *_ = tokens = subject.split(".")
        if prefix != "md" or kind in NOT_COUNTED:
            return None
        exchange, market, symbol = tokens[2:]
        return self._units.get((exchange, market, symbol)) or self._units.get((exchange, market, subjects.ALL))
