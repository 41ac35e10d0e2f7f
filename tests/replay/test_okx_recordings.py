"""The recorded OKX session through the core: every record equal to its frame, read here from the JSON anew."""

from __future__ import annotations

import zlib
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas import frames as raw_frames
from schemas import subjects
from schemas.frames import RawFrame
from services.normaliser.book import Book
from services.normaliser.core import PartitionCore
from services.shared.exchanges.declaration import BookSnapshot
from tests.normaliser_rig import plain
from tests.recorded_okx import (
    CONTRACT_SIZES,
    MARKETS,
    NAMES,
    SYMBOLS,
    Frame,
    base,
    filed,
    frames,
    instrument_list,
    listing,
    raw,
)

EXPECTED = {
    "spot": {"trade": 69, "ticker": 25, "book_change": 97, "instrument": 513},
    "perp": {"trade": 1, "ticker": 1, "book_change": 92, "instrument": 166},
    "future": {"trade": 4, "ticker": 2, "book_change": 98, "instrument": 104},
}

Told = dict[str, list[dict[str, Any]]]


def replay(items: list[tuple[int, RawFrame]]) -> list[dict[str, Any]]:
    known = {(market.exchange, market.market): market for market in MARKETS.values()}
    cores = [PartitionCore(part, known) for part in range(subjects.PARTITIONS)]
    found: list[dict[str, Any]] = []
    for sequence, (part, frame) in enumerate(items, 1):
        found += [plain(output) for output in cores[part].process(sequence, *raw_frames.message(frame, part))]
    return found


@pytest.fixture(scope="module")
def session(recordings: Path) -> list[tuple[int, RawFrame]]:
    return filed(recordings)


@pytest.fixture(scope="module")
def all_told(session: list[tuple[int, RawFrame]]) -> list[dict[str, Any]]:
    return replay(session)


@pytest.fixture(scope="module", params=list(MARKETS))
def market(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def told(market: str, all_told: list[dict[str, Any]]) -> Told:
    by_kind: Told = defaultdict(list)
    for item in all_told:
        if item["market"] == market:
            by_kind[item["_to"].removeprefix("md.")].append(
                {key: value for key, value in item.items() if key not in ("_to", "received_at")}
            )
    return by_kind


def of(recordings: Path, market: str, channel: str) -> list[Frame]:
    return [frame for frame in frames(recordings, market) if frame.channel == channel]


def head(market: str, frame: Frame, source: str) -> dict[str, Any]:
    return {
        "exchange": "okx",
        "market": market,
        "symbol": SYMBOLS[market],
        "timestamp": int(frame.row["ts"]) * 1000,
        "timestamp_source": source,
        "source": "live",
    }


def test_as_many_records_of_each_kind_as_the_session_holds(market: str, told: Told) -> None:
    assert {kind: len(told[kind]) for kind in EXPECTED[market]} == EXPECTED[market]
    assert all(item["in_step"] for item in told["book_change"])
    assert told["gap"] == told["dead.normaliser"] == []


def test_every_trade_equals_its_frame(market: str, told: Told, recordings: Path) -> None:
    expected = []
    for frame in of(recordings, market, "trades"):
        row = frame.row
        item = head(market, frame, "match") | {
            "price": row["px"],
            "quantity": base(market, row["sz"], row["px"]),
            "side": row["side"],
            "trade_id": row["tradeId"],
            "sequence": int(row["tradeId"]),
        }
        expected.append(item if market == "spot" else item | {"contracts": row["sz"]})
    assert told["trade"] == expected
    ids = [item["sequence"] for item in told["trade"]]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_every_ticker_equals_its_frame(market: str, told: Told, recordings: Path) -> None:
    expected = []
    for frame in of(recordings, market, "tickers"):
        row = frame.row
        volume, quote_volume = row["vol24h"], row["volCcy24h"]
        if market != "spot":
            volume, quote_volume = quote_volume, str(int(volume) * int(CONTRACT_SIZES[market]))
        expected.append(
            head(market, frame, "push")
            | {
                "last_price": row["last"],
                "open_price": row["open24h"],
                "high_price": row["high24h"],
                "low_price": row["low24h"],
                "volume": volume,
                "quote_volume": quote_volume,
                "last_quantity": base(market, row["lastSz"], row["last"]),
                "bid_price": row["bidPx"],
                "bid_quantity": base(market, row["bidSz"], row["bidPx"]),
                "ask_price": row["askPx"],
                "ask_quantity": base(market, row["askSz"], row["askPx"]),
            }
        )
    assert told["ticker"] == expected


def levels(market: str, rows: list[list[str]]) -> list[list[str]]:
    if market == "spot":
        return [row[:2] for row in rows]
    return [[price, base(market, size, price), size] for price, size, *_ in rows]


def test_every_book_change_equals_its_frame(market: str, told: Told, recordings: Path) -> None:
    changes = [frame for frame in of(recordings, market, "books") if frame.told["action"] == "update"]
    assert told["book_change"] == [
        head(market, frame, "push")
        | {
            "first_sequence": int(frame.row["ts"]),
            "last_sequence": int(frame.row["ts"]),
            "bids": levels(market, frame.row["bids"]),
            "asks": levels(market, frame.row["asks"]),
            "in_step": True,
        }
        for frame in changes
    ]


class Reference:
    """A book the slow way, in the exchange's own levels, with the exchange's own checksum."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[Decimal, list[str]]] = {"bids": {}, "asks": {}}

    def take(self, row: dict[str, Any]) -> None:
        for name, side in self.sides.items():
            for price, size, *_ in row[name]:
                side.pop(Decimal(price), None)
                if Decimal(size):
                    side[Decimal(price)] = [price, size]

    def best(self, name: str, count: int) -> list[list[str]]:
        side = self.sides[name]
        return [side[price] for price in sorted(side, reverse=name == "bids")[:count]]


def crc(bids: list[list[str]], asks: list[list[str]]) -> int:
    """The exchange's checksum of the best 25 levels, as the fact sheet has it."""
    parts: list[str] = []
    for index in range(25):
        for side in (bids, asks):
            if index < len(side):
                price, size = side[index]
                parts.append(f"{price}:{size}")
    number = zlib.crc32(":".join(parts).encode())
    return number - (1 << 32) if number & (1 << 31) else number


def test_every_checksum_holds_for_the_book_that_the_normaliser_keeps(market: str, recordings: Path) -> None:
    declared, known = MARKETS[market], listing(instrument_list(recordings, market), market)
    book: Book | None = None
    verified = 0
    for frame in of(recordings, market, "books"):
        parsed = declared.channels["books"].parse(raw(market, "books", SYMBOLS[market], frame.body), known)
        (item,) = parsed
        if isinstance(item, BookSnapshot):
            book = Book(item.sequence, item.bids, item.asks, item.limit)
        else:
            assert book is not None
            book.change(item.last_sequence, item.bids, item.asks)  # type: ignore[union-attr,arg-type]
        sides = [msgspec.json.decode(side, type=list[list[str]]) for side in book.top(25)]
        assert book.proves(25)
        # The last of a level is what the exchange said: the quantity on spot, the contracts elsewhere.
        bids, asks = ([[level[0], level[-1]] for level in side] for side in sides)
        assert crc(bids, asks) == frame.row["checksum"]
        verified += 1
    assert verified == EXPECTED[market]["book_change"] + 1


def test_every_published_book_is_the_recorded_one(market: str, told: Told, recordings: Path) -> None:
    reference = Reference()
    states = {}
    for frame in of(recordings, market, "books"):
        if frame.told["action"] == "snapshot":
            reference = Reference()
        reference.take(frame.row)
        states[int(frame.row["ts"])] = (reference.best("bids", 20), reference.best("asks", 20))
    assert len(told["orderbook"]) >= 10
    for item in told["orderbook"]:
        bids, asks = states[item["sequence"]]
        assert item["timestamp"] == item["sequence"] * 1000
        assert (item["bids"], item["asks"]) == (levels(market, bids), levels(market, asks))


def test_every_listed_instrument_is_told_once(market: str, told: Told, recordings: Path) -> None:
    found = {item["exchange_symbol"]: item for item in told["instrument"]}
    assert len(found) == len(told["instrument"])
    own = found[NAMES[market]]
    assert (own["symbol"], own["status"]) == (SYMBOLS[market], "trading")


def test_a_lost_frame_of_trades_is_a_gap_and_nothing_else_changes(
    session: list[tuple[int, RawFrame]], all_told: list[dict[str, Any]]
) -> None:
    trades = [frame for _, frame in session if frame.market == "spot" and frame.channel == "trades"]
    lost = trades[30]
    found = replay([(part, frame) for part, frame in session if frame is not lost])
    known = [item for item in all_told if item["_to"] == "md.trade" and item["market"] == "spot"]
    (gap,) = [item for item in found if item["_to"] == "gap"]
    assert (gap["symbol"], gap["kind"], gap["gap_type"]) == ("BTC-USDT", "trade", "sequence")
    assert gap["first_missing"] == gap["last_missing"] == known[30]["sequence"]
    rest = [item for item in found if item["_to"] == "md.trade" and item["market"] == "spot"]
    assert rest == known[:30] + known[31:]


def test_every_frame_filed_twice_is_told_once(
    session: list[tuple[int, RawFrame]], all_told: list[dict[str, Any]]
) -> None:
    assert len(replay([item for item in session for _ in range(2)])) == len(all_told)
