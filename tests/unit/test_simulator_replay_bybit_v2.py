"""The recorded Bybit v2 session as it is served: paths, answers, frames in order, and books for whoever comes later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from services.exchange_simulator import recordings as files
from services.exchange_simulator.recordings import Recording
from services.exchange_simulator.replay_bybit_v2 import BybitV2Replay
from services.exchange_simulator.venue import Refused

NOW = 1_790_000_000_000_000
LINEAR, INVERSE = "/realtime_public", "/realtime"


@pytest.fixture(scope="module")
def recording(recordings: Path) -> Recording:
    return files.read("BYBIT", files.sessions(recordings)["BYBIT"])


@pytest.fixture
def venue(recording: Recording) -> BybitV2Replay:
    return BybitV2Replay(recording, 0, 15)


def ask(op: str, *topics: str) -> bytes:
    return json.dumps({"op": op, "args": topics}).encode()


def book(frames: list[bytes]) -> dict[tuple[str, str], str]:
    """The levels that a book's frames make, worked out here."""
    found: dict[tuple[str, str], str] = {}
    for frame in frames:
        told = json.loads(frame, parse_float=str, parse_int=str)
        data: Any = told["data"]
        if told["type"] == "snapshot":
            found = {}
            data = {"delete": [], "update": [], "insert": data if isinstance(data, list) else data["order_book"]}
        for row in data["delete"]:
            found.pop((row["side"], row["price"]), None)
        for row in (*data["update"], *data["insert"]):
            found[row["side"], row["price"]] = row["size"]
    return found


def recorded(recording: Recording, topic: str) -> list[bytes]:
    start = f'{{"topic":"{topic}"'.encode()
    return [frame.payload for one in recording.connections for frame in one.received if frame.payload.startswith(start)]


@pytest.mark.parametrize(
    ("path", "topic"),
    [(LINEAR, "orderBookL2_25.ETHUSDT"), (INVERSE, "orderBookL2_25.BTCUSD"), (INVERSE, "trade.BTCUSD")],
)
def test_frames_go_out_as_recorded(recording: Recording, venue: BybitV2Replay, path: str, topic: str) -> None:
    session = venue.connect(path, "", NOW)
    [reply] = session.receive(ask("subscribe", topic), NOW)
    assert json.loads(reply) == {
        "success": True,
        "ret_msg": "",
        "conn_id": "replay",
        "request": {"op": "subscribe", "args": [topic]},
    }
    assert list(session.frames(NOW, 10_000)) == recorded(recording, topic)
    assert session.next_due_us() is None


@pytest.mark.parametrize(("path", "topic"), [(LINEAR, "orderBookL2_25.ETHUSDT"), (INVERSE, "orderBookL2_25.BTCUSD")])
def test_who_comes_later_gets_the_book_as_it_is_by_then(
    recording: Recording, venue: BybitV2Replay, path: str, topic: str
) -> None:
    frames = recorded(recording, topic)
    first = venue.connect(path, "", NOW)
    first.receive(ask("subscribe", topic), NOW)
    before = list(first.frames(NOW, 100))
    first.close(NOW)
    later = venue.connect(path, "", NOW)
    later.receive(ask("subscribe", topic), NOW)
    assert later.next_due_us() == 0
    whole, *rest = later.frames(NOW, 10_000)
    assert [*before, *rest] == frames
    assert book([whole]) == book(before)
    last = json.loads(before[-1])
    head = {name: last[name] for name in ("topic", "cross_seq", "timestamp_e6")}
    told = json.loads(whole)
    assert told | head | {"type": "snapshot"} == told
    assert type(told["data"]) is type(json.loads(frames[0])["data"]), "in the form of its path"


def test_what_is_not_served_is_refused(venue: BybitV2Replay) -> None:
    with pytest.raises(Refused, match="there are /realtime_public, /realtime"):
        venue.connect("/v5/public/linear", "", NOW)
    session = venue.connect(INVERSE, "", NOW)
    for message in (
        ask("subscribe", "trade.ETHUSDT"),
        ask("subscribe", "nothing"),
        ask("sing"),
        b"x",
        b"[]",
        b'{"args":1}',
    ):
        [reply] = session.receive(message, NOW)
        assert json.loads(reply)["success"] is False
    [pong] = session.receive(b'{"op":"ping"}', NOW)
    assert (json.loads(pong)["ret_msg"], json.loads(pong)["request"]) == ("pong", {"op": "ping", "args": None})


def test_list_and_time(recording: Recording, venue: BybitV2Replay) -> None:
    assert venue.get("/v2/public/symbols", {}, NOW).body == recording.setup[-1].payload
    assert json.loads(venue.get("/v2/public/time", {}, NOW).body)["time_now"] == "1790000000.000000"
    assert venue.get("/v5/market/time", {}, NOW).status == 404
    assert len(venue.symbols()) == 10
