"""MEXC spot: protobuf frames and REST answers by value, control messages, and that bad bytes are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas.proto
from schemas.errors import BadFrame, UnknownSymbol
from schemas.proto import mexc_pb2 as pb
from services.shared.exchanges.declaration import APPLY, BROKEN, IGNORE, Listing, Pong, Reply, StreamName
from services.shared.exchanges.mexc_spot import MEXC_SPOT
from tests.extra_frames import NESTED, RECEIVED, Bench, damaged, extra_frames, instrument, refused

SPOT = Bench(MEXC_SPOT, Listing([instrument("mexc", "spot", "BTC-USDT", "BTCUSDT")]), "BTC-USDT")
DEALS = "spot@public.aggre.deals.v3.api.pb@100ms@BTCUSDT"
DEPTH = "spot@public.aggre.depth.v3.api.pb@100ms@BTCUSDT"
QUOTE = "spot@public.aggre.bookTicker.v3.api.pb@10ms@BTCUSDT"


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at


def fields(data: bytes) -> list[tuple[int, Any]]:
    """(number, integer or bytes) of every field of a message: the wire format read by hand, without any schema."""
    found: list[tuple[int, Any]] = []
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        value, at = varint(data, at)
        if key & 7 == 2:
            found.append((key >> 3, data[at : at + value]))
            at += value
        else:
            assert key & 7 == 0
            found.append((key >> 3, value))
    return found


def binary(recordings: Path) -> dict[str, list[bytes]]:
    """The recorded data frames, by the number of their body's field."""
    found: dict[str, list[bytes]] = {}
    names = {303: "limit", 308: "candles_1m", 314: "trades", 315: "quotes"}
    for extra in extra_frames(recordings, "mexc"):
        if extra.body[:1] != b"{":
            number = max(number for number, _ in fields(extra.body))
            found.setdefault(names[number], []).append(extra.body)
    return found


def text(value: bytes) -> str:
    return value.decode()


def test_recorded_deals_by_value(recordings: Path) -> None:
    (body,) = binary(recordings)["trades"]
    outer = dict(fields(body))
    deals = [dict(fields(value)) for number, value in fields(outer[314]) if number == 1]
    assert len(deals) == 2
    assert SPOT.market.sort(body) == StreamName(DEALS)
    assert SPOT.parse("trades", body) == [
        SPOT.head(deal[4] * 1000, "match")
        | {
            "price": text(deal[1]),
            "quantity": text(deal[2]),
            "side": {1: "buy", 2: "sell"}[deal[3]],
            "trade_id": text(deal[5]),
            "sent_at": outer[6] * 1000,
        }
        for deal in deals
    ]


def test_recorded_quotes_by_value(recordings: Path) -> None:
    bodies = binary(recordings)["quotes"]
    assert len(bodies) == 2
    for body in bodies:
        outer = dict(fields(body))
        quote = dict(fields(outer[315]))
        assert SPOT.parse("quotes", body) == [
            SPOT.head(outer[6] * 1000, "push")
            | {
                "bid_price": text(quote[1]),
                "bid_quantity": text(quote[2]),
                "ask_price": text(quote[3]),
                "ask_quantity": text(quote[4]),
                "sequence": int(quote[5]),
                "sent_at": outer[6] * 1000,
            }
        ]
    assert SPOT.market.sort(bodies[1]) == StreamName(QUOTE)


def test_a_recorded_candle_by_value(recordings: Path) -> None:
    (body,) = binary(recordings)["candles_1m"]
    outer = dict(fields(body))
    k = dict(fields(outer[308]))
    assert SPOT.market.sort(body) == StreamName("spot@public.kline.v3.api.pb@BTCUSDT@Min1")
    assert SPOT.parse("candles_1m", body) == [
        SPOT.head(k[2] * 1_000_000, "open")
        | {
            "interval": "1m",
            "open_price": text(k[3]),
            "high_price": text(k[5]),
            "low_price": text(k[6]),
            "close_price": text(k[4]),
            "volume": text(k[7]),
            "quote_volume": text(k[8]),
            "closed": False,
            "sent_at": outer[5] * 1000,
        }
    ]
    assert "candle 'Min1'" in refused(SPOT, "candles_5m", body)
    assert not MEXC_SPOT.channels["candles_1m"].closes_itself


def test_a_frame_of_another_channel_is_refused(recordings: Path) -> None:
    for name, bodies in binary(recordings).items():
        for channel in ("trades", "depth", "quotes", "candles_1m"):
            if channel != name:
                assert "in a frame of channel" in refused(SPOT, channel, bodies[0])


def wrapper(channel: str, **more: Any) -> pb.PushDataV3ApiWrapper:
    return pb.PushDataV3ApiWrapper(channel=channel, symbol="BTCUSDT", sendTime=1_790_281_246_250, **more)


def depth(**more: Any) -> bytes:
    values: dict[str, Any] = {
        "bids": [pb.LevelV3Api(price="84270.00", quantity="0.5"), pb.LevelV3Api(price="84269", quantity="0.00000000")],
        "fromVersion": "82164153436",
        "toVersion": "82164153440",
        "eventType": "spot@public.aggre.depth.v3.api.pb@100ms",
    }
    body = pb.PublicAggreDepthsV3Api(**(values | more))
    return wrapper(DEPTH, publicAggreDepths=body).SerializeToString()


def test_a_book_change_whose_asks_are_absent() -> None:
    assert SPOT.market.sort(depth()) == StreamName(DEPTH)
    assert SPOT.parse("depth", depth()) == [
        SPOT.head(1_790_281_246_250_000, "push")
        | {
            "first_sequence": 82164153436,
            "last_sequence": 82164153440,
            "bids": [["84270.00", "0.5"], ["84269", "0.00000000"]],
            "asks": [],
            "in_step": False,
            "sent_at": 1_790_281_246_250_000,
        }
    ]


def deal(**more: Any) -> bytes:
    values: dict[str, Any] = {"price": "84270", "quantity": "0.1", "tradeType": 1, "time": 1_790_281_246_176}
    body = pb.PublicAggreDealsV3Api(deals=[pb.PublicAggreDealV3Api(**(values | more))])
    return wrapper(DEALS, publicAggreDeals=body).SerializeToString()


def quote(**more: Any) -> bytes:
    values = {"bidPrice": "1", "bidQuantity": "2", "askPrice": "3", "askQuantity": "4", "version": "7"}
    return wrapper(QUOTE, publicAggreBookTicker=pb.PublicAggreBookTickerV3Api(**(values | more))).SerializeToString()


def test_a_deal_without_an_id_has_none() -> None:
    (item,) = SPOT.parse("trades", deal())
    assert "trade_id" not in item
    assert (item["side"], item["price"]) == ("buy", "84270")


def test_an_empty_side_of_a_quote_stays_missing() -> None:
    (whole,), (item,) = SPOT.parse("quotes", quote()), SPOT.parse("quotes", quote(askPrice="", askQuantity=""))
    assert item == {name: value for name, value in whole.items() if not name.startswith("ask")}
    assert item["bid_price"]


def test_without_a_send_time_our_receive_time_files_a_frame() -> None:
    push = pb.PushDataV3ApiWrapper.FromString(quote())
    push.ClearField("sendTime")
    (item,) = SPOT.parse("quotes", push.SerializeToString())
    assert (item["timestamp"], item["timestamp_source"]) == (RECEIVED, "received")
    assert "sent_at" not in item


def test_without_a_symbol_the_channel_names_it() -> None:
    push = pb.PushDataV3ApiWrapper.FromString(quote())
    push.ClearField("symbol")
    assert SPOT.parse("quotes", push.SerializeToString()) == SPOT.parse("quotes", quote())


def test_unknown_fields_are_skipped() -> None:
    extra = bytes([0xA0, 0x3F, 0x01])  # field 1012, an integer
    assert SPOT.parse("quotes", quote() + extra) == SPOT.parse("quotes", quote())


@pytest.mark.parametrize(
    ("channel", "body", "reason"),
    [
        ("trades", deal(price="NaN"), "price is 'NaN'"),
        ("trades", deal(quantity=""), "quantity is ''"),
        ("trades", deal(tradeType=3), "tradeType is 3"),
        ("trades", deal(tradeType=0), "tradeType is 0"),
        ("trades", deal(time=1_790_281_246_176_000), "time is 1790281246176000"),
        ("trades", deal(time=-1), "time is -1"),
        ("trades", wrapper(DEALS, publicAggreDeals=pb.PublicAggreDealsV3Api()).SerializeToString(), "without a deal"),
        ("trades", wrapper(QUOTE, publicAggreDeals=pb.PublicAggreDealsV3Api()).SerializeToString(), f"{QUOTE!r} in a"),
        ("trades", wrapper(DEALS).SerializeToString(), "body None"),
        ("depth", depth(fromVersion=""), "fromVersion is ''"),
        ("depth", depth(toVersion="82164153435"), "toVersion is 82164153435, before fromVersion"),
        ("depth", depth(asks=[pb.LevelV3Api(price="1e5", quantity="1")]), "asks[0] price is '1e5'"),
        ("quotes", quote(version="-7"), "version is '-7'"),
        ("quotes", quote(bidQuantity="Infinity"), "bidQuantity is 'Infinity'"),
        ("quotes", b"<html><body>403</body></html>", "not a frame of channel quotes"),
        ("depth_snapshot", b"<html>", "not an answer of depth_snapshot"),
        ("depth_snapshot", {"code": 10007, "msg": "bad symbol"}, "not an answer of depth_snapshot"),
    ],
)
def test_what_is_wrong_is_refused_by_name(channel: str, body: object, reason: str) -> None:
    assert reason in refused(SPOT, channel, body)


def test_an_unknown_symbol_is_told_as_such() -> None:
    push = pb.PushDataV3ApiWrapper.FromString(quote())
    push.symbol = "NOPEUSDT"
    with pytest.raises(UnknownSymbol, match="'NOPEUSDT' is on no instrument list of mexc spot"):
        SPOT.typed("quotes", push.SerializeToString())


def test_a_frame_cut_short_anywhere_is_refused(recordings: Path) -> None:
    for name, bodies in binary(recordings).items():
        for body in bodies:
            channel = "depth" if name == "limit" else name
            for length in range(len(body)):
                refused(SPOT, channel, body[:length])


def test_a_message_of_another_schema_is_refused(recordings: Path) -> None:
    """The same frame with its body's fields numbered anew: it decodes, and says nothing that must be there."""
    for name, tag in (("trades", 314), ("quotes", 315), ("candles_1m", 308)):
        body = binary(recordings)[name][0]
        inner = dict(fields(body))[tag]
        assert len(inner) < 128 or name == "trades"
        size = bytes([len(inner)]) if len(inner) < 128 else bytes([len(inner) & 0x7F | 0x80, len(inner) >> 7])
        head = body[: len(body) - len(inner) - len(size)]
        moved = b"\x7a" + size + inner  # everything one level deeper, as field 15
        length = bytes([len(moved) & 0x7F | 0x80, len(moved) >> 7]) if len(moved) > 127 else bytes([len(moved)])
        refused(SPOT, name, head + length + moved)


BOOK = b'{"lastUpdateId":7,"bids":[["84270.00","0.5"]],"asks":[],"timestamp":1790281246176}'
BODIES = [deal(), depth(), quote(), deal(tradeId="1X0"), BOOK]


@settings(max_examples=200, deadline=None)
@given(
    channel=st.sampled_from(sorted([*MEXC_SPOT.channels, *MEXC_SPOT.polls])),
    body=st.one_of(damaged(BODIES), st.binary(max_size=80)),
)
def test_damaged_frames_raise_nothing_but_bad_frame(channel: str, body: bytes) -> None:
    SPOT.survives(channel, body)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_frames_of_today_raise_nothing_but_bad_frame(recordings: Path, data: st.DataObject) -> None:
    channel, bodies = data.draw(st.sampled_from(sorted(binary(recordings).items())))
    SPOT.survives("depth" if channel == "limit" else channel, data.draw(damaged(bodies)))


def test_control_frames_of_today(recordings: Path) -> None:
    found = [
        MEXC_SPOT.sort(extra.body)
        for extra in extra_frames(recordings, "mexc")
        if extra.session.startswith("spot") and extra.body[:1] == b"{" and not extra.sent
    ]
    why = "Not Subscribed successfully! [spot@public.deals.v3.api@BTCUSDT].  Reason： Blocked!"  # noqa: RUF001
    assert found == [Reply(None, None, (DEALS,)), Pong(), Reply(None, why, ("spot@public.deals.v3.api@BTCUSDT",))]


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ({"id": 3, "code": 0, "msg": f"{DEALS},{QUOTE}"}, Reply(None, None, (DEALS, QUOTE))),
        ({"id": 0, "code": 0, "msg": "msg format invalid"}, Reply(None, "0: msg format invalid")),
        ({"id": 0, "code": 400, "msg": DEALS}, Reply(None, f"400: {DEALS}")),
    ],
)
def test_only_the_names_asked_for_confirm(frame: dict[str, Any], expected: Reply) -> None:
    assert MEXC_SPOT.sort(json.dumps(frame).encode()) == expected


@pytest.mark.parametrize("frame", [b"", b"\n", b"\n\x05spot", b"\x12\x05spot@", b"\n\x03abc", b"{}", b"<html>"])
def test_what_is_none_of_these_is_refused(frame: bytes) -> None:
    with pytest.raises(BadFrame):
        MEXC_SPOT.sort(frame)


def test_streams_are_asked_for_in_the_exchanges_words() -> None:
    names = [channel.stream("BTCUSDT") for channel in MEXC_SPOT.channels.values()]
    assert names == [
        DEALS,
        DEPTH,
        QUOTE,
        "spot@public.kline.v3.api.pb@BTCUSDT@Min1",
        "spot@public.kline.v3.api.pb@BTCUSDT@Min5",
        "spot@public.kline.v3.api.pb@BTCUSDT@Min30",
        "spot@public.kline.v3.api.pb@BTCUSDT@Hour4",
        "spot@public.kline.v3.api.pb@BTCUSDT@Day1",
    ]
    asked = {"method": "SUBSCRIPTION", "params": names[:2], "id": 3}
    assert json.loads(MEXC_SPOT.subscribe(names[:2], 3)) == asked
    assert json.loads(MEXC_SPOT.unsubscribe(names[:2], 3)) == asked | {"method": "UNSUBSCRIPTION"}
    assert MEXC_SPOT.keep_alive is not None
    assert json.loads(MEXC_SPOT.keep_alive.message(1)) == {"method": "PING"}
    assert MEXC_SPOT.limits.streams_per_connection == 30


def test_the_generated_module_is_of_the_definitions() -> None:
    folder = Path(schemas.proto.__file__).parent
    declared: dict[str, dict[str, int]] = {}
    for line in (folder / "mexc.proto").read_text().splitlines():
        if line.startswith("message "):
            declared[line.split()[1]] = current = {}
        elif match := re.match(r"\s+(?:optional |repeated )?\w+ (\w+) = (\d+);", line):
            current[match[1]] = int(match[2])
    generated = {
        name: {field.name: field.number for field in message.fields}
        for name, message in pb.DESCRIPTOR.message_types_by_name.items()
    }
    assert generated == declared
    assert generated["PushDataV3ApiWrapper"]["publicAggreDeals"] == 314


def test_instruments() -> None:
    base = {"baseAssetPrecision": 6, "quotePrecision": 2, "isSpotTradingAllowed": True}
    rows = [
        base | {"symbol": "BTCUSDT", "status": "1", "baseAsset": "BTC", "quoteAsset": "USDT"},
        base | {"symbol": "AUSDT", "status": "2", "baseAsset": "A", "quoteAsset": "USDT", "quotePrecision": 0},
        base | {"symbol": "BUSDT", "status": "ENABLED", "baseAsset": "B", "quoteAsset": "USDT"},
        base
        | {"symbol": "CUSDT", "status": "1", "baseAsset": "C", "quoteAsset": "USDT", "isSpotTradingAllowed": False},
        base | {"symbol": "D.DUSDT", "status": "1", "baseAsset": "D.D", "quoteAsset": "USDT"},
    ]
    found = SPOT.parse("instruments", {"symbols": rows}, "_all")
    assert [(item["symbol"], item["status"]) for item in found] == [
        ("BTC-USDT", "trading"),
        ("A-USDT", "paused"),
        ("B-USDT", "trading"),
        ("C-USDT", "suspended"),
    ]
    assert found[0] == SPOT.head(RECEIVED, "received") | {
        "exchange_symbol": "BTCUSDT",
        "base": "BTC",
        "quote": "USDT",
        "asset": "BTC",
        "multiplier": "1",
        "status": "trading",
        "tick_size": "0.01",
        "quantity_step": "0.000001",
    }
    assert found[1]["tick_size"] == "1"


def test_a_snapshot() -> None:
    body = {"lastUpdateId": 82164153435, "bids": [["84270.00", "0.5"]], "asks": [], "timestamp": 1_790_281_246_176}
    (found,) = SPOT.snapshots("depth_snapshot", body)
    assert (found.symbol, found.sequence, found.limit) == ("BTC-USDT", 82164153435, 1_000)
    assert (bytes(found.bids), bytes(found.asks)) == (b'[["84270.00","0.5"]]', b"[]")


def test_a_polled_ticker() -> None:
    body = {
        "symbol": "BTCUSDT",
        "priceChange": "184.34",
        "priceChangePercent": "-0.00400048",
        "lastPrice": "46263.71",
        "bidPrice": "46260.38",
        "bidQty": "",
        "askPrice": "46260.41",
        "askQty": None,
        "openPrice": "46079.37",
        "highPrice": "47550.01",
        "lowPrice": "45555.5",
        "volume": "1732.461487",
        "quoteVolume": "80000000.5",
        "openTime": 1641349500000,
        "closeTime": 1641349582808,
        "count": None,
    }
    assert SPOT.parse("ticker", body) == [
        SPOT.head(1_641_349_582_808_000, "stamp")
        | {
            "last_price": "46263.71",
            "open_price": "46079.37",
            "high_price": "47550.01",
            "low_price": "45555.5",
            "volume": "1732.461487",
            "quote_volume": "80000000.5",
            "price_change": "184.34",
            "price_change_percent": "-0.40004800",
            "bid_price": "46260.38",
            "ask_price": "46260.41",
        }
    ]
    assert SPOT.parse("ticker", body | {"quoteVolume": None}) == []


@pytest.mark.parametrize(
    ("first", "last", "at_first", "later"),
    [
        (9, 10, IGNORE, IGNORE),
        (9, 12, APPLY, BROKEN),
        (11, 11, APPLY, APPLY),
        (11, 14, APPLY, APPLY),
        (12, 14, BROKEN, BROKEN),
    ],
)
def test_the_rule_at_a_book_of_10(first: int, last: int, at_first: object, later: object) -> None:
    assert MEXC_SPOT.book_rule.first(10, first, last, None) == at_first
    assert MEXC_SPOT.book_rule.following(10, first, last, None) == later


@pytest.mark.parametrize("body", NESTED, ids=range(len(NESTED)))
def test_frames_that_nest_without_end_raise_nothing_but_bad_frame(body: bytes) -> None:
    for channel in (*MEXC_SPOT.channels, *MEXC_SPOT.polls):
        SPOT.survives(channel, body)
