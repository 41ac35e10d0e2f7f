"""What was received and made, by minute of our receive clock: exact, the same after a restart, never counted twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from services.normaliser.tally import MINUTE_US, Tally
from tests.normaliser_rig import START, Rig

NEXT = 60 - START // 1_000_000 % 60
"""Seconds from START to the next whole minute."""


@pytest.fixture(params=[False, True], ids=["running", "restarted-after-each-message"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    made = Rig()
    made.restarts = request.param  # type: ignore[misc]  # of this one alone
    yield made


def told(rig: Rig, kind: str) -> list[tuple[Any, ...]]:
    minute = START // MINUTE_US * MINUTE_US
    return [
        (
            (row["timestamp"] - minute) // MINUTE_US,
            row["frames"],
            row["records"],
            row.get("first_id"),
            row.get("last_id"),
        )
        for row in rig.coverage
        if row["kind"] == kind
    ]


def test_a_minute_is_told_when_it_is_over(rig: Rig) -> None:
    rig.trade(10, at=1)
    rig.trade(11, at=2)
    rig.trade(11, at=3, on="B")
    assert told(rig, "trade") == []
    rig.trade(12, at=NEXT + 1)
    assert told(rig, "trade") == [(0, 3, 2, 10, 11)]
    rig.trade(15, at=NEXT + 61)
    rig.session("alive", at=NEXT + 121)
    assert told(rig, "trade") == [(0, 3, 2, 10, 11), (1, 1, 1, 12, 12), (2, 1, 1, 15, 15)]
    assert {(row["exchange"], row["market"], row["symbol"]) for row in rig.coverage} >= {
        ("binance", "perp", "BTC-USDT-PERP")
    }


def test_what_comes_of_an_earlier_minute_is_told_with_the_next_and_adds_up(rig: Rig) -> None:
    rig.trade(10, at=1)
    rig.trade(11, at=NEXT + 1)
    rig.trade(12, at=2)
    rig.trade(13, at=NEXT + 2)
    rig.session("alive", at=NEXT + 61)
    made: Counter[int] = Counter()
    for minute, _, count, *_ in told(rig, "trade"):
        made[minute] += count
    assert made == {0: 2, 1: 2}


def test_a_quiet_minute_tells_nothing(rig: Rig) -> None:
    rig.trade(10, at=1)
    for minute in range(1, 5):
        rig.session("alive", at=NEXT + 60 * minute)
    assert told(rig, "trade") == [(0, 1, 1, 10, 10)]


def test_what_was_refilled_counts_in_the_minute_of_its_answer() -> None:
    tally = Tally(7)
    body = b'{"exchange":"x","market":"y","symbol":"z-with-a-name-that-is-long","received_at":%d,"sequence":5}'
    tally.count("md.trade.x.y.z", body % (7 * MINUTE_US))
    tally.count("md.trade.x.y.z", body % (8 * MINUTE_US - 1))
    tally.count("md.trade.x.y.z", body % (8 * MINUTE_US))
    (first,) = tally.tell(8, {"trade": 4}, ("x", "y", "z"), 1)
    assert (first.timestamp, first.frames, first.records) == (7 * MINUTE_US, 4, 2)
    (second,) = tally.tell(9, {}, ("x", "y", "z"), 2)
    assert (second.timestamp, second.frames, second.records) == (8 * MINUTE_US, 0, 1)
