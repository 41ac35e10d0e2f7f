"""What Bybit's modules declare: control messages, instruments, and the rule of its books."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.errors import BadFrame
from services.shared.exchanges.bybit_perp import BYBIT_PERP
from services.shared.exchanges.bybit_spot import BYBIT_SPOT
from services.shared.exchanges.declaration import APPLY, BROKEN, IGNORE, Listing, Pong, Reply, StreamName
from tests.extra_frames import RECEIVED, Bench, refused

PERP, SPOT = Bench(BYBIT_PERP, Listing(), "_all"), Bench(BYBIT_SPOT, Listing(), "_all")


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (b'{"topic":"kline.1.BTCUSDT","data":[],"ts":1}', StreamName("kline.1.BTCUSDT")),
        (b'{"type":"snapshot","topic":"tickers.BTCUSDT"}', StreamName("tickers.BTCUSDT")),
        (b'{"success":true,"ret_msg":"","conn_id":"c","req_id":"7","op":"subscribe"}', Reply(7, None)),
        (b'{"success":true,"ret_msg":"subscribe","req_id":"8","op":"unsubscribe"}', Reply(8, None)),
        (
            b'{"success":false,"ret_msg":"Invalid symbol","req_id":"9","op":"subscribe"}',
            Reply(9, "Invalid symbol"),
        ),
        (
            b'{"success":false,"ret_msg":"","req_id":"","op":"subscribe"}',
            Reply(None, "refused without a reason"),
        ),
        (b'{"success":true,"ret_msg":"pong","conn_id":"c","req_id":"","op":"ping"}', Pong()),
        (b'{"args":["1672916271846"],"op":"pong"}', Pong()),
    ],
)
def test_what_a_frame_is_about(frame: bytes, expected: object) -> None:
    assert BYBIT_PERP.sort(frame) == expected


@pytest.mark.parametrize("frame", [b"", b"<html>", b"{}", b'{"op":"auth","success":true}', b'{"topic":"\xff"}'])
def test_what_is_none_of_these_is_refused(frame: bytes) -> None:
    with pytest.raises(BadFrame):
        BYBIT_PERP.sort(frame)


def test_topics_are_asked_for_in_the_exchanges_words() -> None:
    names = [channel.stream("BTCUSDT") for channel in BYBIT_PERP.channels.values()]
    assert names == [
        "publicTrade.BTCUSDT",
        "orderbook.1000.BTCUSDT",
        "orderbook.1.BTCUSDT",
        "kline.1.BTCUSDT",
        "kline.5.BTCUSDT",
        "kline.30.BTCUSDT",
        "kline.240.BTCUSDT",
        "kline.D.BTCUSDT",
        "tickers.BTCUSDT",
        "allLiquidation.BTCUSDT",
    ]
    assert json.loads(BYBIT_PERP.subscribe(names[:2], 3)) == {"req_id": "3", "op": "subscribe", "args": names[:2]}
    assert json.loads(BYBIT_PERP.unsubscribe(names[:1], 4)) == {"req_id": "4", "op": "unsubscribe", "args": names[:1]}
    assert BYBIT_PERP.keep_alive is not None
    assert BYBIT_PERP.keep_alive.every_s == 20
    assert json.loads(BYBIT_PERP.keep_alive.message(5)) == {"req_id": "5", "op": "ping"}


def test_a_connections_topics_keep_to_21000_characters() -> None:
    longest = max(len(channel.stream("1000000BABYDOGEUSDT")) for channel in BYBIT_PERP.channels.values())
    assert BYBIT_PERP.limits.streams_per_connection * (longest + len('"",')) <= 21_000
    assert BYBIT_SPOT.limits.streams_per_message == 10


def contract(symbol: str, **more: Any) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": symbol.removesuffix("USDT"),
        "quoteCoin": "USDT",
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "priceFilter": {"minPrice": "0.10", "tickSize": "0.10"},
        "lotSizeFilter": {"qtyStep": "0.001", "minOrderQty": "0.001"},
        "settleCoin": "USDT",
        "symbolType": "",
    } | more


def listed(bench: Bench, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    body = {"retCode": 0, "retMsg": "OK", "result": {"list": rows, "nextPageCursor": ""}, "time": 1_786_540_400_000}
    return bench.parse("instruments", body, "_all")


def test_a_linear_perpetual() -> None:
    (item,) = listed(PERP, contract("1000PEPEUSDT"))
    assert item == PERP.head(RECEIVED, "received", "1000PEPE-USDT-PERP") | {
        "exchange_symbol": "1000PEPEUSDT",
        "base": "1000PEPE",
        "quote": "USDT",
        "asset": "PEPE",
        "multiplier": "1000",
        "status": "trading",
        "settle": "USDT",
        "tick_size": "0.10",
        "quantity_step": "0.001",
        "contract_size": "1",
        "contract_kind": "linear",
        "listed_at": 1_585_526_400_000_000,
    }


def test_other_contracts_are_left_out_and_other_names_read() -> None:
    rows = [
        contract("BTC-26DEC25", contractType="LinearFutures", baseCoin="BTC"),
        contract("TSLAUSDT", symbolType="stock"),
        contract("BTCPERP", baseCoin="BTC", quoteCoin="USDC", settleCoin="USDC"),
        contract("SHIB1000USDT", status="Closed", deliveryTime="1786540400000"),
        contract("B.CUSDT", baseCoin="B.C"),
    ]
    found = listed(PERP, *rows)
    assert [(item["symbol"], item["status"], item["asset"], item["multiplier"]) for item in found] == [
        ("BTC-USDC-PERP", "trading", "BTC", "1"),
        ("SHIB1000-USDT-PERP", "closed", "SHIB", "1000"),
    ]
    assert found[1]["delisted_at"] == 1_786_540_400_000_000


def test_a_spot_pair() -> None:
    row = {
        "symbol": "BTCUSDT",
        "baseCoin": "BTC",
        "quoteCoin": "USDT",
        "status": "Trading",
        "lotSizeFilter": {"basePrecision": "0.000001", "quotePrecision": "0.00000001"},
        "priceFilter": {"tickSize": "0.01"},
    }
    (item,) = listed(SPOT, row)
    assert item == SPOT.head(RECEIVED, "received", "BTC-USDT") | {
        "exchange_symbol": "BTCUSDT",
        "base": "BTC",
        "quote": "USDT",
        "asset": "BTC",
        "multiplier": "1",
        "status": "trading",
        "tick_size": "0.01",
        "quantity_step": "0.000001",
    }


def test_an_instrument_list_with_a_bad_number_is_refused() -> None:
    row = contract("BTCUSDT", priceFilter={"tickSize": "1e-7"})
    body = {"retCode": 0, "retMsg": "OK", "result": {"list": [row]}, "time": 1}
    assert "tickSize is '1e-7'" in refused(PERP, "instruments", body, "_all")


@pytest.mark.parametrize(("update", "expected"), [(9, IGNORE), (10, IGNORE), (11, APPLY), (12, BROKEN)])
def test_the_rule_at_a_book_of_10(update: int, expected: object) -> None:
    rule = BYBIT_SPOT.book_rule
    assert rule.first(10, update, update, None) == expected
    assert rule.following(10, update, update, None) == expected
