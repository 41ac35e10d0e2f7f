"""Binance's frames, one by one: values, refusals, and that nothing but a refusal ever comes of bad bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import records
from schemas.errors import BadFrame, UnknownSymbol
from schemas.frames import RawFrame
from services.shared.exchanges.declaration import Listing, Parser, Reply
from services.shared.exchanges.registry import MARKETS

PERP, SPOT = MARKETS["binance", "perp"], MARKETS["binance", "spot"]
RECEIVED = 1_790_000_000_000_000


def instrument(market: str, base: str) -> records.Instrument:
    return records.Instrument(
        exchange="binance",
        market=market,
        symbol=f"{base}-USDT" + ("-PERP" if market == "perp" else ""),
        timestamp=1,
        timestamp_source="received",
        received_at=1,
        source="live",
        exchange_symbol=f"{base}USDT",
        base=base,
        quote="USDT",
        asset=base,
        multiplier="1",
        status="trading",
    )


LISTINGS = {
    market: Listing([instrument(market, base) for base in ("BTC", "ETH", "ILV")]) for market in ("spot", "perp")
}


def frame(channel: str, body: bytes, market: str = "perp", symbol: str | None = None) -> RawFrame:
    name = symbol or ("BTC-USDT-PERP" if market == "perp" else "BTC-USDT")
    return RawFrame("binance", market, channel, name, "c", "A", 1, RECEIVED, "ws", body)


def parse(channel: str, body: object, market: str = "perp", symbol: str | None = None) -> list[dict[str, Any]]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    declared = MARKETS["binance", market]
    parser: Parser = (declared.channels.get(channel) or declared.polls[channel]).parse
    found: Sequence[Any] = parser(frame(channel, raw, market, symbol), LISTINGS[market])
    return [json.loads(records.encode(item)) for item in found]


TRADE = {
    "e": "aggTrade",
    "E": 1_791_391_082_024,
    "a": 3_478_018_549,
    "s": "BTCUSDT",
    "p": "83434.40",
    "q": "0.016",
    "nq": "0.015",
    "f": 8_154_045_700,
    "l": 8_154_045_704,
    "T": 1_791_391_081_874,
    "m": True,
    "st": 1,
}


@pytest.mark.parametrize("wrapped", [True, False])
def test_an_aggregate_trade_bare_or_wrapped(wrapped: bool) -> None:
    (found,) = parse("trades", {"stream": "btcusdt@aggTrade", "data": TRADE} if wrapped else TRADE)
    assert (found["price"], found["quantity"], found["quantity_without_rpi"]) == ("83434.40", "0.016", "0.015")
    assert (found["side"], found["trade_id"], found["trade_count"]) == ("sell", "3478018549", 5)
    assert (found["timestamp"], found["sent_at"]) == (1_791_391_081_874_000, 1_791_391_082_024_000)


def test_a_single_fill_of_spot() -> None:
    body = {"e": "trade", "E": 1_700_000_000_123, "s": "BTCUSDT", "t": 12345, "p": "42000.10", "q": "0.001"}
    (found,) = parse("fills", body | {"T": 1_700_000_000_122, "m": False, "M": True}, "spot")
    assert (found["trade_id"], found["sequence"], found["side"]) == ("12345", 12345, "buy")
    assert (found["price"], found["quantity"], found["timestamp"]) == ("42000.10", "0.001", 1_700_000_000_122_000)
    assert not SPOT.channels["fills"].default


TICKER = {
    "e": "24hrTicker",
    "E": 1_700_000_000_123,
    "s": "BTCUSDT",
    "p": "-12.30",
    "P": "-0.050",
    "w": "64001.1",
    "c": "64000.0",
    "Q": "0.002",
    "o": "64012.3",
    "h": "65000.0",
    "l": "63000.0",
    "v": "1000.5",
    "q": "64032000.12",
    "O": 1_699_913_600_000,
    "C": 1_700_000_000_000,
    "F": -1,
    "L": -1,
    "n": 0,
}


def test_a_ticker_of_each_market() -> None:
    (found,) = parse("ticker", TICKER)
    assert (found["price_change"], found["price_change_percent"]) == ("-12.30", "-0.050")
    assert (found["last_price"], found["high_price"], found["low_price"]) == ("64000.0", "65000.0", "63000.0")
    assert (found["volume"], found["quote_volume"], found["trade_count"]) == ("1000.5", "64032000.12", 0)
    assert (found["timestamp"], found["timestamp_source"]) == (1_700_000_000_123_000, "push")
    assert found["window_open_at"] == 1_699_913_600_000_000
    assert not {"first_trade_id", "last_trade_id", "bid_price"} & found.keys()
    (found,) = parse("ticker", TICKER | {"b": "1", "B": "2", "a": "3", "A": "4", "x": "5"}, "spot")
    assert [found[key] for key in ("bid_price", "bid_quantity", "ask_price", "ask_quantity")] == ["1", "2", "3", "4"]


MARK_PRICE = {
    "e": "markPriceUpdate",
    "E": 1_700_000_000_123,
    "s": "BTCUSDT",
    "p": "64000.12345678",
    "ap": "63999.9",
    "i": "64001.5",
    "P": "64002.5",
    "r": "-0.00010000",
    "T": 1_700_006_400_000,
    "st": 1,
}


def test_a_mark_price_is_an_index_price_and_an_estimated_funding_rate() -> None:
    index, funding = parse("mark_price", MARK_PRICE)
    assert (index["mark_price"], index["index_price"]) == ("64000.12345678", "64001.5")
    assert (index["mark_price_average"], index["settlement_price"]) == ("63999.9", "64002.5")
    assert (funding["rate"], funding["rate_kind"]) == ("-0.00010000", "estimated")
    assert (funding["next_funding_time"], funding["timestamp"]) == (1_700_006_400_000_000, 1_700_000_000_123_000)
    assert [found.get("rate") for found in parse("mark_price", MARK_PRICE | {"r": "", "T": 0})] == [None]


@pytest.mark.parametrize("channel", ["trades", "mark_price", "ticker"])
def test_coin_margined_events_are_left_out(channel: str) -> None:
    body = {"trades": TRADE, "mark_price": MARK_PRICE, "ticker": TICKER}[channel]
    assert parse(channel, body | {"st": 2, "s": "BTCUSD_PERP"}) == []


def test_polled_statistics() -> None:
    (found,) = parse("open_interest", {"openInterest": "10659.509", "symbol": "BTCUSDT", "time": 1_589_437_530_011})
    assert (found["open_interest"], found["timestamp"]) == ("10659.509", 1_589_437_530_011_000)
    rows = [
        {"symbol": "BTCUSDT", "fundingRate": "-0.03750000", "fundingTime": 1_570_608_000_000, "markPrice": "34.1"},
        {"symbol": "BTCUSDT", "fundingRate": "0.00010000", "fundingTime": 1_570_636_800_000, "markPrice": ""},
    ]
    first, second = parse("funding", rows)
    assert (first["rate"], first["rate_kind"], first["mark_price"]) == ("-0.03750000", "settled", "34.1")
    assert (second["timestamp"], "mark_price" in second) == (1_570_636_800_000_000, False)
    row = {"symbol": "BTCUSDT", "longShortRatio": "1.4342", "longAccount": "0.5891", "shortAccount": "0.4108"}
    (found,) = parse("lsr_top_positions", [row | {"timestamp": "1583139600000"}])
    assert (found["long_ratio"], found["short_ratio"], found["long_short_ratio"]) == ("0.5891", "0.4108", "1.4342")
    assert (found["timestamp"], found["period"]) == (1_583_139_600_000_000, "5m")
    with pytest.raises(BadFrame, match="timestamp is 'soon'"):
        parse("lsr_all_accounts", [row | {"timestamp": "soon"}])


@pytest.mark.parametrize(
    "value", ["", "NaN", "Infinity", "1e5", "+1", ".5", "5.", "1 2", "\uff11", "1" * 21, "0." + "1" * 19]
)
@pytest.mark.parametrize("field", ["p", "q", "nq"])
def test_what_is_no_plain_decimal_is_refused_by_name(field: str, value: str) -> None:
    with pytest.raises(BadFrame, match=f"^{field} is "):
        parse("trades", TRADE | {field: value})


def test_the_longest_numbers_a_table_holds_are_taken() -> None:
    longest = "1" * 20 + "." + "2" * 18
    assert parse("trades", TRADE | {"p": longest})[0]["price"] == longest


QUOTE = {"e": "bookTicker", "u": 5, "s": "BTCUSDT", "b": "1", "B": "2", "a": "3", "A": "4", "T": 1, "E": 2}
DEPTH = {"e": "depthUpdate", "E": 2, "T": 1, "s": "BTCUSDT", "U": 3, "u": 4, "pu": 2, "b": [["1.0", "2"]], "a": []}


def test_an_empty_side_of_a_quote_is_zero_and_stays_missing() -> None:
    (item,) = parse("quotes", QUOTE | {"b": "0.00", "B": "0"})
    assert "bid_price" not in item and "bid_quantity" not in item
    assert (item["ask_price"], item["ask_quantity"]) == ("3", "4")


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([["1.0", "NaN"]], r"b\[0\] quantity is 'NaN'"),
        ([["1.0", "2"], ["-3", "1"]], r"b\[1\] price is '-3'"),
        ([["1.0"]], "not a list of"),
        ([[1.0, 2.0]], "not a list of"),
        ("1.0", "not a list of"),
    ],
)
def test_bad_levels_are_refused_by_name(levels: object, message: str) -> None:
    with pytest.raises(BadFrame, match=message):
        parse("depth", DEPTH | {"b": levels})


def test_levels_with_white_space_are_told_in_one_form() -> None:
    spaced = json.dumps(DEPTH, indent=1).encode()
    assert parse("depth", spaced)[0]["bids"] == [["1.0", "2"]]


@pytest.mark.parametrize(
    ("channel", "body", "error", "message"),
    [
        ("trades", {"stream": "btcusdt@trade", "data": TRADE}, BadFrame, "stream 'btcusdt@trade'"),
        ("depth", {"stream": "btcusdt@depth20@100ms", "data": DEPTH}, BadFrame, "btcusdt@depth20@100ms"),
        ("quotes", DEPTH, BadFrame, "channel quotes"),
        ("depth", QUOTE, BadFrame, "channel depth"),
        ("trades", TRADE | {"s": "DOGEUSDT"}, UnknownSymbol, "'DOGEUSDT' is on no instrument list"),
        ("trades", TRADE | {"s": "ETHUSDT"}, BadFrame, "about ETH-USDT-PERP filed under BTC-USDT-PERP"),
        ("trades", TRADE | {"m": "yes"}, BadFrame, r"\$\.m"),
        ("trades", TRADE | {"T": 1_700_000_000_000_000}, BadFrame, r"\$\.T"),
        ("depth", DEPTH | {"U": 9}, BadFrame, "before U"),
        ("liquidations", {"e": "forceOrder", "E": 1, "o": {"s": "BTCUSDT", "S": "BOTH"}}, BadFrame, "liquidations"),
    ],
)
def test_a_frame_that_is_not_what_it_is_filed_as_is_refused(
    channel: str, body: dict[str, Any], error: type[BadFrame], message: str
) -> None:
    with pytest.raises(error, match=message):
        parse(channel, body)


BODIES = {"trades": TRADE, "quotes": QUOTE, "depth": DEPTH, "ticker": TICKER, "mark_price": MARK_PRICE}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(BODIES)), st.data())
def test_damaged_frames_raise_nothing_but_bad_frame(channel: str, data: st.DataObject) -> None:
    body = bytearray(json.dumps({"stream": f"btcusdt@{channel}", "data": BODIES[channel]}).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    for damaged in (bytes(body), bytes(body[:cut]), bytes(body[cut:])):
        for read in (lambda raw: parse(channel, raw), PERP.sort):
            try:
                read(damaged)
            except BadFrame:
                pass


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([*PERP.channels, *PERP.polls]))
def test_random_bytes_raise_nothing_but_bad_frame(body: bytes, channel: str) -> None:
    try:
        assert len(parse(channel, body)) == 0, "an empty list is an answer, and the only one so short"
    except BadFrame:
        pass
    try:
        found = PERP.sort(body)
    except BadFrame:
        return
    # Of a combined connection's frame no more is looked at than the stream's name.
    name = getattr(found, "name", "")
    assert name and body.startswith(b'{"stream":"' + name.encode() + b'"')


def test_a_frame_of_a_stream_without_a_name_is_refused() -> None:
    for body in (b'{"stream":""', b'{"stream":"","data":{}}'):
        with pytest.raises(BadFrame):
            PERP.sort(body)


def extra_frames(recordings: Path) -> list[dict[str, Any]]:
    lines = (recordings / "binance" / "extra_frames" / "frames.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines if line]


CHANNEL_OF = {"bookTicker": "quotes", "kline_1m": "candles_1m", "depth@100ms": "depth", "aggTrade": "trades"}
CHANNEL_OF |= {"arr": "liquidations"}


def test_frames_of_today_are_read_by_value(recordings: Path) -> None:
    seen: dict[str, int] = {}
    for line in extra_frames(recordings):
        told = json.loads(line["frame"])
        market = "perp" if line["session"].startswith("usdm") else "spot"
        if line["dir"] == "sent" or "miniTicker" in line["session"]:
            continue
        if "result" in told:
            assert MARKETS["binance", market].sort(line["frame"].encode()) == Reply(1, None)
            continue
        data = told.get("data", told)
        name = MARKETS["binance", market].sort(line["frame"].encode()).name  # type: ignore[union-attr]
        channel = CHANNEL_OF[name.split("@", 1)[1]]
        found = parse(channel, line["frame"].encode(), market, "_all" if name.startswith("!") else None)[0]
        seen[channel] = seen.get(channel, 0) + 1
        if channel == "quotes":
            assert [found[key] for key in ("bid_price", "bid_quantity", "ask_price", "ask_quantity")] == [
                data[key] for key in "bBaA"
            ]
            assert (found["sequence"], found["timestamp"]) == (data["u"], RECEIVED)
        elif channel == "candles_1m":
            assert (found["timestamp"], found["close_price"]) == (data["k"]["t"] * 1000, data["k"]["c"])
            assert (found["last_trade_id"], found["volume"]) == (data["k"]["L"], data["k"]["v"])
        elif channel == "depth":
            assert (found["bids"], found["asks"], found["previous_sequence"]) == (data["b"], data["a"], data["pu"])
            assert found["timestamp"] == data["T"] * 1000
        elif channel == "trades":
            assert (found["price"], found["quantity_without_rpi"], found["side"]) == ("83434.40", "0.016", "sell")
        else:
            assert (found["symbol"], found["side"], found["status"]) == ("ILV-USDT-PERP", "sell", "filled")
            assert (found["price"], found["quantity"]) == ("3.85642", "116.5")
            assert (found["order_price"], found["order_quantity"], found["last_quantity"]) == (
                "3.80300",
                "116.5",
                "25.2",
            )
            assert found["timestamp"] == 1_791_391_082_119_000
    assert seen == {"quotes": 2, "candles_1m": 4, "depth": 2, "trades": 1, "liquidations": 1}
