"""OKX's frames and answers, one by one: what each record holds."""

from __future__ import annotations

import json

import pytest

from schemas import records
from schemas.errors import BadFrame
from services.shared.exchanges.declaration import BookSnapshot
from tests.okx_written import (
    BAR,
    BOOK,
    DETAIL,
    FUNDING,
    TICKER,
    TOP,
    TRADE,
    TS,
    answer,
    liquidated,
    parse,
    parsed,
    push,
)


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
