"""The plan of the windows benchmark: what it expects follows from which coins are the same and which market fails."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

import pytest

from benchmarks.windows.plan import EXCHANGES, LEAD_IN_S, Place, Plan, plan

ASSETS = ("A", "B", "C", "D")
AGE_S = 2


@pytest.fixture(scope="module")
def planned() -> Plan:
    return plan(EXCHANGES, ASSETS, rounds=8, seed=1, age_limit_s=AGE_S)


def test_a_run_has_hundreds_of_windows_of_every_kind() -> None:
    whole = plan(EXCHANGES, [f"A{number}" for number in range(12)], rounds=7, seed=1, age_limit_s=AGE_S)
    kinds = Counter(window.kind for window in whole.windows)
    assert sum(kinds.values()) > 400 and kinds["true"] > 180
    assert min(kinds[kind] for kind in ("below cost", "short", "other coin", "stale side", "out of step side")) > 15
    assert kinds["far coin"] == 1


def test_windows_of_an_asset_follow_each_other(planned: Plan) -> None:
    spans = defaultdict(list)
    for window in planned.windows:
        if window.kind != "far coin":
            spans[window.places[0].asset].append((window.start_s, window.start_s + window.length_s))
    for of_asset in spans.values():
        assert of_asset[0][0] >= LEAD_IN_S
        assert all(after[0] - before[1] >= 2 for before, after in pairwise(of_asset))


def test_only_true_windows_expect_something_and_of_the_same_coin(planned: Plan) -> None:
    assert planned.different_coins == ("C:bybit", "D:bybit")
    for window in planned.windows:
        found = {place for pair in window.expected for place in pair} - set(window.places)
        if window.kind not in ("true", "stale partner", "out of step partner"):
            assert not window.expected
            continue
        (off,) = window.places
        assert all(pair[window.percent > 0] == off for pair in window.expected)
        assert Place("okx", "spot", "D") not in found
        if off.asset in "CD":
            assert {place.exchange == "bybit" for place in found} == {off.exchange == "bybit"}
        elif window.kind == "true":
            assert len(found) == 5


def test_a_failing_market_is_no_partner_and_out_of_what_it_can_show_before_the_windows(planned: Plan) -> None:
    stalls = [order for order in planned.orders if order.fault["fault"] == "stall"]
    assert {(order.fault["exchange"], order.fault["market"]) for order in stalls} == {
        ("okx", "perp"),
        ("bybit", "perp"),
    }
    for order in stalls:
        failing = order.fault["exchange"], order.fault["market"]
        back_s = order.at_s + order.fault["seconds"]
        during = [window for window in planned.windows if order.at_s <= window.start_s < back_s]
        assert {window.kind for window in during} == {"stale side", "stale partner"}
        for window in during:
            assert window.start_s - order.at_s > AGE_S
            assert back_s - (window.start_s + window.length_s) > AGE_S
            assert all(failing != place[:2] for pair in window.expected for place in pair)
