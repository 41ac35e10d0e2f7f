"""Recorded Binance sessions as venues: frames, snapshots, instrument lists and errors, by value."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest

from services.exchange_simulator.replay import build
from services.exchange_simulator.replay_binance import BinanceReplay

NOW = 1_700_000_000_000_000
DEPTH = "/fapi/v1/depth"


@pytest.fixture
def perp(recordings: Path) -> BinanceReplay:
    return market(recordings, "perp")


@pytest.fixture
def spot(recordings: Path) -> BinanceReplay:
    return market(recordings, "spot")


def market(recordings: Path, name: str) -> BinanceReplay:
    venues, _ = build(recordings, ("binance",), 0, 15)
    (venue,) = (venue for venue in venues if venue.market == name)
    assert isinstance(venue, BinanceReplay)
    return venue


def lines(recordings: Path, name: str) -> list[str]:
    file = recordings / "binance" / "cryptofeed" / name
    return (gzip.decompress(file.read_bytes()) if name.endswith(".gz") else file.read_bytes()).decode().splitlines()


def recorded_frames(recordings: Path, name: str) -> list[bytes]:
    return [line.split(": ", 1)[1].encode() for line in lines(recordings, name)[1:] if line]


def recorded_depth(recordings: Path, name: str) -> dict[str, str]:
    found = (line.split(": ", 1) for line in lines(recordings, name) if line)
    return {head.split("symbol=")[1].split("&")[0]: body for head, body in found}


def roll(snapshot: str, events: list[dict], limit: int) -> dict:
    """Apply events to a snapshot the slow way. Prices of one recorded symbol all have the same number of digits."""
    book = json.loads(snapshot)
    for event in events:
        if event["u"] <= book["lastUpdateId"]:
            continue
        for side, changes in (("bids", event["b"]), ("asks", event["a"])):
            for price, quantity in changes:
                book[side] = [level for level in book[side] if level[0] != price]
                if Decimal(quantity) != 0:
                    book[side].append([price, quantity])
        book.update({name: event[name] for name in ("E", "T") if name in book}, lastUpdateId=event["u"])
    book["bids"] = sorted(book["bids"], key=lambda level: -Decimal(level[0]))[:limit]
    book["asks"] = sorted(book["asks"], key=lambda level: Decimal(level[0]))[:limit]
    return book


@pytest.mark.parametrize(("name", "file"), [("spot", "BINANCE.ws.1.0"), ("perp", "BINANCE_FUTURES.ws.1.0")])
def test_frames_are_verbatim_on_combined_and_bare_connections(recordings, name, file) -> None:
    wanted = recorded_frames(recordings, file)
    streams = dict.fromkeys(json.loads(frame)["stream"] for frame in wanted)
    for route in ("public", "market") if name == "perp" else ("",):
        prefix = f"/{route}" if route else ""
        query = f"streams={'/'.join(streams)}"
        combined = market(recordings, name).connect(f"{prefix}/stream", query, NOW)
        heard = {"public": ("depth", "bookTicker"), "market": ("aggTrade", "kline_1m")}.get(route)
        mine = [frame for frame in wanted if heard is None or json.loads(frame)["stream"].split("@")[1] in heard]
        assert combined.frames(NOW, 10_000) == mine
        bare = market(recordings, name).connect(f"{prefix}/ws/{'/'.join(streams)}", "", NOW)
        bodies = bare.frames(NOW, 10_000)
        assert bodies == [frame.split(b',"data":', 1)[1][:-1] for frame in mine]
        assert len(bodies) == {"": 265, "public": 1377, "market": 158}[route]


@pytest.mark.parametrize(
    ("name", "path", "files"),
    [
        ("spot", "/api/v3/depth", ("BINANCE.http.0.0", "BINANCE.ws.1.0")),
        ("perp", DEPTH, ("BINANCE_FUTURES.http.0.0", "BINANCE_FUTURES.ws.1.0")),
    ],
)
def test_first_snapshot_verbatim_then_rolled_forward_by_what_was_handed_out(recordings, name, path, files) -> None:
    venue = market(recordings, name)
    snapshots = recorded_depth(recordings, files[0])
    frames = [json.loads(frame) for frame in recorded_frames(recordings, files[1])]
    assert set(snapshots) == set(venue.symbols())
    for symbol, snapshot in snapshots.items():
        stream = f"{symbol.lower()}@depth@100ms"
        events = [frame["data"] for frame in frames if frame["stream"] == stream]
        session = venue.connect("/public/stream" if name == "perp" else "/stream", f"streams={stream}", NOW)
        half = len(session.frames(NOW, len(events) // 2))

        def get(limit: int, symbol: str = symbol) -> bytes:
            answer = venue.get(path, {"symbol": symbol, "limit": str(limit)}, NOW)
            assert answer.status == 200
            return answer.body

        assert get(1000) == snapshot.encode(), "the first one, although changes went out before"
        assert get(1000) == json.dumps(roll(snapshot, events[:half], 1000), separators=(",", ":")).encode()
        session.frames(NOW, 10_000)
        assert get(1000) == json.dumps(roll(snapshot, events, 1000), separators=(",", ":")).encode()
        assert json.loads(get(5)) == roll(snapshot, events, 5)


def test_a_later_snapshot_is_the_recorded_one_while_nothing_newer_went_out(perp, recordings) -> None:
    snapshot = recorded_depth(recordings, "BINANCE_FUTURES.http.0.0")["CTKUSDT"].encode()
    query = {"symbol": "CTKUSDT", "limit": "1000"}
    assert perp.get(DEPTH, query, NOW).body == snapshot
    session = perp.connect("/public/stream", "streams=ctkusdt@depth@100ms", NOW)
    (first,) = session.frames(NOW, 1)
    assert json.loads(first)["data"]["u"] <= json.loads(snapshot)["lastUpdateId"]
    assert perp.get(DEPTH, query, NOW).body == snapshot


def test_the_first_snapshot_too_respects_a_smaller_limit(perp, recordings) -> None:
    snapshot = recorded_depth(recordings, "BINANCE_FUTURES.http.0.0")["SUSHIUSDT"]
    body = perp.get(DEPTH, {"symbol": "SUSHIUSDT", "limit": "5"}, NOW).body
    assert json.loads(body) == roll(snapshot, [], 5)


def test_instrument_lists_are_verbatim(spot, perp, recordings) -> None:
    listed = lines(recordings, "BINANCE_FUTURES.0")[0].split(": ", 1)[1]
    assert perp.get("/fapi/v1/exchangeInfo", {}, NOW).body == listed.encode()
    listed = lines(recordings, "BINANCE.0.gz")[0].split(": ", 1)[1]
    assert spot.get("/api/v3/exchangeInfo", {}, NOW).body == listed.encode()
    rows = {row["symbol"]: row for row in json.loads(listed)["symbols"]}
    for query in ({"symbol": "BLZETH"}, {"symbols": '["BLZETH"]'}):
        assert json.loads(spot.get("/api/v3/exchangeInfo", query, NOW).body)["symbols"] == [rows["BLZETH"]]


def test_time_is_the_clock_s(spot, perp) -> None:
    for venue, path in ((spot, "/api/v3/time"), (perp, "/fapi/v1/time")):
        assert venue.get(path, {}, NOW + 999).body == b'{"serverTime":1700000000000}'


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ({"symbol": "NOPE"}, b'{"code":-1121,"msg":"Invalid symbol."}'),
        ({}, b'{"code":-1102,"msg":"Mandatory parameter \'symbol\' was not sent, was empty/null, or malformed."}'),
        (
            {"symbol": "CTKUSDT", "limit": "7"},
            b'{"code":-1130,"msg":"Data sent for parameter \'limit\' is not valid."}',
        ),
        (
            {"symbol": "CTKUSDT", "limit": "x"},
            b'{"code":-1100,"msg":"Illegal characters found in parameter '
            b"'limit'; legal range is '^[0-9]{1,20}$'.\"}",
        ),
    ],
)
def test_bad_requests_get_the_exchange_s_errors(perp, query, body) -> None:
    answer = perp.get(DEPTH, query, NOW)
    assert (answer.status, answer.body) == (400, body)


def test_an_unknown_path_is_a_404_in_html(perp) -> None:
    answer = perp.get("/fapi/v1/nothing", {}, NOW)
    assert (answer.status, answer.headers["Content-Type"]) == (404, "text/html")


def test_weights_add_up_within_the_minute_and_end_in_429(perp, spot) -> None:
    minute = NOW // 60_000_000 * 60_000_000

    def used(venue: BinanceReplay, path: str, at_us: int = minute, **query: str) -> str:
        return venue.get(path, query, at_us).headers["X-MBX-USED-WEIGHT-1M"]

    seen = [used(perp, DEPTH, symbol="CTKUSDT", limit=limit) for limit in ("50", "100", "500", "1000")]
    assert seen == ["2", "7", "17", "37"]
    assert used(perp, DEPTH, symbol="CTKUSDT") == "47"
    assert used(perp, "/fapi/v1/exchangeInfo") == "48"
    assert used(perp, "/fapi/v1/time", minute + 60_000_000) == "1"
    seen = [used(spot, "/api/v3/depth", symbol="BLZETH", limit=limit) for limit in ("100", "500", "1000", "5000")]
    assert seen == ["5", "30", "80", "330"]
    assert used(spot, "/api/v3/exchangeInfo") == "350"

    statuses = [perp.get(DEPTH, {"symbol": "CTKUSDT", "limit": "1000"}, minute + 60_000_001) for _ in range(120)]
    assert [answer.status for answer in statuses] == [200] * 119 + [429]
    assert statuses[-1].headers["Retry-After"] == "60"
    assert json.loads(statuses[-1].body)["code"] == -1003
