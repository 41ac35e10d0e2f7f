"""What can be proved of a series over a stretch of time: complete, missing, or silent. Pure.

Three kinds of proof, by what the rows are: numbers without holes (a missing one names itself), a grid of times (a row
is due at each), and for everything else the gaps that are on record, the connections that were up, and whether every
record that was made is in its table. Of the last kind a minute is one of our receive clock, and it is proved only once
what was made in it has been counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Literal, NamedTuple

MINUTE_US = 60_000_000

Verdict = Literal["complete", "missing", "silent", "unproven"]


class Stretch(NamedTuple):
    """From `first` until before `last` (microseconds UTC) this holds; `detail` says which rows, and what of them."""

    first: int
    last: int
    verdict: Verdict
    detail: str


class Run(NamedTuple):
    """Rows whose numbers follow one another: first and last number, and the times of these two rows (microseconds)."""

    low: int
    high: int
    low_at: int
    high_at: int
    rows: int


class Known(NamedTuple):
    """A gap on record: its bounds in numbers, if it has such, and in time (microseconds), and how it stands."""

    status: str
    first_missing: int | None
    last_missing: int | None
    first: int
    last: int


class Window(NamedTuple):
    """The time that is asked about, from `first` until before `last`, and the minutes in it that have rows.

    `short`: by how many rows the table differs from the records that were made, by minute: above 0 it has fewer; below,
    it has more, which says that a count is missing itself. `uncounted_from`: the first minute whose count cannot be
    asked for yet, if there is one.
    """

    first: int
    last: int
    busy: frozenset[int]
    short: Mapping[int, int] = MappingProxyType({})
    uncounted_from: int | None = None


def by_number(
    runs: Sequence[Run], gaps: Sequence[Known], up: Sequence[tuple[int, int]], window: Window
) -> list[Stretch]:
    """Prove numbered rows. `runs` begin with the last row before the window and end with the first behind it.

    A number that is missing between two rows was used at some time between them: that stretch, both rows' moments
    included, is not complete. Where no row stands before or behind, gaps, counts and connections (`up`) speak.
    """
    found: list[Stretch] = []
    if not runs:
        return list(_by_record(window.first, window.last, gaps, up, window, "no row before or behind"))
    numbered = window._replace(short={}, uncounted_from=None)
    if runs[0].low_at > window.first:
        found.append(Stretch(window.first, runs[0].low_at, "unproven", "no row before it is on record"))
    for place, run in enumerate(runs):
        if place:
            before = runs[place - 1]
            missing = (before.high + 1, run.low - 1)
            found.append(Stretch(before.high_at, run.low_at + 1, "missing", _ids(missing, gaps)))
        doubled = run.rows - (run.high - run.low + 1)
        told = f"ids {run.low} to {run.high}" + (f", {doubled} rows too many" if doubled > 0 else "")
        begin, end = run.low_at + (place > 0), run.high_at + (place == len(runs) - 1)
        found += _said(begin, end, numbered, told)
    if runs[-1].high_at < window.last:
        found += _by_record(runs[-1].high_at + 1, window.last, gaps, up, window, "no row behind it yet")
    return _tidy(found, window)


def by_grid(
    times: Iterable[int],
    step: int,
    length: int,
    gaps: Sequence[Known],
    due_until: int,
    since: int | None,
    window: Window,
) -> list[Stretch]:
    """Prove rows that are due every `step` microseconds and stand for `length`, if that ended until `due_until`.

    `since`: the time of the first row there ever was; before it nothing was recorded.
    """
    have = set(times)
    found: list[Stretch] = []
    for at in range(-(-window.first // step) * step, window.last, step):
        end = at + max(length, step)
        if since is None or at < since:
            found.append(Stretch(at, end, "unproven", "no row before it is on record"))
        elif at in have:
            found.append(Stretch(at, end, "complete", "every row that was due"))
        elif at + length <= due_until:
            found.append(Stretch(at, end, "missing", _status(at, at + 1, gaps) or "not on record yet"))
        else:
            found.append(Stretch(at, end, "unproven", "not due yet"))
    return _tidy(found, window)


def by_connection(gaps: Sequence[Known], up: Sequence[tuple[int, int]], window: Window) -> list[Stretch]:
    """Prove rows that nothing numbers, by the gaps on record and by when a connection was up."""
    return _tidy(_by_record(window.first, window.last, gaps, up, window, ""), window)


def _by_record(
    begin: int, end: int, gaps: Sequence[Known], up: Sequence[tuple[int, int]], window: Window, why: str
) -> Iterator[Stretch]:
    """Say what gaps, connections and counts tell from `begin` until before `end`; `why` they alone are asked."""
    edges = sorted({begin, end, *(t for g in gaps for t in (g.first, g.last)), *(t for u in up for t in u)})
    for first, last in pairwise(edge for edge in edges if begin <= edge <= end):
        status = _status(first, last, gaps)
        if status is not None:
            yield Stretch(first, last, "missing", status)
        else:
            yield from _by_connection(first, last, up, window, why)


def _by_connection(first: int, last: int, up: Sequence[tuple[int, int]], window: Window, why: str) -> Iterator[Stretch]:
    covered = [(max(first, start), min(last, end)) for start, end in sorted(up) if start < last and end > first]
    at = first
    for start, end in covered:
        if start > at:
            yield Stretch(at, start, "unproven" if why else "missing", why or "not connected")
        if end > at:
            yield from _said(max(at, start), end, window, "a connection was up, no gap is on record")
            at = end
    if at < last:
        yield Stretch(at, last, "unproven" if why else "missing", why or "not connected")


def _said(first: int, last: int, window: Window, told: str) -> Iterator[Stretch]:
    """Cut a stretch in which nothing is missing into minutes with rows and minutes without."""
    at = first
    while at < last:
        minute = at // MINUTE_US
        end = min(last, (minute + 1) * MINUTE_US)
        short = window.short.get(minute, 0)
        if window.uncounted_from is not None and minute >= window.uncounted_from:
            yield Stretch(at, end, "unproven", "not counted yet")
        elif short > 0:
            yield Stretch(at, end, "missing", f"{short} records were made that are in no table")
        elif short < 0:
            yield Stretch(at, end, "unproven", f"the count of what was made is short of {-short} rows")
        elif minute in window.busy:
            yield Stretch(at, end, "complete", told)
        else:
            yield Stretch(at, end, "silent", "the exchange said nothing")
        at = end


def _ids(missing: tuple[int, int], gaps: Sequence[Known]) -> str:
    first, last = missing
    said = {
        gap.status
        for gap in gaps
        if gap.first_missing is not None
        and gap.last_missing is not None
        and gap.first_missing <= last
        and gap.last_missing >= first
    }
    return f"ids {first} to {last}: {_worst(said) or 'not on record yet'}"


def _status(first: int, last: int, gaps: Sequence[Known]) -> str | None:
    return _worst({gap.status for gap in gaps if gap.first < last and gap.last > first})


def _worst(said: set[str]) -> str | None:
    """Return what is to be said of a stretch that several gaps speak about."""
    if said & {"unavailable", "partly_filled"}:
        return "lost for good"
    if said & {"open", "filling"}:
        return "being refilled"
    return None


def _tidy(found: Iterable[Stretch], window: Window) -> list[Stretch]:
    """Clip stretches to the window, and join neighbours that say the same."""
    result: list[Stretch] = []
    for one in sorted(found, key=lambda stretch: (stretch.first, stretch.last)):
        first, last = max(one.first, window.first), min(one.last, window.last)
        if first >= last:
            continue
        if result and result[-1][2:] == one[2:] and result[-1].last >= first:
            result[-1] = result[-1]._replace(last=max(last, result[-1].last))
        else:
            result.append(Stretch(first, last, one.verdict, one.detail))
    return result
