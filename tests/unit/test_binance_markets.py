"""Binance as declared: what a frame is about, what is asked for, the instruments, and the rules of the books."""

from __future__ import annotations

import json

import pytest

from schemas.errors import BadFrame
from schemas.frames import RawFrame
from schemas.records import Instrument
from services.shared.exchanges.declaration import APPLY, BROKEN, IGNORE, Listing, Market, Notice, Reply, StreamName
from services.shared.exchanges.names import asset_of
from services.shared.exchanges.registry import MARKETS

PERP, SPOT = MARKETS["binance", "perp"], MARKETS["binance", "spot"]


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (b'{"stream":"btcusdt@depth@100ms","data":{}}', StreamName("btcusdt@depth@100ms")),
        (b'{"data":{},"stream":"btcusdt@aggTrade"}', StreamName("btcusdt@aggTrade")),
        (b'{"e":"aggTrade","s":"BTCUSDT","a":1}', StreamName("btcusdt@aggTrade")),
        (b'{"e":"trade","s":"BTCUSDT","b":1,"a":2}', StreamName("btcusdt@trade")),
        (b'{"e":"depthUpdate","s":"BTCUSDT","U":1,"u":2,"b":[],"a":[]}', StreamName("btcusdt@depth@100ms")),
        (b'{"u":1,"s":"BTCUSDT","b":"1","B":"1","a":"1","A":"1"}', StreamName("btcusdt@bookTicker")),
        (b'{"e":"bookTicker","u":1,"s":"BTCUSDT","b":"1"}', StreamName("btcusdt@bookTicker")),
        (b'{"e":"kline","s":"BTCUSDT","k":{"i":"4h"}}', StreamName("btcusdt@kline_4h")),
        (b'{"e":"24hrTicker","s":"BTCUSDT","o":"1"}', StreamName("btcusdt@ticker")),
        (b'{"e":"markPriceUpdate","s":"BTCUSDT"}', StreamName("btcusdt@markPrice@1s")),
        (b'{"e":"forceOrder","o":{"s":"BTCUSDT"}}', StreamName("btcusdt@forceOrder")),
        (b'{"result":null,"id":7}', Reply(7, None)),
        (b'{"result":["btcusdt@aggTrade"],"id":3}', Reply(3, None)),
        (b'{"code":2,"msg":"Invalid request: x","id":8}', Reply(8, "2: Invalid request: x")),
        (b'{"error":{"code":3,"msg":"Invalid JSON"},"id":9}', Reply(9, "3: Invalid JSON")),
        (b'{"code":3,"msg":"Invalid JSON"}', Reply(None, "3: Invalid JSON")),
        (b'{"e":"serverShutdown","E":1}', Notice("serverShutdown", reconnect=True)),
        (b'{"stream":"!serverShutdown","data":{}}', Notice("serverShutdown", reconnect=True)),
    ],
)
def test_what_a_frame_is_about(frame: bytes, expected: object) -> None:
    assert SPOT.sort(frame) == PERP.sort(frame) == expected


@pytest.mark.parametrize(
    "frame", [b"", b"[]", b"{}", b'{"e":"weather","s":"X"}', b"<html>", b'{"lastUpdateId":1}', b"\xff"]
)
def test_what_is_none_of_these_is_refused(frame: bytes) -> None:
    with pytest.raises(BadFrame):
        SPOT.sort(frame)


def test_streams_are_asked_for_in_the_exchanges_words() -> None:
    streams = [channel.stream("BTCUSDT") for channel in PERP.channels.values()]
    assert streams == [
        "btcusdt@aggTrade",
        "btcusdt@depth@100ms",
        "btcusdt@bookTicker",
        "btcusdt@kline_1m",
        "btcusdt@kline_5m",
        "btcusdt@kline_30m",
        "btcusdt@kline_4h",
        "btcusdt@kline_1d",
        "btcusdt@ticker",
        "btcusdt@markPrice@1s",
        "btcusdt@forceOrder",
    ]
    assert json.loads(PERP.subscribe(streams[:2], 5)) == {"method": "SUBSCRIBE", "params": streams[:2], "id": 5}
    assert json.loads(PERP.unsubscribe(streams[:1], 6)) == {"method": "UNSUBSCRIBE", "params": streams[:1], "id": 6}


def test_books_and_quotes_of_futures_have_a_route_of_their_own() -> None:
    routes = {name: PERP.routes[channel.route] for name, channel in PERP.channels.items()}
    assert {name for name, path in routes.items() if path == "/public/stream"} == {"depth", "quotes"}
    assert set(routes.values()) == {"/public/stream", "/market/stream"}
    assert {SPOT.routes[channel.route] for channel in SPOT.channels.values()} == {"/stream"}


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("BTC", ("BTC", "1")),
        ("1000PEPE", ("PEPE", "1000")),
        ("1000000MOG", ("MOG", "1000000")),
        ("1MBABYDOGE", ("BABYDOGE", "1000000")),
        ("1INCH", ("1INCH", "1")),
        ("10SET", ("10SET", "1")),
        ("1000", ("1000", "1")),
    ],
)
def test_the_asset_behind_a_multiplied_name(base: str, expected: tuple[str, str]) -> None:
    assert asset_of(base) == expected


def listed(market: Market, **values: object) -> list[Instrument]:
    row = {
        "symbol": "1000PEPEUSDT",
        "status": "TRADING",
        "baseAsset": "1000PEPE",
        "quoteAsset": "USDT",
        "filters": [
            {"filterType": "LOT_SIZE", "stepSize": "1.000", "minQty": "1"},
            {"filterType": "PRICE_FILTER", "tickSize": "0.0000100"},
        ],
    }
    body = json.dumps({"serverTime": 1, "symbols": [row | values]}).encode()
    frame = RawFrame("binance", market.market, "instruments", "_all", "c", "R", 1, 99, "rest", body)
    return list(market.instruments.parse(frame, Listing()))  # type: ignore[arg-type]


def test_an_instrument_of_each_market() -> None:
    (spot,) = listed(SPOT)
    assert (spot.symbol, spot.exchange_symbol, spot.status) == ("1000PEPE-USDT", "1000PEPEUSDT", "trading")
    assert (spot.asset, spot.multiplier, spot.tick_size, spot.quantity_step) == ("PEPE", "1000", "0.0000100", "1.000")
    assert (spot.timestamp, spot.timestamp_source, spot.contract_kind) == (99, "received", None)
    (perp,) = listed(PERP, contractType="PERPETUAL", marginAsset="USDT", onboardDate=1_569_398_400_000)
    assert (perp.symbol, perp.settle, perp.contract_size) == ("1000PEPE-USDT-PERP", "USDT", "1")
    assert (perp.contract_kind, perp.listed_at) == ("linear", 1_569_398_400_000_000)


def test_other_contracts_and_names_that_no_subject_can_hold_are_left_out() -> None:
    for contract in ("CURRENT_QUARTER", "NEXT_QUARTER", "TRADIFI_PERPETUAL", ""):
        assert listed(PERP, contractType=contract) == []
    assert listed(SPOT, baseAsset="A.B") == []
    (found,) = listed(PERP, contractType="PERPETUAL", baseAsset="币安")
    assert found.symbol == "币安-USDT-PERP"


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [(1, 9, IGNORE), (1, 10, IGNORE), (8, 11, APPLY), (11, 12, APPLY), (12, 13, BROKEN)],
)
def test_spots_rule_at_a_book_of_10(first: int, last: int, expected: object) -> None:
    assert SPOT.book_rule.first(10, first, last, None) is expected
    assert SPOT.book_rule.following(10, first, last, None) is expected


@pytest.mark.parametrize(
    ("first", "last", "previous", "expected"),
    [(1, 9, 0, IGNORE), (1, 10, 0, APPLY), (10, 12, 7, APPLY), (11, 12, 10, APPLY), (12, 13, 11, BROKEN)],
)
def test_futures_rule_for_the_first_change_after_a_snapshot_at_10(
    first: int, last: int, previous: int, expected: object
) -> None:
    assert PERP.book_rule.first(10, first, last, previous) is expected


@pytest.mark.parametrize(
    ("first", "last", "previous", "expected"),
    [(50, 60, 10, APPLY), (11, 12, 11, BROKEN), (11, 12, 9, BROKEN), (5, 9, 4, IGNORE), (5, 10, 4, IGNORE)],
)
def test_futures_rule_for_later_changes_looks_at_pu_alone(
    first: int, last: int, previous: int, expected: object
) -> None:
    assert PERP.book_rule.following(10, first, last, previous) is expected
