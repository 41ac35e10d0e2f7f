"""Answers about the past in the normaliser: what was missing comes out, once, and the live stream does not notice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from schemas import frames
from services.shared.exchanges.history import MINUTE_US
from tests.normaliser_rig import START, Rig, kinds

MINUTE = START // MINUTE_US * MINUTE_US


@pytest.fixture(params=[False, True], ids=["running", "restarted-after-each-message"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    made = Rig()
    made.restarts = request.param  # type: ignore[misc]  # of this one alone
    yield made


def rows(*numbers: int) -> bytes:
    return json.dumps(
        [{"a": n, "p": "100.0", "q": "0.5", "f": n, "l": n, "T": START // 1000 + n, "m": True} for n in numbers]
    ).encode()


def past(rig: Rig, channel: str, body: bytes, wanted: str, *, at: float, on: str = "B") -> list[dict[str, Any]]:
    frame = rig.frame(channel, body, at=at, on=on, symbol=None, origin="backfill")
    return rig.feed(frames.message(msgspec.structs.replace(frame, wanted=wanted, requested_at=frame.received_at)))


def candle(open_at: int) -> bytes:
    row = [open_at // 1000, "1", "2", "0.5", "1.5", "10", (open_at + MINUTE_US) // 1000 - 1, "15", 3, "4", "6", "0"]
    return json.dumps([row]).encode()


def live_candle(rig: Rig, open_at: int, at: float) -> list[dict[str, Any]]:
    k = {"t": open_at // 1000, "s": "BTCUSDT", "i": "1m", "f": 1, "L": 2, "o": "1", "c": "1.5", "h": "2", "l": "0.5"}
    k |= {"v": "10", "n": 3, "x": True, "q": "15", "V": "4", "Q": "6"}
    return rig.ws("candles_1m", {"e": "kline", "E": open_at // 1000 + 60_010, "s": "BTCUSDT", "k": k}, at=at)


def test_only_what_was_missing_comes_out_and_the_live_numbers_go_on(rig: Rig) -> None:
    rig.trade(10, at=1)
    gap = rig.trade(15, at=2)
    assert kinds(gap) == ["gap", "md.trade"]
    found = past(rig, "trades_history", rows(10, 11, 12, 13, 14, 15), "11-12,14", at=3)
    assert [(row["sequence"], row["source"], row["side"]) for row in found] == [
        (11, "backfill", "sell"),
        (12, "backfill", "sell"),
        (14, "backfill", "sell"),
    ]
    assert kinds(rig.trade(16, at=4)) == ["md.trade"], "no gap, nothing doubled"
    assert rig.trade(12, at=5) == [], "an old live row stays old"


def test_a_live_trade_behind_its_successors_is_stored_and_its_gap_is_filled_with_the_last_of_them(rig: Rig) -> None:
    rig.trade(10, at=1)
    gap = rig.trade(13, at=2)[0]
    assert (gap["first_missing"], gap["last_missing"], gap["status"]) == (11, 12, "open")
    (late,) = rig.trade(12, at=3)
    assert (late["_to"], late["sequence"], late["source"]) == ("md.trade", 12, "live")
    assert rig.trade(12, at=4) == [], "once"
    late, filled = rig.trade(11, at=5)
    assert (late["_to"], late["sequence"]) == ("md.trade", 11)
    assert (filled["gap_id"], filled["status"]) == (gap["gap_id"], "filled")
    assert kinds(rig.trade(14, at=6)) == ["md.trade"]


def test_a_trade_that_came_late_is_not_brought_again_by_its_history(rig: Rig) -> None:
    rig.trade(10, at=1)
    rig.trade(13, at=2)
    rig.trade(12, at=3)
    assert [row["sequence"] for row in past(rig, "trades_history", rows(11, 12), "11-12", at=4)] == [11]
    assert rig.trade(11, at=5) == [], "the history was first"
    again = past(rig, "trades_history", rows(12), "12", at=900, on="C")
    assert [row["sequence"] for row in again] == [12], "it went missing from its table later"


def test_what_was_jumped_over_before_a_hole_comes_no_more(rig: Rig) -> None:
    rig.trade(10, at=1)
    rig.trade(13, at=2)
    rig.session("closed", at=3, reason="test")
    rig.trade(20, at=9, on="C")
    assert rig.trade(12, at=10, on="C") == []


def test_a_trade_that_the_exchange_has_told_of_before_it_came_is_not_put_out_again(rig: Rig) -> None:
    rig.trade(10, at=1)
    rig.session("closed", at=3, reason="test")
    rig.session("subscribed", "trades", at=4, on="C")
    assert len(past(rig, "trades_history", rows(11, 12), "11-12", at=60)) == 2
    assert [rig.trade(11, at=61, on="C"), rig.trade(12, at=62, on="C")] == [[], []]
    told, trade = rig.trade(14, at=63, on="C")
    assert (told["first_missing"], told["last_missing"], told["status"]) == (11, 13, "open")
    assert trade["sequence"] == 14


def test_a_frame_that_is_published_again_brings_nothing(rig: Rig) -> None:
    assert len(past(rig, "trades_history", rows(11, 12), "11-12", at=3)) == 2
    assert rig.again() == []
    assert rig.count("duplicates") == 1


def test_a_row_that_went_missing_later_may_be_brought_again(rig: Rig) -> None:
    past(rig, "trades_history", rows(11), "11", at=3)
    assert len(past(rig, "trades_history", rows(11), "11", at=900, on="C")) == 1


def test_a_live_candle_that_comes_after_its_history_is_not_put_out_again(rig: Rig) -> None:
    first = MINUTE + MINUTE_US
    assert "md.candle" in kinds(live_candle(rig, first, at=200))
    assert kinds(past(rig, "candles_1m_history", candle(first + MINUTE_US), f"{first + MINUTE_US}", at=300)) == [
        "md.candle"
    ]
    assert kinds(live_candle(rig, first + MINUTE_US, at=301)) == ["md.candle_update"]
    assert kinds(live_candle(rig, first + 2 * MINUTE_US, at=360)) == ["md.candle_update", "md.candle"]


def test_a_polled_row_that_comes_after_its_history_is_not_put_out_again(rig: Rig) -> None:
    def ratio(*minutes: int) -> bytes:
        share = {"symbol": "BTCUSDT", "longShortRatio": "2", "longAccount": "0.6", "shortAccount": "0.4"}
        return json.dumps([{**share, "timestamp": (MINUTE + m * MINUTE_US) // 1000} for m in minutes]).encode()

    assert len(rig.rest("lsr_all_accounts", ratio(0), at=60)) == 1
    assert len(past(rig, "lsr_all_accounts_history", ratio(5, 10), f"{MINUTE + 5 * MINUTE_US}", at=900)) == 1
    late = rig.rest("lsr_all_accounts", ratio(0, 5, 10), at=901)
    assert [row["timestamp"] for row in late] == [MINUTE + 10 * MINUTE_US]


def test_an_answer_that_cannot_be_read_goes_to_the_dead_letters(rig: Rig) -> None:
    (letter,) = past(rig, "trades_history", b"<html>", "1-9", at=3)
    assert letter["_to"] == "dead.normaliser" and "not an answer of trades_history" in letter["reason"]
    (letter,) = past(rig, "no_such_history", b"[]", "1", at=4)
    assert "has no history 'no_such_history'" in letter["reason"]
    (letter,) = past(rig, "trades_history", rows(1), "1-x", at=5)
    assert "is not a number or a span" in letter["reason"]
