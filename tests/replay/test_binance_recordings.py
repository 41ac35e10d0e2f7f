"""The recorded sessions through the core: every record equal to its frame, read here from the JSON anew."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas import frames as raw_frames
from schemas.frames import RawFrame
from tests.normaliser_rig import recorded, replay
from tests.recorded import CANDLE, DEPTH, QUOTE, TRADE, Frame, canonical, frames, snapshots

SESSIONS = [("BINANCE_FUTURES", "perp"), ("BINANCE", "spot")]
EXPECTED = {
    "perp": {"trade": 91, "quote": 613, "candle_update": 67, "candle": 4, "book_change": 764, "instrument": 119},
    "spot": {"trade": 2, "quote": 84, "candle_update": 2, "candle": 0, "book_change": 177, "instrument": 1695},
}
IN_STEP = {"perp": 752, "spot": 172}


@pytest.fixture(scope="module", params=SESSIONS, ids=[market for _, market in SESSIONS])
def session(request: pytest.FixtureRequest, recordings: Path) -> tuple[str, str, list[tuple[int, RawFrame]]]:
    name, market = request.param
    return name, market, recorded(recordings, name, market)


@pytest.fixture(scope="module")
def told(session: tuple[str, str, list[tuple[int, RawFrame]]]) -> dict[str, list[dict[str, Any]]]:
    by_kind: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for item in replay(session[2]):
        by_kind[item.pop("_to").removeprefix("md.")].append(item)
    return by_kind


def of(recordings: Path, session: str, channel: str, market: str, *, closed: bool = False) -> list[Frame]:
    found = [frame for frame in frames(recordings, session) if frame.channel == channel]
    return [frame for frame in found if frame.data["k"]["x"]] if closed else found


def identity(item: dict[str, Any]) -> tuple[Any, ...]:
    return (item["symbol"], item.get("sequence") or item.get("last_sequence") or item.get("sent_at"))


def by_symbol(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(items, key=identity)


def test_as_many_records_of_each_kind_as_the_session_holds(session: Any, told: Any) -> None:
    market = session[1]
    assert {kind: len(told[kind]) for kind in EXPECTED[market]} == EXPECTED[market]
    assert sum(item["in_step"] for item in told["book_change"]) == IN_STEP[market]
    assert told["gap"] == told["dead.normaliser"] == []


def head(frame: Frame, market: str) -> dict[str, Any]:
    return {"exchange": "binance", "market": market, "symbol": canonical(frame.symbol, market), "source": "live"}


def without_receipt(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return by_symbol([{key: value for key, value in item.items() if key != "received_at"} for item in items])


def test_every_trade_equals_its_frame(session: Any, told: Any, recordings: Path) -> None:
    name, market, _ = session
    expected = [
        head(frame, market)
        | {
            "timestamp": frame.data["T"] * 1000,
            "timestamp_source": "match",
            "price": frame.data["p"],
            "quantity": frame.data["q"],
            "side": "sell" if frame.data["m"] else "buy",
            "trade_id": str(frame.data["a"]),
            "sequence": frame.data["a"],
            "first_trade_id": frame.data["f"],
            "last_trade_id": frame.data["l"],
            "trade_count": frame.data["l"] - frame.data["f"] + 1,
            "sent_at": frame.data["E"] * 1000,
        }
        for frame in of(recordings, name, TRADE, market)
    ]
    assert without_receipt(told["trade"]) == by_symbol(expected)


def test_every_quote_equals_its_frame(session: Any, told: Any, recordings: Path) -> None:
    name, market, _ = session
    expected = []
    for frame in of(recordings, name, QUOTE, market):
        item = head(frame, market) | {
            "bid_price": frame.data["b"],
            "bid_quantity": frame.data["B"],
            "ask_price": frame.data["a"],
            "ask_quantity": frame.data["A"],
            "sequence": frame.data["u"],
        }
        if market == "perp":
            item |= {
                "timestamp": frame.data["T"] * 1000,
                "timestamp_source": "match",
                "sent_at": frame.data["E"] * 1000,
            }
        else:
            item |= {"timestamp_source": "received"}
        expected.append(item)
    found = without_receipt(told["quote"])
    if market == "spot":
        assert all(item["timestamp"] == item["received_at"] for item in told["quote"])
        for item in found:
            del item["timestamp"]
    assert found == by_symbol(expected)


@pytest.mark.parametrize("kind", ["candle_update", "candle"])
def test_every_candle_equals_its_frame(kind: str, session: Any, told: Any, recordings: Path) -> None:
    name, market, _ = session
    expected = []
    for frame in of(recordings, name, CANDLE, market, closed=kind == "candle"):
        bar = frame.data["k"]
        item = head(frame, market) | {
            "timestamp": bar["t"] * 1000,
            "timestamp_source": "open",
            "interval": "1m",
            "open_price": bar["o"],
            "high_price": bar["h"],
            "low_price": bar["l"],
            "close_price": bar["c"],
            "volume": bar["v"],
            "closed": bar["x"],
            "quote_volume": bar["q"],
            "trade_count": bar["n"],
            "taker_buy_volume": bar["V"],
            "taker_buy_quote_volume": bar["Q"],
            "first_trade_id": bar["f"],
            "last_trade_id": bar["L"],
            "sent_at": frame.data["E"] * 1000,
        }
        expected.append({key: value for key, value in item.items() if value != -1})
    assert without_receipt(told[kind]) == by_symbol(expected)


def test_every_book_change_equals_its_frame_and_is_in_step_from_its_snapshot_on(
    session: Any, told: Any, recordings: Path
) -> None:
    name, market, _ = session
    since = {symbol: answer["lastUpdateId"] for symbol, answer in snapshots(recordings, name)}
    expected = []
    for frame in of(recordings, name, DEPTH, market):
        data = frame.data
        base = since[frame.symbol] + (market == "spot")
        item = head(frame, market) | {
            "timestamp": data["T" if market == "perp" else "E"] * 1000,
            "timestamp_source": "match" if market == "perp" else "push",
            "first_sequence": data["U"],
            "last_sequence": data["u"],
            "bids": data["b"],
            "asks": data["a"],
            "in_step": data["u"] >= base,
            "sent_at": data["E"] * 1000,
        }
        if market == "perp":
            item["previous_sequence"] = data["pu"]
        expected.append(item)
    assert without_receipt(told["book_change"]) == by_symbol(expected)


def reference_books(recordings: Path, name: str, market: str) -> dict[tuple[str, int], tuple[Any, Any]]:
    """(symbol, last update id) -> top 20 bids and asks after each applied change, worked out with decimals."""
    found: dict[tuple[str, int], tuple[Any, Any]] = {}
    for symbol, answer in snapshots(recordings, name):
        sides: list[dict[Decimal, list[str]]] = [
            {Decimal(level[0]): level for level in answer[side]} for side in ("bids", "asks")
        ]
        for frame in of(recordings, name, DEPTH, market):
            if frame.symbol != symbol or frame.data["u"] < answer["lastUpdateId"] + (market == "spot"):
                continue
            for side, key in zip(sides, ("b", "a"), strict=True):
                for level in frame.data[key]:
                    if Decimal(level[1]) == 0:
                        side.pop(Decimal(level[0]), None)
                    else:
                        side[Decimal(level[0])] = level
            bids = [sides[0][price] for price in sorted(sides[0], reverse=True)[:20]]
            asks = [sides[1][price] for price in sorted(sides[1])[:20]]
            found[canonical(symbol, market), frame.data["u"]] = (bids, asks)
    return found


def test_published_books_equal_the_reference_and_are_the_last_of_their_second(
    session: Any, told: Any, recordings: Path
) -> None:
    name, market, _ = session
    reference = reference_books(recordings, name, market)
    last_of_second: dict[tuple[str, int], int] = {}
    for item in told["book_change"]:
        if item["in_step"]:
            last_of_second[item["symbol"], item["timestamp"] // 1_000_000] = item["last_sequence"]
    assert told["orderbook"]
    for book in told["orderbook"]:
        assert (book["bids"], book["asks"]) == reference[book["symbol"], book["sequence"]]
        assert Decimal(book["bids"][0][0]) < Decimal(book["asks"][0][0])
        assert book["sequence"] == last_of_second[book["symbol"], book["timestamp"] // 1_000_000]
    seconds = [(book["symbol"], book["timestamp"] // 1_000_000) for book in told["orderbook"]]
    assert len(seconds) == len(set(seconds))
    # Of each symbol, only the second in which the recording ends has no book yet.
    missing = last_of_second.keys() - set(seconds)
    assert all(not any(symbol == s and second < t for s, t in last_of_second) for symbol, second in missing)


@pytest.mark.parametrize("shift_s", [-10.0, 1.5, 6.0], ids=["first", "late", "later"])
def test_when_the_snapshot_arrives_changes_nothing_of_what_is_in_step(session: Any, told: Any, shift_s: float) -> None:
    def moved(item: tuple[int, RawFrame]) -> float:
        frame = item[1]
        return frame.received_at / 1e6 + (shift_s if frame.channel == "depth_snapshot" else 0)

    filed = sorted(session[2], key=lambda item: (item[1].channel != "instruments", moved(item)))
    found = [item for item in replay(filed) if item.pop("_to") == "md.book_change"]
    assert by_symbol(found) == by_symbol(told["book_change"])


def closing(part: int, last: RawFrame) -> tuple[int, RawFrame]:
    """The end of the connection: what is held for a snapshot is told now."""
    body = raw_frames.encode_session(raw_frames.SessionEvent(event="closed", url="wss://x"))
    return part, msgspec.structs.replace(last, channel="_session", symbol="_all", number=10**6, body=body)


def test_a_lost_frame_is_a_gap_of_exactly_its_numbers(session: Any, told: Any) -> None:
    _, market, filed = session
    symbol = {"perp": "SUSHI-USDT-PERP", "spot": "NKN-USDT"}[market]
    depth = [index for index, (_, frame) in enumerate(filed) if (frame.channel, frame.symbol) == ("depth", symbol)]
    gone = depth[len(depth) // 2]
    found = replay([*filed[:gone], *filed[gone + 1 :], closing(*filed[depth[-1]])])
    gaps = [item for item in found if item["_to"] == "gap"]
    changes = [item for item in told["book_change"] if item["symbol"] == symbol]
    place = len(depth) // 2
    before, lost, after = changes[place - 1 : place + 2]
    assert [(gap["symbol"], gap["kind"], gap["gap_type"], gap["status"]) for gap in gaps] == [
        (symbol, "book_change", "sequence", "open")
    ]
    assert gaps[0]["first_missing"] == before["last_sequence"] + 1
    assert gaps[0]["last_missing"] == lost["last_sequence"]
    assert gaps[0]["lost_from"] == before["received_at"]
    assert gaps[0]["lost_to"] == after["received_at"]
    rest = [item for item in found if item["_to"] == "md.book_change" and item["symbol"] == symbol]
    assert [item["last_sequence"] for item in rest] == [item["last_sequence"] for item in changes if item is not lost]
    assert not any(item["in_step"] for item in rest[place:])


def test_every_frame_filed_twice_is_told_once(session: Any, told: Any) -> None:
    twice = [item for item in session[2] for _ in range(2)]
    found = replay(twice)
    assert len(found) == sum(len(items) for items in told.values())
