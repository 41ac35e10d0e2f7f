"""OKX as declared: what a frame is about, what is asked for, the instruments, the rule of the books, today's frames."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from schemas import records
from schemas.errors import BadFrame
from services.collector import universe
from services.shared.exchanges.declaration import (
    APPLY,
    BROKEN,
    IGNORE,
    Listing,
    Notice,
    Numbering,
    Pong,
    Reply,
    StreamName,
)
from services.shared.exchanges.registry import MARKETS as KNOWN
from tests.recorded_okx import MARKETS, TYPES, instrument_list, listing, raw

PERP, SPOT, FUTURE = MARKETS["perp"], MARKETS["spot"], MARKETS["future"]
WRONG = "Wrong URL or channel:trades,instId:NOPE doesn't exist. Please use the correct URL."


def test_the_markets_are_known() -> None:
    assert [KNOWN["okx", name] for name in MARKETS] == list(MARKETS.values())


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{}]}', StreamName("trades:BTC-USDT")),
        (b'{"arg":{"channel":"candle1Dutc","instId":"A-B"},"data":[[]]}', StreamName("candle1Dutc:A-B")),
        (
            b'{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[]}',
            StreamName("liquidation-orders:SWAP"),
        ),
        (b'{ "data": [], "arg": {"instId": "A-B", "channel": "books"} }', StreamName("books:A-B")),
        (
            b'{"event":"subscribe","arg":{"channel":"trades","instId":"A-B"},"connId":"ef9127a9"}',
            Reply(None, None, ("trades:A-B",)),
        ),
        (
            b'{"id":"12","event":"unsubscribe","arg":{"channel":"liquidation-orders","instType":"SWAP"}}',
            Reply(12, None, ("liquidation-orders:SWAP",)),
        ),
        (
            json.dumps({"event": "error", "code": "60018", "msg": WRONG, "id": "3"}).encode(),
            Reply(3, f"60018: {WRONG}", ("trades:NOPE",)),
        ),
        (b'{"event":"error","code":"60012","msg":"Invalid request: x"}', Reply(None, "60012: Invalid request: x")),
        (b'{"event":"notice","code":"64008","msg":"Please reconnect."}', Notice("64008: Please reconnect.", True)),
        (b'{"event":"notice","code":"64999","msg":"News."}', Notice("64999: News.", False)),
        (b'{"arg":{"channel":"status"},"data":[1]}', Notice("status: [1]", False)),
        (b'{"event":"channel-conn-count","channel":"orders","connCount":"2"}', Notice("channel-conn-count", False)),
        (b"pong", Pong()),
    ],
)
def test_what_a_frame_is_about(frame: bytes, expected: object) -> None:
    assert SPOT.sort(frame) == PERP.sort(frame) == FUTURE.sort(frame) == expected


@pytest.mark.parametrize(
    "frame", [b"", b"[]", b"{}", b"ping", b'{"event":"weather"}', b'{"event":"subscribe"}', b"<html>", b"\xff"]
)
def test_what_is_none_of_these_is_refused(frame: bytes) -> None:
    with pytest.raises(BadFrame):
        SPOT.sort(frame)


def test_a_stream_that_cannot_be_named_is_refused() -> None:
    with pytest.raises(BadFrame):
        SPOT.sort(b'{"arg":{"channel":"trades","instId":"\xff"},"data":[{}]}')


def test_streams_are_asked_for_in_the_exchanges_words() -> None:
    assert json.loads(PERP.subscribe(["trades:BTC-USDT-SWAP", "liquidation-orders:SWAP"], 5)) == {
        "id": "5",
        "op": "subscribe",
        "args": [
            {"channel": "trades", "instId": "BTC-USDT-SWAP"},
            {"channel": "liquidation-orders", "instType": "SWAP"},
        ],
    }
    assert json.loads(PERP.unsubscribe(["books:A-B"], 6))["op"] == "unsubscribe"
    assert PERP.keep_alive is not None
    assert (PERP.keep_alive.message(7), PERP.keep_alive.every_s < 30) == (b"ping", True)


def test_every_kind_that_is_offered_has_a_stream_on_its_own_url() -> None:
    def streams(market: str, name: str) -> dict[str, str]:
        declared = MARKETS[market]
        return {channel.stream(name): declared.routes[channel.route] for channel in declared.channels.values()}

    public, business = "/ws/v5/public", "/ws/v5/business"
    common = {"trades": public, "books": public, "bbo-tbt": public, "tickers": public, "trades-all": business}
    common |= dict.fromkeys(("candle1m", "candle5m", "candle30m", "candle4H", "candle1Dutc"), business)
    assert streams("spot", "A-B") == {f"{name}:A-B": url for name, url in common.items()}
    contracts = common | {"mark-price": public, "open-interest": public}
    assert streams("future", "A-B-261225") == {f"{name}:A-B-261225": url for name, url in contracts.items()} | {
        "liquidation-orders:FUTURES": public
    }
    assert streams("perp", "A-B-SWAP") == {
        f"{name}:A-B-SWAP": url for name, url in (contracts | {"funding-rate": public}).items()
    } | {"liquidation-orders:SWAP": public, "index-tickers:A-B": public}


def test_a_subscription_of_a_whole_connection_fits_into_the_exchanges_64_kilobytes() -> None:
    names = [f"candle1Dutc:{'X' * 30}-USDT-SWAP-{number}" for number in range(PERP.limits.streams_per_message)]
    assert len(PERP.subscribe(names, 10**9)) < 64 * 1024


def test_trades_are_numbered_by_their_last_fill_and_liquidations_come_for_all() -> None:
    assert PERP.channels["trades"].numbering is Numbering.SPANS
    assert PERP.channels["fills"].numbering is Numbering.CONTIGUOUS
    assert [name for name, channel in PERP.channels.items() if not channel.per_symbol] == ["liquidations"]


@pytest.mark.parametrize(
    ("last", "previous", "expected"),
    [
        (110, 100, APPLY),
        (100, 99, IGNORE),
        (90, 80, IGNORE),
        (120, 110, BROKEN),
        (5, 100, APPLY),  # the exchange counts anew
    ],
)
def test_the_rule_of_books_at_100(last: int, previous: int, expected: object) -> None:
    assert SPOT.book_rule.following(100, last, last, previous) is expected
    assert SPOT.book_rule.first(100, last, last, previous) is expected


def test_a_count_that_began_anew_unseen_breaks_the_chain() -> None:
    assert SPOT.book_rule.following(333_794_734_996, 17, 17, 12) is BROKEN
    assert SPOT.book_rule.following(333_794_734_996, 333_794_734_000, 333_794_734_000, 333_794_733_999) is IGNORE


def test_without_ids_only_the_order_of_times_counts() -> None:
    assert SPOT.book_rule.following(100, 101, 101, None) is APPLY
    assert SPOT.book_rule.following(100, 100, 100, None) is IGNORE


def micros(text: str) -> int | None:
    return int(text) * 1000 if text else None


def expected_instrument(row: dict[str, Any], market: str) -> dict[str, Any]:
    """An instrument as the row itself reads, worked out without the parsers' help."""
    name = row["instId"]
    base, quote = (row["baseCcy"], row["quoteCcy"]) if market == "spot" else row["uly"].split("-")
    found: dict[str, Any] = {
        "exchange": "okx",
        "market": market,
        "symbol": name.replace("-SWAP", "-PERP"),
        "timestamp": 1,
        "timestamp_source": "received",
        "received_at": 1,
        "source": "live",
        "exchange_symbol": name,
        "base": base,
        "quote": quote,
        "asset": base,
        "multiplier": "1",
        "status": "trading" if row["state"] == "live" else row["state"],
        "tick_size": row["tickSz"],
        "listed_at": micros(row["listTime"]),
        "expires_at": micros(row["expTime"]),
        "settle": row["settleCcy"] or None,
        "quantity_step": row["lotSz"],
    }
    if market != "spot":
        assert row["ctMult"] == "1"
        found |= {"contract_size": row["ctVal"], "contract_kind": row["ctType"]}
        linear = row["ctType"] == "linear"
        assert row["lotSz"] == "1"
        found["quantity_step"] = row["ctVal"] if linear else None
    return {key: value for key, value in found.items() if value is not None}


def listed(body: bytes, market: str) -> list[dict[str, Any]]:
    frame = raw(market, "instruments", "_all", body)
    found = MARKETS[market].instruments.parse(frame, Listing())
    return [json.loads(records.encode(item)) for item in found]  # type: ignore[arg-type]


@pytest.mark.parametrize(("market", "count"), [("spot", 513), ("perp", 166), ("future", 104)])
def test_every_recorded_instrument_by_value(market: str, count: int, recordings: Path) -> None:
    body = instrument_list(recordings, market)
    rows = json.loads(body)["data"]
    multiplied = {"1INCH"}
    found = listed(body, market)
    assert len(found) == len(rows) == count
    for row, item in zip(rows, found, strict=True):
        assert item == expected_instrument(row, market), row
        assert item["base"] in multiplied or not item["base"].startswith("1")
        assert universe.market_of(item["symbol"]) == market


def rest_answer(recordings: Path, name: str) -> bytes:
    return (recordings / "okx" / "nautilus_trader" / f"http_get_{name}.json").read_bytes()


@pytest.mark.parametrize(("market", "name"), [("spot", "instruments_spot"), ("perp", "instruments_swap")])
def test_todays_instrument_lists_by_value(market: str, name: str, recordings: Path) -> None:
    body = rest_answer(recordings, name)
    rows = json.loads(body)["data"]
    found = listed(body, market)
    assert len(found) == len(rows) > 1
    for row, item in zip(rows, found, strict=True):
        expected = expected_instrument(row | {"lotSz": "1"}, market)
        if market == "spot":
            expected["quantity_step"] = row["lotSz"]
        elif row["ctType"] == "linear":
            expected["quantity_step"] = item["quantity_step"]
            assert Decimal(item["quantity_step"]) == Decimal(row["lotSz"]) * Decimal(row["ctVal"])
        assert item == expected


@pytest.mark.parametrize("name", ["instruments_margin", "instruments_option"])
def test_margin_pairs_and_options_are_left_out_by_their_type(name: str, recordings: Path) -> None:
    body = rest_answer(recordings, name)
    kinds = {row["instType"] for row in json.loads(body)["data"]}
    assert kinds and not kinds & set(TYPES.values())
    assert [listed(body, market) for market in MARKETS] == [[], [], []]


ROW = {
    "instType": "SWAP",
    "instId": "PEPE-USDT-SWAP",
    "uly": "PEPE-USDT",
    "settleCcy": "USDT",
    "ctType": "linear",
    "ctVal": "1000",
    "ctMult": "10",
    "tickSz": "0.0000001",
    "lotSz": "0.1",
    "listTime": "1611916828000",
    "expTime": "",
    "state": "suspend",
}


def one(**values: str) -> list[dict[str, Any]]:
    return listed(json.dumps({"code": "0", "msg": "", "data": [ROW | values]}).encode(), "perp")


def test_a_linear_contract_is_told_in_base_currency() -> None:
    (item,) = one()
    assert (item["contract_size"], item["quantity_step"], item["status"]) == ("10000", "1000.0", "suspend")
    assert (item["symbol"], item["settle"]) == ("PEPE-USDT-PERP", "USDT")
    (item,) = one(instId="BTC-USD_UM-SWAP", uly="BTC-USD")
    assert (item["symbol"], item["base"], item["quote"]) == ("BTC-USD_UM-PERP", "BTC", "USD")


def test_contracts_without_terms_are_left_out_and_wrong_ones_refused() -> None:
    assert [one(**{name: ""}) for name in ("ctVal", "ctType", "uly")] == [[], [], []]
    assert one(instId="A.B-SWAP") == []
    for wrong in ({"ctVal": "x"}, {"ctType": "quanto"}, {"uly": "BTC"}, {"listTime": "soon"}, {"tickSz": "NaN"}):
        with pytest.raises(BadFrame):
            one(**wrong)


def extra_frames(recordings: Path) -> list[dict[str, Any]]:
    lines = (recordings / "okx" / "extra_frames" / "frames.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines if line]


CHANNEL_OF = {
    "trades": "trades",
    "tickers": "ticker",
    "candle1m": "candles_1m",
    "books5": "quotes",
    "liquidation-orders": "liquidations",
}


def contract(name: str) -> dict[str, str]:
    return ROW | {"instId": name, "uly": name.removesuffix("-SWAP"), "ctVal": "0.01", "ctMult": "1", "state": "live"}


def todays_listing(market: str) -> Listing:
    rows = [contract("BTC-USDT-SWAP"), contract("CNPY-USDT-SWAP")]
    pair = {"instId": "BTC-USDT", "instType": "SPOT", "state": "live", "baseCcy": "BTC", "quoteCcy": "USDT"}
    return listing(json.dumps({"code": "0", "data": [*rows, pair]}).encode(), market)


def test_frames_of_today_are_read_by_value(recordings: Path) -> None:
    """A contract stands for 0.01 here, so that base quantities are the exchange's sizes with the point moved."""
    seen: dict[str, int] = {}
    for line in extra_frames(recordings):
        told, body = json.loads(line["frame"]), line["frame"].encode()
        if line["dir"] == "sent":
            continue
        arg = told["arg"]
        market = "spot" if arg.get("instId") == "BTC-USDT" else "perp"
        declared, known = MARKETS[market], todays_listing(market)
        name = f"{arg['channel']}:{arg.get('instId') or arg['instType']}"
        if "event" in told:
            assert declared.sort(body) == Reply(None, None, (name,))
            continue
        assert declared.sort(body) == StreamName(name)
        channel = CHANNEL_OF[arg["channel"]]
        symbol = known.by_exchange_symbol[arg["instId"]].symbol if "instId" in arg else "_all"
        found = declared.channels[channel].parse(raw(market, channel, symbol, body), known)
        compare(arg["channel"], market, told["data"][0], [json.loads(records.encode(item)) for item in found])  # type: ignore[arg-type]
        seen[name] = seen.get(name, 0) + 1
    assert seen == {
        "tickers:BTC-USDT-SWAP": 2,
        "candle1m:BTC-USDT-SWAP": 2,
        "trades:BTC-USDT-SWAP": 2,
        "trades:BTC-USDT": 2,
        "books5:BTC-USDT-SWAP": 1,
        "liquidation-orders:SWAP": 1,
    }


def hundredth(size: str) -> str:
    """A size in contracts of 0.01, in base currency."""
    whole, _, fraction = size.partition(".")
    digits = f"{whole:0>3}{fraction}"
    return f"{digits[: len(whole.zfill(3)) - 2]}.{digits[len(whole.zfill(3)) - 2 :]}"


def compare(channel: str, market: str, row: Any, found: list[dict[str, Any]]) -> None:
    (item,) = found
    if channel == "tickers":
        prices = {"last": "last_price", "open24h": "open_price", "high24h": "high_price", "low24h": "low_price"}
        prices |= {"askPx": "ask_price", "bidPx": "bid_price", "volCcy24h": "volume"}
        assert {key: item[ours] for key, ours in prices.items()} == {key: row[key] for key in prices}
        sizes = {"lastSz": "last_quantity", "askSz": "ask_quantity", "bidSz": "bid_quantity"}
        assert {key: item[ours] for key, ours in sizes.items()} == {key: hundredth(row[key]) for key in sizes}
        assert (item["timestamp"], "quote_volume" in item) == (int(row["ts"]) * 1000, False)
    elif channel == "candle1m":
        keys = ("open_price", "high_price", "low_price", "close_price", "volume", "quote_volume")
        assert [item[key] for key in keys] == [*row[1:5], row[6], row[7]]
        assert (item["timestamp"], item["closed"]) == (int(row[0]) * 1000, row[8] == "1")
    elif channel == "trades":
        assert (item["price"], item["side"], item["trade_id"]) == (row["px"], row["side"], row["tradeId"])
        assert item["quantity"] == (row["sz"] if market == "spot" else hundredth(row["sz"]))
        assert item.get("contracts") == (None if market == "spot" else row["sz"])
        assert (item["trade_count"], item["last_trade_id"]) == (int(row["count"]), int(row["tradeId"]))
        assert item["first_trade_id"] == int(row["tradeId"]) - int(row["count"]) + 1
        assert item["timestamp"] == int(row["ts"]) * 1000
    elif channel == "books5":
        (bid, bid_size, *_), (ask, ask_size, *_) = row["bids"][0], row["asks"][0]
        assert [item[key] for key in ("bid_price", "ask_price")] == [bid, ask]
        assert [item[key] for key in ("bid_quantity", "ask_quantity")] == [hundredth(bid_size), hundredth(ask_size)]
        assert (item["sequence"], item["timestamp"]) == (row["seqId"], int(row["ts"]) * 1000)
    else:
        (detail,) = row["details"]
        assert (item["symbol"], item["price"], item["side"]) == ("CNPY-USDT-PERP", detail["bkPx"], detail["side"])
        assert (item["quantity"], item["contracts"]) == (hundredth(detail["sz"]), detail["sz"])
        assert item["timestamp"] == int(detail["ts"]) * 1000


def test_rest_rows_of_today_have_the_form_of_the_streams(recordings: Path) -> None:
    """Trades and mark prices by REST are rows of the channels of the same names."""
    for name, market, channel, stream in (
        ("trades", "spot", "trades", "trades"),
        ("mark_price", "perp", "mark_price", "mark-price"),
    ):
        rows = json.loads(rest_answer(recordings, name))["data"]
        known = todays_listing(market)
        symbol = next(iter(known.by_symbol))
        body = json.dumps({"arg": {"channel": stream, "instId": rows[0]["instId"]}, "data": rows}).encode()
        found = MARKETS[market].channels[channel].parse(raw(market, channel, symbol, body), known)
        assert len(found) == len(rows)
        for row, record in zip(rows, found, strict=True):
            item = json.loads(records.encode(record))  # type: ignore[arg-type]
            assert item["timestamp"] == int(row["ts"]) * 1000
            if channel == "trades":
                values = (item["price"], item["quantity"], item["side"], item["trade_id"], item["sequence"])
                assert values == (row["px"], row["sz"], row["side"], row["tradeId"], int(row["tradeId"]))
            else:
                assert item["mark_price"] == row["markPx"]
