"""The plan of a chaos run: the same for the same seed, and everything that it must hold."""

from __future__ import annotations

from collections import Counter

from benchmarks.chaos.plan import KILLED, STORING, plan

MARKETS = ("binance.spot", "binance.perp")


def test_a_seed_is_a_plan() -> None:
    assert plan(7, 300, 20, MARKETS) == plan(7, 300, 20, MARKETS)
    assert plan(7, 300, 20, MARKETS) != plan(8, 300, 20, MARKETS)


def test_everybody_dies_and_every_kind_of_harm_is_done_in_time() -> None:
    deeds = plan(1, 300, 20, MARKETS)
    kinds = Counter(deed.what for deed in deeds)
    assert kinds == {"kill": 20, "pause": 4, "away": 2, "cut": 4, "poison": 6, "full": 1}
    assert {deed.whom for deed in deeds if deed.what == "kill"} == set(KILLED)
    assert all(0 <= deed.at_s <= 270 for deed in deeds)
    assert [deed.at_s for deed in deeds] == sorted(deed.at_s for deed in deeds)
    assert {deed.seconds for deed in deeds if deed.what == "pause"} == {45.0}


def test_where_nothing_may_be_lost_only_those_behind_the_collector_suffer() -> None:
    deeds = plan(1, 300, 8, MARKETS, loses=False, lengths=0.1)
    assert {deed.what for deed in deeds} == {"kill", "pause", "away", "poison"}
    assert {deed.whom for deed in deeds if deed.what != "poison"} <= set(STORING)
    assert max(deed.seconds for deed in deeds) == 12.0
