"""The recorded OKX session as venues: frames, acknowledgements, whole books, instrument lists and errors, by value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.exchange_simulator.okx_protocol import Control
from services.exchange_simulator.replay import build
from services.exchange_simulator.replay_okx import OkxReplay, OkxReplaySession
from services.exchange_simulator.venue import Closing, Refused
from tests.recorded_okx import NAMES, Frame, acks, frames, instrument_list

NOW = 1_700_000_000_000_000
PUBLIC, BUSINESS = "/ws/v5/public", "/ws/v5/business"
CHANNELS = ("tickers", "trades", "books")


def venue(recordings: Path, market: str, pace: float = 0) -> OkxReplay:
    venues, _ = build(recordings, ("okx",), pace, 15)
    (found,) = (item for item in venues if item.market == market)
    assert isinstance(found, OkxReplay)
    return found


@pytest.fixture(params=list(NAMES))
def market(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ask(session: OkxReplaySession, operation: str, *args: dict[str, str], now: int = NOW) -> list[dict]:
    message = json.dumps({"op": operation, "args": args}).encode()
    return [json.loads(reply) for reply in session.receive(message, now)]


def streams(market: str, *channels: str) -> list[dict[str, str]]:
    return [{"channel": channel, "instId": NAMES[market]} for channel in channels]


def drained(session: OkxReplaySession, limit: int = 7) -> list[bytes]:
    found: list[bytes] = []
    while session.next_due_us() is not None:
        found += session.frames(NOW, limit)
    return found


def recorded(recordings: Path, market: str, channel: str | None = None) -> list[Frame]:
    return [frame for frame in frames(recordings, market) if channel in (None, frame.channel)]


def test_every_frame_goes_out_once_and_verbatim(recordings: Path, market: str) -> None:
    replayed = venue(recordings, market)
    assert tuple(replayed.symbols()) == (NAMES[market],)
    session = replayed.connect(PUBLIC, "", NOW)
    ask(session, "subscribe", *streams(market, *CHANNELS))
    assert drained(session) == [frame.body for frame in recorded(recordings, market)]
    assert replayed.finished(NOW) and replayed.missed() == 0


def test_acknowledgements_come_for_each_argument_and_again_when_asked_again(recordings: Path) -> None:
    session = venue(recordings, "spot").connect(PUBLIC, "", NOW)
    told = []
    for count in (1, 2, 3):  # as the recorder asked: what it had asked for before, and one channel more
        told += ask(session, "subscribe", *streams("spot", *CHANNELS[:count]))
    of_spot = [ack for ack in acks(recordings) if ack["arg"]["instId"] == NAMES["spot"]]
    assert [{key: ack[key] for key in ("event", "arg")} for ack in told] == of_spot
    assert {len(ack["connId"]) for ack in told} == {8}
    assert len(drained(session)) == 192


def test_an_id_is_echoed_and_a_ping_is_answered(recordings: Path) -> None:
    session = venue(recordings, "spot").connect(PUBLIC, "", NOW)
    message = json.dumps({"id": "1512", "op": "subscribe", "args": streams("spot", "trades")}).encode()
    (reply,) = session.receive(message, NOW)
    assert json.loads(reply)["id"] == "1512"
    assert session.receive(b"ping", NOW) == (b"pong",)


def test_a_book_that_is_subscribed_anew_begins_with_what_it_has_come_to(recordings: Path, market: str) -> None:
    replayed = venue(recordings, market)
    books = recorded(recordings, market, "books")
    session = replayed.connect(PUBLIC, "", NOW)
    ask(session, "subscribe", *streams(market, "books"))
    for passed in range(1, len(books)):
        sent = session.frames(NOW, 1)
        assert sent == [books[passed - 1].body]
        ask(session, "unsubscribe", *streams(market, "books"))
        ask(session, "subscribe", *streams(market, "books"))
        (whole,) = session.frames(NOW, 1)
        told = json.loads(whole)
        row = told["data"][0]
        assert (told["action"], told["arg"]["instId"]) == ("snapshot", NAMES[market])
        # The exchange's own checksum proves that the best 25 levels are those it had.
        assert (row["ts"], row["checksum"]) == (books[passed - 1].row["ts"], books[passed - 1].row["checksum"])
    assert session.frames(NOW, 9) == [books[-1].body]


def test_another_connection_gets_the_rest_behind_a_whole_book(recordings: Path) -> None:
    replayed = venue(recordings, "spot")
    first = replayed.connect(PUBLIC, "", NOW)
    ask(first, "subscribe", *streams("spot", "books"))
    sent = list(first.frames(NOW, 40))
    first.close(NOW)
    second = replayed.connect(PUBLIC, "", NOW)
    ask(second, "subscribe", *streams("spot", "books"))
    whole, *rest = drained(second)
    books = [frame.body for frame in recorded(recordings, "spot", "books")]
    assert json.loads(whole)["data"][0]["ts"] == json.loads(sent[-1])["data"][0]["ts"]
    assert sent + rest == books


def test_instrument_lists_are_verbatim(recordings: Path, market: str) -> None:
    replayed = venue(recordings, market)
    kind = {"spot": "SPOT", "perp": "SWAP", "future": "FUTURES"}[market]
    answer = replayed.get("/api/v5/public/instruments", {"instType": kind}, NOW)
    assert (answer.status, answer.body) == (200, instrument_list(recordings, market))
    one = replayed.get("/api/v5/public/instruments", {"instType": kind, "instId": NAMES[market]}, NOW)
    assert [row["instId"] for row in json.loads(one.body)["data"]] == [NAMES[market]]


def test_time_is_the_clock_s_and_a_book_is_the_stream_s(recordings: Path) -> None:
    replayed = venue(recordings, "spot")
    told = json.loads(replayed.get("/api/v5/public/time", {}, NOW).body)
    assert told == {"code": "0", "msg": "", "data": [{"ts": "1700000000000"}]}
    query = {"instId": "BTC-USDT", "sz": "5"}
    assert replayed.get("/api/v5/market/books", query, NOW).status == 503  # nothing has been sent yet
    session = replayed.connect(PUBLIC, "", NOW)
    ask(session, "subscribe", *streams("spot", "books"))
    session.frames(NOW, 1)
    (row,) = json.loads(replayed.get("/api/v5/market/books", query, NOW).body)["data"]
    snapshot = recorded(recordings, "spot", "books")[0].row
    assert row == {"asks": snapshot["asks"][:5], "bids": snapshot["bids"][:5], "ts": snapshot["ts"]}


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("/api/v5/public/instruments", {}, 400, "51000"),
        ("/api/v5/public/instruments", {"instType": "SWAP", "instId": "NOPE"}, 200, "51001"),
        ("/api/v5/market/books", {"instId": "NOPE"}, 200, "51001"),
        ("/api/v5/market/books", {"instId": "UNI-USD-SWAP", "sz": "401"}, 400, "51000"),
        ("/api/v5/market/candles", {"instId": "UNI-USD-SWAP"}, 404, "404"),
    ],
)
def test_what_cannot_be_answered_gets_an_error_of_the_exchange(
    recordings: Path, path: str, query: dict[str, str], status: int, code: str
) -> None:
    answer = venue(recordings, "perp").get(path, query, NOW)
    assert (answer.status, json.loads(answer.body)["code"]) == (status, code)


LISTED = {"BTC-USDT", "BTC-USDT-SWAP"}


def told(control: Control, message: object) -> list[dict]:
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    return [json.loads(reply) for reply in control.receive(data, NOW).replies]


@pytest.mark.parametrize("path", ["/", "/ws/v5", "/ws/v5/private", "/ws/v5/public/x"])
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(Refused):
        Control(path, LISTED, NOW)


@pytest.mark.parametrize(
    ("path", "channel", "error"),
    [
        (PUBLIC, "bbo-tbt", None),
        (PUBLIC, "candle1m", "60018"),
        (PUBLIC, "trades-all", "60018"),
        (PUBLIC, "books-l2-tbt", "60018"),
        (BUSINESS, "candle1m", None),
        (BUSINESS, "candle1Dutc", None),
        (BUSINESS, "candle7m", "60018"),
        (BUSINESS, "mark-price-candle1H", None),
        (BUSINESS, "trades", "60018"),
    ],
)
def test_each_url_serves_its_own_channels(path: str, channel: str, error: str | None) -> None:
    arg = {"channel": channel, "instId": "BTC-USDT-SWAP"}
    (reply,) = told(Control(path, LISTED, NOW), {"op": "subscribe", "args": [arg]})
    assert reply.get("code") == error
    if error is None:
        assert (reply["event"], reply["arg"]) == ("subscribe", arg)


def test_one_wrong_argument_is_refused_alone_and_in_the_exchanges_words() -> None:
    args = [{"channel": "trades", "instId": name} for name in ("BTC-USDT", "NOPE", "")]
    args += [{"channel": "liquidation-orders", "instType": kind} for kind in ("SWAP", "STOCKS")]
    control = Control(PUBLIC, LISTED, NOW)
    replies = told(control, {"id": "7", "op": "subscribe", "args": args})
    assert [reply.get("code") for reply in replies] == [None, "60018", "60018", None, "60018"]
    assert replies[1]["msg"].startswith("Wrong URL or channel:trades,instId:NOPE doesn't exist.")
    assert {reply["id"] for reply in replies} == {"7"}
    assert list(control.streams) == ["trades:BTC-USDT", "liquidation-orders:SWAP"]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"nonsense", "60012"),
        (b"[]", "60012"),
        ({"op": "dance", "args": []}, "60012"),
        ({"op": "subscribe"}, "60013"),
        ({"op": "subscribe", "args": []}, "60013"),
        ({"op": "subscribe", "args": ["trades"]}, "60013"),
        ({"op": "subscribe", "args": [{"channel": 5}]}, "60018"),
    ],
)
def test_what_is_no_request_is_refused(message: object, code: str) -> None:
    (reply,) = told(Control(PUBLIC, LISTED, NOW), message)
    assert (reply["event"], reply["code"]) == ("error", code)


def test_requests_are_limited_by_the_hour_and_by_size() -> None:
    control = Control(PUBLIC, LISTED, NOW)
    request = {"op": "subscribe", "args": [{"channel": "trades", "instId": "BTC-USDT"}]}
    assert {told(control, request)[0]["event"] for _ in range(480)} == {"subscribe"}
    assert told(control, request)[0]["code"] == "60014"
    later = control.receive(json.dumps(request).encode(), NOW + 3_600_000_001)
    assert json.loads(later.replies[0])["event"] == "subscribe"
    with pytest.raises(Closing):
        control.receive(b" " * (64 * 1024 + 1), NOW)
