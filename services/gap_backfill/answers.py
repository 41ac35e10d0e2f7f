"""Is an answer what was asked for? Judged before it is published, by the parsers that will read it again."""

from __future__ import annotations

from typing import NamedTuple

from schemas.errors import BadFrame
from schemas.frames import RawFrame
from schemas.records import Record
from schemas.spans import Spans
from services.gap_backfill.filling import Page
from services.shared.exchanges.declaration import Listing


class Found(NamedTuple):
    """The places that an answer holds rows of; `full`: as many rows as an answer may hold, more may lie behind."""

    places: Spans
    full: bool


def judge_answer(page: Page, frame: RawFrame, listing: Listing) -> Found:
    """Return what an answer holds. Raises BadFrame when it cannot be read or is about something else.

    Rows behind the page's last place are nobody's harm (an exchange without a last parameter goes on); one before its
    first, or twice the same, says that the answer is not to be trusted.
    """
    history = page.history
    rows = history.parse(frame, listing)
    step, first = history.step_us, page.first
    places = []
    for row in rows:
        assert isinstance(row, Record)
        if (row.exchange, row.market, row.symbol) != page.series[:3]:
            raise BadFrame(f"an answer about {row.symbol} to a question about {page.series.symbol}")
        place = history.key(row) // step
        if not history.windowed and not first <= place <= page.last:
            continue
        if place < first:
            raise BadFrame(f"the answer begins at {place * step}, before {first * step}, where it was to begin")
        places.append(place)
    if len(set(places)) != len(places) and history.keyed != "time":
        raise BadFrame("the answer holds the same row twice")
    if history.keyed != "id" and places and min(places) > page.last:
        raise BadFrame(f"the answer begins at {min(places) * step}, behind {page.last * step}, where it was to end")
    return Found(Spans.of(places), len(places) >= page.count)
