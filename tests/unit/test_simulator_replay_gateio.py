"""Recorded Gate.io sessions as venues: frames, books, instrument lists, acknowledgements and refusals, by value."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.exchange_simulator.recordings import BadRecording
from services.exchange_simulator.replay import build
from services.exchange_simulator.replay_gateio import GateioReplay, ReplaySession
from services.exchange_simulator.venue import Refused
from tests.gateio_recorded import books, instruments, received

NOW = 1_700_000_000_000_000
NOW_S = 1_700_000_000
SECOND = 1_000_000
PATHS = {"spot": "/ws/v4/", "perp": "/v4/ws/usdt"}
REST = {"spot": "/api/v4/spot", "perp": "/api/v4/futures/usdt"}
PARAMETER = {"spot": "currency_pair", "perp": "contract"}
BOTH = pytest.mark.parametrize("market", ["spot", "perp"])


def venue(recordings: Path, market: str, pace: float = 0) -> GateioReplay:
    venues, left_out = build(recordings, ("gateio",), pace, 15)
    assert "BINANCE" in left_out
    (found,) = (item for item in venues if item.market == market)
    assert isinstance(found, GateioReplay)
    return found


def ask(session: ReplaySession, now_us: int = NOW, **request: Any) -> dict[str, Any]:
    (reply,) = session.receive(json.dumps(request).encode(), now_us)
    return dict(json.loads(reply))


def subscribe(session: ReplaySession, channel: str, *payload: str, **more: Any) -> dict[str, Any]:
    return ask(session, channel=channel, event="subscribe", payload=list(payload), **more)


def sent(recordings: Path, market: str) -> list[dict[str, Any]]:
    """The recorder's own subscriptions."""
    session = {"spot": "GATEIO", "perp": "GATEIO_FUTURES"}[market]
    lines = (recordings / "gateio" / "cryptofeed" / f"{session}.ws.1.0").read_text().splitlines()
    return [json.loads(line.split(": ", 1)[1]) for line in lines if line.startswith("wss://") and " <- " in line]


@BOTH
def test_what_the_recorder_asked_for_brings_what_it_got_byte_for_byte(recordings: Path, market: str) -> None:
    replay = venue(recordings, market)
    session = replay.connect(PATHS[market], "", NOW)
    for request in sent(recordings, market):
        answer = ask(session, **(request | {"time": NOW_S}))
        assert answer["result"] == {"status": "success"}
        assert (answer["channel"], answer["event"], answer["payload"]) == (
            request["channel"],
            "subscribe",
            request["payload"],
        )
    data = [frame.text.encode() for frame in received(recordings, market) if frame.data["event"] == "update"]
    assert session.frames(NOW, 10**6) == data
    assert (replay.missed(), replay.finished(NOW), session.next_due_us()) == (0, True, None)


@BOTH
def test_streams_nobody_asked_for_are_missed_in_the_end(recordings: Path, market: str) -> None:
    replay = venue(recordings, market)
    session = replay.connect(PATHS[market], "", NOW)
    channel = {"spot": "spot.order_book_update", "perp": "futures.order_book_update"}[market]
    own = [f for f in received(recordings, market) if f.data["channel"] == channel and "s" in f.data["result"]]
    mine = [frame.text.encode() for frame in own if frame.data["result"]["s"] == "OMG_USDT"]
    subscribe(session, channel, "OMG_USDT", "100ms")
    assert session.frames(NOW, 10**6) == mine
    assert not replay.finished(NOW)
    assert replay.finished(NOW + 16 * SECOND)
    assert replay.missed() == sum(f.data["event"] == "update" for f in received(recordings, market)) - len(mine)


@BOTH
def test_unsubscribed_streams_fall_silent(recordings: Path, market: str) -> None:
    session = venue(recordings, market).connect(PATHS[market], "", NOW)
    channel = {"spot": "spot.order_book_update", "perp": "futures.order_book_update"}[market]
    subscribe(session, channel, "OMG_USDT", "100ms")
    assert len(session.frames(NOW, 2)) == 2
    answer = ask(session, channel=channel, event="unsubscribe", payload=["OMG_USDT", "100ms"], id=3)
    assert (answer["event"], answer["id"], answer["result"]) == ("unsubscribe", 3, {"status": "success"})
    assert session.frames(NOW, 10) == []


def test_the_answer_has_the_form_of_today(recordings: Path) -> None:
    session = venue(recordings, "spot").connect("/ws/v4/", "", NOW)
    answer = subscribe(session, "spot.trades", "DIS_USDT", "NEO_BTC", id=1, time=NOW_S)
    lines = (recordings / "gateio" / "extra_frames" / "frames.jsonl").read_text().splitlines()
    acks = [json.loads(line)["frame"] for line in lines if '\\"event\\":\\"subscribe\\"' in line and '"recv"' in line]
    for text in acks:
        recorded = json.loads(text)
        assert {key: type(recorded[key]) for key in recorded if key != "requestId"} == {
            key: type(value) for key, value in answer.items()
        }


@BOTH
def test_refusals(recordings: Path, market: str) -> None:
    session = venue(recordings, market).connect(PATHS[market], "", NOW)
    prefix = {"spot": "spot", "perp": "futures"}[market]
    unknown = {"spot": "unknown currency pair: NOPE_USDT", "perp": "unknown contract: NOPE_USDT"}[market]
    trades = f"{prefix}.trades"
    for answer, code, text in (
        (subscribe(session, trades, "OMG_USDT", "NOPE_USDT", id=1), 2, unknown),
        (subscribe(session, f"{prefix}.nothing", "OMG_USDT"), 2, f"unknown channel {prefix}.nothing"),
        (subscribe(session, trades), 2, "payload is empty"),
        (subscribe(session, trades, "OMG_USDT", time=NOW_S - 61), 2, "time is not within 60 s of the server's"),
        (subscribe(session, f"{prefix}.order_book_update", "OMG_USDT", "5ms"), 2, "invalid order book payload"),
        (subscribe(session, f"{prefix}.candlesticks", "3m", "OMG_USDT"), 2, "invalid candlestick payload"),
        (ask(session, channel=trades, event="listen", payload=["OMG_USDT"]), 2, "unknown event listen"),
        (json.loads(session.receive(b"{", NOW)[0]), 1, "invalid request body"),
    ):
        assert answer["error"]["code"] == code
        assert answer["error"]["message"].startswith(text)
        assert answer["result"] is None
    assert session.frames(NOW, 10) == []
    obu = f"{prefix}.obu"
    assert subscribe(session, obu, "ob.OMG_USDT.50")["result"] == {"status": "success"}
    assert subscribe(session, obu, "ob.OMG_USDT.50")["error"] == {"code": 2, "message": "Alert sub ob.OMG_USDT.50"}


@BOTH
def test_pings_and_paths(recordings: Path, market: str) -> None:
    replay = venue(recordings, market)
    prefix = {"spot": "spot", "perp": "futures"}[market]
    session = replay.connect(PATHS[market], "", NOW)
    pong = ask(session, time=NOW_S, channel=f"{prefix}.ping")
    assert pong == {"time": NOW_S, "time_ms": NOW // 1000, "channel": f"{prefix}.pong", "event": "", "result": None}
    with pytest.raises(Refused, match="no WebSocket at '/nowhere'"):
        replay.connect("/nowhere", "", NOW)


def get(replay: GateioReplay, path: str, **query: str) -> tuple[int, Any]:
    answer = replay.get(f"{REST[replay.market]}/{path}", query, NOW)
    return answer.status, json.loads(answer.body)


@BOTH
def test_instruments_and_first_books_are_the_recorded_bytes(recordings: Path, market: str) -> None:
    replay = venue(recordings, market)
    path = f"{REST[market]}/{'currency_pairs' if market == 'spot' else 'contracts'}"
    assert replay.get(path, {}, NOW).body == instruments(recordings, market).encode()
    for name, _, text in books(recordings, market):
        query = {PARAMETER[market]: name, "limit": "100", "with_id": "true"}
        assert replay.get(f"{REST[market]}/order_book", query, NOW).body == text.encode()
    assert set(replay.symbols()) == {name for name, _, _ in books(recordings, market)}
    time = replay.get("/api/v4/spot/time", {}, NOW)
    assert json.loads(time.body) == {"server_time": NOW // 1000}


def price(level: Any) -> Decimal:
    return Decimal(level["p"] if isinstance(level, dict) else level[0])


def roll(book: dict[str, Any], events: list[dict[str, Any]]) -> dict[str, Any]:
    """Apply events to a book the slow way."""
    for event in events:
        if event["u"] <= book["id"]:
            continue
        for side, key in (("bids", "b"), ("asks", "a")):
            for level in event[key]:
                size = Decimal(str(level["s"]) if isinstance(level, dict) else level[1])
                book[side] = [other for other in book[side] if price(other) != price(level)] + [level] * bool(size)
        book["id"] = event["u"]
    return book | {
        "bids": sorted(book["bids"], key=price, reverse=True)[:100],
        "asks": sorted(book["asks"], key=price)[:100],
    }


@BOTH
def test_later_books_are_rolled_forward_by_what_was_sent(recordings: Path, market: str) -> None:
    replay = venue(recordings, market)
    session = replay.connect(PATHS[market], "", NOW)
    prefix = {"spot": "spot", "perp": "futures"}[market]
    subscribe(session, f"{prefix}.order_book_update", "OMG_USDT", "100ms")
    query = {PARAMETER[market]: "OMG_USDT", "limit": "100", "with_id": "true"}
    assert get(replay, "order_book", **query)[0] == 200
    frames = session.frames(NOW, 40)
    (recorded,) = (json.loads(text) for name, _, text in books(recordings, market) if name == "OMG_USDT")
    status, found = get(replay, "order_book", **query)
    assert status == 200
    assert found["id"] > recorded["id"]
    assert found == roll(recorded, [json.loads(frame)["result"] for frame in frames])
    status, short = get(replay, "order_book", **{PARAMETER[market]: "OMG_USDT"})
    assert (len(short["bids"]), len(short["asks"]), "id" in short) == (10, 10, False)
    assert short["bids"] == found["bids"][:10]


@BOTH
def test_rest_errors_are_the_exchanges_own(recordings: Path, market: str) -> None:
    replay = venue(recordings, market)
    unknown = {"spot": "INVALID_CURRENCY_PAIR", "perp": "CONTRACT_NOT_FOUND"}[market]
    for query, label in (
        ({}, "MISSING_REQUIRED_PARAM"),
        ({PARAMETER[market]: "NOPE_USDT"}, unknown),
        ({PARAMETER[market]: "OMG_USDT", "limit": "many"}, "INVALID_PARAM_VALUE"),
    ):
        status, body = get(replay, "order_book", **query)
        assert (status, body["label"]) == (400, label)
    assert replay.get("/api/v4/nothing", {}, NOW).status == 404


def test_an_endpoint_answers_200_requests_in_10_seconds(recordings: Path) -> None:
    replay = venue(recordings, "spot")
    path = "/api/v4/spot/currency_pairs"
    answers = [replay.get(path, {}, NOW + index) for index in range(201)]
    assert [answer.status for answer in answers] == [200] * 200 + [429]
    assert [a.headers["X-Gate-RateLimit-Requests-Remain"] for a in answers[-3:]] == ["1", "0", "0"]
    assert json.loads(answers[-1].body)["label"] == "TOO_MANY_REQUESTS"
    assert replay.get("/api/v4/spot/time", {}, NOW).status == 200
    assert replay.get(path, {}, NOW + 10 * SECOND).status == 200


def test_at_recorded_pace_frames_fall_due_as_they_were_received(recordings: Path) -> None:
    replay = venue(recordings, "perp", pace=1)
    session = replay.connect("/v4/ws/usdt", "", NOW)
    for request in sent(recordings, "perp"):
        ask(session, **(request | {"time": NOW_S}))
    data = [frame for frame in received(recordings, "perp") if frame.data["event"] == "update"]
    first = (recordings / "gateio" / "cryptofeed" / "GATEIO_FUTURES.ws.1.0").read_text().splitlines()[0]
    opened_us = int(Decimal(first.rsplit(" ", 1)[1]) * SECOND)
    due = [frame.received_at - opened_us for frame in data]
    early = session.frames(NOW + 15 * SECOND, 10**6)
    assert early == [f.text.encode() for f, at in zip(data, due, strict=True) if at <= 15 * SECOND]
    assert abs((session.next_due_us() or 0) - NOW - due[len(early)]) <= 1


def test_a_frame_of_another_exchange_is_refused_with_file_and_line(recordings: Path, tmp_path: Path) -> None:
    folder = recordings / "gateio" / "cryptofeed"
    for name in ("GATEIO.0", "GATEIO.http.0.0", "GATEIO.ws.1.0"):
        text = (folder / name).read_text()
        (tmp_path / name).write_text(text.replace('"result":{"currency_pair"', '"result":{"pair"', 1))
    with pytest.raises(BadRecording, match=r"GATEIO\.ws\.1\.0:\d+: not a frame of Gate\.io"):
        build(tmp_path, ("gateio",), 0, 15)
