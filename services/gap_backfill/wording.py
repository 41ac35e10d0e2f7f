"""How a gap's evidence is worded."""

from __future__ import annotations

from schemas.records import Gap
from schemas.spans import Spans


def cause(gap: Gap) -> str:
    """Return what a gap was found by, without what was said of it later."""
    return gap.evidence.split("; ", 1)[0]


def shortened(places: Spans, most: int = 20) -> str:
    """Return the first so many runs of places, and how many more there are."""
    runs = list(places)
    return str(Spans(runs[:most])) + (f" and {len(runs) - most} runs more" if len(runs) > most else "")
