"""Bybit's frames through the normaliser's core: the book its stream begins, trades without numbers, statistics."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from services.shared.exchanges.bybit_perp import BYBIT_PERP
from services.shared.exchanges.bybit_spot import BYBIT_SPOT
from tests.core_bench import CoreBench, told
from tests.extra_frames import Extra, extra_frames

START_MS = 1_786_540_345_000
LISTED = {
    "retCode": 0,
    "retMsg": "OK",
    "time": START_MS,
    "result": {
        "list": [
            {
                "symbol": "BTCUSDT",
                "contractType": "LinearPerpetual",
                "status": "Trading",
                "baseCoin": "BTC",
                "quoteCoin": "USDT",
                "settleCoin": "USDT",
                "launchTime": "1585526400000",
                "deliveryTime": "0",
                "priceFilter": {"tickSize": "0.10"},
                "lotSizeFilter": {"qtyStep": "0.001", "basePrecision": "0.000001"},
            }
        ]
    },
}


def perp() -> CoreBench:
    return CoreBench(BYBIT_PERP, "BTC-USDT-PERP", LISTED, START_MS * 1000)


def book(kind: str, update: int, *, bids: list[list[str]], asks: list[list[str]], at_ms: int) -> dict[str, Any]:
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": update, "seq": update * 3}
    return {
        "topic": "orderbook.1000.BTCUSDT",
        "type": kind,
        "ts": START_MS + at_ms + 2,
        "data": data,
        "cts": START_MS + at_ms,
    }


def test_a_book_is_the_snapshot_and_its_changes() -> None:
    bench = perp()
    bench.ws("depth", book("snapshot", 100, bids=[["10", "1"], ["9", "2"]], asks=[["11", "3"]], at_ms=0))
    found = bench.ws("depth", book("delta", 101, bids=[["10", "0"]], asks=[["10.5", "4"]], at_ms=200), 0.2)
    assert told(found, "last_sequence", "in_step") == [("md.book_change", 101, True)]
    found = bench.ws("depth", book("delta", 102, bids=[], asks=[["11", "5"]], at_ms=1_100), 1.1)
    assert told(found, "sequence", "last_sequence", "bids", "asks") == [
        ("md.orderbook", 101, None, [["9", "2"]], [["10.5", "4"], ["11", "3"]]),
        ("md.book_change", None, 102, [], [["11", "5"]]),
    ]


def test_a_step_other_than_one_is_a_break_and_a_snapshot_heals_it() -> None:
    bench = perp()
    bench.ws("depth", book("snapshot", 100, bids=[["10", "1"]], asks=[["11", "3"]], at_ms=0))
    bench.ws("depth", book("delta", 101, bids=[["10", "2"]], asks=[], at_ms=100), 0.1)
    found = bench.ws("depth", book("delta", 103, bids=[["10", "3"]], asks=[], at_ms=300), 0.3)
    gaps = [item for item in found if item["_to"] == "gap"]
    assert told(gaps, "kind", "first_missing", "last_missing") == [("gap", "book_change", 102, 102)]
    assert [(ask.symbol, ask.sequence) for ask in bench.asked] == [("BTC-USDT-PERP", 101)]
    found = bench.ws("depth", book("snapshot", 110, bids=[["10", "7"]], asks=[["11", "3"]], at_ms=900), 0.9)
    assert ("md.book_change", 103, False) in told(found, "last_sequence", "in_step")
    found = bench.ws("depth", book("delta", 111, bids=[], asks=[["12", "1"]], at_ms=1_000), 1.0)
    assert ("md.book_change", 111, True) in told(found, "last_sequence", "in_step")


def test_an_update_id_of_one_begins_the_numbers_anew() -> None:
    bench = perp()
    bench.ws("depth", book("snapshot", 100, bids=[["10", "1"]], asks=[["11", "3"]], at_ms=0))
    bench.ws("depth", book("delta", 101, bids=[["10", "2"]], asks=[], at_ms=100), 0.1)
    bench.ws("depth", book("snapshot", 1, bids=[["20", "1"]], asks=[["21", "3"]], at_ms=200), 0.2)
    found = bench.ws("depth", book("delta", 2, bids=[["20", "4"]], asks=[], at_ms=300), 0.3)
    assert ("md.book_change", 2, True) in told(found, "last_sequence", "in_step")
    found = bench.ws("depth", book("delta", 3, bids=[], asks=[["22", "1"]], at_ms=1_300), 1.3)
    (shown,) = [item for item in found if item["_to"] == "md.orderbook"]
    assert (shown["sequence"], shown["bids"], shown["asks"]) == (2, [["20", "4"]], [["21", "3"]])


def recorded(recordings: Path, topic: str) -> list[Extra]:
    found = [extra for extra in extra_frames(recordings, "bybit") if extra.url.endswith("linear") and not extra.sent]
    return [extra for extra in found if extra.data.get("topic") == topic]


def test_the_recorded_book_is_in_step_and_equals_a_reference(recordings: Path) -> None:
    bench = perp()
    snapshot, change = recorded(recordings, "orderbook.50.BTCUSDT")
    bench.ws("depth", snapshot.body, 0.1)
    update = change.data["data"]["u"]
    found = bench.ws("depth", change.body, 0.2)
    assert told(found, "last_sequence", "in_step") == [("md.book_change", update, True)]
    shown = bench.ws("depth", book("delta", update + 1, bids=[], asks=[], at_ms=2_000), 2)[0]
    for name, key, best_first in (("bids", "b", True), ("asks", "a", False)):
        side = {Decimal(price): [price, size] for price, size in snapshot.data["data"][key]}
        side |= {Decimal(price): [price, size] for price, size in change.data["data"][key]}
        left = [side[price] for price in sorted(side, reverse=best_first) if Decimal(side[price][1])]
        assert shown[name] == left[:20]
    assert shown["sequence"] == update


def test_recorded_trades_are_told_once_each_whoever_says_them(recordings: Path) -> None:
    bench = perp()
    trades = recorded(recordings, "publicTrade.BTCUSDT")
    ids = [row["i"] for extra in trades for row in extra.data["data"]]
    found = [item for extra in trades for item in bench.ws("trades", extra.body, 20)]
    assert told(found, "trade_id", "sequence") == [("md.trade", trade_id, None) for trade_id in ids]
    assert [item for extra in trades for item in bench.ws("trades", extra.body, 21, on="B")] == []


def test_what_only_the_second_connection_heard_is_told_when_the_first_ends(recordings: Path) -> None:
    bench = perp()
    first, second = recorded(recordings, "publicTrade.BTCUSDT")
    bench.ws("trades", first.body, 1)
    assert bench.ws("trades", first.body, 1.1, on="B") == bench.ws("trades", second.body, 1.2, on="B") == []
    found = [item for item in bench.closed("A", 1.3) if item["_to"] == "md.trade"]
    assert told(found, "trade_id") == [("md.trade", second.data["data"][0]["i"])]


def test_a_trade_that_one_connection_says_twice_is_told_once() -> None:
    bench = perp()
    row = {"T": START_MS, "s": "BTCUSDT", "S": "Buy", "v": "0.1", "p": "10", "L": "PlusTick", "i": "a", "BT": False}
    push = {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": START_MS + 1, "data": [row, row | {"i": "b"}]}
    assert told(bench.ws("trades", push), "trade_id") == [("md.trade", "a"), ("md.trade", "b")]
    push["data"] = [row, row | {"i": "c"}]
    assert told(bench.ws("trades", push, 1), "trade_id") == [("md.trade", "c")]


def test_spot_trades_that_are_skipped_are_a_gap() -> None:
    bench = CoreBench(BYBIT_SPOT, "BTC-USDT", LISTED, START_MS * 1000)

    def trade(number: int) -> dict[str, Any]:
        row = {"i": str(number), "T": START_MS, "p": "1", "v": "2", "S": "Sell", "seq": 7, "s": "BTCUSDT"}
        return {"topic": "publicTrade.BTCUSDT", "ts": START_MS, "type": "snapshot", "data": [row]}

    assert told(bench.ws("trades", trade(10)), "trade_id") == [("md.trade", "10")]
    found = bench.ws("trades", trade(13), 1)
    assert told(found, "trade_id", "first_missing", "last_missing") == [
        ("gap", None, 11, 12),
        ("md.trade", "13", None, None),
    ]


def test_ticker_records_are_told_by_their_kinds(recordings: Path) -> None:
    bench = perp()
    body = (recordings / "bybit" / "nautilus_trader" / "ws_ticker_linear.json").read_bytes()
    kinds = [item["_to"] for item in bench.ws("ticker", body)]
    assert kinds == ["md.ticker", "md.index_price", "md.funding_rate", "md.open_interest"]


def delta(body: bytes, milliseconds: int, **changed: str) -> dict[str, Any]:
    data = {"symbol": "BTCUSDT", **changed}
    return json.loads(body) | {"type": "delta", "data": data, "ts": START_MS + milliseconds}


def test_a_ticker_delta_keeps_what_it_does_not_tell_and_only_what_changed_is_told(recordings: Path) -> None:
    bench = perp()
    body = (recordings / "bybit" / "nautilus_trader" / "ws_ticker_linear.json").read_bytes()
    whole = json.loads(body)["data"]
    bench.ws("ticker", body)
    found = bench.ws("ticker", delta(body, 0, markPrice="1.5"), 1)
    assert told(found, "mark_price", "index_price") == [("md.index_price", "1.5", whole["indexPrice"])]
    assert bench.ws("ticker", delta(body, 100, markPrice="1.5", openInterest=whole["openInterest"]), 2) == []
    (found,) = bench.ws("ticker", delta(body, 200, fundingRate="0.0007"), 3)
    assert (found["_to"], found["rate"], found["mark_price"]) == ("md.funding_rate", "0.0007", "1.5")
    assert found["next_funding_time"] == int(whole["nextFundingTime"]) * 1_000
    (found,) = bench.ws("ticker", delta(body, 300, bid1Price="9.5"), 4)
    assert (found["_to"], found["bid_price"], found["last_price"]) == ("md.ticker", "9.5", whole["lastPrice"])
    assert found["timestamp"] == (START_MS + 300) * 1_000
    again = json.loads(body) | {"ts": START_MS + 400}
    assert {item["_to"] for item in bench.ws("ticker", again, 5)} == {"md.ticker", "md.index_price", "md.funding_rate"}


def test_what_another_connection_told_is_not_merged(recordings: Path) -> None:
    bench = perp()
    body = (recordings / "bybit" / "nautilus_trader" / "ws_ticker_linear.json").read_bytes()
    bench.ws("ticker", body)
    bench.closed("A", at=1)
    found = bench.ws("ticker", delta(body, 2_000, markPrice="7.5"), 2, on="B")
    assert told(found, "mark_price", "index_price")[-1] == ("md.index_price", "7.5", None)


def test_a_quote_told_again_when_nothing_changed_is_stored_once() -> None:
    bench = perp()
    quote = {
        "topic": "orderbook.1.BTCUSDT",
        "type": "snapshot",
        "ts": START_MS,
        "cts": START_MS - 2,
        "data": {"s": "BTCUSDT", "b": [["10", "1"]], "a": [["11", "2"]], "u": 7, "seq": 1},
    }
    assert told(bench.ws("quotes", quote), "sequence") == [("md.quote", 7)]
    assert bench.ws("quotes", quote | {"ts": START_MS + 3_000}, 3) == []
    fuller = quote["data"] | {"a": [["11", "3"]]}  # type: ignore[operator]
    assert told(bench.ws("quotes", quote | {"data": fuller}, 4), "ask_quantity") == [("md.quote", "3")]


def test_a_polled_answer_that_fails_is_a_dead_letter() -> None:
    bench = perp()
    found = bench.rest("funding", {"retCode": 10006, "retMsg": "Too many visits!", "result": {}, "time": 1})
    assert told(found, "reason") == [("dead.normaliser", "retCode 10006 in an answer of funding: Too many visits!")]


def pages(*symbols: str) -> list[tuple[str, bytes]]:
    """A list of contracts as the exchange tells it, one contract a page: where each is asked for, and the answer."""
    first = BYBIT_PERP.instruments.path
    found = []
    for place, symbol in enumerate(symbols):
        listed = json.loads(json.dumps(LISTED))
        listed["result"]["list"][0] |= {"symbol": symbol, "baseCoin": symbol.removesuffix("USDT")}
        listed["result"]["nextPageCursor"] = f"first%3D{symbol}" if place + 1 < len(symbols) else ""
        path = first if place == 0 else f"{first}&cursor=first%3D{symbols[place - 1]}"
        found.append((path, json.dumps(listed).encode()))
    return found


def take(bench: CoreBench, answers: list[tuple[str, bytes]], at: float) -> list[list[tuple[Any, ...]]]:
    """What each page brings, from `at` seconds on."""
    return [
        told(bench.rest("instruments", body, at + place, symbol="_all", request=path), "symbol", "status")
        for place, (path, body) in enumerate(answers)
    ]


def test_a_page_names_where_the_next_one_is_asked_for() -> None:
    assert BYBIT_PERP.next_page is not None
    first, last = pages("ETHUSDT", "BTCUSDT")
    assert BYBIT_PERP.next_page(first[1]) == last[0]
    assert BYBIT_PERP.next_page(last[1]) is None
    assert BYBIT_PERP.next_page(b"<html>") is None


def test_a_list_in_pages_delists_with_its_last_page_and_nothing_that_another_page_names() -> None:
    bench = perp()
    assert take(bench, pages("BTCUSDT", "ETHUSDT"), 1) == [[], []], "ETH's partition is another"
    assert take(bench, pages("ETHUSDT", "BTCUSDT"), 3) == [[], []]
    gone = ("md.instrument", "BTC-USDT-PERP", "delisted")
    assert take(bench, pages("ETHUSDT", "SOLUSDT"), 5) == [[], [gone]]


def test_pages_that_are_not_all_there_delist_nothing() -> None:
    bench = perp()
    first, second, third = pages("ETHUSDT", "SOLUSDT", "ADAUSDT")
    assert take(bench, [third], 1) == [[]], "a last page whose beginning never came"
    assert take(bench, [first, third], 2) == [[], []], "one between is missing"
    assert take(bench, [first, second, first, third], 4) == [[]] * 4, "it began anew"
    assert take(bench, [first, second, third], 8) == [[], [], [("md.instrument", "BTC-USDT-PERP", "delisted")]]
