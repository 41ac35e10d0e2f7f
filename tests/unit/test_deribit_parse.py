"""Deribit's frames, one by one: values, refusals, and that nothing but a refusal ever comes of bad bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import BadFrame, UnknownSymbol
from tests.recorded_deribit import DERIBIT, RECEIVED, listing, parse, quotient

STAMP = 1_786_563_104_514


def row(name: str, **more: object) -> dict[str, Any]:
    base, _, quote = name.split("-")[0].partition("_")
    return {
        "instrument_name": name,
        "kind": "option" if name.count("-") == 3 else "future",
        "base_currency": base,
        "is_active": True,
        "tick_size": 0.5,
        "contract_size": 1.0 if name.count("-") == 3 or quote else 10.0,
        "min_trade_amount": 0.1,
        "creation_timestamp": 1_534_242_287_000,
        "expiration_timestamp": 32_503_708_800_000,
        **more,
    }


ROWS = json.dumps(
    {
        "result": [
            row("BTC-PERPETUAL"),
            row("ETH-PERPETUAL", contract_size=1),
            row("BTC_USDC-PERPETUAL", contract_size=0.001),
            row("BTC-25DEC26"),
            row("BTC-25DEC26-100000-C"),
            row("XRP_USDC-30JUN26-0d625-C", contract_size=1000),
        ]
    }
)
LISTINGS = {market: listing(market, ROWS) for market in DERIBIT}
SYMBOLS = {"perp": "BTC-USD-PERP", "future": "BTC-USD-261225", "option": "BTC-USD-261225-100000-C"}


def told(channel: str, body: object, market: str = "perp", symbol: str | None = None) -> list[dict[str, Any]]:
    return parse(market, channel, body, LISTINGS[market], symbol or SYMBOLS[market])


def push(channel: str, data: str) -> bytes:
    """A notification; the data are written out, for a float of Python would not keep their digits."""
    head = f'{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"{channel}","data":'
    return f"{head}{data}}}}}".encode()


def trade(name: str = "BTC-PERPETUAL", more: str = "", amount: str = "20", price: str = "63344.5") -> bytes:
    data = (
        f'[{{"timestamp":{STAMP},"price":{price},"direction":"buy","trade_id":"440192723","instrument_name":"{name}",'
        f'"trade_seq":296152987,"amount":{amount}{more}}}]'
    )
    return push(f"trades.{name}.100ms", data)


def book(kind: str = "change", bids: str = "[]", asks: str = "[]", previous: str = ',"prev_change_id":7') -> bytes:
    data = (
        f'{{"timestamp":{STAMP},"type":"{kind}","change_id":9,"instrument_name":"BTC-PERPETUAL","bids":{bids},'
        f'"asks":{asks}{previous}}}'
    )
    return push("book.BTC-PERPETUAL.100ms", data)


def quote(bid: str = '63344,"best_bid_amount":58060', ask: str = '63344.5,"best_ask_amount":9980') -> bytes:
    data = f'{{"timestamp":{STAMP},"instrument_name":"BTC-PERPETUAL","best_bid_price":{bid},"best_ask_price":{ask}}}'
    return push("quote.BTC-PERPETUAL", data)


STATS = '"high":64422,"low":63261,"price_change":-0.0095,"volume":2778.68467406,"volume_notional":177187410'


def ticker(
    funding: str = ',"current_funding":2.081e-05',
    mark: str = "63346.33",
    last: str = "63344",
    stats: str = STATS,
    bid: str = "63344",
) -> bytes:
    data = (
        f'{{"timestamp":{STAMP},"instrument_name":"BTC-PERPETUAL","mark_price":{mark},"index_price":63329.18,'
        f'"settlement_price":63799.96,"open_interest":716004750,"last_price":{last},"stats":{{{stats}}},'
        f'"best_bid_price":{bid},"best_bid_amount":58060,"best_ask_price":63344.5,"best_ask_amount":9980{funding}}}'
    )
    return push("ticker.BTC-PERPETUAL.100ms", data)


BAR = push(
    "chart.trades.BTC-PERPETUAL.1",
    '{"tick":1767200040000,"open":87490.0,"high":87500.0,"low":87465.0,"close":87474.0,"volume":0.95978896,"cost":83970.0}',
)
DVOL = push(
    "deribit_volatility_index.btc_usd", '{"timestamp":1619777946007,"volatility":129.36,"index_name":"btc_usd"}'
)


def head(market: str = "perp", source: str = "push", at: int = STAMP, **more: object) -> dict[str, Any]:
    return {
        "exchange": "deribit",
        "market": market,
        "symbol": SYMBOLS[market],
        "timestamp": at * 1000,
        "timestamp_source": source,
        "received_at": RECEIVED,
        "source": "live",
        **more,
    }


def test_an_inverse_trade_is_dollars_over_price() -> None:
    assert told("trades", trade(more=',"contracts":2')) == [
        {
            "_kind": "trade",
            **head(source="match"),
            "price": "63344.5",
            "quantity": "0.000315733804829149",
            "side": "buy",
            "trade_id": "440192723",
            "sequence": 296152987,
            "contracts": "2",
        }
    ]


def test_the_contracts_of_an_old_trade_are_worked_out() -> None:
    assert told("trades", trade(amount="125090.0"))[0]["contracts"] == "12509"


@pytest.mark.parametrize(
    ("market", "name", "symbol", "amount", "size"),
    [
        ("perp", "BTC_USDC-PERPETUAL", "BTC-USDC-PERP", "0.1230", ("0.1230", "123.0")),
        ("future", "BTC-25DEC26", "BTC-USD-261225", "10", ("0.000157866902414574", "1")),
        ("option", "BTC-25DEC26-100000-C", "BTC-USD-261225-100000-C", "0.1", ("0.1", "0.1")),
        ("option", "XRP_USDC-30JUN26-0d625-C", "XRP-USDC-260630-0d625-C", "2000", ("2000", "2")),
    ],
)
def test_sizes_are_base_currency_and_contracts(
    market: str, name: str, symbol: str, amount: str, size: tuple[str, str]
) -> None:
    found = told("trades", trade(name, amount=amount), market, symbol)[0]
    assert (found["symbol"], found["quantity"], *size[1:]) == (symbol, size[0], found["contracts"])


@pytest.mark.parametrize(("flag", "sides"), [("T", ["buy"]), ("M", ["sell"]), ("MT", ["buy", "sell"])])
def test_a_liquidation_stands_on_the_side_of_who_was_liquidated(flag: str, sides: list[str]) -> None:
    body = trade(more=f',"contracts":2,"liquidation":"{flag}"')
    assert [(item["_kind"], item["side"]) for item in told("trades", body)] == [("trade", "buy")]
    assert told("liquidations", body) == [
        {
            "_kind": "liquidation",
            **head(source="match"),
            "price": "63344.5",
            "quantity": "0.000315733804829149",
            "side": side,
            "contracts": "2",
        }
        for side in sides
    ]


def test_an_ordinary_trade_is_no_liquidation() -> None:
    assert told("liquidations", trade()) == []


def test_a_book_begins_with_a_snapshot() -> None:
    body = book("snapshot", '[["new",63324.5,372280],["new",63324,1360]]', '[["new",63325,7730]]', "")
    assert told("depth", body) == [
        {
            "symbol": "BTC-USD-PERP",
            "sequence": 9,
            "at": STAMP * 1000,
            "bids": [["63324.5", "5.878925218517319521", "37228"], ["63324", quotient("1360", "63324"), "136"]],
            "asks": [["63325", quotient("7730", "63325"), "773"]],
        }
    ]


def test_a_change_names_the_one_before_it() -> None:
    body = book(bids='[["delete",62533,0]]', asks='[["change",63350.5,8250],["new",1e5,0.0]]')
    assert told("depth", body) == [
        {
            "_kind": "book_change",
            **head(),
            "first_sequence": 8,
            "last_sequence": 9,
            "previous_sequence": 7,
            "bids": [["62533", "0", "0"]],
            "asks": [["63350.5", quotient("8250", "63350.5"), "825"], ["100000", "0", "0"]],
            "in_step": False,
            "sent_at": STAMP * 1000,
        }
    ]


def test_quotes() -> None:
    assert told("quotes", quote()) == [
        {
            "_kind": "quote",
            **head(),
            "bid_price": "63344",
            "bid_quantity": quotient("58060", "63344"),
            "ask_price": "63344.5",
            "ask_quantity": quotient("9980", "63344.5"),
            "sent_at": STAMP * 1000,
        }
    ]


@pytest.mark.parametrize("empty", ['0.0,"best_{}_amount":0.0', 'null,"best_{}_amount":0', 'null,"best_{}_amount":null'])
def test_an_empty_side_of_a_quote_stays_missing(empty: str) -> None:
    (whole,) = told("quotes", quote())
    for side in ("bid", "ask"):
        (item,) = told("quotes", quote(**{side: empty.format(side)}))
        assert item == {name: value for name, value in whole.items() if not name.startswith(side)}


def test_a_ticker_is_the_last_day_prices_open_interest_and_funding() -> None:
    day, index, interest, funding = told("ticker", ticker())
    assert day == {
        "_kind": "ticker",
        **head(),
        "last_price": "63344",
        "high_price": "64422",
        "low_price": "63261",
        "price_change_percent": "-0.0095",
        "volume": "2778.68467406",
        "quote_volume": "177187410",
        "bid_price": "63344",
        "bid_quantity": quotient("58060", "63344"),
        "ask_price": "63344.5",
        "ask_quantity": quotient("9980", "63344.5"),
        "sent_at": STAMP * 1000,
    }
    prices = {"mark_price": "63346.33", "index_price": "63329.18", "settlement_price": "63799.96"}
    assert index == {"_kind": "index_price", **head(), **prices, "sent_at": STAMP * 1000}
    assert interest == {
        "_kind": "open_interest",
        **head(),
        "open_interest": "11303.018659486666394091",
        "open_interest_value": "716004750",
        "contracts": "71600475",
        "sent_at": STAMP * 1000,
    }
    assert funding == {
        "_kind": "funding_rate",
        **head(),
        "rate": "0.00002081",
        "rate_kind": "estimated",
        "mark_price": "63346.33",
        "sent_at": STAMP * 1000,
    }


@pytest.mark.parametrize(
    ("sent", "rate"),
    [
        ("-4.739622041017375e-7", "-0.000000473962204102"),
        ("0.0", "0.0"),
        ("-0.00009234260068476106", "-0.000092342600684761"),
        ("1.5e-18", "0.000000000000000002"),
        ("2.5e-18", "0.000000000000000002"),
        ("-1e-30", "0"),
        ("1E+1", "10"),
    ],
)
def test_a_rate_is_rounded_where_a_table_s_number_ends(sent: str, rate: str) -> None:
    assert told("ticker", ticker(f',"current_funding":{sent}'))[-1]["rate"] == rate


@pytest.mark.parametrize("funding", ["", ',"current_funding":null'])
def test_a_ticker_without_funding_has_none(funding: str) -> None:
    assert [item["_kind"] for item in told("ticker", ticker(funding))] == ["ticker", "index_price", "open_interest"]


def test_what_was_never_traded_has_no_24_h_ticker() -> None:
    found = told("ticker", ticker(last="null", stats='"high":null,"low":null,"price_change":null,"volume":null'))
    assert [item["_kind"] for item in found] == ["index_price", "open_interest", "funding_rate"]


def test_what_a_ticker_does_not_give_stays_missing() -> None:
    day = told("ticker", ticker(stats='"high":null,"low":null,"price_change":null,"volume":null', bid="0.0"))[0]
    missing = {"high_price", "low_price", "price_change_percent", "volume", "quote_volume", "bid_price", "bid_quantity"}
    assert not missing & day.keys()
    assert (day["last_price"], day["ask_price"]) == ("63344", "63344.5")


def test_a_candle_has_no_closed_form() -> None:
    assert told("candles_1m", BAR) == [
        {
            "_kind": "candle_update",
            **head(source="open", at=1_767_200_040_000),
            "interval": "1m",
            "open_price": "87490.0",
            "high_price": "87500.0",
            "low_price": "87465.0",
            "close_price": "87474.0",
            "volume": "0.95978896",
            "closed": False,
            "quote_volume": "83970.0",
        }
    ]


def test_a_volatility_index_is_filed_under_its_perpetual() -> None:
    value = dict.fromkeys(("open", "high", "low", "close"), "129.36")
    assert told("volatility_index", DVOL) == [
        {
            "_kind": "volatility_index",
            **head(at=1_619_777_946_007),
            **value,
            "resolution": "tick",
            "sent_at": 1_619_777_946_007_000,
        }
    ]


def test_settled_funding_is_of_an_hour_oldest_first() -> None:
    rows = [
        f'{{"timestamp":{at},"interest_1h":{rate},"interest_8h":1,"index_price":8222.87,"prev_index_price":8305.72}}'
        for at, rate in ((1_569_895_200_000, "0.0"), (1_569_891_600_000, "-4.739622041017375e-7"))
    ]
    assert told("funding", f'{{"jsonrpc":"2.0","result":[{",".join(rows)}]}}'.encode()) == [
        {"_kind": "funding_rate", **head(source="stamp", at=at), "rate": rate, "rate_kind": "settled"}
        for at, rate in ((1_569_891_600_000, "-0.000000473962204102"), (1_569_895_200_000, "0.0"))
    ]


@pytest.mark.parametrize(
    ("channel", "body", "error", "message"),
    [
        ("trades", trade(price="NaN"), BadFrame, "not a frame of channel trades"),
        ("trades", trade(price='"63344.5"'), BadFrame, "price is '\"63344.5\"'"),
        ("trades", trade(price="-1"), BadFrame, "price is '-1'"),
        ("trades", trade(price="0"), BadFrame, "price is '0'"),
        ("trades", trade(amount="1e99"), BadFrame, "amount is"),
        ("trades", trade(amount="1e999999999"), BadFrame, "amount is '1e999999999'"),
        ("trades", trade(amount="0.1234567890123456789"), BadFrame, "amount is"),
        ("trades", trade(amount="null"), BadFrame, "amount is 'null'"),
        ("trades", trade().replace(b'"buy"', b'"hold"'), BadFrame, "hold"),
        ("trades", trade(more=',"liquidation":"X"'), BadFrame, "liquidation"),
        ("trades", trade("SOL-PERPETUAL"), UnknownSymbol, "SOL-PERPETUAL"),
        ("trades", trade("BTC-FS-25DEC26_PERP"), UnknownSymbol, "BTC-FS-25DEC26_PERP"),
        ("trades", trade("ETH-PERPETUAL"), BadFrame, "about ETH-USD-PERP filed under BTC-USD-PERP"),
        ("trades", trade()[:-1], BadFrame, "not a frame of channel trades"),
        ("trades", quote(), BadFrame, "not a frame of channel trades"),
        ("trades", b"<html><body>502 Bad Gateway</body></html>", BadFrame, "not a frame of channel trades"),
        ("depth", book("delta"), BadFrame, "delta"),
        ("depth", book(bids='[["drop",1,1]]'), BadFrame, "drop"),
        ("depth", book(bids='[["new",1]]'), BadFrame, "not a frame of channel depth"),
        ("depth", book(bids='[["new",0,10]]'), BadFrame, "price is '0'"),
        ("depth", book(previous=""), BadFrame, "prev_change_id is None"),
        ("depth", book(previous=',"prev_change_id":9'), BadFrame, "prev_change_id is 9"),
        ("quotes", quote(bid='1,"best_bid_amount":null'), BadFrame, "best_bid_amount is 'null'"),
        ("quotes", quote(bid='"x","best_bid_amount":1'), BadFrame, "best_bid_price is '\"x\"'"),
        ("ticker", ticker(mark="null"), BadFrame, "mark_price is 'null'"),
        ("ticker", ticker(',"current_funding":"x"'), BadFrame, "current_funding is"),
        ("candles_5m", BAR, BadFrame, "resolution '1' in a frame of channel candles_5m"),
        ("candles_1m", BAR.replace(b"BTC-", b"BTC.x-"), UnknownSymbol, "BTC.x-PERPETUAL"),
        ("volatility_index", DVOL.replace(b"btc_usd", b"eth_usd"), BadFrame, "eth_usd"),
        ("depth_audit", b'{"jsonrpc":"2.0","error":{"code":13020,"message":"not_found"}}', BadFrame, "result"),
    ],
)
def test_what_is_wrong_is_refused(channel: str, body: bytes, error: type[BadFrame], message: str) -> None:
    with pytest.raises(error) as raised:
        told(channel, body)
    assert message in str(raised.value)


@pytest.mark.parametrize("channel", ["volatility_index", "funding"])
def test_an_unlisted_symbol_is_unknown_where_the_answer_names_none(channel: str) -> None:
    with pytest.raises(UnknownSymbol, match="SOL-USD-PERP"):
        told(channel, DVOL if channel == "volatility_index" else b'{"result":[]}', symbol="SOL-USD-PERP")


BODIES = {
    "trades": trade(more=',"contracts":2,"liquidation":"M"'),
    "liquidations": trade(more=',"liquidation":"MT"'),
    "depth": book(bids='[["delete",62533,0]]', asks='[["change",63350.5,8250]]'),
    "quotes": quote(),
    "ticker": ticker(),
    "candles_1m": BAR,
    "volatility_index": DVOL,
}


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(BODIES)), st.data())
def test_damaged_frames_raise_nothing_but_bad_frame(channel: str, data: st.DataObject) -> None:
    body = bytearray(BODIES[channel])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    for damaged in (bytes(body), bytes(body[:cut]), bytes(body[cut:])):
        for read in (lambda raw: told(channel, raw), DERIBIT["perp"].sort):
            try:
                read(damaged)
            except BadFrame:
                pass


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([*DERIBIT["perp"].channels, *DERIBIT["perp"].polls]))
def test_random_bytes_raise_nothing_but_bad_frame(body: bytes, channel: str) -> None:
    for read in (lambda raw: told(channel, raw), DERIBIT["perp"].sort):
        try:
            read(body)
        except BadFrame:
            continue
