"""What a gap is about: a series of rows, the places in it that are missing, and how much that matters.

A place is a row's number, or its time: in steps of the grid where the history has one, else in microseconds. Places of
one series are whole numbers whose runs are spans, whatever they stand for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from schemas import records, tables
from schemas.records import Gap
from schemas.spans import Spans
from services.shared.exchanges.history import History

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
DAY_US = 24 * HOUR_US
UNTOLD_US = 15 * SECOND_US
"""How long the first row behind a gap may take to come, before the exchange is asked what there is."""

Priority = Literal["urgent", "recent", "historical"]
RANKS: Mapping[Priority | None, int] = {"urgent": 0, "recent": 1, "historical": 2, None: 3}


class Series(NamedTuple):
    """Rows of one kind of one instrument; `interval` tells apart what a kind has several of."""

    exchange: str
    market: str
    symbol: str
    kind: str
    interval: str | None


def series_of(gap: Gap) -> Series:
    """Return the series that a gap is in."""
    return Series(gap.exchange, gap.market, gap.symbol, gap.kind, gap.interval)


@dataclass(frozen=True, slots=True)
class Ages:
    """Up to which age (microseconds) a gap is urgent, and up to which it is recent."""

    urgent_us: int = HOUR_US
    recent_us: int = DAY_US

    def priority(self, age_us: int) -> Priority:
        """Return the priority of what is so old."""
        return "urgent" if age_us < self.urgent_us else "recent" if age_us < self.recent_us else "historical"


_DAYS = re.compile(r"toIntervalDay\((\d+)\)")
_TABLE_OF = {table.record.KIND: table for table in tables.TABLES}


def table_of(kind: str) -> tables.Table:
    """Return the table of a kind. Raises KeyError."""
    return _TABLE_OF[kind]


def retention_us(kind: str, interval: str | None) -> int | None:
    """Return how long rows of a series are kept, microseconds; None: for ever."""
    if kind == records.Candle.KIND:
        days = tables.CANDLE_RETENTION_DAYS.get(interval or "")
        return None if days is None else days * DAY_US
    found = _DAYS.search(table_of(kind).ttl or "")
    return int(found[1]) * DAY_US if found else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """These places are missing, as far as is known; look whether they are there, not before `ripe_at` (our clock)."""

    places: Spans
    ripe_at: int


@dataclass(frozen=True, slots=True)
class Wait:
    """The gap's bounds are not known yet."""


@dataclass(frozen=True, slots=True)
class Untold:
    """No row behind the gap has told its far side: what the exchange serves from the place `first` on will tell it.

    It is asked at `due_at` (our clock), when a row that was heard live would have come.
    """

    first: int
    due_at: int


@dataclass(frozen=True, slots=True)
class Lost:
    """Nothing of it can be had any more, for this reason."""

    reason: str


def judge(gap: Gap, history: History | None, now: int) -> Wanted | Wait | Untold | Lost:
    """Say what is to be asked for to fill a gap, from its bounds alone."""
    if history is None:
        return Lost("the exchange serves no history of this")
    kept = retention_us(gap.kind, gap.interval)
    oldest = max(
        0 if kept is None else now - kept,
        0 if history.reach_us is None else now - history.reach_us,
    )
    until = gap.before_timestamp or gap.lost_to
    if until is not None and until <= oldest:
        return Lost("it is older than what is kept or served")
    if history.keyed == "id":
        return _numbered(gap)
    return _timed(gap, history, oldest)


def _numbered(gap: Gap) -> Wanted | Wait | Untold | Lost:
    if gap.first_missing is None:
        return Lost("nothing was known of the numbers before it")
    if gap.last_missing is None:
        heard_again = gap.detection_time if gap.gap_type == "ring" else gap.lost_to
        return Wait() if heard_again is None else Untold(gap.first_missing, heard_again + UNTOLD_US)
    return Wanted(Spans([(gap.first_missing, gap.last_missing)]), gap.detection_time)


def _timed(gap: Gap, history: History, oldest: int) -> Wanted | Wait:
    """Bounds are exclusive. A row that stands for a while is in the gap if its end is, whether its begin is or not."""
    step, length = history.step_us, history.length_us
    after = gap.after_timestamp if gap.after_timestamp is not None else (gap.lost_from or gap.timestamp) - length
    after = max(after, oldest - 1)
    if gap.before_timestamp is not None:
        last = gap.before_timestamp - 1
    elif gap.lost_to is not None:
        last = gap.lost_to - length
    else:
        return Wait()
    places = Spans([(after // step + 1, last // step)])
    settled = gap.before_timestamp is not None and length
    ripe_at = places.last * step + length + history.delay_us if places and not settled else gap.detection_time
    return Wanted(places, ripe_at)


def age_us(gap: Gap, now: int) -> int:
    """Return how old the newest missing thing of a gap is at most."""
    return now - (gap.before_timestamp or gap.lost_to or gap.detection_time)


def keys_of(places: Spans, history: History) -> Spans:
    """Return the keys (numbers or microseconds) at these places, as a frame's header has them."""
    step = history.step_us
    return places if step == 1 else Spans((first * step, last * step) for first, last in places)


def places_of(keys: Spans, history: History) -> Spans:
    """Return the places of keys."""
    step = history.step_us
    return keys if step == 1 else Spans((-(-first // step), last // step) for first, last in keys)


def reaches_beyond(told: Gap, known: Gap) -> bool:
    """Return whether a finder tells of numbers that were not known to be missing when the gap was closed."""
    if told.last_missing is None or known.first_missing is None:
        return False
    return told.last_missing > (known.first_missing - 1 if known.last_missing is None else known.last_missing)
