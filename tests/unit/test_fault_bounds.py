"""The comparison of a faults run: it finds each way in which a gap can differ from what was missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from benchmarks.chaos.account import Instrument
from benchmarks.faults import bounds
from benchmarks.faults.rows import Bounds, Numbered, Told

BTC: Instrument = ("binance", "perp", "BTC-USDT-PERP")
STORED = (Numbered(0, 4, 10), Numbered(4, 6, 20), Numbered(9, 12, 30), Numbered(12, 13, 40))
"""Numbers 7 to 9 are missing, between the times 20 and 30."""


def gap(first: int | None = 7, last: int | None = 9, after: int = 19, before: int = 31, **more: Any) -> Bounds:
    whose = {"instrument": BTC, "kind": "book_change", "interval": None, "gap_type": "sequence", "lost_from_us": 0}
    return Bounds(**(whose | more), first=first, last=last, after_us=after, before_us=before)


@dataclass
class Found:
    missing: list[tuple[int, int]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def compared(gaps: Sequence[Bounds], stored: Sequence[Numbered] = STORED, told: Sequence[Told] = ()) -> Found:
    found = Found()
    found.missing = list(bounds.of_numbers(gaps, stored, told, found.wrong))
    return found


def test_a_gap_of_what_is_missing_is_right() -> None:
    assert compared([gap()]) == Found([(7, 9)])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([], "7 to 9 are nowhere"),
        ([gap(first=6)], "of its numbers 6 are stored"),
        ([gap(last=10)], "of its numbers 10 are stored"),
        ([gap(first=8)], "7 to 7 are nowhere"),
        ([gap(last=8)], "9 to 9 are nowhere"),
        ([gap(), gap()], "other gaps have 7-9 as well"),
        ([gap(last=None)], "it has no end"),
        ([gap(after=20)], "the rows that end at 6 have the times [20]"),
        ([gap(before=30)], "the rows that follow 9 have the times [30]"),
    ],
)
def test_any_other_gap_is_not(wrong: list[Bounds], said: str) -> None:
    assert any(said in text for text in compared(wrong).wrong)


def test_what_came_late_lies_in_the_gap_that_was_recorded_before_it_came() -> None:
    stored = [*STORED, Numbered(7, 9, 25)]
    assert compared([gap()], stored, [Told(1, 7, 9, "swap")]) == Found([(7, 7)])
    assert compared([gap()], stored, [Told(1, 7, 9, None)]).wrong


def test_a_change_under_a_number_that_is_not_its_own_leaves_its_own_out() -> None:
    stored = [Numbered(number - 1, number, number) for number in (1, 2, 3, 2, 5)]
    assert compared([gap(4, 4, after=2, before=6)], stored, [Told(1, 1, 2, "unchain")]) == Found([(4, 4)])


def test_behind_the_last_row_a_gap_has_no_end() -> None:
    assert compared([gap(), gap(first=14, last=None)]).wrong == []


def test_what_is_lost_in_silence_is_told() -> None:
    arrived = [Told(1, 0, 4, None), Told(1, 4, 6, "duplicate"), Told(2, 9, 12, None)]
    spoiled = [Told(1, 6, 7, "drop"), Told(1, 7, 9, "truncate")]
    end = Told(1, 12, 13, None)
    cut = Told(2, 13, 14, None)
    told = [*arrived[:2], *spoiled, end, arrived[2], cut]
    assert list(bounds.silently_lost((BTC, "book_change"), told, STORED)) == []
    (said,) = bounds.silently_lost((BTC, "book_change"), [*told[:2], Told(1, 6, 7, None), *told[2:]], STORED)
    assert "is not stored, and what follows it is" in said


def test_between_the_times_of_a_gap_no_row_lies_and_at_its_ends_one_does() -> None:
    quotes = gap(None, None, after=19, before=31, kind="quote", gap_type="disconnect")
    assert list(bounds.of_times(quotes, [10, 20, 30, 40], 0)) == []
    (inside,) = bounds.of_times(quotes, [10, 20, 25, 30], 0)
    assert "1 rows lie in it, the first at 25" in inside
    (ends,) = bounds.of_times(quotes, [10, 20, 31], 0)
    assert "no row has the time 30" in ends


def test_a_candle_s_gap_begins_behind_a_candle_that_may_not_be_stored() -> None:
    candles = gap(None, None, after=60, before=180, kind="candle", interval="1m", gap_type="disconnect")
    assert list(bounds.of_times(candles, [180], 0)) == []
    assert list(bounds.of_times(candles, [120, 180], 0))
