"""When symbols are asked for: soon after they come, then once a period, evenly, whoever else comes or goes."""

from __future__ import annotations

from itertools import pairwise

import pytest

from services.collector.polling_schedule import (
    AGAIN_S,
    FIRST_ROUND_SHARE,
    NOT_YET_S,
    Schedule,
    Settling,
    first_spacing_s,
)
from services.shared.exchanges.binance_perp import BINANCE_PERP
from services.shared.exchanges.declaration import AUDIT, Market
from services.shared.exchanges.okx_perp import OKX_PERP

START = 1_000.0


def asked(schedule: Schedule, until: float) -> list[tuple[float, str]]:
    """Go from turn to turn up to a time; return when each symbol was asked for, counted from the start."""
    found: list[tuple[float, str]] = []
    while (due := schedule.next_due()) is not None and due <= until:
        for symbol in schedule.take(due):
            found.append((due - START, symbol))
            schedule.answered(symbol)
    return found


def test_the_first_round_is_as_fast_as_spaced_and_every_symbol_has_its_turn_in_each_period() -> None:
    schedule = Schedule(300.0, 0.5)
    symbols = [f"S{number}" for number in range(100)]
    schedule.collect(symbols, START)
    turns = asked(schedule, START + 1_500)
    first = {symbol: at for at, symbol in reversed(turns)}
    assert [first[symbol] for symbol in symbols] == [number * 0.5 for number in range(100)]
    for symbol in symbols:
        own = [at for at, name in turns if name == symbol]
        assert all(0.001 < later - at < 300.001 for at, later in pairwise(own))
    for start in (300, 600, 900, 1_200):
        for part in range(4):  # evenly: a quarter of the symbols in a quarter of the period
            here = [at for at, _ in turns if start + 75 * part <= at < start + 75 * (part + 1)]
            assert 23 <= len(here) <= 27


def test_a_first_round_takes_no_longer_than_a_period() -> None:
    schedule = Schedule(60.0, 10.0)
    schedule.collect([f"S{number}" for number in range(100)], START)
    assert len({symbol for _, symbol in asked(schedule, START + 60.0)}) == 100


def test_a_new_symbol_is_asked_for_at_once_and_moves_no_other() -> None:
    alone, joined = Schedule(300.0, 0.5), Schedule(300.0, 0.5)
    for schedule in (alone, joined):
        schedule.collect(["A", "B"], START)
        asked(schedule, START + 50)
    joined.collect(["A", "NEW", "B"], START + 50)
    turns = asked(joined, START + 900)
    assert turns[0] == (50.0, "NEW")
    assert [turn for turn in turns if turn[1] != "NEW"] == asked(alone, START + 900)


def test_who_has_no_answer_yet_goes_before_who_has_one() -> None:
    schedule = Schedule(60.0, 0.0)
    symbols = ["A", "B", "C", "D"]
    schedule.collect(symbols, START)
    assert list(schedule.take(START)) == symbols
    schedule.answered("A")
    assert list(schedule.take(START + 300)) == []  # the budget gives the others no leave
    schedule.answered("B")
    schedule.failed("C", START + 300)
    assert list(schedule.take(START + 300 + AGAIN_S)) == ["C"]  # asked for in vain: it has no answer either
    schedule.answered("C")
    schedule.collect(["A", "B", "C"], START + 320)  # D is given up
    assert sorted(schedule.take(START + 900)) == ["A", "B", "C"]


def test_a_symbol_that_is_given_up_is_asked_for_no_more_and_one_that_comes_again_is_new() -> None:
    schedule = Schedule(300.0, 0.5)
    schedule.collect(["A", "B"], START)
    asked(schedule, START + 10)
    schedule.collect(["B"], START + 10)
    assert {symbol for _, symbol in asked(schedule, START + 900)} == {"B"}
    schedule.collect(["A", "B"], START + 900)
    assert list(schedule.take(START + 900)) == ["A"]


def test_what_may_not_be_asked_for_yet_is_looked_at_again_soon() -> None:
    schedule = Schedule(300.0, 0.0)
    schedule.collect(["A", "B"], START)
    assert list(schedule.take(START, lambda symbol: symbol == "B")) == ["B"]
    assert schedule.next_due() == START + NOT_YET_S
    assert list(schedule.take(START + NOT_YET_S)) == ["A"]


def test_after_a_pause_each_symbol_is_asked_for_once() -> None:
    schedule = Schedule(60.0, 0.0)
    schedule.collect(["A", "B", "C"], START)
    assert [name for _, name in asked(schedule, START)] == ["A", "B", "C"]
    assert sorted(schedule.take(START + 10_000)) == ["A", "B", "C"]
    assert list(schedule.take(START + 10_000)) == []


def test_what_failed_is_asked_for_again_ever_later_and_then_at_its_turns() -> None:
    schedule = Schedule(300.0, 0.0)
    schedule.collect(["A"], START)
    at, asked_at = START, []
    for _ in range(8):
        assert list(schedule.take(at)) == ["A"]
        asked_at.append(at)
        schedule.failed("A", at)
        at = schedule.next_due() or 0.0
    waits = [later - before for before, later in pairwise(asked_at)]
    assert waits[:3] == [AGAIN_S, 2 * AGAIN_S, 4 * AGAIN_S]
    assert all(0 < wait < 300.001 for wait in waits)
    assert asked_at[-1] - asked_at[-2] == pytest.approx(300.0)
    list(schedule.take(at))
    schedule.answered("A")
    at = schedule.next_due() or 0.0
    list(schedule.take(at))
    schedule.failed("A", at)
    schedule.failed("B", at)
    assert schedule.next_due() == at + AGAIN_S, "after an answer the waits begin anew; B is nobody's"


def test_what_is_not_as_it_should_must_settle_again() -> None:
    settling = Settling(20.0)
    looks = ((True, 0.0), (True, 19.9), (True, 20.0), (False, 21.0), (True, 22.0), (True, 41.0), (True, 42.0))
    assert [settling.settled("A", good, START + at) for good, at in looks] == [*[False] * 2, True, *[False] * 3, True]
    assert not settling.settled("B", True, START + 42.0), "each symbol by itself"


@pytest.mark.parametrize(
    ("market", "poll", "window_s"),
    [
        (BINANCE_PERP, "open_interest", 60 / 2_400),
        (BINANCE_PERP, "lsr_all_accounts", 300 / 1_000),
        (BINANCE_PERP, AUDIT, 60 * BINANCE_PERP.polls[AUDIT].weight / 2_400),
        (OKX_PERP, "lsr_all_accounts", 2 / 5),
    ],
)
def test_a_first_round_is_spaced_by_the_scarcest_limit(market: Market, poll: str, window_s: float) -> None:
    assert first_spacing_s(market.polls[poll], market.rest) == pytest.approx(window_s / FIRST_ROUND_SHARE)
