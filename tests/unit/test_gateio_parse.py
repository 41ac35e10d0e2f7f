"""Gate.io's frames to records by value: today's frames, forms that no recording holds, and wrong input."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import records
from schemas.errors import BadFrame, UnknownSymbol
from schemas.records import Instrument
from services.shared.exchanges.declaration import BookSnapshot, Listing, Reply, StreamName
from services.shared.exchanges.gateio_control import sort
from tests.conftest import recordings_folder
from tests.gateio_recorded import MARKETS, filed, listing, raw_frame

SECOND = 1_000_000


def instrument(market: str, name: str, size: str | None) -> Instrument:
    base, quote = name.split("_")
    symbol = f"{base}-{quote}" + ("-PERP" if market == "perp" else "")
    return Instrument(
        exchange="gateio",
        market=market,
        symbol=symbol,
        timestamp=1,
        timestamp_source="received",
        received_at=1,
        source="live",
        exchange_symbol=name,
        base=base,
        quote=quote,
        asset=base,
        multiplier="1",
        status="trading",
        contract_size=size,
    )


LISTINGS = {
    "spot": Listing([instrument("spot", "BTC_USDT", None), instrument("spot", "ETH_USDT", None)]),
    "perp": Listing([instrument("perp", "BTC_USDT", "0.0001"), instrument("perp", "ETH_USDT", "0.01")]),
}
SYMBOLS = {"spot": "BTC-USDT", "perp": "BTC-USDT-PERP"}


def parse(market: str, channel: str, body: Any, symbol: str | None = None) -> list[Any]:
    declared = MARKETS[market]
    parser = declared.channels[channel].parse if channel in declared.channels else declared.polls[channel].parse
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return list(parser(raw_frame(market, channel, symbol or SYMBOLS[market], text), LISTINGS[market]))


def update(channel: str, result: Any, **more: Any) -> dict[str, Any]:
    return {
        "time": 1786540580,
        "time_ms": 1786540580715,
        "channel": channel,
        "event": "update",
        "result": result,
    } | more


def fields(record: Any) -> dict[str, Any]:
    return dict(json.loads(records.encode(record)))


def said(record: Any) -> dict[str, Any]:
    """What a record says beyond whose it is."""
    left_out = ("exchange", "market", "symbol", "received_at", "source")
    return {key: value for key, value in fields(record).items() if key not in left_out}


def extra(recordings: Path, session: str) -> list[str]:
    lines = (recordings / "gateio" / "extra_frames" / "frames.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    return [item["frame"] for item in found if item["session"].startswith(session) and item["dir"] == "recv"]


def test_todays_futures_tickers(recordings: Path) -> None:
    ack, *updates = extra(recordings, "futures.tickers")
    assert sort(ack.encode()) == Reply(1, None)
    for text in updates:
        assert sort(text.encode()) == StreamName("futures.tickers:BTC_USDT")
        (row,), envelope = json.loads(text)["result"], json.loads(text)
        ticker, index, funding, interest = parse("perp", "ticker", text)
        common = {
            "timestamp": row["t"] * 1000,
            "timestamp_source": "push",
            "sent_at": envelope["time_ms"] * 1000,
        }
        assert fields(ticker) == common | {
            "exchange": "gateio",
            "market": "perp",
            "symbol": "BTC-USDT-PERP",
            "received_at": 1_700_000_000_000_000,
            "source": "live",
            "last_price": row["last"],
            "open_price": str(Decimal(row["last"]) - Decimal(row["change_price"])),
            "high_price": row["high_24h"],
            "low_price": row["low_24h"],
            "volume": str(Decimal(row["volume_24h"]) * Decimal("0.0001")),
            "quote_volume": row["volume_24h_quote"],
            "price_change": row["change_price"],
            "price_change_percent": row["change_percentage"],
        }
        assert Decimal(ticker.volume) == Decimal(row["volume_24h_base"])
        assert said(index) == common | {"mark_price": row["mark_price"], "index_price": row["index_price"]}
        assert said(funding) == common | {
            "rate": row["funding_rate"],
            "rate_kind": "estimated",
            "next_funding_time": row["funding_next_apply"] * SECOND,
            "mark_price": row["mark_price"],
        }
        assert said(interest) == common | {
            "open_interest": str(Decimal(row["total_size"]) * Decimal("0.0001")),
            "contracts": row["total_size"],
        }


def test_older_futures_tickers_say_less() -> None:
    row = {
        "contract": "ETH_USDT",
        "last": "10.5",
        "mark_price": "10.4",
        "total_size": 7,
        "volume_24h": "300",
        "index_price": "",
        "funding_rate": "",
        "change_price": "",
        "change_from": "24h",
    }
    frame = {"time": 1600000000, "channel": "futures.tickers", "event": "update", "result": [row]}
    ticker, index, interest = parse("perp", "ticker", frame, "ETH-USDT-PERP")
    common = {"timestamp": 1600000000 * SECOND, "timestamp_source": "push", "sent_at": 1600000000 * SECOND}
    assert said(ticker) == common | {"last_price": "10.5", "volume": "3.00"}
    assert said(index) == common | {"mark_price": "10.4"}
    assert said(interest) == common | {"open_interest": "0.07", "contracts": "7"}
    del frame["time"]
    assert {record.timestamp_source for record in parse("perp", "ticker", frame, "ETH-USDT-PERP")} == {"received"}


def test_todays_futures_trades(recordings: Path) -> None:
    _, *updates = extra(recordings, "futures.trades")
    assert len(updates) == 2
    for text in updates:
        (row,), envelope = json.loads(text)["result"], json.loads(text)
        assert sort(text.encode()) == StreamName("futures.trades:BTC_USDT")
        (trade,) = parse("perp", "trades", text)
        assert said(trade) == {
            "timestamp": row["create_time_ms"] * 1000,
            "timestamp_source": "match",
            "price": row["price"],
            "quantity": str(Decimal(row["size"]) * Decimal("0.0001")),
            "contracts": str(row["size"]),
            "side": "buy",
            "trade_id": str(row["id"]),
            "sequence": row["id"],
            "sent_at": envelope["time_ms"] * 1000,
        }


@pytest.mark.parametrize("market", ["spot", "perp"])
def test_todays_candles(market: str, recordings: Path) -> None:
    prefix = {"spot": "spot", "perp": "futures"}[market]
    ack, *updates = extra(recordings, f"{prefix}.candlesticks 1m")
    assert sort(ack.encode()) == Reply(1, None)
    for text in updates:
        envelope = json.loads(text)
        row = envelope["result"] if market == "spot" else envelope["result"][0]
        assert sort(text.encode()) == StreamName(f"{prefix}.candlesticks:1m:BTC_USDT")
        (update_,) = parse(market, "candles_1m", text)
        base = row["a"] if market == "spot" else str(Decimal(row["v"]) * Decimal("0.0001"))
        assert said(update_) == {
            "timestamp": int(row["t"]) * SECOND,
            "timestamp_source": "open",
            "interval": "1m",
            "open_price": row["o"],
            "high_price": row["h"],
            "low_price": row["l"],
            "close_price": row["c"],
            "volume": base,
            "quote_volume": row["v"] if market == "spot" else row["a"],
            "closed": False,
            "sent_at": envelope["time_ms"] * 1000,
        }


def test_a_closed_candle_is_told_twice() -> None:
    bar = {"t": "60", "o": "1", "h": "3", "l": "0.5", "c": "2", "v": "9.5", "a": "4", "n": "5m_BTC_USDT", "w": True}
    found = parse("spot", "candles_5m", update("spot.candlesticks", bar))
    assert [type(record) for record in found] == [records.CandleUpdate, records.Candle]
    assert [(r.closed, r.interval, r.timestamp, r.volume) for r in found] == [(True, "5m", 60 * SECOND, "4")] * 2


def test_the_books_that_begin_in_the_stream_are_known_by_name(recordings: Path) -> None:
    (text,) = extra(recordings, "spot.obu")
    assert sort(text.encode()) == StreamName("spot.obu:ob.BTC_USDT.50")


def spot_trade(**more: Any) -> dict[str, Any]:
    return {
        "id": 214976613,
        "id_market": 214976613,
        "create_time": 1786539952,
        "create_time_ms": "1786539952742.901000",
        "side": "buy",
        "currency_pair": "BTC_USDT",
        "amount": "0.0803",
        "price": "64028.2",
        "range": "214976613-214976613",
    } | more


def test_spot_trades_of_today() -> None:
    (trade,) = parse("spot", "trades", update("spot.trades", spot_trade()))
    assert said(trade) == {
        "timestamp": 1786539952742901,
        "timestamp_source": "match",
        "price": "64028.2",
        "quantity": "0.0803",
        "side": "buy",
        "trade_id": "214976613",
        "sequence": 214976613,
        "first_trade_id": 214976613,
        "last_trade_id": 214976613,
        "trade_count": 1,
        "sent_at": 1786540580715000,
    }
    (merged,) = parse("spot", "trades", update("spot.trades", spot_trade(range="214976610-214976613", side="sell")))
    assert (merged.first_trade_id, merged.sequence, merged.trade_count, merged.side) == (
        214976610,
        214976613,
        4,
        "sell",
    )


def perp_trade(**more: Any) -> dict[str, Any]:
    return {"id": 8, "size": -3, "create_time_ms": 1786540580715, "price": "63994.5", "contract": "BTC_USDT"} | more


def test_the_sign_of_a_futures_trade_is_its_side_and_decimal_sizes_are_exact() -> None:
    rows = [perp_trade(), perp_trade(id=9, size="-0.5"), perp_trade(id=10, size="12.25")]
    found = parse("perp", "trades", update("futures.trades", rows))
    assert [(t.side, t.contracts, t.quantity, t.sequence) for t in found] == [
        ("sell", "3", "0.0003", 8),
        ("sell", "0.5", "0.00005", 9),
        ("buy", "12.25", "0.001225", 10),
    ]


def test_liquidations_are_told_by_their_own_side() -> None:
    rows = [
        {"price": 215.1, "size": -124, "time_ms": 1786540580715, "contract": "BTC_USDT"},
        {"price": "215.20", "size": "124", "time_ms": 1786540580716, "contract": "BTC_USDT"},
    ]
    found = parse("perp", "liquidations", update("futures.public_liquidates", rows))
    assert [(o.side, o.price, o.quantity, o.contracts, o.timestamp) for o in found] == [
        ("sell", "215.1", "0.0124", "124", 1786540580715000),
        ("buy", "215.20", "0.0124", "124", 1786540580716000),
    ]


def test_quotes_and_their_empty_sides() -> None:
    row = {"t": 1786540580700, "u": 77, "s": "BTC_USDT", "b": "9.1", "B": "2", "a": "9.2", "A": "0.5"}
    (quote,) = parse("spot", "quotes", update("spot.book_ticker", row))
    assert said(quote) == {
        "timestamp": 1786540580700000,
        "timestamp_source": "match",
        "bid_price": "9.1",
        "bid_quantity": "2",
        "ask_price": "9.2",
        "ask_quantity": "0.5",
        "sequence": 77,
        "sent_at": 1786540580715000,
    }
    contracts = row | {"B": 814, "A": "677.5"}
    (quote,) = parse("perp", "quotes", update("futures.book_ticker", contracts))
    assert (quote.bid_quantity, quote.ask_quantity) == ("0.0814", "0.06775")
    (quote,) = parse("perp", "quotes", update("futures.book_ticker", contracts | {"b": "", "B": 0}))
    assert (quote.bid_price, quote.bid_quantity, quote.ask_price, quote.ask_quantity) == (None, None, "9.2", "0.06775")
    (quote,) = parse("spot", "quotes", update("spot.book_ticker", row | {"a": "", "A": "0"}))
    assert (quote.bid_price, quote.bid_quantity, quote.ask_price, quote.ask_quantity) == ("9.1", "2", None, None)


def perp_depth(**more: Any) -> dict[str, Any]:
    return {
        "t": 5,
        "s": "BTC_USDT",
        "U": 7,
        "u": 9,
        "b": [{"p": "1.10", "s": 3}],
        "a": [{"s": "0.5", "p": "1.2"}],
    } | more


def test_contract_books_are_triples_and_a_frame_without_levels_moves_the_ids() -> None:
    (change,) = parse("perp", "depth", update("futures.order_book_update", perp_depth()))
    assert json.loads(bytes(change.bids)) == [["1.10", "0.0003", "3"]]
    assert json.loads(bytes(change.asks)) == [["1.2", "0.00005", "0.5"]]
    assert (change.first_sequence, change.last_sequence, change.timestamp) == (7, 9, 5000)
    (change,) = parse("perp", "depth", update("futures.order_book_update", perp_depth(a=[], b=[])))
    assert (bytes(change.bids), bytes(change.asks), change.last_sequence) == (b"[]", b"[]", 9)


def test_a_whole_book_in_the_stream_of_changes_is_no_change() -> None:
    assert parse("perp", "depth", update("futures.order_book_update", perp_depth(full=True))) == []


def test_rest_books() -> None:
    levels = {"asks": [{"s": 3, "p": "2"}], "bids": [{"s": 4, "p": "1"}]}
    (book,) = parse("perp", "depth_snapshot", {"current": 1.5, "update": 1.25, "id": 11} | levels)
    assert isinstance(book, BookSnapshot)
    assert (book.symbol, book.sequence, book.limit) == ("BTC-USDT-PERP", 11, 100)
    assert (bytes(book.bids), bytes(book.asks)) == (b'[["1","0.0004","4"]]', b'[["2","0.0003","3"]]')
    (book,) = parse("spot", "depth_snapshot", {"current": 1, "id": 12, "bids": [["1", "4"]], "asks": []})
    assert (book.symbol, book.sequence, bytes(book.bids), bytes(book.asks)) == ("BTC-USDT", 12, b'[["1","4"]]', b"[]")
    with pytest.raises(BadFrame, match="id"):  # without with_id=true there is none
        parse("spot", "depth_snapshot", {"current": 1, "bids": [], "asks": []})


def test_settled_funding_comes_oldest_first() -> None:
    found = parse("perp", "funding", [{"t": 1_700_028_800, "r": "-0.0001"}, {"t": 1_700_000_000, "r": "0.000052"}])
    assert [said(row) for row in found] == [
        {
            "timestamp": stamp * SECOND,
            "timestamp_source": "stamp",
            "rate": rate,
            "rate_kind": "settled",
        }
        for stamp, rate in ((1_700_000_000, "0.000052"), (1_700_028_800, "-0.0001"))
    ]


def test_ratios_keep_the_quotients_digits_and_come_oldest_first() -> None:
    body = (
        '[{"time":1700000300,"contract":"BTC_USDT","lsr_account":1.50,"top_lsr_size":3},'
        '{"time":1700000000,"contract":"BTC_USDT","lsr_account":2.5e-1,"top_lsr_size":0}]'
    )
    accounts = parse("perp", "lsr_all_accounts", body)
    assert [said(row) for row in accounts] == [
        {"timestamp": stamp * SECOND, "timestamp_source": "stamp", "long_short_ratio": ratio, "period": "5m"}
        for stamp, ratio in ((1_700_000_000, "0.25"), (1_700_000_300, "1.50"))
    ]
    positions = parse("perp", "lsr_top_positions", body)
    assert [row.long_short_ratio for row in positions] == ["0", "3"]
    assert [type(row) for row in (accounts[0], positions[0])] == [records.LsrAllAccount, records.LsrTopPosition]


def test_instruments_of_today() -> None:
    contract = {
        "name": "1000PEPE_USDT",
        "quanto_multiplier": "10",
        "order_price_round": "0.0000001",
        "in_delisting": False,
        "status": "prelaunch",
        "launch_time": 1_690_000_000,
        "enable_decimal": True,
        "order_size_min": "0.1",
    }
    (found,) = parse(
        "perp", "instruments", [contract, contract | {"name": "BTC_USD", "quanto_multiplier": "0"}], "_all"
    )
    assert (found.symbol, found.asset, found.multiplier, found.status) == (
        "1000PEPE-USDT-PERP",
        "PEPE",
        "1000",
        "prelaunch",
    )
    assert (found.contract_size, found.quantity_step, found.tick_size) == ("10", None, "0.0000001")
    assert found.listed_at == 1_690_000_000 * SECOND
    pair = {"id": "A_B", "base": "A", "quote": "B", "precision": 0, "amount_precision": 3, "trade_status": "tradable"}
    (found,) = parse("spot", "instruments", [pair | {"delisting_time": 1_690_000_000}], "_all")
    assert (found.symbol, found.status, found.tick_size, found.quantity_step) == ("A-B", "trading", "1", "0.001")
    assert found.delisted_at == 1_690_000_000 * SECOND
    (found,) = parse("spot", "instruments", [pair | {"precision": 19, "amount_precision": -1}], "_all")
    assert (found.tick_size, found.quantity_step, found.delisted_at) == (None, None, None)


# -- wrong input -----------------------------------------------------------------------------------------------------

BAD = [
    ("spot", "trades", update("spot.trades", spot_trade(price="NaN")), 'price is "NaN"'),
    ("spot", "trades", update("spot.trades", spot_trade(price="")), "price is missing"),
    ("spot", "trades", update("spot.trades", spot_trade(amount="-1")), "amount is '-1'"),
    ("spot", "trades", update("spot.trades", spot_trade(side="long")), "side"),
    ("spot", "trades", update("spot.trades", spot_trade(create_time_ms="soon")), "create_time_ms"),
    ("spot", "trades", update("spot.trades", spot_trade(range="5-4")), "range is '5-4'"),
    ("spot", "trades", update("spot.book_ticker", spot_trade()), "spot.book_ticker"),
    ("spot", "trades", update("spot.trades", spot_trade(), event="gone"), "gone"),
    ("spot", "trades", update("spot.trades", spot_trade(currency_pair="ETH_USDT")), "filed under BTC-USDT"),
    ("perp", "trades", update("futures.trades", [perp_trade(size=0)]), "neither a buy nor a sale"),
    ("perp", "trades", update("futures.trades", [perp_trade(size=True)]), "size is true"),
    ("perp", "trades", update("futures.trades", perp_trade()), "array"),
    ("perp", "depth", update("futures.order_book_update", perp_depth(U=10)), "before U"),
    ("perp", "depth", update("futures.order_book_update", perp_depth(a=[{"p": "1", "s": -1}])), r"a\[0\] s"),
    ("perp", "depth", update("futures.order_book_update", perp_depth(b=[["1", "2"]])), "b is not a list of levels"),
    (
        "spot",
        "candles_1m",
        update("spot.candlesticks", {"t": "60", "n": "5m_BTC_USDT"} | dict.fromkeys("ohlcv", "1")),
        "5m",
    ),
    ("perp", "depth_snapshot", "<html>busy</html>", "not an answer"),
    ("perp", "funding", '{"label":"CONTRACT_NOT_FOUND","message":"x"}', "not an answer"),
]


@pytest.mark.parametrize(("market", "channel", "body", "why"), BAD, ids=[f"{row[1]}-{row[3]}" for row in BAD])
def test_wrong_input_is_named(market: str, channel: str, body: Any, why: str) -> None:
    with pytest.raises(BadFrame, match=why):
        parse(market, channel, body)


def test_an_unknown_symbol_is_named() -> None:
    with pytest.raises(UnknownSymbol, match="NOPE_USDT"):
        parse("spot", "trades", update("spot.trades", spot_trade(currency_pair="NOPE_USDT")))


def test_numbers_in_exponent_form_are_written_out_exactly() -> None:
    body = json.dumps(
        update("futures.public_liquidates", [{"price": 0, "size": 5, "time_ms": 1, "contract": "BTC_USDT"}])
    )
    (found,) = parse("perp", "liquidations", body.replace('"price": 0', '"price": 1.25e-7'))
    assert found.price == "0.000000125"
    with pytest.raises(BadFrame, match="price"):
        parse("perp", "liquidations", body.replace('"price": 0', '"price": 1e-40'))


def every_parser() -> list[tuple[str, str]]:
    return [(name, channel) for name, market in MARKETS.items() for channel in (*market.channels, *market.polls)]


@given(st.sampled_from(every_parser()), st.binary(max_size=200))
def test_random_bytes_raise_only_bad_frame(parser: tuple[str, str], body: bytes) -> None:
    for attempt in (lambda: sort(body), lambda: parse(*parser, body)):
        try:
            attempt()
        except BadFrame:
            continue


FOLDER = recordings_folder()
RECORDED = (
    {market: ([frame for _, frame in filed(FOLDER, market)][16:], listing(FOLDER, market)) for market in MARKETS}
    if FOLDER
    else {}
)


@pytest.mark.skipif(FOLDER is None, reason="no recordings")
@given(st.data())
def test_mutated_recorded_frames_raise_only_bad_frame(data: st.DataObject) -> None:
    market = data.draw(st.sampled_from(sorted(RECORDED)))
    frames, known = RECORDED[market]
    frame = data.draw(st.sampled_from(frames))
    at = data.draw(st.integers(0, len(frame.body)))
    cut = data.draw(st.integers(0, 5))
    body = frame.body[:at] + data.draw(st.binary(max_size=3)) + frame.body[at + cut :]
    declared = MARKETS[market]
    parser = (declared.channels | declared.polls)[frame.channel].parse  # type: ignore[operator]
    try:
        sort(body)
    except BadFrame:
        pass
    try:
        parser(raw_frame(market, frame.channel, frame.symbol, body), known)
    except BadFrame:
        pass
