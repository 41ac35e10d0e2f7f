"""OKX's frames and answers that are wrong: each is refused by name, and nothing but a refusal comes of bad bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import BadFrame, UnknownSymbol
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
from tests.recorded_okx import MARKETS

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
