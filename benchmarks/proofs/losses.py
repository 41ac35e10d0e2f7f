"""What was lost on purpose beside what a proof says: never complete where something is gone, never missing elsewhere.

Pure. Times are microseconds UTC.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from services.command_line.proof import MINUTE_US, Stretch
from services.command_line.prove import Proved

Series = tuple[str, str, str, str]
"""Exchange, market, symbol, kind."""

HOPS = ("simulator", "raw", "md", "table")
"""Where something is lost: on the way to the collector, of the two streams before they are read, of a table."""

BY_NUMBER = ("trade", "book_change")
"""Kinds that exchanges number: what is missing lies between two of them, however long that is."""
BY_COUNT = "in no table"
"""How it is told that a table has fewer rows than were made in a minute."""
WELL = ("complete", "silent")
_CANDLE = "candle"
_FROM_CANDLES_US = 10_000_000
"""So long after its end a candle may be closed by a frame that was lost."""


class Loss(NamedTuple):
    """Something of a series is gone that was said between `first` and `last`, both inclusive.

    `sure`: a row is missing for it; else one may be, since its frame could have brought one (a candle's last update).
    """

    hop: str
    series: Series
    first: int
    last: int
    sure: bool = True


class Judged(NamedTuple):
    """How a proof stands beside what was lost."""

    found: dict[str, int]
    """Losses that the proof does not pass over, by hop."""
    passed_over: list[str]
    """Losses in stretches that were called complete or silent."""
    false_alarms: list[str]
    """Stretches that were called missing though nothing is gone."""
    minutes: dict[str, int]
    """Minutes of all series by the worst that was said of them."""


def judge(proved: Iterable[Proved], losses: Iterable[Loss], first: int, last: int) -> Judged:
    """Hold proofs of the window from `first` until before `last` against what was lost in it."""
    by_series: Mapping[Series, list[Loss]] = defaultdict(list)
    for loss in losses:
        by_series[loss.series].append(loss)
    judged = Judged(dict.fromkeys(HOPS, 0), [], [], defaultdict(int))
    for one in proved:
        series = (one.exchange, one.market, one.symbol, one.kind)
        gone = by_series[series]
        for loss in gone if one.kind != _CANDLE else ():
            if not loss.sure or loss.first < first or loss.last >= last:
                continue
            said = [stretch for stretch in one.stretches if stretch.first <= loss.last and stretch.last > loss.first]
            if all(stretch.verdict in WELL for stretch in said):
                judged.passed_over.append(f"{loss}: {said}")
            else:
                judged.found[loss.hop] += 1
        for piece in _pieces(one):
            slack = _FROM_CANDLES_US if one.kind == _CANDLE else 0
            if not any(loss.first <= piece.last + slack and loss.last >= piece.first for loss in gone):
                judged.false_alarms.append(f"{' '.join(series)} {one.interval or ''}: {piece}")
        for verdict in _by_minute(one.stretches, first, last).values():
            judged.minutes[verdict] += 1
    return judged


def judge_candles(proved: Iterable[Proved], deleted: Mapping[tuple[Series, str], set[int]]) -> Judged:
    """Hold proofs of candles against the open times, by series and interval, of those that were taken away."""
    judged = Judged(dict.fromkeys(HOPS, 0), [], [], {})
    for one in proved:
        series = (one.exchange, one.market, one.symbol, one.kind)
        for at in deleted.get((series, one.interval or ""), ()):
            said = [stretch for stretch in one.stretches if stretch.first <= at < stretch.last]
            if all(stretch.verdict in WELL for stretch in said):
                judged.passed_over.append(f"{' '.join(series)} {one.interval} {at}: {said}")
            else:
                judged.found["table"] += 1
    return judged


def _pieces(one: Proved) -> Iterator[Stretch]:
    """Return what is called missing: between two numbers whole, else by the minute, which is as exact as counts are."""
    for stretch in one.stretches:
        if stretch.verdict != "missing":
            continue
        if stretch.detail.endswith(BY_COUNT):
            first, last = stretch.first // MINUTE_US * MINUTE_US, -(-stretch.last // MINUTE_US) * MINUTE_US
            stretch = stretch._replace(first=first, last=last)
        elif one.kind in BY_NUMBER or stretch.last - stretch.first <= MINUTE_US:
            yield stretch
            continue
        at = stretch.first
        while at < stretch.last:
            end = min(stretch.last, (at // MINUTE_US + 1) * MINUTE_US)
            yield stretch._replace(first=at, last=end)
            at = end


def _by_minute(stretches: Iterable[Stretch], first: int, last: int) -> dict[int, str]:
    """Return the worst that is said of each minute."""
    order = ("missing", "unproven", "complete", "silent")
    found: dict[int, str] = {}
    for stretch in stretches:
        begin, end = max(stretch.first, first), min(stretch.last, last)
        for minute in range(begin // MINUTE_US, -(-end // MINUTE_US)):
            found[minute] = min(found.get(minute, "silent"), stretch.verdict, key=order.index)
    return found
