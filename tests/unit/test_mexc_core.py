"""MEXC's frames through the normaliser's core: books over REST snapshots, in contracts, candles closed by the next."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from schemas.proto import mexc_pb2 as pb
from services.shared.exchanges.mexc_perp import MEXC_PERP
from services.shared.exchanges.mexc_spot import MEXC_SPOT
from tests.core_bench import CoreBench, told

START_MS = 1_790_281_200_000
SPOT_LISTED = {
    "symbols": [
        {
            "symbol": "BTCUSDT",
            "status": "1",
            "baseAsset": "BTC",
            "quoteAsset": "USDT",
            "baseAssetPrecision": 6,
            "quotePrecision": 2,
            "isSpotTradingAllowed": True,
        }
    ]
}
PERP_LISTED = {
    "success": True,
    "code": 0,
    "data": [
        {
            "symbol": "BTC_USDT",
            "baseCoin": "BTC",
            "quoteCoin": "USDT",
            "settleCoin": "USDT",
            "contractSize": 1e-4,
            "priceUnit": 0.1,
            "volUnit": 1,
            "state": 0,
        }
    ],
}


def spot() -> CoreBench:
    return CoreBench(MEXC_SPOT, "BTC-USDT", SPOT_LISTED, START_MS * 1000)


def perp() -> CoreBench:
    return CoreBench(MEXC_PERP, "BTC-USDT-PERP", PERP_LISTED, START_MS * 1000)


def wrapper(channel: str, at_ms: int, **body: Any) -> bytes:
    return pb.PushDataV3ApiWrapper(
        channel=channel, symbol="BTCUSDT", sendTime=START_MS + at_ms, **body
    ).SerializeToString()


def level(price: str, quantity: str) -> pb.LevelV3Api:
    return pb.LevelV3Api(price=price, quantity=quantity)


def change(first: int, last: int, at_ms: int, bids: list[Any], asks: list[Any]) -> bytes:
    body = pb.PublicAggreDepthsV3Api(fromVersion=str(first), toVersion=str(last), bids=bids, asks=asks)
    return wrapper("spot@public.aggre.depth.v3.api.pb@100ms@BTCUSDT", at_ms, publicAggreDepths=body)


def test_a_spot_book_joins_its_snapshot_and_a_skipped_version_breaks_it() -> None:
    bench = spot()
    assert bench.ws("depth", change(8, 9, 0, [level("9", "7")], []), 0) == []
    assert bench.ws("depth", change(10, 12, 100, [level("9", "0.00000000")], []), 0.1) == []
    answer = {"lastUpdateId": 10, "bids": [["10.00", "1"], ["9", "2"]], "asks": [["11", "3"]], "timestamp": 1}
    found = bench.rest("depth_snapshot", answer, 0.2)
    assert told(found, "last_sequence", "in_step") == [("md.book_change", 9, False), ("md.book_change", 12, True)]
    found = bench.ws("depth", change(13, 13, 1_200, [], [level("10.5", "4")]), 1.2)
    assert told(found, "sequence", "last_sequence", "bids", "asks") == [
        ("md.orderbook", 12, None, [["10.00", "1"]], [["11", "3"]]),
        ("md.book_change", None, 13, [], [["10.5", "4"]]),
    ]
    found = bench.ws("depth", change(15, 15, 1_300, [], []), 1.3)
    gaps = [item for item in found if item["_to"] == "gap"]
    assert told(gaps, "kind", "first_missing", "last_missing") == [("gap", "book_change", 14, 14)]
    assert [ask.sequence for ask in bench.asked] == [13]


def test_a_contract_book_has_triples() -> None:
    bench = perp()

    def depth(version: int, at_ms: int, **sides: Any) -> dict[str, Any]:
        data = {"bids": [], "asks": [], "version": version} | sides
        return {"symbol": "BTC_USDT", "data": data, "channel": "push.depth", "ts": START_MS + at_ms}

    bench.ws("depth", depth(11, 0, bids=[[10, 5, 1]]), 0)
    book = {"asks": [[11.5, 30, 2]], "bids": [[10, 20000, 3], [9.5, 7, 1]], "version": 10}
    found = bench.rest("depth_snapshot", {"success": True, "code": 0, "data": book}, 0.1)
    assert told(found, "last_sequence", "in_step", "bids") == [("md.book_change", 11, True, [["10", "0.0005", "5"]])]
    found = bench.ws("depth", depth(14, 1_100, begin=12, end=14, bids=[[9.5, 0, 0]]), 1.1)
    (shown,) = [item for item in found if item["_to"] == "md.orderbook"]
    assert shown["bids"] == [["10", "0.0005", "5"], ["9.5", "0.0007", "7"]]
    assert shown["asks"] == [["11.5", "0.0030", "30"]]
    found = bench.ws("depth", depth(15, 2_100), 2.1)
    (shown,) = [item for item in found if item["_to"] == "md.orderbook"]
    assert shown["bids"] == [["10", "0.0005", "5"]]


def test_a_candle_is_closed_by_the_next_ones_open() -> None:
    bench = spot()

    def candle(window_s: int, close: str, at_ms: int) -> bytes:
        body = pb.PublicSpotKlineV3Api(
            interval="Min1",
            windowStart=START_MS // 1000 + window_s,
            windowEnd=START_MS // 1000 + window_s + 60,
            openingPrice="10",
            closingPrice=close,
            highestPrice="12",
            lowestPrice="9",
            volume="1.5",
            amount="15",
        )
        return wrapper("spot@public.kline.v3.api.pb@BTCUSDT@Min1", at_ms, publicSpotKline=body)

    bench.ws("candles_1m", candle(0, "11", 500), 0.5)
    bench.ws("candles_1m", candle(0, "11.5", 1_500), 1.5)
    found = bench.ws("candles_1m", candle(60, "11.6", 60_500), 60.5)
    candles = [item for item in found if item["_to"] == "md.candle"]
    assert told(candles, "timestamp", "close_price", "closed") == [("md.candle", START_MS * 1000, "11.5", True)]
    updates = [item for item in found if item["_to"] == "md.candle_update"]
    assert ("md.candle_update", "11.6", False) in told(updates, "close_price", "closed")


def deal(number: int, contracts: int = 3) -> dict[str, Any]:
    row = {"p": 77525.9, "v": contracts, "T": 2, "O": 3, "M": 1, "t": START_MS, "i": str(number)}
    return {"symbol": "BTC_USDT", "data": [row], "channel": "push.deal", "ts": START_MS}


def test_contract_trades_have_ids_with_holes() -> None:
    bench = perp()
    assert told(bench.ws("trades", deal(100)), "trade_id", "quantity") == [("md.trade", "100", "0.0003")]
    assert told(bench.ws("trades", deal(107), 1), "trade_id") == [("md.trade", "107")]


def test_spot_trades_that_are_equal_are_as_many_trades_on_whichever_connection() -> None:
    bench = spot()
    row = pb.PublicAggreDealV3Api(price="84270", quantity="0.1", tradeType=1, time=START_MS)

    def push(count: int) -> bytes:
        body = pb.PublicAggreDealsV3Api(deals=[row] * count)
        return wrapper("spot@public.aggre.deals.v3.api.pb@100ms@BTCUSDT", 0, publicAggreDeals=body)

    assert told(bench.ws("trades", push(2)), "price", "side") == [("md.trade", "84270", "buy")] * 2
    assert bench.ws("trades", push(3), 0.1, on="B") == []
    found = [item for item in bench.closed("A", 0.2) if item["_to"] == "md.trade"]
    assert told(found, "price") == [("md.trade", "84270")]


@pytest.mark.parametrize("missing", [1, 5, 20, 60])
def test_a_binary_frame_cut_short_is_a_dead_letter_with_its_bytes_and_the_next_is_read(missing: int) -> None:
    bench = spot()
    body = pb.PublicAggreBookTickerV3Api(
        bidPrice="9", bidQuantity="1", askPrice="10", askQuantity="2", version="8", lastOrderCreateTime=START_MS
    )
    whole = wrapper("spot@public.aggre.bookTicker.v3.api.pb@10ms@BTCUSDT", 0, publicAggreBookTicker=body)
    (item,) = bench.ws("quotes", whole[:-missing])
    assert item["_to"] == "dead.normaliser"
    assert base64.b64decode(item["body"]) == whole[:-missing]
    assert told(bench.ws("quotes", whole, 1), "sequence", "bid_price") == [("md.quote", 8, "9")]
