"""Connections that end, begin and overlap: a gap exactly where nobody covered, and nothing told twice."""

from __future__ import annotations

import pytest

from services.normaliser.core import CoreOptions
from services.normaliser.saving import unpack_unit
from tests.normaliser_rig import SECOND, START, Rig, kinds, millis


@pytest.fixture(autouse=True, params=[False, True], ids=["straight", "restarted"])
def restarts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here holds as well when the core is saved and restored after every message."""
    monkeypatch.setattr(Rig, "restarts", request.param)


def test_a_hole_between_two_connections_is_a_gap_closed_by_the_first_trade_behind_it() -> None:
    rig = Rig()
    rig.session("subscribed", "trades", at=1)
    rig.trade(10, at=2)
    rig.session("alive", at=3)
    assert rig.session("closed", at=5, reason="gone") == []
    (gap,) = rig.session("subscribed", "trades", at=8, on="B")
    assert (gap["_to"], gap["gap_type"], gap["status"], gap["kind"]) == ("gap", "disconnect", "open", "trade")
    assert (gap["lost_from"], gap["lost_to"]) == (START + 3 * SECOND, START + 8 * SECOND)
    assert gap["after_timestamp"] < millis(2) * 1000
    assert "gone" in gap["evidence"]
    assert "before_timestamp" not in gap
    known, first = rig.trade(13, at=9, on="B")
    assert known["gap_id"] == gap["gap_id"]
    assert (known["first_missing"], known["last_missing"], known["status"]) == (11, 12, "open")
    assert known["before_timestamp"] > millis(9) * 1000
    assert first["sequence"] == 13
    assert kinds(rig.trade(14, at=10, on="B")) == ["md.trade"]


def test_contiguous_ids_prove_that_a_hole_held_nothing() -> None:
    rig = Rig()
    rig.trade(10, at=2)
    rig.session("closed", at=5)
    (gap,) = rig.session("subscribed", "trades", at=8, on="B")
    known, _ = rig.trade(11, at=9, on="B")
    assert (known["gap_id"], known["status"]) == (gap["gap_id"], "filled")
    assert "first_missing" not in known
    assert "contiguous" in known["evidence"]


def test_a_replacement_made_before_the_break_leaves_no_gap_and_doubles_nothing() -> None:
    rig = Rig()
    rig.session("subscribed", "trades", at=1)
    out = rig.trade(10, at=2)
    assert rig.session("subscribed", "trades", at=3, on="B") == []
    out += rig.trade(11, at=4, on="B")
    out += rig.trade(11, at=4.1)
    out += rig.trade(12, at=4.2, on="B")
    out += rig.trade(13, at=4.3, on="B")
    out += rig.session("closed", at=5)
    out += rig.trade(14, at=6, on="B")
    assert kinds(out) == ["md.trade"] * 5
    assert [item["sequence"] for item in out] == [10, 11, 12, 13, 14]


def test_an_end_without_a_farewell_is_seen_by_what_the_next_connection_says() -> None:
    rig = Rig()
    rig.session("subscribed", "trades", at=1)
    rig.trade(10, at=2)
    assert rig.session("subscribed", "trades", at=4, on="B") == []
    assert rig.trade(12, at=4.5, on="B") == []
    gap, known, kept = rig.session("alive", at=5.1, on="B")
    assert (gap["gap_type"], gap["lost_from"], gap["lost_to"]) == (
        "disconnect",
        START + 2 * SECOND,
        START + 4 * SECOND,
    )
    assert (known["first_missing"], known["last_missing"], kept["sequence"]) == (11, 11, 12)
    assert kinds(rig.trade(13, at=6, on="B")) == ["md.trade"]


def test_quotes_of_a_successor_begin_where_the_leader_ended() -> None:
    rig = Rig()

    def quote(sequence: int, at: float, on: str) -> list[dict[str, object]]:
        body = {"e": "bookTicker", "u": sequence, "s": "BTCUSDT", "b": "1", "B": "2", "a": "3", "A": "4"}
        return rig.ws("quotes", body | {"T": millis(at), "E": millis(at)}, at=at, on=on)

    rig.session("subscribed", "quotes", at=0.5, on="A")
    out = quote(100, 1, "A")
    rig.session("subscribed", "quotes", at=1.5, on="B")
    for sequence in (100, 105, 107, 109):
        out += quote(sequence, 2, "B")
    out += quote(105, 2.1, "A")
    out += rig.session("closed", at=3, on="A")
    out += quote(111, 4, "B")
    assert [item["sequence"] for item in out] == [100, 105, 107, 109, 111]


def test_the_record_of_a_connection_comes_out_in_the_partition_of_the_market_only() -> None:
    other = Rig()
    assert other.session("opened", at=1) == []
    rig = Rig(symbol="_all")
    (opened,) = rig.session("opened", at=1, streams=3)
    assert (opened["_to"], opened["event"], opened["streams"], opened["connection"]) == (
        "md.connection",
        "opened",
        3,
        "A",
    )
    assert rig.again() == []
    assert rig.session("alive", at=2) == []
    (closed,) = rig.session("closed", at=3, reason="bye")
    assert (closed["event"], closed["reason"]) == ("closed", "bye")


def test_candles_lost_in_a_hole_lie_inside_its_bounds() -> None:
    rig = Rig()

    def candle(open_at: int, sent: float, closed: bool, on: str) -> list[dict[str, object]]:
        bar = {"t": open_at, "T": open_at + 59_999, "s": "BTCUSDT", "i": "1m", "f": -1, "L": -1, "n": 0, "x": closed}
        bar |= {"o": "1", "c": "1", "h": "1", "l": "1", "v": "0", "q": "0", "V": "0", "Q": "0", "B": "0"}
        return rig.ws("candles_1m", {"e": "kline", "E": millis(sent), "s": "BTCUSDT", "k": bar}, at=sent, on=on)

    minute = START // 1000
    assert kinds(candle(minute, 1, True, "A")) == ["md.candle_update", "md.candle"]
    assert kinds(candle(minute, 1.5, True, "A")) == ["md.candle_update"]
    (update,) = candle(minute + 60_000, 61, False, "A")
    assert "first_trade_id" not in update
    rig.session("closed", at=62)
    found = rig.session("subscribed", "candles_1m", at=200, on="B")
    gaps = {item["kind"]: item for item in found}
    assert gaps["candle"]["after_timestamp"] == minute * 1000
    assert gaps["candle"]["interval"] == "1m"
    assert gaps["candle_update"]["after_timestamp"] < millis(61) * 1000
    found = candle(minute + 180_000, 201, False, "B")
    assert kinds(found) == ["gap", "md.candle_update"]
    assert found[0]["before_timestamp"] > millis(201) * 1000
    found = candle(minute + 180_000, 240, True, "B")
    assert kinds(found) == ["md.candle_update", "gap", "md.candle"]
    assert (found[1]["gap_id"], found[1]["before_timestamp"]) == (
        gaps["candle"]["gap_id"],
        (minute + 180_000) * 1000,
    )


def test_frames_dropped_by_the_collector_are_a_gap_of_their_channel() -> None:
    rig = Rig()
    rig.session("subscribed", "trades", at=1)
    rig.trade(10, at=2)
    dropped = {"first_number": 3, "last_number": 5}
    (gap,) = rig.session("dropped", "trades", at=4, **dropped)
    assert (gap["gap_type"], gap["lost_from"], gap["lost_to"]) == ("dropped", START + 2 * SECOND, START + 4 * SECOND)
    known, _ = rig.trade(15, at=5)
    assert (known["gap_id"], known["first_missing"], known["last_missing"]) == (gap["gap_id"], 11, 14)


def test_what_the_ring_discarded_is_a_gap_of_every_live_channel() -> None:
    rig = Rig()
    rig.trade(10, at=2)
    rig.core.lost(3, 99)
    gap, known, after = rig.trade(15, at=5)
    assert (gap["gap_type"], gap["lost_from"], gap["kind"]) == ("ring", START + 2 * SECOND, "trade")
    assert (known["gap_id"], known["first_missing"], known["last_missing"]) == (gap["gap_id"], 11, 14)
    assert known["lost_to"] == START + 5 * SECOND
    assert after["sequence"] == 15


def test_frames_of_a_killed_collector_that_reach_raw_late_are_told_all_the_same() -> None:
    rig = Rig()
    rig.session("subscribed", "trades", at=1)
    rig.trade(10, at=2)
    rig.session("subscribed", "trades", at=9, on="B")
    assert [item.get("sequence") for item in rig.trade(20, at=9.5, on="B")] == [None, 20]
    assert [item["sequence"] for item in rig.trade(11, at=2.5)] == [11]
    assert rig.again() == []
    assert rig.trade(20, at=9.6) == []
    assert [item["sequence"] for item in rig.trade(21, at=10, on="B")] == [21]


def test_a_connection_unheard_of_covers_nothing_although_it_was_not_closed_before_the_next_began() -> None:
    rig = Rig()
    rig.session("subscribed", "trades", at=1)
    rig.trade(10, at=2)
    (gap,) = rig.session("subscribed", "trades", at=41, on="B")
    assert (gap["lost_from"], gap["lost_to"]) == (START + 2 * SECOND, START + 41 * SECOND)
    assert rig.session("closed", at=42) == []


def test_a_silent_connection_that_answers_covers_what_the_exchange_did_not_say() -> None:
    rig = Rig()
    rig.session("subscribed", "trades", at=1)
    rig.trade(10, at=2)
    rig.session("silent", at=40, reason="38")
    rig.session("alive", at=40.5)
    assert rig.session("subscribed", "trades", at=41, on="B") == []
    assert rig.session("closed", at=42) == []
    assert kinds(rig.trade(11, at=43, on="B")) == ["md.trade"]


def test_frames_of_a_closed_connection_published_again_are_not_told_again() -> None:
    rig = Rig()
    rig.trade(10, at=2)
    first = rig.sent[-1][1]
    rig.session("closed", at=3)
    assert rig.feed(first) == []


def test_a_successor_that_lags_tells_nothing_again() -> None:
    rig = Rig()

    def ticker(sent: float, at: float, on: str) -> list[dict[str, object]]:
        body = {"e": "24hrTicker", "E": millis(sent), "s": "BTCUSDT", "O": 0, "C": 0, "F": 1, "L": 1, "n": 1}
        return rig.ws("ticker", body | dict.fromkeys("pPwcQohlvq", "1"), at=at, on=on)

    rig.session("subscribed", "ticker", at=1)
    rig.session("subscribed", "ticker", at=1, on="B")
    assert len(ticker(10, 10, "A")) == len(ticker(11, 11, "A")) == 1
    assert rig.session("closed", at=11.1) == []
    assert ticker(10.5, 11.2, "B") == ticker(11, 11.3, "B") == []
    (found,) = ticker(12, 12, "B")
    assert found["sent_at"] == millis(12) * 1000


def test_a_leader_that_lives_and_tells_nothing_is_replaced_before_anything_is_lost() -> None:
    rig = Rig(options=CoreOptions(hold_events=3))
    rig.session("subscribed", "trades", at=1)
    rig.session("subscribed", "trades", at=1, on="B")
    rig.trade(10, at=2)
    out = []
    for number in range(10, 16):
        rig.session("alive", at=2 + number / 10)
        out += rig.trade(number, at=2 + number / 10, on="B")
    assert [item["sequence"] for item in out] == [11, 12, 13, 14, 15]


def test_what_is_kept_aside_of_a_second_connection_stays_small_while_the_leader_tells_it_too() -> None:
    rig = Rig()
    rig.session("subscribed", "trades", at=1)
    rig.session("subscribed", "trades", at=1, on="B")
    told = []
    for number in range(1, 400):
        told += rig.trade(number, at=1 + number / 100) + rig.trade(number, at=1 + number / 100, on="B")
    assert [item["sequence"] for item in told] == list(range(1, 400))
    rig.restart()
    saved = unpack_unit(rig.past[-1].save("binance/perp/BTC-USDT-PERP"))
    (other,) = [link for link in saved.lanes["trades"].links if link.name == "B"]
    assert len(other.aside) < 64
