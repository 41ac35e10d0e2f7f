"""Budgets over a rolling window, and backoff."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.collector.pacing import Backoff, Budget, connects_pace
from services.shared.exchanges.binance_perp import BINANCE_PERP

MINUTE_US = 60_000_000

weights = st.integers(0, 50)


@given(st.lists(st.tuples(weights, st.integers(0, 20_000_000)), max_size=150), st.integers(50, 200))
def test_no_rolling_minute_holds_more_than_the_limit(steps: list[tuple[int, int]], limit: int) -> None:
    budget = Budget(limit, MINUTE_US)
    now = 0
    spent: list[tuple[int, int]] = []
    for weight, pause in steps:
        now += pause
        wait = budget.wait_us(weight, now)
        if wait:
            # One microsecond sooner would have been too soon, and then it is time.
            assert budget.wait_us(weight, now + wait - 1) == 1
            now += wait
            assert budget.wait_us(weight, now) == 0
        budget.spend(weight, now)
        spent.append((now, weight))
    for end, _ in spent:
        assert sum(weight for at, weight in spent if end - MINUTE_US < at <= end) <= limit


def test_the_exchange_may_know_of_more_than_we_do() -> None:
    budget = Budget(100, MINUTE_US)
    budget.spend(30, 0)
    budget.correct(20, 1)  # its minute began later than our rolling one
    assert budget.wait_us(70, 1) == 0
    budget.correct(90, 2)  # somebody else uses this address
    assert budget.wait_us(10, 2) == 0
    assert budget.wait_us(11, 2) == MINUTE_US - 2
    assert budget.wait_us(70, 2) == MINUTE_US


def test_a_weight_that_never_fits_is_an_error() -> None:
    with pytest.raises(ValueError, match="101 does not fit into a limit of 100"):
        Budget(100, MINUTE_US).wait_us(101, 0)


def test_what_is_under_way_counts_until_it_is_answered_and_a_window_from_then() -> None:
    budget = Budget(100, MINUTE_US)
    budget.hold(80)
    assert budget.wait_us(20, 0) == 0
    assert budget.wait_us(21, 5) == MINUTE_US, "an answer now would count for a whole window from now"
    budget.settle(80, 7_000_000)  # the other side may have counted it at any moment until then
    assert (budget.wait_us(21, 7_000_001), budget.used(7_000_001)) == (MINUTE_US - 1, 80)
    assert (budget.wait_us(21, 7_000_000 + MINUTE_US), budget.used(7_000_000 + MINUTE_US)) == (0, 0)


def test_a_pause_holds_everything_back_even_what_costs_nothing() -> None:
    budget = Budget(100, MINUTE_US)
    budget.pause(5_000_000)
    budget.pause(1_000_000)
    assert budget.wait_us(0, 2_000_000) == 3_000_000
    assert budget.wait_us(0, 5_000_000) == 0


def test_connects_keep_every_limit_that_is_named() -> None:
    limits = replace(BINANCE_PERP.limits, connects_per_5_min=10, connects_per_s=3)
    pace = connects_pace(limits, 0.8)
    opened, now = [], 0
    while len(opened) < 12:
        wait = pace.wait_us(1, now)
        if wait:
            now += wait
        else:
            pace.spend(1, now)
            opened.append(now)
    assert [at for at in opened if at < 300_000_000] == [0, 0, *[second * 1_000_000 for second in (1, 1, 2, 2, 3, 3)]]
    assert opened[8] == 300_000_000
    unnamed = connects_pace(replace(limits, connects_per_s=None), 1.0)
    for _ in range(10):
        assert unnamed.wait_us(1, 0) == 0
        unnamed.spend(1, 0)
    assert unnamed.wait_us(1, 0) == 300_000_000


def test_backoff_doubles_to_its_cap_with_jitter_and_starts_over() -> None:
    backoff = Backoff(0.5, 60.0, random.Random(7))
    waits = [backoff.next_s() for _ in range(40)]
    for failures, wait in enumerate(waits):
        whole = min(60.0, 0.5 * 2**failures)
        assert whole / 2 <= wait <= whole
    assert len({wait / min(60.0, 0.5 * 2**n) for n, wait in enumerate(waits)}) == 40, "no two jitters alike"
    assert waits == [again.next_s() for again in [Backoff(0.5, 60.0, random.Random(7))] for _ in range(40)]
    backoff.reset()
    assert backoff.next_s() <= 0.5
