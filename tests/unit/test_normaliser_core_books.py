"""Books: in step exactly when provable, told once a second, asked for again when they break."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.normaliser.core import CoreOptions
from tests.normaliser_rig import START, Rig, kinds, millis


@pytest.fixture(autouse=True, params=[False, True], ids=["straight", "restarted"])
def restarts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here holds as well when the core is saved and restored after every message."""
    monkeypatch.setattr(Rig, "restarts", request.param)


def by_price(level: tuple[str, str]) -> float:
    return float(level[0])


def steps(found: list[dict[str, object]]) -> list[tuple[object, object]]:
    return [(item["last_sequence"], item["in_step"]) for item in found if item["_to"] == "md.book_change"]


def test_changes_wait_for_their_snapshot_and_are_told_truly() -> None:
    rig = Rig()
    assert rig.depth(1, 5, 0, at=1) == []
    assert rig.depth(6, 9, 5, at=1.1) == []
    assert rig.depth(10, 14, 9, at=1.2) == []
    assert steps(rig.snapshot(8, at=1.3)) == [(5, False), (9, True), (14, True)]
    assert steps(rig.depth(15, 20, 14, at=1.4)) == [(20, True)]
    assert rig.resyncs() == []
    assert rig.core.counters.books_in_step == 1


def test_a_snapshot_that_comes_first_is_joined_by_the_first_change_past_it() -> None:
    rig = Rig()
    assert rig.snapshot(8, at=1) == []
    assert steps(rig.depth(1, 5, 0, at=1.1)) == [(5, False)]
    assert steps(rig.depth(6, 9, 5, at=1.2)) == [(9, True)]


def test_a_snapshot_older_than_the_changes_held_is_asked_for_again() -> None:
    rig = Rig()
    rig.depth(20, 25, 19, at=1)
    assert rig.snapshot(8, at=1.1) == []
    (resync,) = rig.resyncs()
    assert (resync.symbol, resync.connection, resync.sequence) == ("BTC-USDT-PERP", "A", 25)
    assert steps(rig.snapshot(21, at=1.5)) == [(25, True)]


def test_without_a_snapshot_changes_go_out_not_in_step_after_ten_seconds() -> None:
    rig = Rig()
    rig.depth(1, 5, 0, at=1)
    rig.depth(6, 9, 5, at=5)
    assert rig.session("alive", at=10.9) == []
    assert steps(rig.session("alive", at=11.1)) == [(5, False)]
    assert len(rig.resyncs()) == 1
    assert steps(rig.depth(10, 12, 9, at=15.5)) == [(9, False)]
    assert rig.resyncs() == []


def test_no_more_than_the_set_number_of_changes_is_held() -> None:
    rig = Rig(options=CoreOptions(hold_events=3))
    out = []
    for number in range(1, 6):
        out += rig.depth(number, number, number - 1, at=1)
    assert steps(out) == [(1, False), (2, False)]


def test_a_break_is_a_gap_one_request_and_a_book_out_of_step_until_a_snapshot() -> None:
    rig = Rig()
    rig.snapshot(10, at=1)
    rig.depth(9, 12, 8, at=1.1)
    book, gap = rig.depth(20, 25, 19, at=1.2)
    assert book["_to"] == "md.orderbook"
    assert (gap["_to"], gap["kind"], gap["gap_type"]) == ("gap", "book_change", "sequence")
    assert (gap["first_missing"], gap["last_missing"]) == (13, 19)
    assert gap["after_timestamp"] < millis(1.1) * 1000 < millis(1.2) * 1000 < gap["before_timestamp"]
    assert rig.depth(26, 27, 25, at=1.3) == []
    (resync,) = rig.resyncs()
    assert (resync.connection, resync.sequence) == ("A", 12)
    assert steps(rig.snapshot(26, at=1.4)) == [(25, False), (27, True)]
    assert steps(rig.depth(28, 29, 27, at=1.5)) == [(29, True)]


def test_spot_judges_by_its_own_rule() -> None:
    rig = Rig(market="spot", symbol="BTC-USDT")

    def depth(first: int, last: int, at: float) -> list[dict[str, object]]:
        body = {"e": "depthUpdate", "E": millis(at), "s": "BTCUSDT", "U": first, "u": last, "b": [], "a": []}
        return rig.ws("depth", body, at=at)

    depth(1, 5, 1)
    depth(6, 9, 1.1)
    out = rig.snapshot(9, at=1.2)
    assert steps(out) == [(5, False), (9, False)]
    out = depth(10, 12, 1.3)
    assert steps(out) == [(12, True)]
    assert (out[0]["timestamp_source"], out[0]["timestamp"]) == ("push", millis(1.3) * 1000)
    gap = depth(14, 15, 1.4)[1]
    assert (gap["first_missing"], gap["last_missing"]) == (13, 13)


def test_a_book_is_told_as_it_stood_at_the_end_of_each_second() -> None:
    rig = Rig()
    rig.snapshot(10, at=1, bids=[["99.0", "1"]], asks=[["101.0", "1"]])
    assert kinds(rig.depth(10, 12, 9, at=1.2, bids=[["99.5", "2"]])) == ["md.book_change"]
    assert kinds(rig.depth(13, 15, 12, at=1.6, bids=[["99.5", "3"]])) == ["md.book_change"]
    book, _ = rig.depth(16, 17, 15, at=2.1, bids=[["99.5", "0"]])
    assert (book["_to"], book["sequence"], book["timestamp"]) == ("md.orderbook", 15, millis(1.6) * 1000)
    assert (book["bids"], book["asks"]) == ([["99.5", "3"], ["99.0", "1"]], [["101.0", "1"]])
    assert rig.session("alive", at=3.0) == []
    (quiet,) = rig.session("alive", at=3.2)
    assert (quiet["sequence"], quiet["bids"], quiet["received_at"]) == (17, [["99.0", "1"]], START + 2_100_000)
    assert rig.session("alive", at=9) == []


def test_the_clock_of_another_connection_publishes_nothing() -> None:
    rig = Rig()
    rig.snapshot(10, at=1)
    rig.depth(10, 12, 9, at=1.2)
    assert rig.session("alive", at=60, on="other") == []
    assert kinds(rig.session("alive", at=3)) == ["md.orderbook"]


def test_a_crossed_book_is_never_told() -> None:
    rig = Rig()
    rig.snapshot(10, at=1, bids=[["99.0", "1"]], asks=[["101.0", "1"]])
    rig.depth(10, 12, 9, at=1.2, bids=[["102.0", "2"]])
    found = rig.depth(13, 15, 12, at=2.2)
    assert [(item["gap_type"], item["kind"]) for item in found] == [("unsynced", "orderbook")]
    assert rig.count("crossed") == 1
    assert len(rig.resyncs()) == 1
    out = rig.snapshot(14, at=2.5, bids=[["99.0", "1"]], asks=[["101.0", "1"]])
    assert steps(out) == [(15, True)]
    settled, book = rig.session("alive", at=9)
    assert (settled["gap_id"], book["_to"]) == (found[0]["gap_id"], "md.orderbook")


def test_a_book_that_proves_too_few_levels_is_not_told_until_a_wider_snapshot() -> None:
    rig = Rig(options=CoreOptions(book_depth=2))
    full = [[f"{199 - step / 10:.1f}", "1"] for step in range(1000)]
    rig.snapshot(10, at=1, bids=full, asks=[["301.0", "1"]])
    gone = [[price, "0"] for price, _ in full[:-1]]
    rig.depth(10, 12, 9, at=1.2, bids=gone)
    (gap,) = rig.session("alive", at=2.5)
    assert (gap["gap_type"], gap["kind"]) == ("unsynced", "orderbook")
    assert len(rig.resyncs()) == 1
    assert steps(rig.depth(13, 14, 12, at=2.6)) == [(14, True)]
    assert rig.snapshot(13, at=2.7, bids=[["50.0", "1"], ["49.0", "1"]], asks=[["101.0", "1"]]) == []
    settled, book = rig.session("alive", at=9)
    assert settled["gap_id"] == gap["gap_id"]
    assert book["bids"] == [["50.0", "1"], ["49.0", "1"]]


def test_a_successor_takes_over_at_the_first_change_past_the_leaders_last() -> None:
    rig = Rig()
    rig.session("subscribed", "depth", at=0.5)
    rig.snapshot(10, at=1)
    out = rig.depth(10, 12, 9, at=1.2, bids=[["99.0", "5"]])
    rig.session("subscribed", "depth", at=1.3, on="B")
    out += rig.depth(11, 13, 10, at=1.4, on="B", bids=[["99.0", "6"]])
    out += rig.depth(13, 14, 12, at=1.4, bids=[["99.0", "7"]])
    out += rig.depth(14, 16, 13, at=1.5, on="B", bids=[["99.0", "8"]])
    out += rig.session("closed", at=1.6)
    out += rig.depth(17, 18, 16, at=1.7, on="B")
    assert steps(out) == [(12, True), (14, True), (16, True), (18, True)]
    assert rig.resyncs() == []
    (book,) = rig.session("alive", at=4, on="B")
    assert book["bids"] == [["99.0", "8"]]


def test_after_a_hole_the_book_waits_for_the_snapshot_that_the_collector_fetches() -> None:
    rig = Rig()
    rig.session("subscribed", "depth", at=0.5)
    rig.snapshot(10, at=1)
    rig.depth(10, 12, 9, at=1.2)
    assert kinds(rig.session("closed", at=2)) == ["md.orderbook"]
    (gap,) = rig.session("subscribed", "depth", at=5, on="B")
    assert (gap["kind"], gap["first_missing"]) == ("book_change", 13)
    (known,) = rig.depth(50, 55, 49, at=5.5, on="B")
    assert (known["gap_id"], known["last_missing"]) == (gap["gap_id"], 49)
    assert rig.resyncs() == []
    assert steps(rig.snapshot(52, at=6)) == [(55, True)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_through_drops_doubles_and_late_snapshots_every_change_is_told_once_and_in_step_only_if_so(
    data: st.DataObject,
) -> None:
    rig = Rig()
    true_book = {"b": {"1.0": "1", "99.0": "1"}, "a": {"101.0": "1"}}
    states = {0: {side: dict(levels) for side, levels in true_book.items()}}
    out: list[dict[str, object]] = []
    received: list[int] = []
    last = 0
    asked: list[int] = []
    for step in range(1, data.draw(st.integers(5, 40))):
        at = 1 + step / 5
        price = data.draw(st.sampled_from(["98.0", "98.5", "99.0", "99.5"]))
        quantity = data.draw(st.sampled_from(["0", "1", "2", "3"]))
        true_book["b"].pop(price, None)
        if quantity != "0":
            true_book["b"][price] = quantity
        states[step] = {side: dict(levels) for side, levels in true_book.items()}
        fate = data.draw(st.sampled_from(["ok", "ok", "ok", "ok", "drop", "twice"]))
        if fate != "drop":
            out += rig.depth(step, step, last, at=at, bids=[[price, quantity]])
            received.append(step)
        if fate == "twice":
            out += rig.again()
        last = step
        if data.draw(st.integers(0, 3)) == 0:
            asked.append(step)
        if asked and data.draw(st.booleans()):
            then = asked.pop(0)
            sides = [[[p, q] for p, q in states[then][side].items()] for side in ("b", "a")]
            out += rig.snapshot(then, at=at, bids=sides[0], asks=sides[1])
    out += rig.session("closed", at=1000)
    changes = steps(out)
    assert [sequence for sequence, _ in changes] == received
    missing = {n for n in range(1, received[-1] + 1) if n not in received and received[0] < n} if received else set()
    told = set()
    for gap in (item for item in out if item["_to"] == "gap"):
        told |= set(range(int(str(gap["first_missing"])), int(str(gap["last_missing"])) + 1))
    assert told == missing
    for book in (item for item in out if item["_to"] == "md.orderbook"):
        state = states[int(str(book["sequence"]))]
        assert [tuple(level) for level in book["bids"]] == sorted(state["b"].items(), key=by_price, reverse=True)  # type: ignore[attr-defined]
