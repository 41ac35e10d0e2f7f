"""Bybit's frames, one by one: values, refusals, and that nothing but a refusal ever comes of bad bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import UnknownSymbol
from services.shared.exchanges.bybit_perp import BYBIT_PERP
from services.shared.exchanges.bybit_spot import BYBIT_SPOT
from services.shared.exchanges.declaration import BookSnapshot, Listing, Reply, StreamName
from tests.extra_frames import NESTED, Bench, Extra, damaged, extra_frames, instrument, refused

PERP_NAMES = ("BTC", "ICP", "MARSCOIN")
PERP = Bench(
    BYBIT_PERP,
    Listing([instrument("bybit", "perp", f"{base}-USDT-PERP", f"{base}USDT") for base in PERP_NAMES]),
    "BTC-USDT-PERP",
)
SPOT = Bench(BYBIT_SPOT, Listing([instrument("bybit", "spot", "BTC-USDT", "BTCUSDT")]), "BTC-USDT")
CHANNELS = {
    "publicTrade": "trades",
    "orderbook.1": "quotes",
    "orderbook.50": "depth",
    "kline.1": "candles_1m",
    "kline.5": "candles_5m",
    "tickers": "ticker",
    "allLiquidation": "liquidations",
}


def data_frames(recordings: Path) -> list[tuple[Bench, str, str, Extra]]:
    """(bench, channel, our symbol, frame) of every data frame of today."""
    found = []
    for extra in extra_frames(recordings, "bybit"):
        if extra.sent or "topic" not in extra.data:
            continue
        bench = SPOT if extra.url.endswith("spot") else PERP
        prefix, _, name = extra.data["topic"].rpartition(".")
        found.append((bench, CHANNELS[prefix], bench.listing.by_exchange_symbol[name].symbol, extra))
    return found


def expected_trade(bench: Bench, push: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    item = bench.head(row["T"] * 1000, "match") | {
        "price": row["p"],
        "quantity": row["v"],
        "side": {"Buy": "buy", "Sell": "sell"}[row["S"]],
        "trade_id": row["i"],
        "sent_at": push["ts"] * 1000,
    }
    return item | {"sequence": int(row["i"])} if bench is SPOT else item


def expected_quote(bench: Bench, push: dict[str, Any]) -> dict[str, Any]:
    data = push["data"]
    return bench.head(push["cts"] * 1000, "match") | {
        "bid_price": data["b"][0][0],
        "bid_quantity": data["b"][0][1],
        "ask_price": data["a"][0][0],
        "ask_quantity": data["a"][0][1],
        "sequence": data["u"],
        "sent_at": push["ts"] * 1000,
    }


def expected_candle(bench: Bench, push: dict[str, Any], row: dict[str, Any], interval: str) -> dict[str, Any]:
    return bench.head(row["start"] * 1000, "open") | {
        "interval": interval,
        "open_price": row["open"],
        "high_price": row["high"],
        "low_price": row["low"],
        "close_price": row["close"],
        "volume": row["volume"],
        "quote_volume": row["turnover"],
        "closed": row["confirm"],
        "sent_at": push["ts"] * 1000,
    }


def expected_liquidation(bench: Bench, push: dict[str, Any], row: dict[str, Any], symbol: str) -> dict[str, Any]:
    return bench.head(row["T"] * 1000, "match", symbol) | {
        "price": row["p"],
        "quantity": row["v"],
        "side": {"Buy": "sell", "Sell": "buy"}[row["S"]],
        "sent_at": push["ts"] * 1000,
    }


def test_every_frame_of_today_is_read_by_value(recordings: Path) -> None:
    frames = data_frames(recordings)
    assert len(frames) == 14
    read = 0
    for bench, channel, symbol, extra in frames:
        push = extra.data
        assert bench.market.sort(extra.body) == StreamName(push["topic"])
        found = bench.parse(channel, extra.body, symbol)
        if channel == "trades":
            assert found == [expected_trade(bench, push, row) for row in push["data"]]
        elif channel == "quotes":
            assert found == [expected_quote(bench, push)]
        elif channel == "candles_1m":
            assert found == [expected_candle(bench, push, row, "1m") for row in push["data"]]
        elif channel == "liquidations":
            assert found == [expected_liquidation(bench, push, row, symbol) for row in push["data"]]
        else:
            continue  # books and tickers: below
        read += 1
    assert read == 10


def test_spots_trade_ids_are_contiguous_numbers(recordings: Path) -> None:
    numbers = [
        item["sequence"]
        for bench, channel, symbol, extra in data_frames(recordings)
        if bench is SPOT and channel == "trades"
        for item in bench.parse(channel, extra.body, symbol)
    ]
    assert numbers == list(range(2290000001190010739, 2290000001190010750))


def test_a_book_begins_with_a_snapshot_and_goes_on_with_changes(recordings: Path) -> None:
    snapshot, change = [extra for _, channel, _, extra in data_frames(recordings) if channel == "depth"]
    (found,) = PERP.snapshots("depth", snapshot.body)
    data = snapshot.data["data"]
    assert (found.symbol, found.sequence, found.sent_at) == ("BTC-USDT-PERP", data["u"], snapshot.data["ts"] * 1000)
    assert (json.loads(bytes(found.bids)), json.loads(bytes(found.asks))) == (data["b"], data["a"])
    assert found.limit > 1_000  # the exchange keeps the depth: nothing in it is cut off
    (item,) = PERP.parse("depth", change.body)
    push = change.data
    assert item == PERP.head(push["cts"] * 1000, "match") | {
        "first_sequence": push["data"]["u"],
        "last_sequence": push["data"]["u"],
        "bids": push["data"]["b"],
        "asks": push["data"]["a"],
        "in_step": False,
        "sent_at": push["ts"] * 1000,
    }


def test_a_ticker_snapshot_is_four_records_and_a_delta_what_it_has(recordings: Path) -> None:
    snapshot, delta = [extra for _, channel, _, extra in data_frames(recordings) if channel == "ticker"]
    push, t = snapshot.data, snapshot.data["data"]
    head = PERP.head(push["ts"] * 1000, "push")
    sent = {"sent_at": push["ts"] * 1000}
    assert PERP.parse("ticker", snapshot.body) == [
        head
        | {
            "last_price": t["lastPrice"],
            "open_price": t["prevPrice24h"],
            "high_price": t["highPrice24h"],
            "low_price": t["lowPrice24h"],
            "volume": t["volume24h"],
            "quote_volume": t["turnover24h"],
            "price_change_percent": "-0.50600",
            "bid_price": t["bid1Price"],
            "bid_quantity": t["bid1Size"],
            "ask_price": t["ask1Price"],
            "ask_quantity": t["ask1Size"],
        }
        | sent,
        head | {"mark_price": t["markPrice"], "index_price": t["indexPrice"]} | sent,
        head
        | {
            "rate": t["fundingRate"],
            "rate_kind": "estimated",
            "next_funding_time": int(t["nextFundingTime"]) * 1000,
            "mark_price": t["markPrice"],
        }
        | sent,
        head
        | {
            "open_interest": t["singleOpenInterest"],
            "open_interest_value": t["singleOpenInterestValue"],
        }
        | sent,
    ]
    assert set(delta.data["data"]) == {"symbol", "indexPrice"}
    assert PERP.parse("ticker", delta.body) == []


def ticker_delta(**changed: str) -> dict[str, Any]:
    return {
        "topic": "tickers.BTCUSDT",
        "type": "delta",
        "data": {"symbol": "BTCUSDT", **changed},
        "cs": 1,
        "ts": 1_786_540_397_983,
    }


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"markPrice": "10.5"}, {"mark_price": "10.5"}),
        ({"fundingRate": "-0.0001"}, {"rate": "-0.0001", "rate_kind": "estimated"}),
        ({"openInterest": "57798.137"}, {"open_interest": "28899.0685"}),
        ({"openInterest": "4", "singleOpenInterest": "2"}, {"open_interest": "2"}),
    ],
)
def test_a_delta_tells_the_statistics_whose_own_number_changed(
    changed: dict[str, str], expected: dict[str, str]
) -> None:
    (item,) = PERP.parse("ticker", ticker_delta(**changed))
    at = 1_786_540_397_983_000
    assert item == PERP.head(at, "push") | expected | {"sent_at": at}


def test_samples_of_the_documentation(recordings: Path) -> None:
    folder = recordings / "bybit" / "nautilus_trader"
    body = (folder / "ws_kline.json").read_bytes()
    push = json.loads(body)
    assert PERP.parse("candles_5m", body) == [expected_candle(PERP, push, push["data"][0], "5m")]
    found = PERP.parse("ticker", (folder / "ws_ticker_linear.json").read_bytes())
    assert [set(item) & {"last_price", "mark_price", "rate", "open_interest"} for item in found] == [
        {"last_price"},
        {"mark_price"},
        {"rate", "mark_price"},
        {"open_interest"},
    ]
    assert found[0]["price_change_percent"] == "1.710300"
    assert (found[1]["mark_price"], found[1]["index_price"]) == ("17217.33", "17227.36")
    assert (found[2]["rate"], found[2]["next_funding_time"]) == ("-0.000212", 1_673_280_000_000_000)
    assert (found[3]["open_interest"], found[3]["open_interest_value"]) == ("34372.3805", "591800617.955")


def test_a_spot_ticker_has_no_best_prices() -> None:
    data = {
        "symbol": "BTCUSDT",
        "lastPrice": "21109.77",
        "highPrice24h": "21426.99",
        "lowPrice24h": "20575",
        "prevPrice24h": "20704.93",
        "volume24h": "6780.866843",
        "turnover24h": "141946527.22907118",
        "price24hPcnt": "0.0196",
        "usdIndexPrice": "21120.2400136",
    }
    push = {"topic": "tickers.BTCUSDT", "ts": 1673853746003, "type": "snapshot", "cs": 2588407389, "data": data}
    at = 1673853746003000
    assert SPOT.parse("ticker", push) == [
        SPOT.head(at, "push")
        | {
            "last_price": "21109.77",
            "open_price": "20704.93",
            "high_price": "21426.99",
            "low_price": "20575",
            "volume": "6780.866843",
            "quote_volume": "141946527.22907118",
            "price_change_percent": "1.9600",
            "sent_at": at,
        }
    ]


def test_a_confirmed_candle_is_closed() -> None:
    row = {
        "start": 1786540380000,
        "end": 1786540439999,
        "interval": "1",
        "open": "1",
        "close": "2",
        "high": "3",
        "low": "0.5",
        "volume": "7",
        "turnover": "9",
        "confirm": True,
        "timestamp": 1786540381441,
    }
    push = {"topic": "kline.1.BTCUSDT", "data": [row], "ts": 1786540381441, "type": "snapshot"}
    expected = expected_candle(PERP, push, row, "1m")
    assert PERP.parse("candles_1m", push) == [expected, expected]
    assert [type(item).KIND for item in PERP.typed("candles_1m", push)] == ["candle_update", "candle"]  # type: ignore[union-attr]


def answer(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    result = {"category": "linear", "list": list(rows)}
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": 1_786_540_400_000} | more


def test_settled_funding_is_told_oldest_first() -> None:
    rows = [
        {"symbol": "BTCUSDT", "fundingRate": "-0.0001", "fundingRateTimestamp": "1786550400000"},
        {"symbol": "BTCUSDT", "fundingRate": "0.0002", "fundingRateTimestamp": "1786521600000"},
    ]
    assert PERP.parse("funding", answer(*rows)) == [
        PERP.head(1786521600000000, "stamp") | {"rate": "0.0002", "rate_kind": "settled"},
        PERP.head(1786550400000000, "stamp") | {"rate": "-0.0001", "rate_kind": "settled"},
    ]


def test_account_ratios_and_their_quotient() -> None:
    rows = [
        {"symbol": "BTCUSDT", "buyRatio": "0.5777", "sellRatio": "0.4223", "timestamp": "1786550400000"},
        {"symbol": "BTCUSDT", "buyRatio": "1", "sellRatio": "0.0000", "timestamp": "1786550100000"},
    ]
    assert PERP.parse("lsr_all_accounts", answer(*rows)) == [
        PERP.head(1786550400000000, "stamp")
        | {
            "long_ratio": "0.5777",
            "short_ratio": "0.4223",
            "long_short_ratio": "1.367984844896992659",
            "period": "5m",
        }
    ]


def test_a_ticker_with_an_empty_side_has_no_price_there() -> None:
    row = {
        "symbol": "BTCUSDT",
        "lastPrice": "10",
        "prevPrice24h": "9",
        "highPrice24h": "11",
        "lowPrice24h": "8",
        "volume24h": "5",
        "turnover24h": "50",
        "bid1Price": "",
    }
    (item,) = PERP.parse("ticker", ticker_delta(**row))
    assert (item["last_price"], item["volume"], "bid_price" in item) == ("10", "5", False)


TRADE = {
    "topic": "publicTrade.BTCUSDT",
    "type": "snapshot",
    "ts": 1786540363844,
    "data": [{"T": 1786540363843, "s": "BTCUSDT", "S": "Buy", "v": "0.015", "p": "63976.10", "i": "e799", "seq": 7}],
}
QUOTE = {
    "topic": "orderbook.1.BTCUSDT",
    "type": "snapshot",
    "ts": 1786613159749,
    "data": {"s": "BTCUSDT", "b": [["1", "2"]], "a": [["3", "4"]], "u": 7, "seq": 8},
    "cts": 1786613159748,
}


def changed(push: dict[str, Any], **more: Any) -> dict[str, Any]:
    data = push["data"]
    return push | {"data": [data[0] | more] if isinstance(data, list) else data | more}


@pytest.mark.parametrize(
    ("bench", "channel", "body", "reason"),
    [
        (PERP, "trades", changed(TRADE, p="NaN"), "p is 'NaN'"),
        (PERP, "trades", changed(TRADE, v="-1"), "v is '-1'"),
        (PERP, "trades", changed(TRADE, p=""), "p is ''"),
        (PERP, "trades", changed(TRADE, S="Long"), "Invalid enum value 'Long'"),
        (PERP, "trades", changed(TRADE, T=1786540363843000), "T"),
        (SPOT, "trades", changed(TRADE, i="e799"), "i is 'e799'"),
        (PERP, "quotes", TRADE, "not a frame of channel quotes"),
        (PERP, "quotes", QUOTE | {"type": "delta"}, "type is 'delta'"),
        (PERP, "quotes", QUOTE | {"type": "update"}, "Invalid enum value 'update'"),
        (PERP, "depth", QUOTE, "topic 'orderbook.1.BTCUSDT'"),
        (PERP, "quotes", changed(QUOTE, b=[["1e5", "2"]]), "bid_price is '1e5'"),
        (PERP, "quotes", changed(QUOTE, b=[["1"]]), "not a list of [price, size]"),
        (PERP, "ticker", ticker_delta(markPrice="Infinity"), "markPrice is 'Infinity'"),
        (PERP, "funding", {"retCode": 10001, "retMsg": "params error", "result": {}, "time": 1}, "retCode 10001"),
        (PERP, "funding", b"<html><body>403 Forbidden</body></html>", "not an answer of funding"),
        (PERP, "candles_5m", {"topic": "kline.1.BTCUSDT", "type": "snapshot", "ts": 1, "data": []}, "topic 'kline.1"),
    ],
)
def test_what_is_wrong_is_refused_by_name(bench: Bench, channel: str, body: object, reason: str) -> None:
    assert reason in refused(bench, channel, body)


def test_an_unknown_symbol_is_told_as_such() -> None:
    with pytest.raises(UnknownSymbol, match="'NOPEUSDT' is on no instrument list of bybit perp"):
        PERP.typed("trades", changed(TRADE, s="NOPEUSDT"))


def test_a_frame_filed_under_another_symbol_is_refused() -> None:
    assert "a frame about BTC-USDT-PERP filed under ICP-USDT-PERP" in refused(PERP, "trades", TRADE, "ICP-USDT-PERP")


def test_an_empty_side_of_a_quote_stays_missing() -> None:
    (whole,), (item,) = PERP.parse("quotes", QUOTE), PERP.parse("quotes", changed(QUOTE, a=[]))
    assert item == {name: value for name, value in whole.items() if not name.startswith("ask")}
    assert item["bid_price"]


ANSWERS = (
    answer({"symbol": "BTCUSDT", "fundingRate": "-0.0001", "fundingRateTimestamp": "1786550400000"}),
    answer({"symbol": "BTCUSDT", "buyRatio": "0.5", "sellRatio": "0.5", "timestamp": "1786550400000"}),
)
PUSHES = (TRADE, QUOTE, ticker_delta(markPrice="10.5", openInterest="3"))
BODIES = [json.dumps(body).encode() for body in (*PUSHES, *ANSWERS)]


@settings(max_examples=150, deadline=None)
@given(
    channel=st.sampled_from(sorted([*BYBIT_PERP.channels, *BYBIT_PERP.polls])),
    body=st.one_of(damaged(BODIES), st.binary(max_size=80)),
)
def test_damaged_frames_raise_nothing_but_bad_frame(channel: str, body: bytes) -> None:
    PERP.survives(channel, body)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_frames_of_today_raise_nothing_but_bad_frame(recordings: Path, data: st.DataObject) -> None:
    bench, channel, _, extra = data.draw(st.sampled_from(data_frames(recordings)))
    bench.survives(channel, data.draw(damaged([extra.body])))


def test_a_snapshot_at_any_time_is_a_snapshot() -> None:
    push = changed(QUOTE, u=1) | {"topic": "orderbook.1000.BTCUSDT"}
    (found,) = PERP.typed("depth", push)
    assert isinstance(found, BookSnapshot)
    assert (found.sequence, found.timestamp, found.timestamp_source) == (1, 1786613159748000, "match")


def test_replies_of_today(recordings: Path) -> None:
    replies = [
        PERP.market.sort(extra.body)
        for extra in extra_frames(recordings, "bybit")
        if not extra.sent and "topic" not in extra.data
    ]
    assert replies == [Reply(1, None)] * 4


@pytest.mark.parametrize("body", NESTED, ids=range(len(NESTED)))
def test_frames_that_nest_without_end_raise_nothing_but_bad_frame(body: bytes) -> None:
    for channel in (*BYBIT_PERP.channels, *BYBIT_PERP.polls):
        PERP.survives(channel, body)


def test_a_book_asked_for_by_rest_is_compared_by_the_ids_of_the_stream() -> None:
    sides = {"b": [["63982.50", "0.003"]], "a": [["63990.50", "0.008"]]}
    book = {"s": "BTCUSDT", **sides, "ts": 1, "u": 53935310, "seq": 9}
    for bench in (PERP, SPOT):
        (item,) = bench.snapshots("depth_audit", answer() | {"result": book})
        assert (item.symbol, item.sequence, item.limit) == (bench.symbol, 53935310, 1_000)
        assert (bytes(item.bids), bytes(item.asks)) == (b'[["63982.50","0.003"]]', b'[["63990.50","0.008"]]')
