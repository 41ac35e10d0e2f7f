"""Binance's WebSocket control protocol as the simulator speaks it."""

from __future__ import annotations

import pytest

from services.exchange_simulator.binance_protocol import PERP, SPOT, Control, wrap
from services.exchange_simulator.venue import Closing, Refused

SECOND = 1_000_000


def ask(control: Control, message: bytes, at_s: int = 0) -> bytes:
    (reply,) = control.receive(message, at_s * SECOND).replies
    return reply


@pytest.mark.parametrize(
    ("path", "query", "combined", "streams"),
    [
        ("/ws", "", False, ()),
        ("/ws/btcusdt@trade", "", False, ("btcusdt@trade",)),
        ("/ws/btcusdt@trade/ethusdt@depth", "", False, ("btcusdt@trade", "ethusdt@depth")),
        ("/stream", "", True, ()),
        ("/stream", "streams=btcusdt@trade/btcusdt@depth@100ms", True, ("btcusdt@trade", "btcusdt@depth@100ms")),
        ("/stream", "streams=btcusdt%40trade", True, ("btcusdt@trade",)),
    ],
)
def test_path_names_streams_and_form(path: str, query: str, combined: bool, streams: tuple[str, ...]) -> None:
    control = Control(SPOT, path, query)
    assert (control.combined, tuple(control.streams), control.audible()) == (combined, streams, streams)


@pytest.mark.parametrize("path", ["/", "", "/wss", "/public/ws", "/stream/btcusdt@trade"])
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(Refused) as refused:
        Control(SPOT, path, "")
    assert refused.value.status == 404


def test_microseconds_are_refused_rather_than_ignored() -> None:
    with pytest.raises(Refused, match="timeUnit=MICROSECOND"):
        Control(SPOT, "/ws", "timeUnit=MICROSECOND")


PUBLIC = ("a@depth", "a@depth@100ms", "a@depth20@500ms", "a@bookTicker", "!bookTicker", "a@rpiDepth@500ms")
MARKET = (
    *("a@aggTrade", "a@kline_1m", "a_perpetual@continuousKline_1m", "a@markPrice", "a@markPrice@1s", "a@ticker"),
    *("!markPrice@arr@1s", "!ticker@arr", "!miniTicker@arr", "a@forceOrder", "!forceOrder@arr", "!contractInfo"),
)


@pytest.mark.parametrize(("route", "audible"), [("", ()), ("/public", PUBLIC), ("/market", MARKET), ("/private", ())])
def test_a_futures_route_hears_its_own_streams_only(route: str, audible: tuple[str, ...]) -> None:
    asked = (*PUBLIC, *MARKET, "a@trade", "BTCUSDT@aggTrade", "a@nonsense", "a@kline_1s")
    control = Control(PERP, f"{route}/stream", f"streams={'/'.join(asked)}")
    assert control.audible() == audible
    later = Control(PERP, f"{route}/ws", "")
    change = later.receive(b'{"method":"SUBSCRIBE","params":["a@depth","a@aggTrade","a@nonsense"],"id":1}', 0)
    assert change.replies == (b'{"result":null,"id":1}',)
    assert change.added == tuple(stream for stream in ("a@depth", "a@aggTrade") if stream in audible)


def test_subscribe_list_unsubscribe() -> None:
    control = Control(SPOT, "/ws/btcusdt@trade", "")
    change = control.receive(b'{"method":"SUBSCRIBE","params":["a@depth","btcusdt@trade","zz"],"id":"x"}', 0)
    assert (change.replies, change.added, change.removed) == ((b'{"result":null,"id":"x"}',), ("a@depth",), ())
    listed = ask(control, b'{"method":"LIST_SUBSCRIPTIONS","id":3}')
    assert listed == b'{"result":["btcusdt@trade","a@depth","zz"],"id":3}'
    change = control.receive(b'{"method":"UNSUBSCRIBE","params":["btcusdt@trade","never"],"id":null}', 0)
    assert (change.replies, change.removed) == ((b'{"result":null,"id":null}',), ("btcusdt@trade",))
    assert control.audible() == ("a@depth",)


def test_combined_property() -> None:
    control = Control(SPOT, "/ws", "")
    assert ask(control, b'{"method":"GET_PROPERTY","params":["combined"],"id":1}') == b'{"result":false,"id":1}'
    assert ask(control, b'{"method":"SET_PROPERTY","params":["combined",true],"id":2}') == b'{"result":null,"id":2}'
    assert control.combined is True
    assert ask(control, b'{"method":"GET_PROPERTY","params":["combined"],"id":3}') == b'{"result":true,"id":3}'


@pytest.mark.parametrize(
    ("message", "reply"),
    [
        (b'{"method":"GET_PROPERTY","params":["x"],"id":7}', b'{"code":0,"msg":"Unknown property","id":7}'),
        (
            b'{"method":"SET_PROPERTY","params":["combined",1],"id":7}',
            b'{"code":1,"msg":"Invalid value type: expected Boolean"}',
        ),
        (
            b'{"method":"SET_PROPERTY","params":[1,true],"id":7}',
            b'{"code":2,"msg":"Invalid request: property name must be a string"}',
        ),
        (
            b'{"method":"GET_PROPERTY","params":["combined",true],"id":7}',
            b'{"code":2,"msg":"Invalid request: too many parameters"}',
        ),
        (
            b'{"method":"LIST_SUBSCRIPTIONS","id":-1}',
            b'{"code":2,"msg":"Invalid request: request ID must be an unsigned integer"}',
        ),
        (b'{"id":1}', b'{"code":2,"msg":"Invalid request: missing field `method` at line 1 column 8"}'),
        (
            b'{"method":"SUB","id":1}',
            b'{"code":2,"msg":"Invalid request: unknown variant `SUB`, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, '
            b'`LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"}',
        ),
        (b"{", b'{"code":3,"msg":"Invalid JSON: expected value at line 1 column 2"}'),
    ],
)
def test_errors_in_the_exchange_s_words(message: bytes, reply: bytes) -> None:
    assert ask(Control(SPOT, "/ws", ""), message) == reply


@pytest.mark.parametrize(("market", "path", "limit"), [(SPOT, "/ws", 5), (PERP, "/public/ws", 10)])
def test_more_messages_than_the_limit_in_one_second_close_the_connection(market, path, limit) -> None:
    control = Control(market, path, "")
    for at_us in range(limit):
        control.heard(at_us)
    with pytest.raises(Closing) as closing:
        control.receive(b'{"method":"LIST_SUBSCRIPTIONS","id":1}', SECOND - 1)
    assert (closing.value.code, closing.value.reason) == (1008, "Too many requests")
    calm = Control(market, path, "")
    for at_us in range(0, 10 * SECOND, SECOND // limit):
        calm.heard(at_us)


def test_at_most_1024_streams() -> None:
    names = [f"s{number}@trade" for number in range(1024)]
    control = Control(SPOT, "/stream", f"streams={'/'.join(names)}")
    assert ask(control, b'{"method":"SUBSCRIBE","params":["one@trade"],"id":1}').startswith(b'{"code":2,"msg":"Inv')
    assert len(control.streams) == 1024
    with pytest.raises(Refused, match="1025 streams"):
        Control(SPOT, "/stream", f"streams={'/'.join([*names, 'one@trade'])}")


def test_wrap_is_the_recorded_form() -> None:
    assert wrap("a@trade", b'{"e":"trade"}') == b'{"stream":"a@trade","data":{"e":"trade"}}'
