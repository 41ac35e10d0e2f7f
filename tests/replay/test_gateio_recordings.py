"""The recorded Gate.io sessions through the core: every record equal to its frame, read here from the JSON anew."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas import frames as raw_frames
from schemas import subjects
from schemas.frames import RawFrame
from services.normaliser.core import PartitionCore
from tests.gateio_recorded import DEPTH, MARKETS, books, filed, instruments, listing, results
from tests.normaliser_rig import plain

EXPECTED = {
    "spot": {
        "trade": 9,
        "quote": 0,
        "candle_update": 14,
        "candle": 0,
        "book_change": 172,
        "ticker": 22,
        "instrument": 1458,
    },
    "perp": {
        "trade": 0,
        "quote": 75,
        "candle_update": 1,
        "candle": 0,
        "book_change": 352,
        "ticker": 0,
        "instrument": 302,
    },
}
IN_STEP = {"spot": 159, "perp": 316}

Filed = list[tuple[int, RawFrame]]
Told = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module", params=["spot", "perp"])
def market(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def session(market: str, recordings: Path) -> Filed:
    return filed(recordings, market)


def replay(frames: Filed, restart_every: int = 0) -> list[dict[str, Any]]:
    """Everything that sixteen cores make of these frames; each is saved and restored behind every so many of them."""
    known = {("gateio", name): declared for name, declared in MARKETS.items()}
    cores = [PartitionCore(part, known) for part in range(subjects.PARTITIONS)]
    found: list[dict[str, Any]] = []
    for sequence, (part, frame) in enumerate(frames, 1):
        core = cores[part]
        found += [plain(output) for output in core.process(sequence, *raw_frames.message(frame, part))]
        if restart_every and sequence % restart_every == 0:
            cores[part] = PartitionCore(part, known)
            cores[part].restore({key: core.save(key) for key in core.units()})
    return found


@pytest.fixture(scope="module")
def told(session: Filed) -> Told:
    by_kind: Told = defaultdict(list)
    for item in replay(session):
        by_kind[item.pop("_to").removeprefix("md.")].append(item)
    return by_kind


def ours(name: str, market: str) -> str:
    return name.replace("_", "-") + ("-PERP" if market == "perp" else "")


def head(name: str, market: str, received_at: int) -> dict[str, Any]:
    return {
        "exchange": "gateio",
        "market": market,
        "symbol": ours(name, market),
        "source": "live",
        "received_at": received_at,
    }


def sent_at(envelope: dict[str, Any]) -> int:
    return int(envelope["time_ms"] * 1000 if envelope.get("time_ms") else envelope["time"] * 1_000_000)


def by_symbol(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def identity(item: dict[str, Any]) -> tuple[Any, ...]:
        return (item["symbol"], item.get("last_sequence", 0), item["received_at"], item["timestamp"])

    return sorted(items, key=identity)


def multipliers(recordings: Path) -> dict[str, str]:
    return {row["name"]: row["quanto_multiplier"] for row in json.loads(instruments(recordings, "perp"))}


def plain_product(number: object, factor: str) -> str:
    return format(Decimal(str(number)) * Decimal(factor), "f")


def test_as_many_records_of_each_kind_as_the_session_holds(market: str, told: Told) -> None:
    assert {kind: len(told[kind]) for kind in EXPECTED[market]} == EXPECTED[market]
    assert sum(item["in_step"] for item in told["book_change"]) == IN_STEP[market]
    assert told["gap"] == told["dead.normaliser"] == []


def test_every_trade_equals_its_frame(market: str, told: Told, recordings: Path) -> None:
    channel = {"spot": "spot.trades", "perp": "futures.trades"}[market]
    expected = []
    for frame, row in results(recordings, market, channel):
        whole, _, fraction = row["create_time_ms"].partition(".")
        expected.append(
            head(row["currency_pair"], market, frame.received_at)
            | {
                "timestamp": int(whole) * 1000 + int((fraction + "000")[:3]),
                "timestamp_source": "match",
                "price": row["price"],
                "quantity": row["amount"],
                "side": row["side"],
                "trade_id": str(row["id"]),
                "sent_at": sent_at(frame.data),
            }
        )
    assert by_symbol(told["trade"]) == by_symbol(expected)


def test_every_quote_equals_its_frame(market: str, told: Told, recordings: Path) -> None:
    sizes = multipliers(recordings)
    expected = [
        head(row["s"], market, frame.received_at)
        | {
            "timestamp": row["t"] * 1000,
            "timestamp_source": "match",
            "bid_price": row["b"],
            "bid_quantity": plain_product(row["B"], sizes[row["s"]]),
            "ask_price": row["a"],
            "ask_quantity": plain_product(row["A"], sizes[row["s"]]),
            "sequence": row["u"],
            "sent_at": sent_at(frame.data),
        }
        for frame, row in results(recordings, market, "futures.book_ticker")
    ]
    assert by_symbol(told["quote"]) == by_symbol(expected)


def test_every_ticker_equals_its_frame(market: str, told: Told, recordings: Path) -> None:
    expected = [
        head(row["currency_pair"], market, frame.received_at)
        | {
            "timestamp": frame.data["time"] * 1_000_000,
            "timestamp_source": "push",
            "last_price": row["last"],
            "high_price": row["high_24h"],
            "low_price": row["low_24h"],
            "volume": row["base_volume"],
            "quote_volume": row["quote_volume"],
            "price_change_percent": row["change_percentage"],
            "bid_price": row["highest_bid"],
            "ask_price": row["lowest_ask"],
            "sent_at": frame.data["time"] * 1_000_000,
        }
        for frame, row in results(recordings, market, "spot.tickers")
    ]
    assert by_symbol(told["ticker"]) == by_symbol(expected)


def spot_candles(told: Told, recordings: Path) -> None:
    """Frames of 2021 tell the quote volume alone, and not when a candle is final."""
    expected = [
        head(row["n"].removeprefix("1m_"), "spot", frame.received_at)
        | {
            "timestamp": int(row["t"]) * 1_000_000,
            "timestamp_source": "open",
            "interval": "1m",
            "open_price": row["o"],
            "high_price": row["h"],
            "low_price": row["l"],
            "close_price": row["c"],
            "quote_volume": row["v"],
            "closed": False,
            "sent_at": sent_at(frame.data),
        }
        for frame, row in results(recordings, "spot", "spot.candlesticks")
    ]
    assert by_symbol(told["candle_update"]) == by_symbol(expected)


def test_every_candle_equals_its_frame(market: str, told: Told, recordings: Path) -> None:
    if market == "spot":
        spot_candles(told, recordings)
        return
    sizes = multipliers(recordings)
    expected = []
    for frame, row in results(recordings, market, "futures.candlesticks"):
        name = row["n"].removeprefix("1m_")
        expected.append(
            head(name, market, frame.received_at)
            | {
                "timestamp": row["t"] * 1_000_000,
                "timestamp_source": "open",
                "interval": "1m",
                "open_price": row["o"],
                "high_price": row["h"],
                "low_price": row["l"],
                "close_price": row["c"],
                "volume": plain_product(row["v"], sizes[name]),
                "closed": False,
                "sent_at": sent_at(frame.data),
            }
        )
    assert by_symbol(told["candle_update"]) == by_symbol(expected)


def levels(rows: list[Any], size: str, market: str) -> list[list[str]]:
    if market == "spot":
        return [list(row) for row in rows]
    return [[row["p"], plain_product(row["s"], size), str(row["s"])] for row in rows]


def test_every_book_change_equals_its_frame_and_is_in_step_from_its_snapshot_on(
    market: str, told: Told, recordings: Path
) -> None:
    since = {name: json.loads(text)["id"] for name, _, text in books(recordings, market)}
    sizes = multipliers(recordings)
    expected = [
        head(row["s"], market, frame.received_at)
        | {
            "timestamp": row["t"] * 1000,
            "timestamp_source": "match",
            "first_sequence": row["U"],
            "last_sequence": row["u"],
            "bids": levels(row["b"], sizes.get(row["s"], ""), market),
            "asks": levels(row["a"], sizes.get(row["s"], ""), market),
            "in_step": row["u"] > since[row["s"]],
            "sent_at": sent_at(frame.data),
        }
        for frame, row in results(recordings, market, DEPTH[market])
    ]
    assert by_symbol(told["book_change"]) == by_symbol(expected)


def reference_books(recordings: Path, market: str) -> dict[tuple[str, int], list[list[tuple[Decimal, ...]]]]:
    """(symbol, last update id) -> bids and asks, best 20, after each applied change, worked out with decimals."""
    found = {}
    sizes = multipliers(recordings)
    for name, _, text in books(recordings, market):
        answer, size = json.loads(text), sizes.get(name, "")
        sides = [{Decimal(row[0]): row for row in levels(answer[side], size, market)} for side in ("bids", "asks")]
        for _, row in results(recordings, market, DEPTH[market]):
            if row["s"] != name or row["u"] <= answer["id"]:
                continue
            for side, key in zip(sides, ("b", "a"), strict=True):
                for level in levels(row[key], size, market):
                    if Decimal(level[1]):
                        side[Decimal(level[0])] = level
                    else:
                        side.pop(Decimal(level[0]), None)
            found[ours(name, market), row["u"]] = [
                [tuple(map(Decimal, side[price])) for price in sorted(side, reverse=reverse)[:20]]
                for side, reverse in zip(sides, (True, False), strict=True)
            ]
    return found


def test_published_books_equal_the_reference_and_are_the_last_of_their_second(
    market: str, told: Told, recordings: Path
) -> None:
    reference = reference_books(recordings, market)
    last_of_second: dict[tuple[str, int], int] = {}
    for item in told["book_change"]:
        if item["in_step"]:
            last_of_second[item["symbol"], item["timestamp"] // 1_000_000] = item["last_sequence"]
    assert told["orderbook"]
    for book in told["orderbook"]:
        sides = [[tuple(map(Decimal, level)) for level in book[side]] for side in ("bids", "asks")]
        assert sides == reference[book["symbol"], book["sequence"]]
        assert sides[0][0][0] < sides[1][0][0]
        assert book["sequence"] == last_of_second[book["symbol"], book["timestamp"] // 1_000_000]


@pytest.mark.parametrize("shift_s", [-30.0, 1.5, 6.0], ids=["first", "late", "later"])
def test_when_the_snapshot_arrives_changes_nothing_of_what_is_in_step(
    market: str, session: Filed, told: Told, shift_s: float
) -> None:
    def moved(item: tuple[int, RawFrame]) -> float:
        frame = item[1]
        return frame.received_at / 1e6 + (shift_s if frame.channel == "depth_snapshot" else 0)

    moving = sorted(session, key=lambda item: (item[1].channel != "instruments", moved(item)))
    found = [item for item in replay(moving) if item.pop("_to") == "md.book_change"]
    assert by_symbol(found) == by_symbol(told["book_change"])


def test_a_lost_frame_is_a_gap_of_exactly_its_numbers(market: str, session: Filed, told: Told) -> None:
    symbol = {"spot": "OMG-USDT", "perp": "OMG-USDT-PERP"}[market]
    depth = [index for index, (_, frame) in enumerate(session) if (frame.channel, frame.symbol) == ("depth", symbol)]
    place = len(depth) // 2
    part, last = session[depth[-1]]
    body = raw_frames.encode_session(raw_frames.SessionEvent(event="closed", url="wss://x"))
    closing = msgspec.structs.replace(last, channel="_session", symbol="_all", number=10**6, body=body)
    found = replay([*session[: depth[place]], *session[depth[place] + 1 :], (part, closing)])
    changes = [item for item in told["book_change"] if item["symbol"] == symbol]
    before, lost, after = changes[place - 1 : place + 2]
    (gap,) = [item for item in found if item["_to"] == "gap"]
    assert (gap["symbol"], gap["kind"], gap["gap_type"], gap["status"]) == (symbol, "book_change", "sequence", "open")
    assert (gap["first_missing"], gap["last_missing"]) == (before["last_sequence"] + 1, lost["last_sequence"])
    assert (gap["lost_from"], gap["lost_to"]) == (before["received_at"], after["received_at"])
    rest = [item for item in found if item["_to"] == "md.book_change" and item["symbol"] == symbol]
    assert [item["last_sequence"] for item in rest] == [item["last_sequence"] for item in changes if item is not lost]
    assert not any(item["in_step"] for item in rest[place:])


def test_every_frame_filed_twice_is_told_once(session: Filed, told: Told) -> None:
    found = replay([item for item in session for _ in range(2)])
    assert len(found) == sum(len(items) for items in told.values())


def test_saving_and_restoring_on_the_way_changes_nothing(session: Filed) -> None:
    assert replay(session, restart_every=5) == replay(session)


def test_every_instrument_equals_its_row(market: str, recordings: Path) -> None:
    rows = json.loads(instruments(recordings, market))
    known = listing(recordings, market).by_exchange_symbol
    assert len(known) == len(rows)
    for row in rows:
        item = known[row["id" if market == "spot" else "name"]]
        if market == "spot":
            assert (item.base, item.quote, item.symbol) == (row["base"], row["quote"], f"{row['base']}-{row['quote']}")
            assert item.status == ("trading" if row["trade_status"] == "tradable" else row["trade_status"])
            assert item.tick_size is not None and item.quantity_step is not None
            assert Decimal(item.tick_size) == Decimal(1).scaleb(-row["precision"])
            assert Decimal(item.quantity_step) == Decimal(1).scaleb(-row["amount_precision"])
        else:
            assert item.symbol == row["name"].replace("_", "-") + "-PERP"
            assert (item.contract_size, item.contract_kind) == (row["quanto_multiplier"], "linear")
            assert (item.tick_size, item.quantity_step) == (row["order_price_round"], row["quanto_multiplier"])
            assert (item.status, item.settle) == ("delisting" if row["in_delisting"] else "trading", "USDT")


def test_a_candle_without_a_closed_flag_is_closed_by_the_next_ones_open(recordings: Path) -> None:
    session = filed(recordings, "perp")
    part, last = [item for item in session if item[1].channel == "candles_1m"][-1]
    frame = json.loads(last.body)
    (row,) = frame["result"]
    next_one = frame | {"result": [row | {"t": row["t"] + 60, "o": "0.18", "h": "0.18", "c": "0.18"}]}
    later = msgspec.structs.replace(
        last, number=10**6, received_at=session[-1][1].received_at + 1, body=json.dumps(next_one).encode()
    )
    (candle,) = [item for item in replay([*session, (part, later)]) if item["_to"] == "md.candle"]
    assert (candle["symbol"], candle["timestamp"], candle["closed"]) == (last.symbol, row["t"] * 1_000_000, True)
    assert (candle["open_price"], candle["high_price"], candle["close_price"]) == (row["o"], row["h"], row["c"])
