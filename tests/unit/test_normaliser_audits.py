"""A local book compared with a fresh snapshot at the same update id, level by level."""

from __future__ import annotations

from typing import Any

import pytest

from services.normaliser.core import CoreOptions
from tests.normaliser_rig import SECOND, START, Rig

BIDS = [["99.0", "1"], ["98.0", "2"], ["97.0", "3"]]
ASKS = [["101.0", "1"], ["102.0", "2"], ["103.0", "3"]]


@pytest.fixture(autouse=True, params=[False, True], ids=["straight", "restarted"])
def restarts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here holds as well when the core is saved and restored after every message."""
    monkeypatch.setattr(Rig, "restarts", request.param)


def in_step() -> Rig:
    """A book of six levels that is true at 105."""
    rig = Rig(options=CoreOptions(book_interval_us=0))
    rig.session("subscribed", "depth", at=1)
    rig.snapshot(100, at=2, bids=BIDS, asks=ASKS)
    rig.depth(101, 105, 100, at=3)
    return rig


def audit(rig: Rig, sequence: int, bids: Any = BIDS, asks: Any = ASKS, *, at: float) -> list[dict[str, Any]]:
    body = {"lastUpdateId": sequence, "bids": bids, "asks": asks}
    return [item for item in rig.rest("depth_audit", body, at=at) if item["_to"] == "md.book_audit"]


def said(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    names = ("verdict", "sequence", "book_sequence", "levels", "mismatches")
    return [tuple(item.get(name, 0) for name in names) for item in found if item["_to"] == "md.book_audit"]


def test_a_snapshot_at_the_id_of_the_book_is_compared_at_once() -> None:
    (found,) = audit(in_step(), 105, at=4)
    assert said([found]) == [("equal", 105, 105, 6, 0)]
    assert (found["timestamp"], found["timestamp_source"]) == (START + 4 * SECOND, "received")
    assert "reason" not in found


def test_a_late_snapshot_is_compared_with_the_book_as_it_stood() -> None:
    rig = in_step()
    assert rig.session("auditing", "depth", at=4, on="R") == []
    rig.depth(106, 107, 105, at=4.1, bids=[["99.0", "7"]])
    rig.depth(108, 109, 107, at=4.2, bids=[["99.0", "8"]], asks=[["101.0", "0"]])
    bids = [["99.0", "7"], *BIDS[1:]]
    assert said(audit(rig, 107, bids, at=4.3)) == [("equal", 107, 107, 6, 0)]


def test_a_snapshot_ahead_is_compared_when_the_book_gets_there() -> None:
    rig = in_step()
    assert audit(rig, 107, [["99.0", "7"], *BIDS[1:]], at=4) == []
    assert said(rig.depth(106, 106, 105, at=4.1, bids=[["99.0", "4"]])) == []
    found = rig.depth(107, 107, 106, at=4.2, bids=[["99.0", "7"]])
    assert said(found) == [("equal", 107, 107, 6, 0)]
    assert found[0]["_to"] == "md.book_change", "the change first, then what it decided"


def test_every_level_that_differs_is_counted_and_the_best_of_them_named() -> None:
    bids = [["99.00", "1.0"], ["98.0", "2.5"], ["96.0", "1"]]
    (found,) = audit(in_step(), 105, bids, ASKS[1:], at=4)
    assert said([found]) == [("different", 105, 105, 7, 4)]
    assert found["reason"] == "bid 98.0: 2 here, 2.5 there"


def test_a_change_that_passes_over_the_id_leaves_its_own_levels_undecided() -> None:
    rig = in_step()
    rig.session("auditing", "depth", at=4, on="R")
    rig.depth(106, 110, 105, at=4.1, bids=[["99.0", "7"]])
    assert said(audit(rig, 108, [["99.0", "5"], *BIDS[1:]], at=4.2)) == [("equal", 108, 105, 5, 0)]
    rig.session("auditing", "depth", at=5, on="R")
    rig.depth(111, 115, 110, at=5.1, bids=[["99.0", "9"]])
    wrong = [["99.0", "5"], ["98.0", "1"], BIDS[2]]
    assert said(audit(rig, 112, wrong, at=5.2)) == [("different", 112, 110, 5, 1)]


def test_levels_beyond_the_end_of_a_cut_snapshot_are_not_compared() -> None:
    rig = Rig(options=CoreOptions(book_interval_us=0))
    rig.session("subscribed", "depth", at=1)
    bids = [[f"{price}.0", "1"] for price in range(999, 799, -1)]
    rig.snapshot(100, at=2, bids=bids, asks=[["1001.0", "1"]])
    rig.depth(101, 105, 100, at=3)
    assert said(audit(rig, 105, bids[:100], [["1001.0", "1"]], at=4)) == [("equal", 105, 105, 101, 0)]
    assert said(audit(rig, 105, bids[:99], [["1001.0", "1"]], at=5)) == [("different", 105, 105, 201, 101)]


def test_a_snapshot_older_than_what_is_kept_is_not_compared() -> None:
    (found,) = audit(in_step(), 104, at=4)
    assert (found["verdict"], found["reason"]) == (
        "not_compared",
        "the snapshot is older than the copy kept for it",
    )


def test_a_book_out_of_step_is_not_compared_nor_one_that_breaks_meanwhile() -> None:
    rig = in_step()
    rig.session("auditing", "depth", at=4, on="R")
    assert audit(rig, 120, at=4.1) == []
    broken = [item for item in rig.depth(130, 131, 129, at=4.2) if item["_to"] == "md.book_audit"]
    assert [item["reason"] for item in broken] == ["the book fell out of step"]
    assert [item["reason"] for item in audit(rig, 131, at=5)] == ["the book is not in step"]


def test_what_is_kept_for_a_snapshot_that_does_not_come_is_given_up() -> None:
    rig = Rig(options=CoreOptions(book_interval_us=0, hold_events=3))
    rig.session("subscribed", "depth", at=1)
    rig.snapshot(100, at=2, bids=BIDS, asks=ASKS)
    rig.depth(101, 105, 100, at=3)
    rig.session("auditing", "depth", at=4, on="R")
    for number in range(106, 111):
        rig.depth(number, number, number - 1, at=4 + number / 1000)
    assert [item["verdict"] for item in audit(rig, 107, at=5)] == ["not_compared"]
    assert said(audit(rig, 110, at=6)) == [("equal", 110, 110, 6, 0)]
    assert audit(rig, 999, at=7) == []
    (given_up,) = said(rig.depth(111, 111, 110, at=20))
    assert given_up[:2] == ("not_compared", 999)
