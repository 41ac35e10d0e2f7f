"""OKX's frames and answers, one by one: values, refusals, and that nothing but a refusal ever comes of bad bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import records
from schemas.errors import BadFrame, UnknownSymbol
from services.shared.exchanges.declaration import BookSnapshot, Listing, Parser
from tests.recorded_okx import MARKETS, raw

RECEIVED = 1_790_000_000_000_000
TS = 1_786_540_436_090
SYMBOLS = {"spot": "BTC-USDT", "perp": "BTC-USDT-PERP", "future": "BTC-USDT-261225"}
NAMES = {"spot": "BTC-USDT", "perp": "BTC-USDT-SWAP", "future": "BTC-USDT-261225"}


def instrument(market: str, symbol: str, name: str, quote: str = "USDT") -> records.Instrument:
    linear = quote == "USDT"
    return records.Instrument(
        exchange="okx",
        market=market,
        symbol=symbol,
        timestamp=1,
        timestamp_source="received",
        received_at=1,
        source="live",
        exchange_symbol=name,
        base="BTC",
        quote=quote,
        asset="BTC",
        multiplier="1",
        status="trading",
        contract_size=None if market == "spot" else "0.01" if linear else "100",
        contract_kind=None if market == "spot" else "linear" if linear else "inverse",
    )


LISTINGS = {
    "spot": Listing([instrument("spot", "BTC-USDT", "BTC-USDT")]),
    "perp": Listing(
        [
            instrument("perp", "BTC-USDT-PERP", "BTC-USDT-SWAP"),
            instrument("perp", "BTC-USD-PERP", "BTC-USD-SWAP", "USD"),
        ]
    ),
    "future": Listing([instrument("future", "BTC-USDT-261225", "BTC-USDT-261225")]),
}


def parsed(channel: str, body: object, market: str = "perp", symbol: str | None = None) -> Sequence[Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    declared = MARKETS[market]
    parser: Parser = (declared.channels.get(channel) or declared.polls[channel]).parse
    frame = raw(market, channel, symbol or SYMBOLS[market], data, received_at=RECEIVED)
    return parser(frame, LISTINGS[market])


def parse(channel: str, body: object, market: str = "perp", symbol: str | None = None) -> list[dict[str, Any]]:
    """Everything that the exchange said; what every record of these tests has in common is checked here."""
    found = []
    for item in parsed(channel, body, market, symbol):
        told = json.loads(records.encode(item))
        assert (told.pop("exchange"), told.pop("market"), told.pop("source")) == ("okx", market, "live")
        assert told.pop("received_at") == RECEIVED
        found.append(told)
    return found


def push(channel: str, *rows: object, name: str = "BTC-USDT-SWAP", **more: object) -> dict[str, Any]:
    return {"arg": {"channel": channel, "instId": name}, **more, "data": list(rows)}


def answer(*rows: object) -> dict[str, Any]:
    return {"code": "0", "msg": "", "data": list(rows)}


TRADE = {
    "instId": "BTC-USDT-SWAP",
    "tradeId": "2832749645",
    "px": "63913.40",
    "sz": "34.95",
    "side": "sell",
    "ts": str(TS),
    "count": "10",
    "source": "0",
    "seqId": 333793118093,
}


def test_a_trade_of_several_fills() -> None:
    assert parse("trades", push("trades", TRADE)) == [
        {
            "symbol": "BTC-USDT-PERP",
            "timestamp": TS * 1000,
            "timestamp_source": "match",
            "price": "63913.40",
            "quantity": "0.3495",
            "side": "sell",
            "trade_id": "2832749645",
            "sequence": 2832749645,
            "contracts": "34.95",
            "first_trade_id": 2832749636,
            "last_trade_id": 2832749645,
            "trade_count": 10,
        }
    ]


def test_every_row_of_a_frame_is_a_trade() -> None:
    later = TRADE | {"tradeId": "2832749646", "count": "1", "side": "buy", "ts": TS + 1}
    found = parse("trades", push("trades", TRADE, later))
    assert [(item["sequence"], item["side"], item["first_trade_id"]) for item in found] == [
        (2832749645, "sell", 2832749636),
        (2832749646, "buy", 2832749646),
    ]


def test_a_trade_on_spot_and_one_of_an_inverse_contract() -> None:
    spot = TRADE | {"instId": "BTC-USDT", "sz": "0.00240857"}
    (found,) = parse("trades", push("trades", spot, name="BTC-USDT"), "spot")
    assert (found["quantity"], "contracts" in found) == ("0.00240857", False)
    inverse = TRADE | {"instId": "BTC-USD-SWAP", "sz": "7", "px": "30000"}
    (found,) = parse("trades", push("trades", inverse, name="BTC-USD-SWAP"), symbol="BTC-USD-PERP")
    assert (found["quantity"], found["contracts"]) == ("0.023333333333333333", "7")


def test_single_fills_are_a_channel_of_their_own() -> None:
    row = {key: value for key, value in TRADE.items() if key not in ("count", "seqId")}
    (found,) = parsed("fills", push("trades-all", row))
    assert isinstance(found, records.Fill)
    assert (found.sequence, found.quantity, found.trade_count) == (2832749645, "0.3495", None)


BOOK = {
    "asks": [["62571.2", "0.605", "0", "6"], ["62571.30", "0", "0", "0"]],
    "bids": [],
    "ts": str(TS),
    "checksum": 0,
    "seqId": 110,
    "prevSeqId": 100,
}


def test_a_book_change_of_a_linear_contract() -> None:
    assert parse("books", push("books", BOOK, action="update")) == [
        {
            "symbol": "BTC-USDT-PERP",
            "timestamp": TS * 1000,
            "timestamp_source": "push",
            "first_sequence": 110,
            "last_sequence": 110,
            "previous_sequence": 100,
            "bids": [],
            "asks": [["62571.2", "0.00605", "0.605"], ["62571.30", "0.00", "0"]],
            "in_step": False,
        }
    ]


def test_a_book_change_on_spot_keeps_price_and_size() -> None:
    row = BOOK | {"bids": [["1.50", "0.10", "0", "1"]]}
    compact = json.dumps(push("books", row, name="BTC-USDT", action="update"), separators=(",", ":")).encode()
    spaced = json.dumps(push("books", row, name="BTC-USDT", action="update"), indent=1).encode()
    for body in (compact, spaced):
        (found,) = parse("books", body, "spot")
        assert found["asks"] == [["62571.2", "0.605"], ["62571.30", "0"]]
        assert found["bids"] == [["1.50", "0.10"]]


def test_the_stream_begins_with_a_whole_book() -> None:
    row = BOOK | {"prevSeqId": -1, "bids": [["62571.1", "2", "0", "1"]]}
    (found,) = parsed("books", push("books", row, action="snapshot"))
    assert isinstance(found, BookSnapshot)
    assert (found.symbol, found.sequence, found.timestamp) == ("BTC-USDT-PERP", 110, TS * 1000)
    assert json.loads(bytes(found.bids)) == [["62571.1", "0.02", "2"]]
    assert found.limit > 400  # the best 400 levels are kept up to date: nothing of them is unknown


def test_a_quiet_market_says_nothing_and_an_empty_change_keeps_the_chain() -> None:
    quiet = BOOK | {"asks": [], "prevSeqId": 110}
    assert parse("books", push("books", quiet, action="update")) == []
    (found,) = parse("books", push("books", quiet | {"prevSeqId": 100}, action="update"))
    assert (found["previous_sequence"], found["last_sequence"], found["asks"]) == (100, 110, [])


def test_books_of_2022_are_numbered_by_their_push_time() -> None:
    row = {key: value for key, value in BOOK.items() if key not in ("seqId", "prevSeqId")}
    (found,) = parse("books", push("books", row | {"checksum": 5}, action="update"))
    assert (found["first_sequence"], found["last_sequence"], "previous_sequence" in found) == (TS, TS, False)


TOP = {
    "asks": [["63921.5", "790.41", "0", "42"]],
    "bids": [["63921.4", "421.93", "0", "28"]],
    "ts": str(TS),
    "seqId": 7,
}


def test_a_quote() -> None:
    assert parse("quotes", push("bbo-tbt", TOP)) == [
        {
            "symbol": "BTC-USDT-PERP",
            "timestamp": TS * 1000,
            "timestamp_source": "push",
            "bid_price": "63921.4",
            "bid_quantity": "4.2193",
            "ask_price": "63921.5",
            "ask_quantity": "7.9041",
            "sequence": 7,
        }
    ]
    (whole,), (bids,) = parse("quotes", push("bbo-tbt", TOP)), parse("quotes", push("bbo-tbt", TOP | {"asks": []}))
    assert bids == {name: value for name, value in whole.items() if not name.startswith("ask")}


TICKER = {
    "instType": "SPOT",
    "instId": "BTC-USDT",
    "last": "63921",
    "lastSz": "0.4",
    "askPx": "63921.1",
    "askSz": "1871.75",
    "bidPx": "63921",
    "bidSz": "779.3",
    "open24h": "64297.6",
    "high24h": "64466",
    "low24h": "63162.7",
    "sodUtc0": "63566",
    "sodUtc8": "63584.6",
    "volCcy24h": "73998.8786",
    "vol24h": "7399887.86",
    "ts": str(TS),
}


def test_a_ticker_on_spot() -> None:
    assert parse("ticker", push("tickers", TICKER, name="BTC-USDT"), "spot") == [
        {
            "symbol": "BTC-USDT",
            "timestamp": TS * 1000,
            "timestamp_source": "push",
            "last_price": "63921",
            "open_price": "64297.6",
            "high_price": "64466",
            "low_price": "63162.7",
            "volume": "7399887.86",
            "quote_volume": "73998.8786",
            "last_quantity": "0.4",
            "bid_price": "63921",
            "bid_quantity": "779.3",
            "ask_price": "63921.1",
            "ask_quantity": "1871.75",
        }
    ]


def test_a_ticker_of_an_inverse_contract_counts_dollars_by_the_contract() -> None:
    row = TICKER | {"instId": "BTC-USD-SWAP", "vol24h": "12", "volCcy24h": "0.019", "last": "30000", "lastSz": "3"}
    (found,) = parse("ticker", push("tickers", row, name="BTC-USD-SWAP"), symbol="BTC-USD-PERP")
    assert (found["volume"], found["quote_volume"], found["last_quantity"]) == ("0.019", "1200", "0.01")


def test_a_ticker_of_a_linear_contract_has_no_volume_in_quote_currency() -> None:
    (found,) = parse("ticker", push("tickers", TICKER | {"instId": "BTC-USDT-SWAP"}))
    assert (found["volume"], "quote_volume" in found, found["last_quantity"]) == ("73998.8786", False, "0.004")
    assert (found["bid_quantity"], found["ask_quantity"]) == ("7.793", "18.7175")


def test_what_a_ticker_leaves_empty_stays_missing() -> None:
    row = TICKER | {"bidPx": "", "bidSz": "", "askSz": "", "open24h": "", "vol24h": ""}
    (found,) = parse("ticker", push("tickers", row, name="BTC-USDT"), "spot")
    assert not {"bid_price", "bid_quantity", "ask_quantity", "open_price", "volume"} & found.keys()
    assert (found["ask_price"], found["quote_volume"]) == ("63921.1", "73998.8786")
    assert parse("ticker", push("tickers", TICKER | {"last": ""}, name="BTC-USDT"), "spot") == []


BAR = [str(TS), "63913.0", "63951.8", "63913.0", "63951.80", "1803.61", "18.0361", "1153203.99426000", "0"]


@pytest.mark.parametrize(
    ("interval", "channel"),
    [("1m", "candle1m"), ("5m", "candle5m"), ("30m", "candle30m"), ("4h", "candle4H"), ("1d", "candle1Dutc")],
)
def test_a_candle_as_it_stands_and_closed(interval: str, channel: str) -> None:
    expected = {
        "symbol": "BTC-USDT-PERP",
        "timestamp": TS * 1000,
        "timestamp_source": "open",
        "interval": interval,
        "open_price": "63913.0",
        "high_price": "63951.8",
        "low_price": "63913.0",
        "close_price": "63951.80",
        "volume": "18.0361",
        "closed": False,
        "quote_volume": "1153203.99426000",
    }
    assert parse(f"candles_{interval}", push(channel, BAR)) == [expected]
    closed = parsed(f"candles_{interval}", push(channel, [*BAR[:-1], "1"]))
    assert [type(item) for item in closed] == [records.CandleUpdate, records.Candle]
    assert [item.closed for item in closed] == [True, True]


def test_a_candle_on_spot_counts_the_base_currency() -> None:
    (found,) = parse("candles_1m", push("candle1m", BAR, name="BTC-USDT"), "spot")
    assert (found["volume"], found["quote_volume"]) == ("1803.61", "1153203.99426000")


def test_mark_price_and_open_interest() -> None:
    mark = {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "markPx": "84660.10", "ts": str(TS)}
    (found,) = parse("mark_price", push("mark-price", mark))
    assert (found["mark_price"], found["timestamp"], found["timestamp_source"]) == ("84660.10", TS * 1000, "push")
    row = {"instId": "BTC-USDT-SWAP", "oi": "2216113.01", "oiCcy": "22161.1301", "oiUsd": "1939251.5", "ts": str(TS)}
    (found,) = parse("open_interest", push("open-interest", row))
    assert (found["open_interest"], found["contracts"]) == ("22161.1301", "2216113.01")
    assert "open_interest_value" not in found  # dollars are not the quote currency of this one
    row |= {"instId": "BTC-USD-SWAP"}
    (found,) = parse("open_interest", push("open-interest", row, name="BTC-USD-SWAP"), symbol="BTC-USD-PERP")
    assert found["open_interest_value"] == "1939251.5"


FUNDING = {
    "instId": "BTC-USDT-SWAP",
    "fundingRate": "-0.000012345678",
    "fundingTime": str(TS + 1),
    "nextFundingRate": "",
    "nextFundingTime": str(TS + 2),
    "settFundingRate": "0.0001",
    "settState": "settled",
    "ts": str(TS),
}


def test_funding_as_it_is_estimated_and_as_it_was_charged() -> None:
    assert parse("funding", push("funding-rate", FUNDING)) == [
        {
            "symbol": "BTC-USDT-PERP",
            "timestamp": TS * 1000,
            "timestamp_source": "push",
            "rate": "-0.000012345678",
            "rate_kind": "estimated",
            "next_funding_time": (TS + 1) * 1000,
        }
    ]
    rows = [
        {"instId": "BTC-USDT-SWAP", "fundingTime": str(time), "fundingRate": "0.2", "realizedRate": rate}
        for time, rate in ((TS + 9, "0.0002"), (TS, "-0.0001"))
    ]
    found = parse("settled_funding", answer(*rows))
    assert [(item["timestamp"], item["rate"], item["rate_kind"]) for item in found] == [
        (TS * 1000, "-0.0001", "settled"),
        ((TS + 9) * 1000, "0.0002", "settled"),
    ]


DETAIL = {"bkLoss": "0", "bkPx": "0.4162", "ccy": "", "posSide": "short", "side": "buy", "sz": "2137", "ts": str(TS)}


def liquidated(*details: object, name: str = "BTC-USDT-SWAP") -> dict[str, Any]:
    row = {"details": list(details), "instFamily": "BTC-USDT", "instId": name, "instType": "SWAP", "uly": "BTC-USDT"}
    return {"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": [row]}


def test_a_liquidation_has_the_side_of_its_own_order() -> None:
    other = DETAIL | {"posSide": "", "side": "sell", "ts": str(TS - 5)}
    found = parse("liquidations", liquidated(DETAIL, other), symbol="_all")
    assert found[0] == {
        "symbol": "BTC-USDT-PERP",
        "timestamp": TS * 1000,
        "timestamp_source": "match",
        "price": "0.4162",
        "quantity": "21.37",
        "side": "buy",
        "contracts": "2137",
    }
    assert (found[1]["side"], found[1]["timestamp"]) == ("sell", (TS - 5) * 1000)
    with pytest.raises(BadFrame, match="cannot end the short position"):
        parse("liquidations", liquidated(DETAIL | {"side": "sell"}), symbol="_all")


@pytest.mark.parametrize("poll", ["lsr_top_positions", "lsr_all_accounts"])
def test_ratios_come_oldest_first(poll: str) -> None:
    found = parse(poll, answer([str(TS + 300_000), "0.25"], [str(TS), "1.3"]))
    assert [(item["timestamp"], item["long_short_ratio"]) for item in found] == [
        (TS * 1000, "1.3"),
        ((TS + 300_000) * 1000, "0.25"),
    ]
    assert {item["period"] for item in found} == {"5m"}
    assert not {"long_ratio", "short_ratio"} & found[0].keys()  # the exchange gives the quotient alone


BAD = [
    ("trades", push("trades", TRADE | {"px": "NaN"}), BadFrame, "px is 'NaN'"),
    ("trades", push("trades", TRADE | {"sz": ""}), BadFrame, "sz is ''"),
    ("trades", push("trades", TRADE | {"sz": "1e-7"}), BadFrame, "sz is '1e-7'"),
    ("trades", push("trades", TRADE | {"side": "hold"}), BadFrame, "Invalid enum value 'hold'"),
    ("trades", push("trades", TRADE | {"count": "0"}), BadFrame, "count"),
    ("trades", push("trades", TRADE | {"ts": str(TS * 1000)}), BadFrame, "ts"),
    ("trades", push("trades", TRADE | {"tradeId": "x"}), BadFrame, "tradeId"),
    ("trades", push("trades", TRADE | {"instId": "NOPE-SWAP"}), UnknownSymbol, "'NOPE-SWAP'"),
    ("trades", push("trades", TRADE | {"instId": "BTC-USD-SWAP"}), BadFrame, "filed under"),
    ("trades", push("tickers", TRADE), BadFrame, "channel 'tickers'"),
    ("ticker", push("tickers", TICKER | {"instId": "BTC-USDT-SWAP", "last": "x"}), BadFrame, "last is 'x'"),
    ("ticker", push("tickers", TICKER | {"instId": "BTC-USDT-SWAP", "low24h": "-1"}), BadFrame, "low24h is '-1'"),
    ("books", push("books", BOOK, action="patch"), BadFrame, "Invalid enum value 'patch'"),
    ("books", push("books", BOOK | {"asks": [["1", "-1", "0", "1"]]}, action="update"), BadFrame, r"asks\[0\]"),
    ("books", push("books", BOOK | {"asks": [["1"]]}, action="update"), BadFrame, "asks"),
    ("books", push("books5", BOOK, action="update"), BadFrame, "channel 'books5'"),
    ("quotes", push("bbo-tbt", TOP | {"bids": [["Infinity", "1"]]}), BadFrame, "bid_price is 'Infinity'"),
    ("candles_1m", push("candle1m", [*BAR[:-1], "2"]), BadFrame, "Invalid enum value '2'"),
    ("candles_1m", push("candle1m", BAR[:6]), BadFrame, "not a frame of channel candles_1m"),
    ("candles_1m", push("candle5m", BAR), BadFrame, "channel 'candle5m'"),
    ("liquidations", liquidated(DETAIL, name="CNPY-USDT-SWAP"), UnknownSymbol, "CNPY-USDT-SWAP"),
    ("liquidations", liquidated(DETAIL | {"posSide": "up"}), BadFrame, "Invalid enum value 'up'"),
    ("settled_funding", {"code": "51001", "msg": "Instrument ID does not exist", "data": []}, BadFrame, "51001"),
    ("settled_funding", b"<html>maintenance</html>", BadFrame, "not an answer of settled_funding"),
    ("lsr_all_accounts", answer([str(TS), "nan"]), BadFrame, "ratio is 'nan'"),
]


@pytest.mark.parametrize(("channel", "body", "error", "message"), BAD)
def test_what_is_wrong_is_refused_by_name(channel: str, body: Any, error: type[BadFrame], message: str) -> None:
    with pytest.raises(error, match=message):
        parse(channel, body, symbol="_all" if channel == "liquidations" else None)


def test_an_inverse_contract_at_no_price_is_refused() -> None:
    row = TRADE | {"instId": "BTC-USD-SWAP", "px": "0"}
    with pytest.raises(BadFrame, match="price"):
        parse("trades", push("trades", row, name="BTC-USD-SWAP"), symbol="BTC-USD-PERP")


def test_numbers_that_no_table_holds_are_refused() -> None:
    with pytest.raises(BadFrame):
        parse("trades", push("trades", TRADE | {"sz": "0.123456789012345678"}))
    with pytest.raises(BadFrame, match="more fills"):
        parse("trades", push("trades", TRADE | {"tradeId": "3"}))


def test_a_truncated_frame_is_refused() -> None:
    body = json.dumps(push("trades", TRADE)).encode()
    for cut in range(len(body)):
        with pytest.raises(BadFrame):
            parse("trades", body[:cut])


BODIES = {
    "trades": push("trades", TRADE),
    "books": push("books", BOOK, action="update"),
    "quotes": push("bbo-tbt", TOP),
    "ticker": push("tickers", TICKER | {"instId": "BTC-USD-SWAP"}, name="BTC-USD-SWAP"),
    "candles_1m": push("candle1m", BAR),
    "funding": push("funding-rate", FUNDING),
    "liquidations": liquidated(DETAIL),
    "lsr_all_accounts": answer([str(TS), "1.3"]),
}


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(BODIES)), st.data())
def test_damaged_frames_raise_nothing_but_bad_frame(channel: str, data: st.DataObject) -> None:
    body = bytearray(json.dumps(BODIES[channel], separators=(",", ":")).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at] = data.draw(st.sampled_from(b'0129-eE.",[]{}:\x00\xff') | st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    for damaged in (bytes(body), bytes(body[:cut]), bytes(body[cut:])):
        for read in (lambda raw: parsed(channel, raw, symbol="_all"), MARKETS["perp"].sort):
            try:
                read(damaged)
            except BadFrame:
                pass


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([*MARKETS["perp"].channels, *MARKETS["perp"].polls]))
def test_random_bytes_raise_nothing_but_bad_frame(body: bytes, channel: str) -> None:
    try:
        assert len(parsed(channel, body)) == 0, "nothing so short is a record"
    except BadFrame:
        pass
    if body != b"pong":
        with pytest.raises(BadFrame):
            MARKETS["perp"].sort(body)


def test_the_index_of_a_perpetual_is_an_index_price_without_a_mark_price() -> None:
    row = {"instId": "BTC-USDT", "idxPx": "84661.30", "high24h": "1", "sodUtc8": "2", "ts": str(TS)}
    (found,) = parse("index_price", push("index-tickers", row, name="BTC-USDT"))
    assert found == {
        "symbol": "BTC-USDT-PERP",
        "timestamp": TS * 1000,
        "timestamp_source": "push",
        "index_price": "84661.30",
    }
    with pytest.raises(BadFrame, match="index 'BTC-USDT' filed under BTC-USD-PERP"):
        parse("index_price", push("index-tickers", row, name="BTC-USDT"), symbol="BTC-USD-PERP")
    with pytest.raises(BadFrame, match="idxPx is 'NaN'"):
        parse("index_price", push("index-tickers", row | {"idxPx": "NaN"}, name="BTC-USDT"))
