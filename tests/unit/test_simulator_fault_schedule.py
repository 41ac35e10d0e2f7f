"""Faults that come by themselves: so often, the same for the same seed, on the markets of their exchange."""

from __future__ import annotations

from collections import Counter

import pytest

from schemas.errors import SettingsError
from services.exchange_simulator import fault_orders as orders
from services.exchange_simulator.fault_schedule import KINDS, Schedule, kinds_of

BEGUN_US = 1_790_000_000_000_000
MINUTE_US = 60_000_000


def told(minutes: int, step_us: int, seed: int = 1) -> list[orders.Fault]:
    schedule = Schedule("okx", ("spot", "perp"), 12.0, KINDS, seed)
    schedule.begin(BEGUN_US)
    schedule.begin(BEGUN_US + MINUTE_US)  # a second connection begins nothing
    now_us, found = BEGUN_US, []
    while now_us < BEGUN_US + minutes * MINUTE_US:
        now_us += step_us
        found += schedule.due(now_us)
    return found


def test_each_kind_comes_as_often_as_said_however_often_it_is_asked() -> None:
    counts = Counter(type(fault) for fault in told(5, 1_000_000))
    kinds = {orders.Drop, orders.Duplicate, orders.Swap, orders.Truncate, orders.Unchain, orders.Insert, orders.Stall}
    kinds |= {orders.Expire, orders.Refuse, orders.Reject, orders.Page, orders.Enlist, orders.Delist}
    assert counts == dict.fromkeys(kinds, 60) | {orders.Close: 120}
    assert Counter(map(repr, told(5, MINUTE_US))) == Counter(map(repr, told(5, 1_000_000)))


def test_another_seed_is_another_schedule() -> None:
    assert told(1, 1_000_000) == told(1, 1_000_000)
    assert told(1, 1_000_000) != told(1, 1_000_000, seed=2)


def test_faults_go_to_all_markets_and_kinds_of_record() -> None:
    faults = told(3, 1_000_000)
    assert {(fault.exchange, fault.market) for fault in faults} == {("okx", "spot"), ("okx", "perp")}
    drops = Counter(fault.kind for fault in faults if isinstance(fault, orders.Drop))
    assert drops == {"book_change": 12, "trade": 12, "quote": 12}
    assert {fault.status for fault in faults if isinstance(fault, orders.Reject)} == {429, 418, 403}


def test_nothing_comes_before_the_first_connection() -> None:
    schedule = Schedule("okx", ("spot",), 12.0, ("drop",), 1)
    assert schedule.due_us() is None
    assert schedule.due(BEGUN_US) == []
    schedule.begin(BEGUN_US)
    due_us = schedule.due_us()
    assert due_us is not None
    assert BEGUN_US <= due_us < BEGUN_US + 5_000_000
    assert schedule.due(due_us - 1) == []
    assert schedule.due(due_us) == [orders.Drop(exchange="okx", market="spot", kind="book_change")]


def test_kinds_are_named_and_checked() -> None:
    assert kinds_of(("drop", "list")) == ("drop", "list")
    assert set(KINDS) - set(kinds_of(())) == {"list", "delist"}
    with pytest.raises(SettingsError, match=r"fault_kinds=explode: no such fault; allowed: drop, duplicate"):
        kinds_of(("drop", "explode"))
