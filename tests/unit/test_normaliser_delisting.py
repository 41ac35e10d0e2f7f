"""Instruments that end, begin again, or are given up: one record of it, and no gap for what does not come any more."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas import subjects
from tests.normaliser_rig import SECOND, START, Rig, exchange_info, kinds


@pytest.fixture(autouse=True, params=[False, True], ids=["straight", "restarted"])
def restarts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here holds as well when the core is saved and restored after every message."""
    monkeypatch.setattr(Rig, "restarts", request.param)


def listed(rig: Rig, *bases: str, at: float, status: str = "TRADING") -> list[dict[str, Any]]:
    """Feed a list; BTC's status is `status`. What comes out of BTC alone is returned."""
    info = json.loads(exchange_info(*bases))
    for row in info["symbols"]:
        if row["baseAsset"] == "BTC":
            row["status"] = status
    found = rig.rest("instruments", info, at=at, symbol=subjects.ALL)
    return [item for item in found if item.get("symbol") == "BTC-USDT-PERP" or "symbol" not in item]


def covered() -> Rig:
    """Trades, changes and a book in step, on connection A."""
    rig = Rig()
    rig.session("subscribed", "trades", "depth", at=1)
    rig.trade(10, at=2)
    rig.snapshot(100, at=2)
    rig.depth(101, 105, 100, at=3)
    return rig


def test_what_vanishes_from_a_list_is_delisted_once_at_the_time_of_that_list() -> None:
    rig = covered()
    ended, book = listed(rig, "ETH", at=5)
    assert (book["_to"], book["sequence"]) == ("md.orderbook", 105), "its last book is told still"
    assert (ended["_to"], ended["status"], ended["delisted_at"]) == ("md.instrument", "delisted", START + 5 * SECOND)
    assert (ended["timestamp"], ended["exchange_symbol"]) == (START + 5 * SECOND, "BTCUSDT")
    assert listed(rig, "ETH", at=6) == []


@pytest.mark.parametrize("status", ["SETTLING", "CLOSE", "DELIVERED"])
def test_a_status_that_ends_an_instrument_is_a_delisting_at_the_time_of_the_first_list_that_says_so(
    status: str,
) -> None:
    rig = covered()
    ended, _ = listed(rig, "BTC", "ETH", at=5, status=status)
    assert (ended["status"], ended["delisted_at"]) == (status.lower(), START + 5 * SECOND)
    assert listed(rig, "BTC", "ETH", at=6, status=status) == []
    assert listed(rig, "ETH", at=7) == [], "that it is gone from the list is no news any more"


def test_a_pause_is_no_delisting() -> None:
    rig = covered()
    (halted,) = listed(rig, "BTC", "ETH", at=5, status="PENDING_TRADING")
    assert "delisted_at" not in halted
    rig.session("closed", at=6)
    assert {gap["gap_type"] for gap in rig.session("subscribed", "trades", "depth", at=8, on="B")} == {"disconnect"}


def test_an_instrument_that_had_ended_before_it_was_first_seen_has_no_time_invented() -> None:
    rig = Rig(bases=("ETH",))
    (ended,) = listed(rig, "BTC", "ETH", at=5, status="CLOSE")
    assert "delisted_at" not in ended


def test_nothing_that_stays_away_after_a_delisting_is_a_gap() -> None:
    rig = covered()
    listed(rig, "ETH", at=5)
    out = rig.trade(15, at=5.1)
    out += rig.trade(17, at=5.15)
    out += rig.depth(120, 125, 119, at=5.2)
    out += rig.session("closed", at=6, reason="gone")
    out += rig.session("subscribed", "trades", "depth", at=8, on="B")
    out += rig.trade(19, at=9, on="B")
    assert kinds(out) == ["md.trade", "md.trade", "md.book_change", "md.trade"], "the last ones are told all the same"
    assert rig.resyncs() == [], "there is no book to be had any more"


def test_what_was_missed_before_the_delisting_is_a_gap_that_ends_there() -> None:
    rig = covered()
    rig.session("closed", at=4)
    found = listed(rig, "ETH", at=6)
    gaps = {item["kind"]: item for item in found if item["_to"] == "gap"}
    assert set(gaps) == {"trade", "book_change"}
    assert (gaps["trade"]["lost_from"], gaps["trade"]["lost_to"]) == (START + 3 * SECOND, START + 6 * SECOND)


def test_a_relisting_begins_anew() -> None:
    rig = covered()
    listed(rig, "ETH", at=5)
    rig.session("closed", at=6)
    (again,) = listed(rig, "BTC", "ETH", at=90)
    assert (again["status"], "delisted_at" in again) == ("trading", False)
    out = rig.session("subscribed", "trades", "depth", at=91, on="B")
    out += rig.trade(3, at=92, on="B")
    assert kinds(out) == ["md.trade"], "its ids begin anew, too"
    rig.snapshot(7, at=92)
    (change,) = rig.depth(8, 9, 7, at=93, on="B")
    assert change["in_step"]
    gap, *_ = [item for item in rig.trade(5, at=94, on="B") if item["_to"] == "gap"]
    assert (gap["first_missing"], gap["last_missing"]) == (4, 4), "from here on everything counts again"


def test_a_list_without_an_instrument_is_refused_and_delists_nothing() -> None:
    rig = covered()
    (letter,) = rig.rest("instruments", {"symbols": []}, at=5, symbol=subjects.ALL)
    assert "without an instrument" in letter["reason"]
    assert "gap" in kinds(rig.trade(12, at=6))


def test_a_stream_given_up_on_purpose_leaves_no_gap_then_or_when_it_is_taken_up_again() -> None:
    rig = covered()
    out = rig.session("unsubscribed", "trades", "depth", at=4, reason="not wanted")
    assert kinds(out) == ["md.orderbook"]
    assert kinds(rig.trade(11, at=4.1)) == ["md.trade"], "one that was on its way"
    assert rig.session("closed", at=5) == []
    assert rig.session("subscribed", "trades", "depth", at=60, on="B") == []
    assert kinds(rig.trade(50, at=61, on="B")) == ["md.trade"]
    assert kinds(rig.trade(52, at=62, on="B")) == ["gap", "md.trade"]


def test_a_stream_moved_to_another_connection_goes_on_without_a_gap() -> None:
    rig = covered()
    rig.session("subscribed", "trades", "depth", at=4, on="B")
    out = rig.trade(11, at=5, on="B")
    out += rig.session("unsubscribed", "trades", "depth", at=6, reason="moved")
    out += rig.trade(12, at=7, on="B")
    assert [item["sequence"] for item in out if item["_to"] == "md.trade"] == [11, 12]
    assert "gap" not in kinds(out)
    assert "gap" in kinds(rig.trade(14, at=8, on="B"))


def test_one_channel_given_up_leaves_the_others_covered() -> None:
    rig = covered()
    rig.session("unsubscribed", "depth", at=4)
    assert kinds(rig.trade(12, at=5)) == ["gap", "md.trade"]
