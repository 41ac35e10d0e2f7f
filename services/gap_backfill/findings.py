"""Holes that were found in the tables, as gaps."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Literal, NamedTuple

from schemas.records import Gap
from schemas.spans import Spans
from services.gap_backfill.series import Series, Wanted, judge, table_of
from services.shared.exchanges.history import History

GapType = Literal["missing", "downtime", "asked"]


class Hole(NamedTuple):
    """Two rows of a series between which some are missing: key and time (microseconds) of each."""

    series: Series
    before: int
    before_at: int
    behind: int
    behind_at: int


def gaps_of(hole: Hole, history: History, known: Spans, now: int, started_at: int, evidence: str = "") -> Iterator[Gap]:
    """Return the gaps of a hole that are not `known` yet, a run of places each.

    What was missed while this process did not run, all of it or in part, is `downtime`.
    """
    whole = gap_between(hole, history, hole.before + 1, hole.behind - 1, now, "missing", evidence)
    verdict = judge(whole, history, now)
    if not isinstance(verdict, Wanted):
        return
    gap_type: GapType = "downtime" if hole.before_at < started_at < hole.behind_at else "missing"
    for first, last in verdict.places - known:
        step = history.step_us
        yield gap_between(hole, history, first * step, last * step, now, gap_type, evidence)


def gap_between(hole: Hole, history: History, first: int, last: int, now: int, gap_type: GapType, evidence: str) -> Gap:
    """Return the gap from the key `first` to `last`, both missing, in a hole."""
    series, numbered = hole.series, history.keyed == "id"
    after = hole.before_at - 1 if numbered else first - 1
    before = hole.behind_at + 1 if numbered else last + 1
    name = f"{' '.join(map(str, series))} {gap_type} {first} {last} {now}"
    table = table_of(series.kind).name
    return Gap(
        exchange=series.exchange,
        market=series.market,
        symbol=series.symbol,
        timestamp=after,
        timestamp_source="match",
        received_at=now,
        source="backfill",
        gap_id=hashlib.blake2b(name.encode(), digest_size=12).hexdigest(),
        kind=series.kind,
        gap_type=gap_type,
        status="open",
        evidence=evidence or f"{table}: nothing between {hole.before} and {hole.behind}, where {_reason(history)}",
        interval=series.interval,
        first_missing=first if numbered else None,
        last_missing=last if numbered else None,
        after_timestamp=after,
        before_timestamp=before,
        detection_time=now,
    )


def _reason(history: History) -> str:
    if history.keyed == "id":
        return "ids are contiguous"
    if history.keyed == "grid":
        return f"there is a row every {history.step_us // 1_000_000} s"
    return "rows come at even distances"
