"""Gate.io's control messages, and what a received frame is about."""

from __future__ import annotations

import json

import pytest

from schemas.errors import BadFrame
from services.shared.exchanges.declaration import Notice, Pong, Reply
from services.shared.exchanges.gateio_control import sort, subscribe, unsubscribe
from tests.gateio_recorded import MARKETS


@pytest.mark.parametrize(
    ("name", "channel", "payload"),
    [
        ("spot.trades:BTC_USDT", "spot.trades", ["BTC_USDT"]),
        ("spot.candlesticks:30m:BTC_USDT", "spot.candlesticks", ["30m", "BTC_USDT"]),
        ("spot.order_book_update:BTC_USDT", "spot.order_book_update", ["BTC_USDT", "100ms"]),
        ("futures.order_book_update:BTC_USDT", "futures.order_book_update", ["BTC_USDT", "100ms", "100"]),
        ("futures.public_liquidates:BTC_USDT", "futures.public_liquidates", ["BTC_USDT"]),
    ],
)
def test_messages_and_the_answers_that_have_no_id(name: str, channel: str, payload: list[str]) -> None:
    asked = json.loads(subscribe([name], 7))
    assert asked == {"id": 7, "channel": channel, "event": "subscribe", "payload": payload}
    assert json.loads(unsubscribe([name], 8)) == asked | {"id": 8, "event": "unsubscribe"}
    answer = {"time": 1, "channel": channel, "event": "subscribe", "payload": payload, "result": {"status": "success"}}
    assert sort(json.dumps(answer).encode()) == Reply(None, None, (name,))
    assert sort(json.dumps(answer | {"id": 7}).encode()) == Reply(7, None)


def test_every_declared_stream_can_be_asked_for() -> None:
    for market in MARKETS.values():
        for channel in market.channels.values():
            message = json.loads(market.subscribe([channel.stream("BTC_USDT")], 1))
            assert "BTC_USDT" in message["payload"]


def test_a_message_holds_streams_of_one_channel() -> None:
    assert json.loads(subscribe(["spot.trades:A_B", "spot.trades:C_D"], 1))["payload"] == ["A_B", "C_D"]
    for names in (["spot.trades:A_B", "spot.book_ticker:A_B"], ["spot.order_book_update:A_B"] * 2, []):
        with pytest.raises(ValueError, match=r"message"):
            subscribe(names, 1)


def test_what_is_neither_data_nor_an_answer() -> None:
    assert sort(b'{"time":1,"channel":"spot.pong","event":"","result":null}') == Pong()
    assert sort(b'{"type":"upgrade","msg":"The service is upgrading"}') == Notice("The service is upgrading", True)
    refused = b'{"time":1,"channel":"spot.trades","event":"subscribe","error":{"code":2,"message":"no"},"result":null}'
    assert sort(refused) == Reply(None, "2: no")
    for body in (b"<html>", b"", b"[]", b"{}", b'{"channel":"spot.trades","event":"update","result":[]}'):
        with pytest.raises(BadFrame):
            sort(body)


def test_a_control_message_carries_the_time_of_sending_in_seconds() -> None:
    for market in MARKETS.values():
        name = next(channel.stream("BTC_USDT") for channel in market.channels.values())
        plain = market.subscribe([name], 7)
        assert market.stamp is not None
        stamped = json.loads(market.stamp(plain, 1_700_000_000_123))
        assert stamped == {"time": 1_700_000_000, **json.loads(plain)}
        assert market.headers == {"X-Gate-Size-Decimal": "1"}
