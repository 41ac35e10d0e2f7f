"""MEXC contracts: frames and REST answers by value, control messages, and that bad bytes are refused."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import BadFrame, UnknownSymbol
from services.shared.exchanges import mexc_numbers
from services.shared.exchanges.declaration import APPLY, BROKEN, Listing, Notice, Pong, Reply, StreamName
from services.shared.exchanges.mexc_perp import MEXC_PERP
from tests.extra_frames import NESTED, RECEIVED, Bench, damaged, extra_frames, instrument, refused

BTC = instrument("mexc", "perp", "BTC-USDT-PERP", "BTC_USDT", contract_size="0.0001", contract_kind="linear")
PERP = Bench(MEXC_PERP, Listing([BTC]), "BTC-USDT-PERP")
AT = 1_788_335_242_156


def pushes(recordings: Path) -> dict[str, bytes]:
    """The recorded data frames, by channel."""
    found = {}
    for extra in extra_frames(recordings, "mexc"):
        if extra.session.startswith("contract") and not extra.sent and extra.data["channel"].startswith("push."):
            found[extra.data["channel"]] = extra.body
    return found


def digits(body: bytes) -> Any:
    """A frame with its numbers as they are written."""
    return json.loads(body, parse_float=str, parse_int=str)


def base(contracts: str) -> str:
    """So many contracts of 0.0001, exactly."""
    return format(Decimal(contracts) * Decimal("0.0001"), "f")


def test_recorded_deals_by_value(recordings: Path) -> None:
    body = pushes(recordings)["push.deal"]
    push = digits(body)
    (row,) = push["data"]
    expected = PERP.head(int(row["t"]) * 1000, "match") | {
        "price": row["p"],
        "quantity": base(row["v"]),
        "side": {"1": "buy", "2": "sell"}[row["T"]],
        "trade_id": row["i"],
        "sequence": int(row["i"]),
        "contracts": row["v"],
        "sent_at": int(push["ts"]) * 1000,
    }
    assert PERP.market.sort(body) == StreamName("deal@BTC_USDT")
    assert PERP.parse("trades", body) == [expected]
    alone = json.loads(body)
    alone["data"] = alone["data"][0]
    assert PERP.parse("trades", alone) == [expected]


def test_recorded_whole_books_are_quotes(recordings: Path) -> None:
    body = pushes(recordings)["push.depth.full"]
    push = digits(body)
    bid, ask = push["data"]["bids"][0], push["data"]["asks"][0]
    assert PERP.market.sort(body) == StreamName("depth.full@BTC_USDT")
    assert PERP.parse("quotes", body) == [
        PERP.head(int(push["data"]["cts"]) * 1000, "match")
        | {
            "bid_price": bid[0],
            "bid_quantity": base(bid[1]),
            "ask_price": ask[0],
            "ask_quantity": base(ask[1]),
            "sequence": int(push["data"]["version"]),
            "sent_at": int(push["ts"]) * 1000,
        }
    ]


def test_a_recorded_merged_change_has_exact_digits(recordings: Path) -> None:
    body = pushes(recordings)["push.depth"]
    push = digits(body)
    at = int(push["ts"]) * 1000
    assert b"[9.75E+4,25329.000000000000000000000000000000,58]" in body
    assert PERP.market.sort(body) == StreamName("depth@BTC_USDT")
    assert PERP.parse("depth", body) == [
        PERP.head(at, "push")
        | {
            "first_sequence": 25133684085,
            "last_sequence": 25133684088,
            "bids": [
                ["103115.4", "9.9835", "99835"],
                ["103115.5", "10.0190", "100190"],
                ["97500", "2.5329", "25329"],
            ],
            "asks": [["103116.1", "8.9918", "89918"]],
            "in_step": False,
            "sent_at": at,
        }
    ]


def push(channel: str, data: Any, symbol: str = "BTC_USDT") -> dict[str, Any]:
    return {"symbol": symbol, "data": data, "channel": f"push.{channel}", "ts": AT}


DEAL = {"p": 77525.9, "v": 3, "T": 1, "O": 3, "M": 1, "t": AT, "i": "5"}
CHANGE = {"asks": [[2.5, 0, 0]], "bids": [], "version": 12}


def test_rows_come_newest_first_and_are_told_oldest_first() -> None:
    found = PERP.parse("trades", push("deal", [DEAL | {"i": "6", "T": 2}, DEAL]))
    assert [(item["trade_id"], item["side"]) for item in found] == [("5", "buy"), ("6", "sell")]


def test_an_older_deal_has_no_id() -> None:
    (item,) = PERP.parse("trades", push("deal", {key: DEAL[key] for key in "pvTOMt"}))
    assert item.keys().isdisjoint({"trade_id", "sequence"})
    assert item["quantity"] == "0.0003"


def test_a_plain_change_has_one_version() -> None:
    (item,) = PERP.parse("depth", push("depth", CHANGE))
    assert (item["first_sequence"], item["last_sequence"]) == (12, 12)
    assert (item["asks"], item["bids"]) == ([["2.5", "0.0000", "0"]], [])


def test_a_candle() -> None:
    data = {
        "symbol": "BTC_USDT",
        "interval": "Min5",
        "t": 1788335100,
        "o": 10.5,
        "c": 11,
        "h": 1.2e1,
        "l": 9,
        "q": 300,
        "a": 3.1e-7,
    }
    body = json.dumps(push("kline", data)).encode()
    assert PERP.market.sort(body) == StreamName("kline@Min5@BTC_USDT")
    assert PERP.parse("candles_5m", body) == [
        PERP.head(1_788_335_100_000_000, "open")
        | {
            "interval": "5m",
            "open_price": "10.5",
            "high_price": "12.0",
            "low_price": "9",
            "close_price": "11",
            "volume": "0.0300",
            "quote_volume": "0.00000031",
            "closed": False,
            "sent_at": AT * 1000,
        }
    ]
    assert "candle 'Min5'" in refused(PERP, "candles_1m", body)
    assert not MEXC_PERP.channels["candles_5m"].closes_itself


TICKER = {
    "symbol": "BTC_USDT",
    "lastPrice": 6865.5,
    "bid1": 6865,
    "ask1": 6866.5,
    "volume24": 164586129,
    "amount24": 112996.25,
    "holdVol": 2284742,
    "lower24Price": 6859,
    "high24Price": 7223.5,
    "riseFallRate": -0.0424,
    "riseFallValue": -304.5,
    "indexPrice": 6861.6,
    "fairPrice": 6867.4,
    "fundingRate": 8e-06,
    "timestamp": AT - 7,
}


def test_a_ticker_is_four_records() -> None:
    head = PERP.head(AT * 1000, "push") | {"sent_at": AT * 1000}
    assert PERP.parse("ticker", push("ticker", TICKER)) == [
        head
        | {
            "last_price": "6865.5",
            "open_price": "7170.0",
            "high_price": "7223.5",
            "low_price": "6859",
            "volume": "16458.6129",
            "quote_volume": "112996.25",
            "price_change": "-304.5",
            "price_change_percent": "-4.2400",
            "bid_price": "6865",
            "ask_price": "6866.5",
        },
        head | {"mark_price": "6867.4", "index_price": "6861.6"},
        head | {"open_interest": "228.4742", "contracts": "2284742"},
        head | {"rate": "0.000008", "rate_kind": "estimated", "mark_price": "6867.4"},
    ]


def test_a_ticker_tells_what_it_has() -> None:
    data = {"symbol": "BTC_USDT", "lastPrice": 1, "holdVol": 5, "fundingRate": None}
    (item,) = PERP.parse("ticker", push("ticker", data))
    assert (item["open_interest"], item["contracts"]) == ("0.0005", "5")


@pytest.mark.parametrize("name", ["rate", "fundingRate"])
def test_a_funding_rate_has_two_names(name: str) -> None:
    data = {"symbol": "BTC_USDT", name: -1.25e-5, "nextSettleTime": 1788336000000}
    assert PERP.parse("funding_rate", push("funding.rate", data)) == [
        PERP.head(AT * 1000, "push")
        | {
            "rate": "-0.0000125",
            "rate_kind": "estimated",
            "next_funding_time": 1_788_336_000_000_000,
            "sent_at": AT * 1000,
        }
    ]


def test_settled_funding_is_told_oldest_first() -> None:
    rows = [
        {"symbol": "BTC_USDT", "fundingRate": 1e-4, "settleTime": 1788336000000},
        {"symbol": "BTC_USDT", "fundingRate": -0.000021, "settleTime": 1788307200000},
    ]
    body = {"success": True, "code": 0, "data": {"pageSize": 10, "resultList": rows}}
    found = PERP.parse("funding", body)
    assert found == [
        PERP.head(1_788_307_200_000_000, "stamp") | {"rate": "-0.000021", "rate_kind": "settled"},
        PERP.head(1_788_336_000_000_000, "stamp") | {"rate": "0.0001", "rate_kind": "settled"},
    ]


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_snapshot_with_and_without_envelope(wrapped: bool) -> None:
    book = {"asks": [[2.5, 10, 1]], "bids": [[2, 20000, 3]], "version": 96801927, "timestamp": AT}
    (found,) = PERP.snapshots("depth_snapshot", {"success": True, "code": 0, "data": book} if wrapped else book)
    assert (found.symbol, found.sequence, found.limit) == ("BTC-USDT-PERP", 96801927, 1_000)
    assert bytes(found.bids) == b'[["2","2.0000","20000"]]'
    assert bytes(found.asks) == b'[["2.5","0.0010","10"]]'


def test_instruments() -> None:
    row = {
        "symbol": "BTC_USDT",
        "baseCoin": "BTC",
        "quoteCoin": "USDT",
        "settleCoin": "USDT",
        "contractSize": 1e-4,
        "priceUnit": 0.1,
        "volUnit": 1,
        "state": 0,
        "isHidden": False,
    }
    rows = [
        row,
        row | {"symbol": "1000PEPE_USDT", "baseCoin": "1000PEPE", "contractSize": 10, "state": 4},
        row | {"symbol": "A_USDT", "baseCoin": "A", "isHidden": True},
        row | {"symbol": "BTC_USD", "quoteCoin": "USD", "settleCoin": "BTC", "contractSize": 100},
    ]
    found = PERP.parse("instruments", {"success": True, "code": 0, "data": rows}, "_all")
    assert [(item["symbol"], item["status"], item["asset"], item["multiplier"]) for item in found] == [
        ("BTC-USDT-PERP", "trading", "BTC", "1"),
        ("1000PEPE-USDT-PERP", "paused", "PEPE", "1000"),
        ("A-USDT-PERP", "hidden", "A", "1"),
    ]
    assert found[0] == PERP.head(RECEIVED, "received") | {
        "exchange_symbol": "BTC_USDT",
        "base": "BTC",
        "quote": "USDT",
        "asset": "BTC",
        "multiplier": "1",
        "status": "trading",
        "settle": "USDT",
        "tick_size": "0.1",
        "quantity_step": "0.0001",
        "contract_size": "0.0001",
        "contract_kind": "linear",
    }


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("9.75E+4", "97500"),
        ("1e-7", "0.0000001"),
        ("25329.000000000000000000000000000000", "25329"),
        ("25329.50", "25329.50"),
        ("0", "0"),
        ("0E-10", "0"),
        ("-1.5e-3", "-0.0015"),
    ],
)
def test_numbers_are_written_out_exactly(written: str, expected: str) -> None:
    assert mexc_numbers.signed(msgspec.Raw(written.encode()), "x") == expected


@pytest.mark.parametrize(
    "written", ["NaN", '"1"', "null", "", "1e-19", "1e21", "1E999999999", "[1]", "0.1234567890123456789"]
)
def test_what_no_table_holds_is_refused(written: str) -> None:
    with pytest.raises(BadFrame, match=r"^x is "):
        mexc_numbers.signed(msgspec.Raw(written.encode()), "x")


@pytest.mark.parametrize(
    ("channel", "body", "reason"),
    [
        ("trades", push("deal", [DEAL | {"T": 3}]), "Invalid enum value 3"),
        ("trades", push("deal", [DEAL | {"p": -1}]), "p is '-1'"),
        ("trades", push("deal", [DEAL | {"p": "NaN"}]), 'p is "NaN"'),
        ("trades", push("deal", [DEAL | {"i": "e7"}]), "not a frame of channel trades"),
        ("trades", push("deal", [DEAL | {"t": AT * 1000}]), "not a frame of channel trades"),
        ("trades", json.dumps(push("deal", [DEAL])).replace("77525.9", "NaN").encode(), "not a frame of channel"),
        ("depth", push("depth.full", CHANGE), "channel 'push.depth.full' in a frame of channel depth"),
        ("quotes", push("depth", CHANGE), "channel 'push.depth' in a frame of channel quotes"),
        ("depth", push("depth", CHANGE | {"end": 13}), "end is 13"),
        ("depth", push("depth", CHANGE | {"begin": 13}), "begin is 13"),
        ("depth", push("depth", CHANGE | {"asks": [[1]]}), "asks[0] has 1 numbers"),
        ("depth", push("depth", CHANGE | {"asks": [[1, -2, 0]]}), "asks[0] contracts is '-2'"),
        ("funding_rate", push("funding.rate", {"symbol": "BTC_USDT"}), "rate is missing"),
        ("ticker", push("ticker", TICKER | {"riseFallValue": 7000}), "open_price is '-134.5'"),
        ("funding", {"success": False, "code": 510, "message": "Requests are too frequent"}, "code 510"),
        ("funding", b"<html>", "not an answer of funding"),
        ("instruments", {"success": True, "code": 0, "data": [{"symbol": "X"}]}, "not an answer of instruments"),
    ],
)
def test_what_is_wrong_is_refused_by_name(channel: str, body: object, reason: str) -> None:
    assert reason in refused(PERP, channel, body)


def test_an_unknown_symbol_is_told_as_such() -> None:
    with pytest.raises(UnknownSymbol, match="'NOPE_USDT' is on no instrument list of mexc perp"):
        PERP.typed("trades", push("deal", [DEAL], "NOPE_USDT"))


SETTLED = {"resultList": [{"symbol": "BTC_USDT", "fundingRate": 1e-4, "settleTime": 1788336000000}]}
PUSHES = (push("deal", [DEAL]), push("depth", CHANGE), push("ticker", TICKER), push("depth.full", CHANGE))
BODIES = [json.dumps(body).encode() for body in (*PUSHES, CHANGE, {"success": True, "code": 0, "data": SETTLED})]


@settings(max_examples=200, deadline=None)
@given(
    channel=st.sampled_from(sorted([*MEXC_PERP.channels, *MEXC_PERP.polls])),
    body=st.one_of(damaged(BODIES), st.binary(max_size=80)),
)
def test_damaged_frames_raise_nothing_but_bad_frame(channel: str, body: bytes) -> None:
    PERP.survives(channel, body)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_frames_of_today_raise_nothing_but_bad_frame(recordings: Path, data: st.DataObject) -> None:
    name, body = data.draw(st.sampled_from(sorted(pushes(recordings).items())))
    channel = {"push.deal": "trades", "push.depth": "depth", "push.depth.full": "quotes"}[name]
    PERP.survives(channel, data.draw(damaged([body])))


def test_control_frames_of_today(recordings: Path) -> None:
    found = [
        MEXC_PERP.sort(extra.body)
        for extra in extra_frames(recordings, "mexc")
        if extra.session.startswith("contract") and not extra.sent and not extra.data["channel"].startswith("push.")
    ]
    assert found == [Reply(None, None), Pong(), Reply(None, None)]


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (
            {"channel": "rs.error", "data": "Contract [NOPE_USDT] not exists", "ts": AT},
            Reply(None, "Contract [NOPE_USDT] not exists"),
        ),
        (
            {"channel": "rs.error", "data": "more than 60 seconds no response, close the channel"},
            Notice("more than 60 seconds no response, close the channel", reconnect=True),
        ),
        ({"channel": "rs.sub.deal", "data": "failed"}, Reply(None, "failed")),
        ({"channel": "rs.unsub.depth", "data": "success"}, Reply(None, None)),
    ],
)
def test_what_a_control_frame_is_about(frame: dict[str, Any], expected: object) -> None:
    assert MEXC_PERP.sort(json.dumps(frame).encode()) == expected


@pytest.mark.parametrize("frame", [b"", b"{}", b'{"channel":"other","data":1}', b"<html>", b'{"channel":"rs.error"}'])
def test_what_is_none_of_these_is_refused(frame: bytes) -> None:
    with pytest.raises(BadFrame):
        MEXC_PERP.sort(frame)


def test_one_message_asks_for_one_stream() -> None:
    names = {channel.name: channel.stream("BTC_USDT") for channel in MEXC_PERP.channels.values()}

    def asked(channel: str) -> Any:
        return json.loads(MEXC_PERP.subscribe([names[channel]], 1))

    plain = {"gzip": False, "param": {"symbol": "BTC_USDT"}}
    assert asked("trades") == plain | {"method": "sub.deal"}
    assert asked("ticker") == plain | {"method": "sub.ticker"}
    assert asked("funding_rate") == plain | {"method": "sub.funding.rate"}
    assert asked("depth") == {
        "method": "sub.depth",
        "param": {"symbol": "BTC_USDT", "compress": False},
        "gzip": False,
    }
    assert asked("quotes")["param"] == {"symbol": "BTC_USDT", "limit": 5}
    assert asked("candles_4h")["param"] == {"symbol": "BTC_USDT", "interval": "Hour4"}
    ended = json.loads(MEXC_PERP.unsubscribe([names["trades"]], 1))
    assert ended == plain | {"method": "unsub.deal"}
    assert json.loads(MEXC_PERP.unsubscribe([names["quotes"]], 1))["method"] == "usub.depth.full"
    assert MEXC_PERP.limits.streams_per_message == 1
    with pytest.raises(ValueError, match="2 streams in one message"):
        MEXC_PERP.subscribe([names["trades"], names["depth"]], 1)


def test_merged_changes_follow_by_their_first_version() -> None:
    rule = MEXC_PERP.book_rule
    assert rule.first(10, 9, 12, None) is APPLY
    assert rule.following(12, 13, 16, None) is APPLY
    assert rule.following(12, 14, 16, None) is BROKEN


@pytest.mark.parametrize("body", NESTED, ids=range(len(NESTED)))
def test_frames_that_nest_without_end_raise_nothing_but_bad_frame(body: bytes) -> None:
    for channel in (*MEXC_PERP.channels, *MEXC_PERP.polls):
        PERP.survives(channel, body)
