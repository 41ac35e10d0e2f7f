"""What other exchanges do differently: merged and unnumbered trades, candles without an end, frames about many."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from schemas import records, subjects
from schemas.frames import RawFrame
from services.shared.exchanges.binance_perp import BINANCE_PERP
from services.shared.exchanges.declaration import Channel, Listing, Numbering, Poll
from tests.normaliser_rig import START, Rig, kinds


def parse(frame: RawFrame, listing: Listing) -> Sequence[records.Record]:
    """Frames that name the kind and the values of their records."""
    found = json.loads(frame.body)
    common = {"exchange": "binance", "market": "perp", "symbol": frame.symbol, "timestamp_source": "match"}
    return [
        records.BY_KIND[found["kind"]](**{**common, "received_at": frame.received_at, "source": "live", **row})
        for row in found["rows"]
    ]


CHANNELS = [
    Channel("spans", ("trade",), str, parse, numbering=Numbering.SPANS),
    Channel("rising", ("trade",), str, parse, numbering=Numbering.RISING),
    Channel("unnumbered", ("trade",), str, parse, numbering=Numbering.NONE),
    Channel("minutes", ("candle", "candle_update"), str, parse, interval="1m", closes_itself=False),
    Channel("liquidations", ("liquidation",), str, parse, per_symbol=False),
]
MARKET = replace(
    BINANCE_PERP,
    channels={channel.name: channel for channel in CHANNELS},
    polls={**BINANCE_PERP.polls, "everything": Poll("everything", ("open_interest",), "/all", 1, parse, every_s=60)},
    book_channel="none",
)


class OtherRig(Rig):
    def say(self, channel: str, kind: str, *rows: dict[str, Any], at: float, on: str = "A") -> list[dict[str, Any]]:
        return self.ws(channel, {"kind": kind, "rows": rows}, at=at, on=on)


@pytest.fixture(params=[False, True], ids=["stays", "restarts"])
def rig(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> OtherRig:
    monkeypatch.setattr(Rig, "restarts", request.param)
    return OtherRig(markets={("binance", "perp"): MARKET})


def trade(at: int, **more: Any) -> dict[str, Any]:
    return {"timestamp": at, "price": "100", "quantity": "1", "side": "buy", **more}


def missing(found: Iterable[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(gap["first_missing"], gap["last_missing"]) for gap in found if gap["_to"] == "gap"]


# -- trades ------------------------------------------------------------------------------------------------------------


def test_merged_trades_follow_one_another_by_the_ids_they_merge(rig: OtherRig) -> None:
    def say(number: int, at: float, **more: Any) -> list[dict[str, Any]]:
        return rig.say("spans", "trade", trade(1, sequence=number, **more), at=at)

    assert kinds(say(10, 1, trade_count=3)) == ["md.trade"]
    assert kinds(say(14, 2, trade_count=4)) == ["md.trade"]
    assert missing(found := say(20, 3, trade_count=2)) == [(15, 18)]
    assert kinds(found) == ["gap", "md.trade"]
    assert kinds(say(21, 4)) == ["md.trade"], "without a count it is one"
    assert kinds(say(25, 5, first_trade_id=22, last_trade_id=25)) == ["md.trade"]
    assert missing(say(30, 6, first_trade_id=28, last_trade_id=30)) == [(26, 27)]
    assert say(30, 7, first_trade_id=28, last_trade_id=30) == []


def test_a_hole_between_merged_trades_is_measured_by_the_ids_they_merge(rig: OtherRig) -> None:
    rig.session("subscribed", "spans", at=1)
    rig.say("spans", "trade", trade(1, sequence=10), at=2)
    rig.session("closed", at=3, reason="bye")
    rig.session("subscribed", "spans", at=4, on="B")
    [gap, told] = rig.say("spans", "trade", trade(2, sequence=14, trade_count=4), at=5, on="B")
    assert (gap["status"], told["sequence"]) == ("filled", 14)
    rig.session("closed", at=6, on="B", reason="bye")
    rig.session("subscribed", "spans", at=7, on="C")
    found = rig.say("spans", "trade", trade(3, sequence=20, trade_count=2), at=8, on="C")
    assert missing(found) == [(15, 18)]


def test_rising_numbers_tell_what_is_old_and_nothing_else(rig: OtherRig) -> None:
    rig.session("subscribed", "rising", at=1)
    assert kinds(rig.say("rising", "trade", trade(1, sequence=10), trade(1, sequence=90), at=2)) == ["md.trade"] * 2
    assert rig.say("rising", "trade", trade(1, sequence=90), at=3) == []
    rig.session("closed", at=4, reason="bye")
    [opened] = rig.session("subscribed", "rising", at=5, on="B")[:1]
    assert "first_missing" not in opened
    [closed, _] = rig.say("rising", "trade", trade(9, sequence=91), at=6, on="B")
    assert (closed["gap_id"], closed["status"], closed["before_timestamp"]) == (opened["gap_id"], "open", 10)


def test_a_rising_number_that_was_jumped_over_comes_late_and_is_no_gap(rig: OtherRig) -> None:
    rig.session("subscribed", "rising", at=1)
    rig.say("rising", "trade", trade(1, sequence=10), trade(1, sequence=90), trade(2, sequence=91), at=2)
    for number in (40, 39, 89, 11):
        [late] = rig.say("rising", "trade", trade(1, sequence=number), at=3)
        assert (kinds([late]), late["sequence"]) == (["md.trade"], number)
        assert rig.say("rising", "trade", trade(1, sequence=number), at=3) == []
    assert rig.say("rising", "trade", trade(2, sequence=91), at=4) == []
    assert kinds(rig.say("rising", "trade", trade(3, sequence=92), at=5)) == ["md.trade"]


def test_equal_trades_without_numbers_are_told_as_often_as_they_were_said(rig: OtherRig) -> None:
    found = rig.say("unnumbered", "trade", trade(5), trade(5), trade(5, quantity="2"), at=1)
    assert [item["quantity"] for item in found] == ["1", "1", "2"]
    assert kinds(rig.say("unnumbered", "trade", trade(5), at=2)) == ["md.trade"]
    assert rig.again() == []


def test_a_successor_tells_unnumbered_trades_neither_twice_nor_too_few(rig: OtherRig) -> None:
    rig.session("subscribed", "unnumbered", at=1)
    rig.say("unnumbered", "trade", trade(1, price="99"), at=2)
    rig.session("subscribed", "unnumbered", at=3, on="B")
    both = [trade(5), trade(5), trade(6)]
    assert rig.say("unnumbered", "trade", *both, at=4, on="B") == []
    assert kinds(rig.say("unnumbered", "trade", *both, at=4.1)) == ["md.trade"] * 3
    # The third equal one and a later one reach only the successor before the leader ends.
    assert rig.say("unnumbered", "trade", trade(5), trade(7), at=4.2, on="B") == []
    told = rig.session("closed", at=5, reason="replaced")
    assert [item["timestamp"] for item in told if item["_to"] == "md.trade"] == [5, 7]
    assert [item["timestamp"] for item in rig.say("unnumbered", "trade", trade(7), trade(8), at=6, on="B")] == [7, 8]


def test_a_successor_that_lags_tells_no_unnumbered_trade_again(rig: OtherRig) -> None:
    rig.session("subscribed", "unnumbered", at=1)
    rig.session("subscribed", "unnumbered", at=1.1, on="B")
    rig.say("unnumbered", "trade", trade(5), trade(5), trade(6), at=2)
    rig.session("closed", at=3, reason="replaced")
    assert rig.say("unnumbered", "trade", trade(5), trade(5), trade(6), at=4, on="B") == []
    assert kinds(rig.say("unnumbered", "trade", trade(6), at=5, on="B")) == ["md.trade"]
    assert rig.count("duplicates") == 3


def test_what_was_told_long_ago_is_forgotten_and_yet_not_told_again(rig: OtherRig) -> None:
    minute = 60_000_000
    rig.session("subscribed", "unnumbered", at=1)
    rig.session("subscribed", "unnumbered", at=1.1, on="B")
    rig.say("unnumbered", "trade", trade(5), at=2, on="B")
    rig.say("unnumbered", "trade", trade(5), at=2.1)
    rig.say("unnumbered", "trade", trade(minute), at=62)
    rig.say("unnumbered", "trade", trade(minute), trade(minute + 1), at=62.1, on="B")
    found = rig.session("closed", at=62.2, reason="replaced")
    assert [item["timestamp"] for item in found if item["_to"] == "md.trade"] == [minute + 1]


# -- candles -----------------------------------------------------------------------------------------------------------

MINUTE = 60_000_000


def candle(number: int, close: str, volume: str = "1", **more: Any) -> dict[str, Any]:
    values = {"open_price": "1", "high_price": "9", "low_price": "1", "close_price": close, "volume": volume}
    return {"timestamp": START + number * MINUTE, "interval": "1m", "closed": False, **values, **more}


def test_a_candle_is_closed_by_the_next_ones_open_as_it_was_last_seen(rig: OtherRig) -> None:
    rig.session("subscribed", "minutes", at=1)
    assert kinds(rig.say("minutes", "candle_update", candle(0, "2"), at=2)) == ["md.candle_update"]
    assert kinds(rig.say("minutes", "candle_update", candle(0, "3", "4", quote_volume="12"), at=59)) == [
        "md.candle_update"
    ]
    closed, update = rig.say("minutes", "candle_update", candle(2, "5"), at=121)
    assert (closed["_to"], closed["closed"], closed["timestamp"]) == ("md.candle", True, START)
    assert (closed["close_price"], closed["volume"], closed["quote_volume"]) == ("3", "4", "12")
    assert closed["received_at"] == START + 59_000_000
    assert (update["_to"], update["closed"], update["close_price"]) == ("md.candle_update", False, "5")
    assert kinds(rig.say("minutes", "candle_update", candle(2, "6"), at=122)) == ["md.candle_update"]


def test_a_candle_that_may_have_changed_unseen_is_not_closed(rig: OtherRig) -> None:
    rig.session("subscribed", "minutes", at=1)
    rig.say("minutes", "candle_update", candle(0, "2"), at=2)
    rig.say("minutes", "candle_update", candle(1, "2"), at=62)
    rig.session("closed", at=63, reason="bye")
    rig.session("subscribed", "minutes", at=125, on="B")
    assert [item["_to"] for item in rig.say("minutes", "candle_update", candle(2, "5"), at=126, on="B")] == [
        "gap",
        "md.candle_update",
    ]
    found = rig.say("minutes", "candle_update", candle(3, "5"), at=181, on="B")
    [gap] = [item for item in found if item["_to"] == "gap"]
    assert gap["kind"] == "candle"
    assert gap["after_timestamp"] < START + MINUTE < gap["before_timestamp"] == START + 2 * MINUTE
    assert [item["timestamp"] for item in found if item["_to"] == "md.candle"] == [START + 2 * MINUTE]


def test_a_candle_seen_again_after_a_hole_is_whole_again(rig: OtherRig) -> None:
    rig.session("subscribed", "minutes", at=1)
    rig.say("minutes", "candle_update", candle(0, "2"), at=2)
    rig.session("closed", at=10, reason="bye")
    rig.session("subscribed", "minutes", at=20, on="B")
    rig.say("minutes", "candle_update", candle(0, "4"), at=21, on="B")
    found = rig.say("minutes", "candle_update", candle(1, "5"), at=62, on="B")
    assert [item["close_price"] for item in found if item["_to"] == "md.candle"] == ["4"]


def test_a_candle_that_was_said_to_be_final_is_not_closed_again(rig: OtherRig) -> None:
    rig.session("subscribed", "minutes", at=1)
    rig.say("minutes", "candle_update", candle(0, "2", closed=True), at=60)
    assert kinds(rig.say("minutes", "candle", candle(0, "2", closed=True), at=60)) == ["md.candle"]
    assert kinds(rig.say("minutes", "candle_update", candle(1, "3"), at=61)) == ["md.candle_update"]


def test_two_connections_close_a_candle_once(rig: OtherRig) -> None:
    rig.session("subscribed", "minutes", at=1)
    rig.session("subscribed", "minutes", at=1.1, on="B")
    for on in "AB":
        rig.say("minutes", "candle_update", candle(0, "2", sent_at=1), at=2, on=on)
    assert kinds(rig.say("minutes", "candle_update", candle(1, "3", sent_at=2), at=61)) == [
        "md.candle",
        "md.candle_update",
    ]
    rig.say("minutes", "candle_update", candle(1, "3", sent_at=2), at=61.1, on="B")
    told = rig.session("closed", at=62, reason="replaced")
    assert [item for item in told if item["_to"].startswith("md.candle")] == []
    found = rig.say("minutes", "candle_update", candle(2, "4", sent_at=3), at=121, on="B")
    assert [item["timestamp"] for item in found if item["_to"] == "md.candle"] == [START + MINUTE]


# -- whole markets -----------------------------------------------------------------------------------------------------


def interest(symbol: str, at: int, value: str) -> dict[str, Any]:
    return {"symbol": symbol, "timestamp": at, "open_interest": value}


def test_rows_of_an_answer_about_many_are_known_each_by_its_own_instrument(rig: OtherRig) -> None:
    rig.part = subjects.partition("binance", "perp", subjects.ALL)
    btc, eth = "BTC-USDT-PERP", "ETH-USDT-PERP"

    def poll(*rows: dict[str, Any], at: float) -> list[tuple[str, str]]:
        found = rig.rest("everything", {"kind": "open_interest", "rows": rows}, at=at, symbol=subjects.ALL)
        return [(item["symbol"], item["open_interest"]) for item in found]

    assert poll(interest(btc, 10, "1"), interest(eth, 5, "2"), at=1) == [(btc, "1"), (eth, "2")]
    assert poll(interest(btc, 10, "1"), interest(eth, 7, "3"), at=2) == [(eth, "3")]
    assert rig.again() == []
    assert rig.sent[-1][1].subject.endswith(f".{rig.part:02d}")


def test_a_stream_of_the_whole_market_tells_every_instruments_records_once(rig: OtherRig) -> None:
    everything = subjects.ALL
    rig.symbol = everything
    rig.session("subscribed", "liquidations", at=1)
    rig.session("subscribed", "liquidations", at=1.1, on="B")

    def row(symbol: str, at: int, quantity: str) -> dict[str, Any]:
        return {"symbol": symbol, "timestamp": at, "price": "7", "quantity": quantity, "side": "sell"}

    rows = [row("BTC-USDT-PERP", 9, "1"), row("ETH-USDT-PERP", 4, "2"), row("BTC-USDT-PERP", 9, "1")]
    found = rig.say("liquidations", "liquidation", *rows, at=2)
    assert [(item["symbol"], item["timestamp"]) for item in found] == [
        (item["symbol"], item["timestamp"]) for item in rows
    ]
    rig.say("liquidations", "liquidation", *rows, row("ETH-USDT-PERP", 3, "5"), at=2.1, on="B")
    told = rig.session("closed", at=3, reason="replaced")
    assert [(i["symbol"], i["quantity"]) for i in told if i["_to"] == "md.liquidation"] == [("ETH-USDT-PERP", "5")]
    rig.session("closed", at=4, on="B", reason="bye")
    [gap] = [item for item in rig.session("subscribed", "liquidations", at=5, on="C") if item["_to"] == "gap"]
    assert (gap["symbol"], gap["kind"]) == ("_all", "liquidation")


def test_what_is_remembered_of_unnumbered_trades_is_bounded(rig: OtherRig) -> None:
    rig.session("subscribed", "unnumbered", at=1)
    rows = [trade(5, price=str(number)) for number in range(5_000)]
    for start in range(0, 5_000, 1_000):
        assert len(rig.say("unnumbered", "trade", *rows[start : start + 1_000], at=2)) == 1_000
    [unit] = [key for key in rig.core.units() if key.endswith(rig.symbol)]
    assert len(rig.core.save(unit)) < 100_000
