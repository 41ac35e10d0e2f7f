"""Gaps on record beside gaps made, by their bounds.

Where numbers have no holes, the numbers that no stored row has are what was missed, and each run of them is one gap on
record, from its first to its last number; so is every gap. Elsewhere a gap's times are the last row's before it and the
first one's behind it, and no row lies between. A row that came late (`swap`), or under a number that is not its own
(`unchain`), lies in a gap that was rightly recorded before it came.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.chaos.account import BY_SEND_TIME
from benchmarks.faults import rows
from benchmarks.faults.rows import Bounds, Numbered, Series, Told
from schemas import subjects
from schemas.spans import Spans
from services.shared.exchanges.declaration import Numbering
from services.shared.exchanges.registry import MARKETS

SPOILED = frozenset({"drop", "truncate", "swap", "unchain"})
"""What was made of a frame that need not have arrived: an unchained change may seem to be one that was told before."""
_OUT_OF_ORDER_US = 5_000_000
"""So near to a frame that came late, the last row before a gap need not be the youngest."""


class Compared(NamedTuple):
    """How many gaps were compared, by exchange and by what, and how they differ, in words."""

    by_number: Counter[str]
    by_time: Counter[str]
    numbers: Counter[str]
    """How many numbers are missing, by exchange."""
    wrong: list[str]


def compare(data: Path) -> Compared:
    """Compare all gaps of a run, and all that is missing."""
    found = Compared(Counter(), Counter(), Counter(), [])
    recorded: dict[Series, list[Bounds]] = defaultdict(list)
    timed: dict[tuple[str, bool], list[Bounds]] = defaultdict(list)
    for gap in rows.gaps(data):
        if gap.gap_type not in ("sequence", "disconnect", "unsynced"):
            found.wrong.append(f"nothing was done that makes such a gap: {gap}")
        elif gap.first is not None:
            recorded[gap.instrument, gap.kind].append(gap)
        elif gap.after_us is not None and gap.before_us is not None and gap.gap_type == "disconnect":
            timed[gap.kind, _by_send_time(gap)].append(gap)
    stored, told = rows.numbered(data), rows.told(data)
    for series in stored.keys() | recorded.keys():
        missing = of_numbers(recorded[series], stored.get(series, ()), told.get(series, ()), found.wrong)
        found.numbers[series[0][0]] += sum(last - first + 1 for first, last in missing)
        found.by_number[series[0][0]] += len(recorded[series])
    swapped = rows.swapped(data)
    for series, events in told.items():
        found.wrong.extend(silently_lost(series, events, stored.get(series, ())))
    for (kind, sent), these in timed.items():
        moments = rows.moments(data, kind, sent)
        for gap in these:
            if not _told_once(gap):
                continue
            near = _OUT_OF_ORDER_US if kind == "quote" or (gap.instrument, kind) in swapped else 0
            found.wrong.extend(of_times(gap, _moments_of(gap, moments), near))
            found.by_time[gap.instrument[0]] += 1
    return found


def of_numbers(gaps: Sequence[Bounds], stored: Collection[Numbered], told: Collection[Told], wrong: list[str]) -> Spans:
    """Compare one series' gaps with the numbers that no stored row has, and return these."""
    held = Spans((row.before + 1, row.last) for row in stored)
    begun = [gap.first for gap in gaps if gap.first is not None and gap.last is not None]  # by a book that is no row
    whole = Spans([(min([held.pairs[0][0], *begun]), held.pairs[-1][1])] if held else [])
    missing = whole - held
    late = Spans((event.before + 1, event.last) for event in told if event.fault in ("swap", "unchain"))
    left = missing
    for gap in gaps:
        assert gap.first is not None
        if gap.last is None:
            if held and gap.first <= held.pairs[-1][1]:
                wrong.append(f"rows behind it are stored, and it has no end: {gap}")
            continue
        own = Spans([(gap.first, gap.last)])
        lost = own - (own - missing)
        if lost != own - (late - missing):
            wrong.append(f"of its numbers {own - (own - held)} are stored: {gap}")
        if lost - left:
            wrong.append(f"other gaps have {lost - left} as well: {gap}")
        left -= own
        wrong.extend(_edges(gap, stored))
    wrong.extend(f"{_name(gaps, stored)} {first} to {last} are nowhere and in no gap" for first, last in left)
    return missing


def _name(gaps: Sequence[Bounds], stored: Collection[Numbered]) -> str:
    return str(gaps[0]).partition(":")[0] if gaps else f"a series of {len(stored)} rows without a gap:"


def _edges(gap: Bounds, stored: Collection[Numbered]) -> Iterator[str]:
    """Say when a gap's times are not those of the rows on both sides of its numbers.

    Before it may be the book that a stream begins with, which is no row.
    """
    assert gap.first is not None
    before = {row.at_us for row in stored if row.last == gap.first - 1}
    behind = {row.at_us for row in stored if row.before == gap.last}
    begun = not before and gap.kind == "book_change" and MARKETS[gap.instrument[:2]].book_snapshot is None
    if gap.after_us is None or (gap.after_us + 1 not in before and not begun):
        yield f"the rows that end at {gap.first - 1} have the times {sorted(before)}: {gap}"
    if gap.before_us is None or gap.before_us - 1 not in behind:
        yield f"the rows that follow {gap.last} have the times {sorted(behind)}: {gap}"


def silently_lost(series: Series, told: Sequence[Told], stored: Collection[Numbered]) -> Iterator[str]:
    """Yield what did not arrive although no fault befell it, and what came later on its connection did arrive."""
    arrived = {(row.before, row.last) for row in stored}
    later: set[int] = set()
    for event in reversed(told):
        if (event.before, event.last) in arrived:
            later.add(event.connection)
        elif event.connection in later and event.fault not in SPOILED:
            yield f"{' '.join((*series[0], series[1]))} {event} is not stored, and what follows it is"


def of_times(gap: Bounds, moments: Sequence[int], near_us: int) -> Iterator[str]:
    """Compare a gap's times with those of the stored rows, ascending; up to `near_us` from its ends rows may lie."""
    assert gap.after_us is not None and gap.before_us is not None
    candle = gap.kind == "candle"
    first, last = (gap.after_us, gap.before_us) if candle else (gap.after_us + 1, gap.before_us - 1)
    inside = moments[bisect_right(moments, first + near_us) : bisect_left(moments, last - near_us)]
    if inside:
        yield f"{len(inside)} rows lie in it, the first at {inside[0]}: {gap}"
    ends = (last,) if candle else (first, last)
    for end in ends:
        if (at := bisect_left(moments, end)) == len(moments) or moments[at] != end:
            yield f"no row has the time {end}: {gap}"


def _by_send_time(gap: Bounds) -> bool:
    """Whether a gap's times are when the exchange sent its rows: so where a row's own time does not order them."""
    if gap.kind == "trade":
        return rows.NUMBERING[gap.instrument[:2]] is Numbering.NONE
    return gap.kind not in BY_SEND_TIME and gap.kind != "candle"


def _told_once(gap: Bounds) -> bool:
    """Whether one channel alone tells of a gap's kind: where two do, each has rows in the gaps of the other."""
    channels = MARKETS[gap.instrument[:2]].channels.values()
    return sum(gap.kind in channel.kinds and channel.interval == gap.interval for channel in channels) == 1


def _moments_of(gap: Bounds, moments: Mapping[tuple[tuple[str, str, str], str | None], set[int]]) -> list[int]:
    exchange, market, symbol = gap.instrument
    if symbol != subjects.ALL:
        return sorted(moments.get((gap.instrument, gap.interval), ()))
    everybody = (found for (of, _), found in moments.items() if of[:2] == (exchange, market))
    return sorted(set[int]().union(*everybody))
