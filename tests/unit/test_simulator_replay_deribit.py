"""A recorded Deribit session as a venue: what a client of today's protocol hears of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from services.exchange_simulator import recordings as reading
from services.exchange_simulator.deribit_book import DeribitBook
from services.exchange_simulator.deribit_protocol import PATH, Control
from services.exchange_simulator.replay import build
from services.exchange_simulator.replay_deribit import DeribitReplay
from services.exchange_simulator.venue import Closing, Refused, Session
from tests.recorded_deribit import all_rows, exact, session

NOW = 1_790_000_000_000_000
SECOND = 1_000_000
BOOK = "book.ETH-30JUL21-2800-C.100ms"


def venue(folder: Path, market: str = "option") -> DeribitReplay:
    return DeribitReplay(reading.read("DERIBIT", folder / "deribit" / "cryptofeed"), market, 0.0, 1.0)


def ask(to: Session | Control, method: str, ident: object = 1, **params: object) -> dict[str, Any]:
    message = orjson.dumps({"jsonrpc": "2.0", "id": ident, "method": f"public/{method}", "params": params})
    found = to.receive(message, NOW)
    replies: Sequence[bytes] = found if isinstance(found, (list, tuple)) else found.replies  # type: ignore[union-attr]
    assert len(replies) == 1
    answer: dict[str, Any] = orjson.loads(replies[0])
    assert answer["jsonrpc"] == "2.0"
    assert answer["id"] == ident
    return answer


def hear(listener: Session) -> list[bytes]:
    found: list[bytes] = []
    while some := listener.frames(NOW, 7):
        found += some
    return found


def test_every_recorded_push_is_handed_out_once_as_it_is(recordings: Path) -> None:
    market = venue(recordings)
    listener = market.connect(PATH, "", NOW)
    names = [f"{kind}.{symbol}.100ms" for kind in ("trades", "book", "ticker") for symbol in market.symbols()]
    assert ask(listener, "subscribe", channels=names)["result"] == sorted(names, reverse=True)
    told = hear(listener)
    assert told == [text.encode() for _, text in session(recordings) if '"method"' in text]
    assert (len(told), len(market.symbols()), market.missed()) == (135, 10, 0)
    assert market.finished(NOW)
    assert listener.next_due_us() is None


def test_markets_without_a_frame_are_listed_and_silent(recordings: Path) -> None:
    venues, left_out = build(recordings, ["deribit"], 0.0, 1.0)
    assert [(item.exchange, item.market) for item in venues] == [
        ("deribit", "option"),
        ("deribit", "perp"),
        ("deribit", "future"),
    ]
    assert "DERIBIT" not in left_out
    for item in venues[1:]:
        assert (list(item.symbols()), item.finished(NOW), item.missed()) == ([], True, 0)
        listener = item.connect(PATH, "", NOW)
        assert ask(listener, "subscribe", channels=["trades.BTC-PERPETUAL.100ms"])["result"] == [
            "trades.BTC-PERPETUAL.100ms"
        ]
        assert hear(listener) == []


def test_who_subscribes_late_gets_the_book_as_it_stands(recordings: Path) -> None:
    market = venue(recordings)
    first = market.connect(PATH, "", NOW)
    ask(first, "subscribe", channels=[BOOK])
    taken = list(first.frames(NOW, 1))
    assert orjson.loads(taken[0])["params"]["data"]["type"] == "snapshot"
    ask(first, "unsubscribe", channels=[BOOK])
    ask(first, "subscribe", channels=[BOOK])
    again = hear(first)
    said = [exact(frame)["params"]["data"] for frame in (taken[0], again[0])]
    assert said[1] == said[0]  # nothing has changed since
    mine = DeribitBook()
    for frame in again:
        mine.take(frame)
    second = market.connect(PATH, "", NOW)
    ask(second, "subscribe", channels=[BOOK])
    [last] = hear(second)
    assert last == mine.snapshot()
    assert exact(last)["params"]["data"]["change_id"] == exact(again[-1])["params"]["data"]["change_id"]


def test_a_book_is_kept_in_its_own_digits() -> None:
    def book(kind: str, bids: str, asks: str) -> bytes:
        data = f'"type":"{kind}","timestamp":1,"change_id":2,"instrument_name":"X","bids":{bids},"asks":{asks}'
        return f'{{"params":{{"channel":"book.X.raw","data":{{{data}}}}}}}'.encode()

    mine = DeribitBook()
    mine.take(book("snapshot", '[["new",1.50,10.0],["new",2.0,1e3]]', '[["new",3,4]]'))
    mine.take(book("change", '[["delete",2,0],["new",1.75,5]]', '[["change",3.0,7]]'))
    data = exact(mine.snapshot())["params"]["data"]
    assert data["bids"] == [["new", "1.75", "5"], ["new", "1.50", "10.0"]]
    assert data["asks"] == [["new", "3.0", "7"]]
    mine.take(book("snapshot", "[]", '[["new",9,1]]'))
    data = exact(mine.snapshot())["params"]["data"]
    assert (data["bids"], data["asks"]) == ([], [["new", "9", "1"]])


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ({"currency": "any", "kind": "option", "expired": "false"}, lambda row: row["kind"] == "option"),
        ({"currency": "any", "kind": "future"}, lambda row: row["kind"] == "future"),
        ({"currency": "ETH"}, lambda row: row["base_currency"] == "ETH"),
        ({"currency": "USDC", "kind": "any"}, lambda row: row["quote_currency"] == "USDC"),
    ],
)
def test_lists_are_the_recorded_rows(query: dict[str, str], kept: Any, recordings: Path) -> None:
    answer = venue(recordings).get("/api/v2/public/get_instruments", query, NOW)
    expected = [row for row in all_rows(recordings) if kept(row) or row["base_currency"] == query["currency"]]
    assert answer.status == 200
    # ETH_USDC-PERPETUAL is of both its currencies.
    assert exact(answer.body)["result"] == expected
    assert exact(answer.body)["testnet"] is False


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("/api/v2/public/get_instruments", {"currency": "XYZ"}, 400, -32602),
        ("/api/v2/public/get_order_book", {"instrument_name": "BTC-PERPETUAL"}, 400, -32601),
        ("/", {}, 400, -32601),
    ],
)
def test_what_was_not_recorded_is_an_error_of_the_exchange(
    path: str, query: dict[str, str], status: int, code: int, recordings: Path
) -> None:
    answer = venue(recordings).get(path, query, NOW)
    assert (answer.status, orjson.loads(answer.body)["error"]["code"]) == (status, code)


def test_time_is_milliseconds(recordings: Path) -> None:
    answer = venue(recordings).get("/api/v2/public/get_time", {}, NOW)
    assert orjson.loads(answer.body)["result"] == NOW // 1_000


def control() -> Control:
    return Control(PATH, {"BTC-PERPETUAL", "BTC-25DEC26-100000-C"})


EXISTING = [
    "ticker.BTC-PERPETUAL.100ms",
    "trades.BTC-PERPETUAL.agg2",
    "book.BTC-PERPETUAL.none.20.100ms",
    "quote.BTC-25DEC26-100000-C",
    "chart.trades.BTC-PERPETUAL.1D",
    "deribit_volatility_index.btc_usd",
    "platform_state",
]
MISSING = [
    "ticker.BTC-PERPETUAL.1s",
    "ticker.SOL-PERPETUAL.100ms",
    "chart.trades.BTC-PERPETUAL.240",
    "deribit_volatility_index.sol_usd",
    "quote",
    "",
]


def test_what_does_not_exist_is_missing_from_the_answer() -> None:
    mine = control()
    assert ask(mine, "subscribe", channels=[*EXISTING, *MISSING])["result"] == sorted(EXISTING, reverse=True)
    assert list(mine.channels) == EXISTING
    assert ask(mine, "subscribe", channels=MISSING)["result"] == []
    assert ask(mine, "unsubscribe", channels=[EXISTING[0], *MISSING])["result"] == EXISTING[:1]
    assert ask(mine, "unsubscribe_all")["result"] == "ok"
    assert list(mine.channels) == []


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"{", -32700),
        (b"[]", -32600),
        (b'{"id":1,"method":"public/test"}', -32600),
        (b" " * 32_001, -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{"channels":"x"}}', -32602),
        (
            b'{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{"channels":["book.BTC-PERPETUAL.raw"]}}',
            13778,
        ),
        (b'{"jsonrpc":"2.0","id":1,"method":"public/set_heartbeat","params":{"interval":9}}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"private/buy"}', -32601),
    ],
)
def test_a_wrong_request_is_refused(message: bytes, code: int) -> None:
    [reply] = control().receive(message, NOW).replies
    assert orjson.loads(reply)["error"]["code"] == code


def test_a_request_without_an_id_has_no_answer() -> None:
    mine = control()
    change = mine.receive(
        b'{"jsonrpc":"2.0","method":"public/subscribe","params":{"channels":["quote.BTC-PERPETUAL"]}}', NOW
    )
    assert (change.replies, change.added) == ((), ("quote.BTC-PERPETUAL",))


def test_only_its_own_path_is_served() -> None:
    with pytest.raises(Refused):
        Control("/ws", {})


def test_signs_of_life_are_asked_for_once_that_is_asked_for(recordings: Path) -> None:
    folder = recordings / "deribit" / "cryptofeed"
    slow = DeribitReplay(reading.read("DERIBIT", folder), "option", 0.01, 1.0)
    listener = slow.connect(PATH, "", NOW)
    assert list(listener.frames(NOW + 3_600 * SECOND, 9)) == []
    assert ask(listener, "set_heartbeat", ident="heartbeat", interval=30)["result"] == "ok"
    assert listener.next_due_us() is None  # there is nothing to hear yet
    ask(listener, "subscribe", channels=[BOOK])
    due = NOW + 30 * SECOND
    assert listener.next_due_us() == due  # the first frame is later at this pace
    assert list(listener.frames(due - 1, 9)) == []
    [question] = listener.frames(due, 9)
    assert orjson.loads(question) == {"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "test_request"}}
    assert ask(listener, "test", ident="test")["result"] == {"version": "1.2.26"}
    assert b"test_request" in listener.frames(due + 30 * SECOND, 9)[0]
    with pytest.raises(Closing, match="not answered"):
        listener.frames(due + 60 * SECOND, 9)


def test_no_sign_of_life_is_asked_for_any_more() -> None:
    mine = control()
    ask(mine, "set_heartbeat", interval=10)
    ask(mine, "disable_heartbeat")
    assert (mine.beat_due_us(), mine.beat(NOW + 3_600 * SECOND)) == (None, ())
