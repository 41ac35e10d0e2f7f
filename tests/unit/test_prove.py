"""What is said of a stretch of time: never complete where something was lost, never missing where nothing was."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from services.command_line.proof import MINUTE_US, Known, Run, Stretch, Window, by_connection, by_grid, by_number

START = 1_790_000_000_000_000 // MINUTE_US * MINUTE_US
HOUR = 60 * MINUTE_US
SECOND = MINUTE_US // 60


def runs_of(rows: list[tuple[int, int]]) -> list[Run]:
    """Runs of (number, time) as the question to the table gives them."""
    found: list[Run] = []
    for number, at in rows:
        if found and found[-1].high + 1 == number:
            found[-1] = found[-1]._replace(high=number, high_at=at, rows=found[-1].rows + 1)
        else:
            found.append(Run(number, number, at, at, 1))
    return found


def window_of(rows: list[tuple[int, int]], first: int, last: int) -> Window:
    return Window(first, last, frozenset(at // MINUTE_US for _, at in rows if first <= at < last))


def at(stretches: list[Stretch], moment: int) -> str:
    verdicts = [stretch.verdict for stretch in stretches if stretch.first <= moment < stretch.last]
    # Two holes may meet in one row's moment: several trades share a millisecond.
    assert verdicts and (len(verdicts) == 1 or set(verdicts) == {"missing"}), (moment, verdicts)
    return verdicts[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_thousand_single_losses_are_found_and_nothing_else_is_called_missing(seed: int) -> None:
    source = random.Random(seed)
    moment, rows = START, []
    for number in range(30_000):
        # Several in one millisecond, and now and then nothing for minutes.
        moment += 1000 * source.choice((0, 1, 200, 400, 1_000, 3_000)) + (source.random() < 0.002) * 4 * MINUTE_US
        rows.append((number, moment))
    lost = set(source.sample(range(1, 29_999), 1_000))
    stored = [row for row in rows if row[0] not in lost]
    first, last = rows[0][1], rows[-1][1]
    stretches = by_number(runs_of(stored), [], [], window_of(stored, first, last))
    assert (stretches[0].first, stretches[-1].last) == (first, last)
    for one, other in pairwise(stretches):
        assert one.last == other.first or (one.verdict == other.verdict == "missing" and one.last == other.first + 1)
    spoken = {rows[number][1]: number for number in source.sample(sorted(lost), 100)}
    for moment in spoken:
        assert at(stretches, moment) == "missing"
    blamed = [stretch for stretch in stretches if stretch.verdict == "missing"]
    for stretch in blamed:
        assert any(stretch.first <= rows[number][1] < stretch.last for number in lost), stretch
    named = {int(number) for stretch in blamed for number in _ids(stretch.detail)}
    assert named == lost
    assert any(stretch.verdict == "silent" for stretch in stretches)


def _ids(detail: str) -> range:
    words = detail.replace(":", "").split()
    return range(int(words[1]), int(words[3]) + 1)


def test_minutes_without_a_row_between_neighbouring_numbers_are_silent() -> None:
    rows = [(1, START), (2, START + SECOND), (3, START + 5 * MINUTE_US)]
    found = by_number(runs_of(rows), [], [], window_of(rows, START, START + 6 * MINUTE_US))
    assert [(one.first, one.last, one.verdict) for one in found] == [
        (START, START + MINUTE_US, "complete"),
        (START + MINUTE_US, START + 5 * MINUTE_US, "silent"),
        (START + 5 * MINUTE_US, START + 5 * MINUTE_US + 1, "complete"),
        (START + 5 * MINUTE_US + 1, START + 6 * MINUTE_US, "unproven"),
    ]


def test_the_edges_need_a_row_beyond_them_or_a_connection() -> None:
    rows = [(7, START + MINUTE_US)]
    end = START + 2 * MINUTE_US
    found = by_number(runs_of(rows), [], [(START, end)], window_of(rows, START, end))
    assert at(found, START) == "unproven", "what came before the first row is not known"
    assert at(found, START + MINUTE_US) == "complete" and at(found, end - 1) == "complete"
    quiet = by_number(runs_of(rows), [], [(START, end + HOUR)], window_of(rows, START, end + HOUR))
    assert at(quiet, end + MINUTE_US) == "silent"
    assert {one.verdict for one in by_number([], [], [], Window(START, end, frozenset()))} == {"unproven"}


@pytest.mark.parametrize(
    ("status", "said"),
    [("filling", "being refilled"), ("open", "being refilled"), ("unavailable", "lost for good")],
)
def test_what_is_missing_says_whether_it_is_being_refilled(status: str, said: str) -> None:
    rows = [(1, START), (5, START + SECOND)]
    gap = Known(status, 2, 4, START, START + SECOND)
    found = by_number(runs_of(rows), [gap], [], window_of(rows, START, START + 2 * SECOND))
    assert found[0] == Stretch(START, START + SECOND + 1, "missing", f"ids 2 to 4: {said}")
    assert by_number(runs_of(rows), [], [], window_of(rows, START, START + 2))[0].detail.endswith("not on record yet")


def test_rows_that_are_there_twice_are_said() -> None:
    run = Run(1, 9, START, START + SECOND, 11)
    found = by_number([run], [], [], Window(START, START + 1, frozenset([START // MINUTE_US])))
    assert found == [Stretch(START, START + 1, "complete", "ids 1 to 9, 2 rows too many")]


def test_a_grid_names_the_rows_that_were_due_and_are_not_there() -> None:
    times = [START + minute * MINUTE_US for minute in (0, 1, 4, 5)]
    gap = Known("unavailable", None, None, START + 3 * MINUTE_US - 1, START + 4 * MINUTE_US)
    window = Window(START - MINUTE_US, START + 8 * MINUTE_US, frozenset())
    found = by_grid(times, MINUTE_US, MINUTE_US, [gap], START + 7 * MINUTE_US, START, window)
    assert [((one.first - START) // MINUTE_US, (one.last - START) // MINUTE_US, one.verdict) for one in found] == [
        (-1, 0, "unproven"),
        (0, 2, "complete"),
        (2, 3, "missing"),
        (3, 4, "missing"),
        (4, 6, "complete"),
        (6, 7, "missing"),
        (7, 8, "unproven"),
    ]
    assert [one.detail for one in found if one.verdict == "missing"] == [
        "not on record yet",
        "lost for good",
        "not on record yet",
    ]


def test_a_minute_that_is_short_of_rows_is_missing_them_and_no_other_is() -> None:
    minute = START // MINUTE_US
    window = Window(START, START + 4 * MINUTE_US, frozenset([minute, minute + 1]), {minute + 1: 3})
    found = by_connection([], [(START, START + 4 * MINUTE_US)], window)
    assert [(one.first, one.verdict) for one in found if one.verdict == "missing"] == [
        ((minute + 1) * MINUTE_US, "missing")
    ]
    assert "3 records were made that are in no table" in {one.detail for one in found}


def test_what_nothing_numbers_is_judged_by_gaps_and_connections() -> None:
    minute = START // MINUTE_US
    window = Window(START, START + 6 * MINUTE_US, frozenset([minute, minute + 4]))
    up = [(START, START + 3 * MINUTE_US), (START + 2 * MINUTE_US, START + 5 * MINUTE_US)]
    gap = Known("unavailable", None, None, START + MINUTE_US, START + MINUTE_US + SECOND)
    found = by_connection([gap], up, window)
    assert [(one.first - START, one.last - START, one.verdict, one.detail) for one in found] == [
        (0, MINUTE_US, "complete", "a connection was up, no gap is on record"),
        (MINUTE_US, MINUTE_US + SECOND, "missing", "lost for good"),
        (MINUTE_US + SECOND, 4 * MINUTE_US, "silent", "the exchange said nothing"),
        (4 * MINUTE_US, 5 * MINUTE_US, "complete", "a connection was up, no gap is on record"),
        (5 * MINUTE_US, 6 * MINUTE_US, "missing", "not connected"),
    ]


def test_a_minute_whose_count_is_missing_or_not_told_yet_is_not_proved() -> None:
    minute = START // MINUTE_US
    end = START + 4 * MINUTE_US
    window = Window(START, end, frozenset(range(minute, minute + 4)), {minute + 1: -2}, minute + 3)
    found = by_connection([], [(START, end)], window)
    assert [((one.first - START) // MINUTE_US, one.verdict, one.detail) for one in found] == [
        (0, "complete", "a connection was up, no gap is on record"),
        (1, "unproven", "the count of what was made is short of 2 rows"),
        (2, "complete", "a connection was up, no gap is on record"),
        (3, "unproven", "not counted yet"),
    ]


def test_behind_the_last_number_gaps_and_counts_speak() -> None:
    minute = START // MINUTE_US
    rows = [(1, START), (2, START + SECOND)]
    end = START + 5 * MINUTE_US
    window = Window(START, end, frozenset([minute]), {minute: 1, minute + 3: 1}, minute + 4)
    gap = Known("open", 3, None, START + MINUTE_US, START + 2 * MINUTE_US)
    found = by_number(runs_of(rows), [gap], [(START, end)], window)
    assert at(found, START) == "complete", "between numbers without a hole nothing can be missing"
    assert at(found, START + SECOND + 1) == "missing", "more was made in that minute than is stored"
    verdicts = [at(found, START + place * MINUTE_US) for place in (1, 2, 3, 4)]
    assert verdicts == ["missing", "silent", "missing", "unproven"]
