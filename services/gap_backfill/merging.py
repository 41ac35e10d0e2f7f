"""One row of the log for one loss: what a scan found of it, and what the normaliser tells of the same places."""

from __future__ import annotations

from schemas.records import Gap
from schemas.spans import Spans
from services.gap_backfill.series import Series, series_of

_OF_A_SCAN = ("missing", "downtime", "asked")


def of_a_scan(gap: Gap) -> bool:
    """Return whether a gap was found in the tables, not in what was received."""
    return gap.gap_type in _OF_A_SCAN


class Scanned:
    """The places of every gap that was found in the tables, by series; those that became part of another are not here.

    Whichever of two findings holds the other stays. Where neither does, both do: they are about different rows, too.
    """

    def __init__(self) -> None:
        self._places: dict[Series, dict[str, Spans]] = {}

    def put(self, gap: Gap, places: Spans) -> None:
        """Keep the places of a gap that a scan found."""
        if places:
            self._places.setdefault(series_of(gap), {})[gap.gap_id] = places

    def forget(self, gap: Gap) -> None:
        """Leave out a gap that is part of another now."""
        self._places.get(series_of(gap), {}).pop(gap.gap_id, None)

    def within(self, gap: Gap, places: Spans) -> list[str]:
        """Return the ids of what was found of these places and of no others."""
        return [name for name, held in self._places.get(series_of(gap), {}).items() if not held - places]

    def around(self, gap: Gap, places: Spans) -> str | None:
        """Return the id of what was found of all of these places, and of more."""
        for name, held in self._places.get(series_of(gap), {}).items():
            if places and held != places and not places - held:
                return name
        return None
