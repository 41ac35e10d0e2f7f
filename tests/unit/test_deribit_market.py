"""Deribit's control messages, names and lists, book rule: what the collector asks of the module."""

from __future__ import annotations

import json

import pytest

from schemas.errors import BadFrame
from services.shared.exchanges.declaration import APPLY, BROKEN, IGNORE, Ask, Listing, Notice, Pong, Reply, StreamName
from services.shared.exchanges.deribit_instruments import Name, name_of
from tests.recorded_deribit import DERIBIT, frame, listing
from tests.unit.test_deribit_parse import ROWS, row

PERP = DERIBIT["perp"]


def test_requests_are_json_rpc() -> None:
    names = ["trades.BTC-PERPETUAL.100ms", "quote.BTC-PERPETUAL"]
    asked = {"jsonrpc": "2.0", "id": 7, "method": "public/subscribe", "params": {"channels": names}}
    assert json.loads(PERP.subscribe(names, 7)) == asked
    assert json.loads(PERP.unsubscribe(names, 8)) == asked | {"id": 8, "method": "public/unsubscribe"}
    assert [json.loads(message) for message in PERP.greeting] == [
        {"jsonrpc": "2.0", "id": "heartbeat", "method": "public/set_heartbeat", "params": {"interval": 30}},
        {"jsonrpc": "2.0", "id": "platform", "method": "public/subscribe", "params": {"channels": ["platform_state"]}},
    ]


def test_a_full_message_stays_below_the_limit_of_a_request() -> None:
    names = [channel.stream("XRP_USDC-30JUN26-0d625-C" + "x" * 20) for channel in PERP.channels.values()]
    message = PERP.subscribe([max(names, key=len)] * PERP.limits.streams_per_message, 2**31)
    assert len(message) < 32_000


def push(channel: str, data: object = 1) -> bytes:
    body = {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data}}
    return json.dumps(body, separators=(",", ":")).encode()


ACK = {"jsonrpc": "2.0", "id": 1, "result": ["ticker.BTC-PERPETUAL.100ms", "quote.X"], "usIn": "1", "testnet": False}
ERROR = {"jsonrpc": "2.0", "id": 3, "error": {"code": -32602, "message": "Invalid params", "data": {"param": "x"}}}


@pytest.mark.parametrize(
    ("sent", "meaning"),
    [
        (push("ticker.BTC-PERPETUAL.100ms"), StreamName("ticker.BTC-PERPETUAL.100ms")),
        (push("book.ETH-30JUL21-2800-C.raw"), StreamName("book.ETH-30JUL21-2800-C.100ms")),
        (push("trades.BTC-PERPETUAL.agg2"), StreamName("trades.BTC-PERPETUAL.agg2")),
        (push("book.BTC-PERPETUAL.none.10.100ms"), StreamName("book.BTC-PERPETUAL.none.10.100ms")),
        (push("chart.trades.BTC-PERPETUAL.1D"), StreamName("chart.trades.BTC-PERPETUAL.1D")),
        (json.dumps(json.loads(push("quote.BTC-PERPETUAL")), indent=2).encode(), StreamName("quote.BTC-PERPETUAL")),
        (push("platform_state", {"locked": True}), Notice('platform_state: {"locked":true}', reconnect=False)),
        (json.dumps(ACK).encode(), Reply(1, None, ("ticker.BTC-PERPETUAL.100ms", "quote.X"))),
        (b'{"jsonrpc":"2.0","id":1,"result":[]}', Reply(1, "none of these channels exists")),
        (json.dumps(ERROR).encode(), Reply(3, '-32602: Invalid params {"param": "x"}')),
        (
            b'{"error":{"code":10028,"message":"too_many_requests"}}',
            Notice("10028: too_many_requests", reconnect=False),
        ),
        (b'{"jsonrpc":"2.0","id":"heartbeat","result":"ok"}', Pong()),
        (b'{"jsonrpc":"2.0","id":"platform","result":["platform_state"]}', Pong()),
        (b'{"jsonrpc":"2.0","id":"test","result":{"version":"1.2.26"}}', Pong()),
        (b'{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"heartbeat"}}', Pong()),
        (
            b'{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}',
            Ask(b'{"jsonrpc":"2.0","id":"test","method":"public/test","params":{}}'),
        ),
    ],
)
def test_a_frame_is_sorted(sent: bytes, meaning: object) -> None:
    found = PERP.sort(sent)
    assert (type(found), found) == (type(meaning), meaning)


@pytest.mark.parametrize(
    "sent",
    [b"", b"{}", b"[]", b'{"id":1}', b'{"id":1,"result":"ok"}', push("x").replace(b"x", b"\xff"), b"<html></html>"],
)
def test_what_is_no_frame_of_deribit_is_refused(sent: bytes) -> None:
    with pytest.raises(BadFrame):
        PERP.sort(sent)


def test_each_channel_s_stream_is_what_its_frames_are_sorted_to() -> None:
    for market in DERIBIT.values():
        for channel in market.channels.values():
            name = channel.stream("BTC-PERPETUAL")
            assert market.sort(push(name)) == StreamName(name)


def test_only_bitcoin_and_ether_have_a_volatility_index() -> None:
    stream = PERP.channels["volatility_index"].stream
    assert stream("BTC-PERPETUAL") == "deribit_volatility_index.btc_usd"
    assert stream("ETH-PERPETUAL") == "deribit_volatility_index.eth_usd"
    assert [stream(name) for name in ("BTC_USDC-PERPETUAL", "SOL_USDC-PERPETUAL")] == ["", ""]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("BTC-PERPETUAL", Name("perp", "BTC-USD-PERP", "BTC", "USD", "inverse")),
        ("SOL_USDC-PERPETUAL", Name("perp", "SOL-USDC-PERP", "SOL", "USDC", "linear")),
        ("BTC-25DEC26", Name("future", "BTC-USD-261225", "BTC", "USD", "inverse")),
        ("BTC_USDC-6AUG26", Name("future", "BTC-USDC-260806", "BTC", "USDC", "linear")),
        ("BTC-25DEC26-100000-C", Name("option", "BTC-USD-261225-100000-C", "BTC", "USD", "inverse")),
        ("XRP_USDC-30JUN26-0d625-P", Name("option", "XRP-USDC-260630-0d625-P", "XRP", "USDC", "linear")),
        ("BTC_USDC", None),
        ("BTC-FS-25DEC26_PERP", None),
        ("BTC-CS-19MAY26-70000_75000", None),
        ("BTC-25DEZ26", None),
        ("BTC-25DEC26-100000-X", None),
        ("BTC.-PERPETUAL", None),
        ("", None),
    ],
)
def test_names(text: str, name: Name | None) -> None:
    assert name_of(text) == name


def test_a_list_is_read_for_the_market_it_was_asked_for() -> None:
    symbols = {market: list(listing(market, ROWS).by_symbol) for market in DERIBIT}
    assert symbols == {
        "perp": ["BTC-USD-PERP", "ETH-USD-PERP", "BTC-USDC-PERP"],
        "future": ["BTC-USD-261225"],
        "option": ["BTC-USD-261225-100000-C", "XRP-USDC-260630-0d625-C"],
    }


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({}, "trading"),
        ({"state": "open"}, "trading"),
        ({"state": "open", "is_active": False}, "inactive"),
        ({"is_active": False}, "inactive"),
        ({"state": "Settled", "is_active": False}, "settled"),
        ({"state": "halted"}, "halted"),
    ],
)
def test_only_an_open_instrument_is_trading(more: dict[str, object], status: str) -> None:
    body = json.dumps({"result": [row("BTC-PERPETUAL", **more)]})
    assert listing("perp", body).by_symbol["BTC-USD-PERP"].status == status


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"result": [row("BTC-PERPETUAL", contract_size=0)]}).encode(),
        json.dumps({"result": [row("BTC-PERPETUAL", tick_size=None)]}).encode(),
        json.dumps({"result": [{"instrument_name": "BTC-PERPETUAL"}]}).encode(),
        b'{"jsonrpc":"2.0","error":{"code":10028,"message":"too_many_requests"}}',
        b"<html><body>Service Unavailable</body></html>",
        b"",
    ],
)
def test_a_list_that_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(BadFrame):
        PERP.instruments.parse(frame("instruments", body, "perp", "_all"), Listing())


def test_a_book_is_continued_by_the_change_that_names_it() -> None:
    rule = PERP.book_rule
    assert rule.first(100, 101, 105, 100) is APPLY
    assert rule.first(100, 91, 105, 90) is APPLY  # it begins in what the snapshot holds
    assert rule.first(100, 91, 100, 90) is IGNORE
    assert rule.first(100, 102, 105, 101) is BROKEN
    assert rule.following(105, 106, 110, 105) is APPLY
    assert rule.following(105, 101, 105, 100) is IGNORE
    assert rule.following(105, 107, 110, 106) is BROKEN
    assert rule.following(105, 104, 110, 103) is BROKEN


def test_what_is_collected_by_default() -> None:
    assert PERP.starter == ("BTC-USD-PERP", "ETH-USD-PERP", "BTC-USDC-PERP", "ETH-USDC-PERP")
    assert [DERIBIT[name].starter for name in ("future", "option")] == [(), ()]
    assert list(PERP.channels) == [
        "trades",
        "liquidations",
        "depth",
        "quotes",
        "candles_1m",
        "candles_5m",
        "candles_30m",
        "candles_1d",
        "ticker",
        "volatility_index",
    ]
    asked = [poll.name for poll in PERP.polls.values() if poll.every_s is not None]
    assert asked == ["instruments", "depth_audit", "funding"]
    funding = PERP.polls["funding"]
    assert funding.path.endswith("instrument_name={symbol}&start_timestamp={start_ms}&end_timestamp={end_ms}")
    assert funding.every_s is not None
    assert funding.span_s > 3_600 + funding.every_s, "each hour is asked for more than once"
