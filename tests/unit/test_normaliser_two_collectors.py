"""Two collectors of one symbol, either of which dies or pauses now and then: rows as from one, and no gap."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.normaliser.core import CoreOptions
from tests.normaliser_rig import START, Rig, kinds

STEP_S = 0.1
PRICES = 7


@dataclass(frozen=True)
class Outage:
    """From step `begin` to step `end` one collector says nothing."""

    who: int
    begin: int
    end: int
    killed: bool
    """Killed and started again, under a new connection; else paused: what was sent meanwhile comes at the end."""


@st.composite
def outages(draw: st.DrawFn) -> list[Outage]:
    """Outages of two collectors by turns or not, never of both at once."""
    found = []
    step = 20
    for _ in range(draw(st.integers(1, 4))):
        begin = step + draw(st.sampled_from((1, 7, 40)))
        step = begin + draw(st.sampled_from((1, 13, 40, 80)))  # within, and beyond, what is taken for gone
        found.append(Outage(draw(st.integers(0, 1)), begin, step, draw(st.booleans())))
        step += 2
    return found


def bids(first: int, last: int) -> list[list[str]]:
    """What the updates first..last leave of the levels they touch: update n sets one level's quantity to n."""
    levels: dict[str, str] = {}
    for number in range(first, last + 1):
        levels[f"{90 + number % PRICES}.0"] = f"{number}"
    return [[price, quantity] for price, quantity in levels.items()]


class Collector:
    """One collector's connection; it cuts the updates every `width` steps."""

    def __init__(self, rig: Rig, name: str, width: int) -> None:
        self.rig, self.name, self.width = rig, name, width
        self.lives = 0
        self.told = 0
        self.waiting: list[int] = []

    @property
    def connection(self) -> str:
        return f"{self.name}{self.lives}"

    def begin(self, step: int) -> list[dict[str, Any]]:
        self.lives += 1
        self.told = step
        self.waiting = []
        return self.rig.session("subscribed", "trades", "depth", at=1 + step * STEP_S, on=self.connection)

    def hear(self, number: int, now: int) -> list[dict[str, Any]]:
        """Trade `number` and, where a cut is due, the updates up to it, received at step `now`."""
        at = 1 + now * STEP_S + 0.01 * self.width
        out = self.rig.trade(number, at=at, on=self.connection)
        if number % self.width == 0:
            out += self.rig.depth(
                self.told + 1, number, self.told, at=at, on=self.connection, bids=bids(self.told + 1, number)
            )
            self.told = number
        return out


def play(plan: list[Outage]) -> list[dict[str, Any]]:
    """Everything that the core says of a market of one trade and one update a step."""
    rig = Rig(options=CoreOptions(book_depth=3))
    pair = (Collector(rig, "A", 2), Collector(rig, "B", 3))
    out = [item for collector in pair for item in collector.begin(0)]
    asks = [[f"{price}.0", "1"] for price in (101, 102, 103)]
    out += rig.snapshot(0, at=1.05, bids=[[f"{90 + n}.0", "1"] for n in range(PRICES)], asks=asks)
    for step in range(1, plan[-1].end + 60):
        for place, collector in enumerate(pair):
            away = next((one for one in plan if one.who == place and one.begin <= step < one.end), None)
            if away is not None:
                collector.waiting += [] if away.killed else [step]
                continue
            if any(one.who == place and one.end == step and one.killed for one in plan):
                out += collector.begin(step - 1)
            numbers, collector.waiting = [*collector.waiting, step], []
            for number in numbers:
                out += collector.hear(number, step)
    return out


@settings(max_examples=60, deadline=None)
@given(outages())
def test_rows_are_as_from_one_and_every_later_book_is_the_exchanges(plan: list[Outage]) -> None:
    found = defaultdict(list)
    for item in play(plan):
        found[item["_to"]].append(item)
    assert "gap" not in found
    trades = [item["sequence"] for item in found["md.trade"]]
    # The last ones may still wait in the shadow of a leader that has only just fallen silent.
    assert trades == list(range(1, len(trades) + 1))
    assert len(trades) > plan[-1].end + 60 - 1 - 32
    told = 0
    for change in found["md.book_change"]:
        assert change["in_step"]
        before = change["previous_sequence"]
        assert before <= told < change["last_sequence"]
        assert change.get("overlaps", False) == (before < told)
        told = change["last_sequence"]
    assert found["md.orderbook"]
    for book in found["md.orderbook"]:
        truth = {f"{90 + n}.0": "1" for n in range(PRICES)} | dict(bids(1, book["sequence"]))  # type: ignore[arg-type]
        best = sorted(truth.items(), key=lambda level: -float(level[0]))[:3]
        assert book["bids"] == [list(level) for level in best]


@pytest.fixture(params=[False, True], ids=["straight", "restarted"])
def rig(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(Rig, "restarts", request.param)
    return Rig()


def test_a_paused_collector_comes_back_and_covers_the_others_end(rig: Rig) -> None:
    for name in "AB":
        rig.session("subscribed", "trades", at=1, on=name)
    out = rig.trade(1, at=2, on="A") + rig.trade(1, at=2, on="B")
    for second in range(3, 8):  # A is paused: B leads
        out += rig.trade(second - 1, at=second, on="B")
    out += rig.trade(2, at=8, on="A") + rig.trade(7, at=8, on="A")  # and here it is again
    out += rig.trade(7, at=8.1, on="B")
    for second in range(9, 14):  # B is killed: A has all
        out += rig.trade(second - 1, at=second, on="A")
    assert kinds(out) == ["md.trade"] * len(out)
    assert [item["sequence"] for item in out] == list(range(1, 13))


def test_a_quiet_stream_is_covered_again_by_a_sign_of_life(rig: Rig) -> None:
    for name in "AB":
        rig.session("subscribed", "trades", at=1, on=name)
    out = rig.trade(1, at=2, on="A")
    for second in range(3, 8):
        out += rig.session("alive", at=second, on="B")
    for second in range(8, 10):
        out += rig.session("alive", at=second, on="A") + rig.session("alive", at=second, on="B")
    for second in range(10, 15):
        out += rig.session("alive", at=second, on="A")
    out += rig.trade(2, at=15, on="A")
    assert [item["sequence"] for item in out] == [1, 2]


def test_a_killed_collectors_connection_takes_nothing_over(rig: Rig) -> None:
    for name in ("A", "B"):
        rig.session("subscribed", "trades", at=1, on=name)
    out = rig.trade(1, at=2, on="A") + rig.trade(1, at=2, on="B")  # the last that B says
    rig.session("subscribed", "trades", at=3, on="B2")
    for second in range(3, 20):
        out += rig.trade(second - 1, at=second, on="A") + rig.trade(second - 1, at=second, on="B2")
    for second in range(20, 30):  # now A is killed
        out += rig.trade(second - 1, at=second, on="B2")
    assert [item["sequence"] for item in out] == list(range(1, 29))


def test_a_hole_begins_where_the_last_that_lived_ended(rig: Rig) -> None:
    """B has long been dead when A ends: from A's end on nobody covers, not from B's."""
    for name in "AB":
        rig.session("subscribed", "trades", at=1, on=name)
    rig.trade(1, at=2, on="A")
    rig.trade(1, at=2, on="B")
    for second in range(3, 20):
        rig.trade(second - 1, at=second, on="A")
    rig.session("closed", at=20, on="A")
    (gap,) = [item for item in rig.session("subscribed", "trades", at=25, on="C") if item["_to"] == "gap"]
    assert (gap["lost_from"] - START) / 1e6 in (19, 20)
    assert gap["lost_to"] == START + 25_000_000


def test_a_book_that_begins_anew_is_asked_for_at_once(rig: Rig) -> None:
    """A collector is killed and soon back: its snapshot comes while the dead connection still leads."""
    rig.session("subscribed", "depth", at=1, on="A")
    rig.snapshot(10, at=1.1)
    rig.depth(11, 12, 10, at=2, on="A")
    rig.session("subscribed", "depth", at=3.5, on="A2")
    rig.snapshot(30, at=3.6)
    assert rig.resyncs() == []
    out = rig.depth(31, 32, 30, at=4, on="A2") + rig.depth(33, 34, 32, at=5.5, on="A2")
    assert "gap" in kinds(out)
    (asked,) = rig.resyncs()
    assert (asked.connection, asked.symbol) == ("A2", "BTC-USDT-PERP")
    found = rig.snapshot(33, at=5.7) + rig.depth(35, 36, 34, at=6, on="A2")
    changes = [item for item in found if item["_to"] == "md.book_change"]
    assert [(item["last_sequence"], item["in_step"]) for item in changes] == [(32, False), (34, True), (36, True)]
