"""Books that begin with a snapshot out of their own stream: one chain, told truly, begun anew whenever it says so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from schemas import records
from schemas.frames import RawFrame
from services.shared.exchanges.binance_perp import BINANCE_PERP
from services.shared.exchanges.declaration import (
    APPLY,
    BROKEN,
    IGNORE,
    BookRule,
    BookSnapshot,
    Channel,
    Listing,
    Verdict,
)
from services.shared.exchanges.numbers import contract_levels
from tests.normaliser_rig import START, Rig, kinds, millis

SIZE = "0.01"


def parse(frame: RawFrame, listing: Listing) -> Sequence[records.Record | BookSnapshot]:
    """Books of contracts in words made up for these tests: `p` is the sequence before, absent in a snapshot."""
    found = json.loads(frame.body)
    bids, asks = (contract_levels(found.get(side, []), SIZE, side) for side in ("b", "a"))
    if "p" not in found:
        return [BookSnapshot(frame.symbol, found["s"], bids, asks, 1_000, found["t"])]
    return [
        records.BookChange(
            exchange=frame.exchange,
            market=frame.market,
            symbol=frame.symbol,
            timestamp=found["t"],
            timestamp_source="push",
            received_at=frame.received_at,
            source="live",
            first_sequence=found["s"],
            last_sequence=found["s"],
            previous_sequence=found["p"],
            bids=bids,
            asks=asks,
            in_step=False,
        )
    ]


def following(book: int, first: int, last: int, previous: int | None) -> Verdict:
    if last <= book:
        return IGNORE
    return APPLY if previous == book else BROKEN


def never(book: int, first: int, last: int, previous: int | None) -> Verdict:
    raise AssertionError("what follows a snapshot out of the stream is judged as a following change")


MARKET = replace(
    BINANCE_PERP,
    channels={**BINANCE_PERP.channels, "depth": Channel("depth", ("book_change", "orderbook"), str, parse)},
    book_snapshot=None,
    book_rule=BookRule(never, following),
)


class StreamRig(Rig):
    """A core whose books begin in their stream."""

    def __init__(self) -> None:
        super().__init__(markets={("binance", "perp"): MARKET})

    def start(self, sequence: int, *, at: float, on: str = "A", price: str = "99.0") -> list[dict[str, Any]]:
        sides = {"b": [[price, "5"]], "a": [["101.0", "7"]]}
        return self.ws("depth", {"s": sequence, "t": millis(at) * 1000, **sides}, at=at, on=on)

    def change(self, previous: int, sequence: int, *, at: float, on: str = "A", **sides: Any) -> list[dict[str, Any]]:
        return self.ws("depth", {"p": previous, "s": sequence, "t": millis(at) * 1000, **sides}, at=at, on=on)


@pytest.fixture(params=[False, True], ids=["stays", "restarts"])
def rig(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> StreamRig:
    monkeypatch.setattr(Rig, "restarts", request.param)
    made = StreamRig()
    made.session("subscribed", "depth", at=1)
    return made


def books(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item for item in found if item["_to"] == "md.orderbook"]


def changes(found: list[dict[str, Any]]) -> list[tuple[int, bool]]:
    return [(item["last_sequence"], item["in_step"]) for item in found if item["_to"] == "md.book_change"]


def gaps(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item for item in found if item["_to"] == "gap"]


def test_the_book_begins_with_its_stream_and_every_change_behind_is_in_step(rig: StreamRig) -> None:
    assert rig.start(10, at=2) == []
    assert changes(rig.change(10, 15, at=2.1, b=[["99.5", "3"]])) == [(15, True)]
    found = rig.change(15, 16, at=3.1, b=[["99.0", "0"]], a=[["101.0", "9"]])
    [book] = books(found)
    assert (book["sequence"], book["timestamp"]) == (15, millis(2.1) * 1000)
    assert book["bids"] == [["99.5", "0.03", "3"], ["99.0", "0.05", "5"]]
    assert book["asks"] == [["101.0", "0.07", "7"]]
    assert changes(found) == [(16, True)]
    [later] = books(rig.change(16, 17, at=4.1))
    assert (later["bids"], later["asks"]) == ([["99.5", "0.03", "3"]], [["101.0", "0.09", "9"]])
    assert rig.resyncs() == []


def test_a_quiet_book_is_told_as_its_snapshot_showed_it(rig: StreamRig) -> None:
    rig.start(10, at=2)
    [book] = books(rig.session("alive", at=3.2))
    assert (book["sequence"], book["timestamp"], book["timestamp_source"]) == (10, millis(2) * 1000, "push")
    assert book["bids"] == [["99.0", "0.05", "5"]]


def test_a_break_is_a_gap_and_one_request_and_the_next_snapshot_begins_anew(rig: StreamRig) -> None:
    rig.start(10, at=2)
    rig.change(10, 11, at=2.1)
    found = rig.change(13, 14, at=2.2)
    assert [(gap["first_missing"], gap["last_missing"]) for gap in gaps(found)] == [(12, 13)]
    [resync] = rig.resyncs()
    assert (resync.symbol, resync.connection, resync.sequence) == ("BTC-USDT-PERP", "A", 11)
    assert changes(rig.change(14, 15, at=2.3)) == [], "held"
    assert rig.resyncs() == []
    found = rig.start(20, at=2.5, price="98.0")
    assert changes(found) == [(14, False), (15, False)]
    [opened] = gaps(found)
    assert (opened["first_missing"], opened["gap_type"], opened["status"]) == (16, "sequence", "open")
    assert (opened["lost_from"], opened["lost_to"]) == (START + 2_300_000, START + 2_500_000)
    found = rig.change(20, 21, at=2.6)
    [closed] = gaps(found)
    assert (closed["gap_id"], closed["first_missing"], closed["last_missing"]) == (opened["gap_id"], 16, 20)
    assert changes(found) == [(21, True)]
    [book] = books(rig.change(21, 22, at=3.6))
    assert book["bids"] == [["98.0", "0.05", "5"]]


def test_a_snapshot_that_stands_where_the_last_change_ended_misses_nothing(rig: StreamRig) -> None:
    rig.start(10, at=2)
    rig.change(10, 11, at=2.1)
    assert kinds(rig.start(11, at=2.2)) == ["md.orderbook"]
    assert changes(rig.change(11, 12, at=2.3)) == [(12, True)]
    assert rig.resyncs() == []


def test_numbers_that_begin_anew_are_a_gap_without_ids(rig: StreamRig) -> None:
    rig.start(1000, at=2)
    rig.change(1000, 1001, at=2.1)
    [gap] = gaps(rig.start(1, at=2.2))
    assert "first_missing" not in gap
    found = rig.change(1, 2, at=2.3)
    [closed] = gaps(found)
    assert (closed["gap_id"], closed["status"]) == (gap["gap_id"], "open")
    assert changes(found) == [(2, True)]


def test_the_hole_between_two_connections_is_closed_by_the_first_change_behind_the_snapshot(rig: StreamRig) -> None:
    rig.start(10, at=2)
    rig.change(10, 11, at=2.1)
    rig.session("closed", at=3, reason="bye")
    rig.session("subscribed", "depth", at=4, on="B")
    assert changes(rig.start(30, at=4.1, on="B")) == []
    found = rig.change(30, 31, at=4.2, on="B")
    assert [(gap["first_missing"], gap["last_missing"]) for gap in gaps(found) if gap["kind"] == "book_change"] == [
        (12, 30)
    ]
    assert changes(found) == [(31, True)]
    assert rig.resyncs() == []


def test_a_successor_goes_on_where_the_leader_ended_and_its_own_snapshot_changes_nothing(rig: StreamRig) -> None:
    rig.start(10, at=2)
    rig.change(10, 11, at=2.1)
    rig.session("subscribed", "depth", at=2.2, on="B")
    assert rig.start(11, at=2.3, on="B") == []
    assert rig.change(11, 12, at=2.4, on="B") == []
    assert changes(rig.change(11, 12, at=2.5)) == [(12, True)]
    assert rig.change(12, 13, at=2.6, on="B") == []
    assert changes(rig.session("closed", at=2.7, reason="replaced")) == [(13, True)]
    assert changes(rig.change(13, 14, at=2.8, on="B")) == [(14, True)]
    assert rig.resyncs() == []


def test_the_snapshot_of_a_successor_is_kept_until_the_leader_is_known_to_be_gone(rig: StreamRig) -> None:
    """A killed collector says no farewell; its successor's stream began long before that is seen."""
    rig.start(10, at=2)
    rig.change(10, 11, at=2.1)
    rig.session("subscribed", "depth", at=3, on="B")
    rig.start(20, at=3.1, on="B")
    rig.change(20, 21, at=3.2, on="B")
    found = rig.change(21, 22, at=7, on="B")
    assert changes(found) == [(21, True), (22, True)]
    assert [(gap["first_missing"], gap["last_missing"]) for gap in gaps(found) if gap.get("last_missing")] == [(12, 20)]


def test_without_its_snapshot_a_stream_is_out_of_step_and_asks(rig: StreamRig) -> None:
    rig.change(10, 11, at=2)
    found = rig.change(11, 12, at=13)
    assert changes(found) == [(11, False)]
    [resync] = rig.resyncs()
    assert resync.reason == "no snapshot has come"
    assert changes(rig.start(12, at=13.1)) == [(12, False)]
    assert changes(rig.change(12, 13, at=13.2)) == [(13, True)]
