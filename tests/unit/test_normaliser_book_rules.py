"""Each exchange's book rule against a plain dict: losses, repetitions, reorderings and late snapshots, at random.

The frames are ours, their ids are numbered as the exchange numbers them, and the rule is the one its market declares.
Whatever happens on the way: a book is published only when it equals the reference at that id and is not crossed, every
break of the chain is a gap with the right bounds, and the book comes back.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from schemas import frames, records, subjects
from schemas.frames import RawFrame
from services.normaliser.core import PartitionCore
from services.normaliser.desk import CoreOptions
from services.shared.exchanges.declaration import BookSnapshot, Listing, Market
from services.shared.exchanges.registry import MARKETS
from tests.normaliser_rig import SECOND, START, plain

Ids = tuple[int, int, int | None]
"""First, last and previous id of a change."""
Book = dict[str, dict[str, str]]

SYMBOL = "BTC-USDT"
DEPTH = 20


def spans(last: int, source: random.Random) -> Ids:
    """Ids without a hole, several a change."""
    return last + 1, last + source.randint(1, 4), None


def single(last: int, source: random.Random) -> Ids:
    """One id a change."""
    return last + 1, last + 1, None


def linked(last: int, source: random.Random) -> Ids:
    """Holes between the changes, each of which names the end of the one before."""
    first = last + source.randint(1, 50)
    return first, first + source.randint(0, 3), last


def named(last: int, source: random.Random) -> Ids:
    """One id a change, with holes between, which names the one before."""
    new = last + source.randint(1, 50)
    return new, new, last


def following(last: int, source: random.Random) -> Ids:
    """Each change covers the ids behind the one before."""
    return last + 1, last + source.randint(1, 9), last


RULES: dict[tuple[str, str], Callable[[int, random.Random], Ids]] = {
    ("binance", "spot"): spans,
    ("binance", "perp"): linked,
    ("okx", "perp"): named,
    ("deribit", "perp"): following,
    ("gateio", "spot"): spans,
    ("gateio", "perp"): spans,
    ("bybit", "perp"): single,
    ("mexc", "spot"): spans,
    ("mexc", "perp"): single,
}


def test_every_exchange_is_here() -> None:
    spoken = {market.exchange for market in MARKETS.values() if not market.withdrawn}
    assert {exchange for exchange, _ in RULES} == spoken


def own_words(market: Market) -> Market:
    """The market with its rule, and frames in words of our own."""

    def parse(frame: RawFrame, listing: Listing) -> list[records.BookChange | BookSnapshot]:
        body = json.loads(frame.body)
        bids, asks = (Raw(json.dumps(body[side], separators=(",", ":")).encode()) for side in ("bids", "asks"))
        if "sequence" in body:
            return [BookSnapshot(frame.symbol, body["sequence"], bids, asks, 1_000, frame.received_at)]
        change = records.BookChange(
            exchange=frame.exchange,
            market=frame.market,
            symbol=frame.symbol,
            timestamp=frame.received_at,
            timestamp_source="match",
            received_at=frame.received_at,
            source="live",
            first_sequence=body["first"],
            last_sequence=body["last"],
            previous_sequence=body["previous"],
            bids=bids,
            asks=asks,
            in_step=False,
        )
        return [change]

    def instruments(frame: RawFrame, listing: Listing) -> list[records.Instrument]:
        item = records.Instrument(
            exchange=frame.exchange,
            market=frame.market,
            symbol=SYMBOL,
            timestamp=frame.received_at,
            timestamp_source="received",
            received_at=frame.received_at,
            source="live",
            exchange_symbol="BTCUSDT",
            base="BTC",
            quote="USDT",
            asset="BTC",
            multiplier="1",
            status="trading",
        )
        return [item]

    snapshot = market.book_snapshot and dataclasses.replace(market.book_snapshot, parse=parse)
    depth = dataclasses.replace(market.channels[market.book_channel], parse=parse)
    return dataclasses.replace(
        market,
        channels={depth.name: depth},
        polls={snapshot.name: snapshot} if snapshot else {},
        instruments=dataclasses.replace(market.instruments, parse=instruments),
        book_snapshot=snapshot,
    )


OURS = {key: own_words(MARKETS[key]) for key in RULES}


class Exchange:
    """An exchange's book, its changes, and what it was after each: the reference is these plain dicts."""

    def __init__(self, ids: Callable[[int, random.Random], Ids], source: random.Random) -> None:
        self._ids, self._source = ids, source
        self.last = 5_000_000_000
        self.book: Book = {"bids": {"99.5": "1"}, "asks": {"100.5": "1"}}
        self.at: dict[int, Book] = {self.last: self.copy()}

    def copy(self) -> Book:
        return {side: dict(levels) for side, levels in self.book.items()}

    def change(self) -> dict[str, Any]:
        first, last, previous = self._ids(self.last, self._source)
        told: dict[str, list[list[str]]] = {"bids": [], "asks": []}
        for _ in range(self._source.randint(0, 3)):
            side = self._source.choice(["bids", "asks"])
            step = self._source.randint(1, 60)
            price = f"{100 - step / 2:.1f}" if side == "bids" else f"{100 + step / 2:.1f}"
            quantity = self._source.choice(["0", "0.5", "1", "2", "3.25"])
            told[side].append([price, quantity])
            self.book[side].pop(price, None)
            if quantity != "0":
                self.book[side][price] = quantity
        self.last = last
        self.at[last] = self.copy()
        return {"first": first, "last": last, "previous": previous, **told}

    def snapshot(self) -> dict[str, Any]:
        return {"sequence": self.last, **{side: [[*level] for level in self.book[side].items()] for side in self.book}}


class Road:
    """The way from the exchange through a real core; `told` is what came out."""

    def __init__(self, market: Market, restarts: bool) -> None:
        self.market, self._restarts = market, restarts
        self._options = CoreOptions(hold_events=8, book_depth=DEPTH)
        self._markets = {(market.exchange, market.market): market}
        self.part = subjects.partition(market.exchange, market.market, SYMBOL)
        self.core = PartitionCore(self.part, self._markets, self._options)
        self.now, self._sequence, self._number = START, 0, 0
        self.told: list[dict[str, Any]] = []
        self.asked = 0
        self.feed(market.instruments.name, {}, "rest")
        event = frames.SessionEvent(event="subscribed", url="x", channels={SYMBOL: [market.book_channel]})
        self.feed(subjects.SESSION, frames.encode_session(event), "ws")

    def feed(self, channel: str, body: dict[str, Any] | bytes, origin: Any) -> None:
        self.now += SECOND * 2 // 5
        self._number += 1
        self._sequence += 1
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        symbol = SYMBOL if channel in (self.market.book_channel, "depth_snapshot") else subjects.ALL
        name = "R" if origin == "rest" else "A"
        own = (self.market.exchange, self.market.market)
        frame = RawFrame(*own, channel, symbol, "c", name, self._number, self.now, origin, raw)
        self.told += [plain(item) for item in self.core.process(self._sequence, *frames.message(frame, self.part))]
        self.asked += len(self.core.take_resyncs())
        if self._restarts:
            saved = {key: self.core.save(key) for key in self.core.units()}
            self.core = PartitionCore(self.part, self._markets, self._options)
            self.core.restore(saved)

    def snapshot(self, body: dict[str, Any]) -> None:
        if self.market.book_snapshot is None:
            self.feed(self.market.book_channel, body, "ws")
        else:
            self.feed(self.market.book_snapshot.name, body, "rest")

    def of(self, kind: str) -> Iterator[dict[str, Any]]:
        return (item for item in self.told if item["_to"] == kind)


class Reference:
    """What must be said of a chain: told in the order in which its parts arrive."""

    def __init__(self) -> None:
        self.tail: int | None = None
        self.order: list[int] = []
        """Where changes end, in the exchange's order."""
        self.gaps: list[tuple[int, int]] = []
        self._open: int | None = None

    def change(self, body: dict[str, Any]) -> None:
        place = self.order.index(body["last"])
        before = self.order[place - 1]
        if self._open is not None:
            if before != self._open:
                self.gaps.append((self._open + 1, before))
            self._open = None
        elif self.tail is not None and place <= self.order.index(self.tail):
            return
        elif self.tail is not None and before != self.tail:
            self.gaps.append((self.tail + 1, before))
        self.tail = body["last"]

    def begins(self, sequence: int) -> None:
        """The stream itself says the whole book again."""
        if self.tail is not None and sequence != self.tail and self._open is None:
            self._open = self.tail
        self.tail = sequence


def equal(shown: list[list[str]], levels: dict[str, str], best: int) -> bool:
    wanted = sorted(levels.items(), key=lambda level: best * float(level[0]))[:DEPTH]
    return shown == [list(level) for level in wanted]


FAULTS = st.lists(
    st.sampled_from(["fine"] * 6 + ["drop", "repeat", "swap", "snapshot", "late snapshot"]), min_size=5, max_size=60
)


@pytest.mark.parametrize("restarts", [False, True], ids=["straight", "restarted"])
@pytest.mark.parametrize("key", RULES, ids=" ".join)
def test_a_book_is_published_only_as_it_was_and_every_break_is_a_gap(key: tuple[str, str], restarts: bool) -> None:
    streamed = OURS[key].book_snapshot is None

    @given(FAULTS, st.integers(0, 2**32))
    def check(faults: list[str], seed: int) -> None:
        if restarts:
            faults = faults[:15]
        exchange = Exchange(RULES[key], random.Random(seed))
        road, reference = Road(OURS[key], restarts), Reference()
        reference.order.append(exchange.last)

        def snapshot() -> None:
            road.snapshot(exchange.snapshot())
            if streamed:
                reference.begins(exchange.last)

        def change() -> dict[str, Any]:
            made = exchange.change()
            reference.order.append(made["last"])
            return made

        def deliver(body: dict[str, Any]) -> None:
            reference.change(body)
            road.feed(road.market.book_channel, body, "ws")

        if streamed:
            snapshot()
        asked = road.asked
        for fault in [*faults, "fine", "fine"]:
            made = change()
            if fault == "swap":
                later = change()
                deliver(later)
                deliver(made)
            elif fault == "late snapshot" and not streamed:
                late = exchange.snapshot()
                for body in (made, change(), change()):
                    deliver(body)
                road.snapshot(late)
            elif fault != "drop":
                deliver(made)
            if fault == "repeat":
                deliver(made)
            if fault == "snapshot" or (road.asked > asked and fault == "fine"):
                asked = road.asked
                snapshot()
        snapshot()
        for _ in range(4):
            deliver(change())

        shown = list(road.of("md.orderbook"))
        for book in shown:
            true = exchange.at[book["sequence"]]
            assert equal(book["bids"], true["bids"], -1) and equal(book["asks"], true["asks"], 1), book
            if book["bids"] and book["asks"]:
                assert float(book["bids"][0][0]) < float(book["asks"][0][0])
        assert shown and shown[-1]["sequence"] in reference.order[-6:], "the book came back"
        found = {gap["gap_id"]: gap for gap in road.of("gap") if gap["kind"] == "book_change"}
        bounds = [(gap.get("first_missing"), gap.get("last_missing")) for gap in found.values()]
        assert bounds == reference.gaps

    check()


@pytest.mark.parametrize("key", RULES, ids=" ".join)
def test_a_change_that_would_cross_the_book_leads_to_a_fresh_one_and_to_no_row(key: tuple[str, str]) -> None:
    exchange, road = Exchange(RULES[key], random.Random(7)), Road(OURS[key], False)
    road.snapshot(exchange.snapshot())
    for _ in range(4):
        road.feed(road.market.book_channel, exchange.change(), "ws")
    road.told, road.asked = [], 0
    road.feed(road.market.book_channel, {**exchange.change(), "bids": [["131.0", "1"]]}, "ws")
    for _ in range(5):
        road.feed(road.market.book_channel, exchange.change(), "ws")
    assert all(float(book["bids"][0][0]) < 131 for book in road.of("md.orderbook"))
    (gap,) = road.of("gap")
    assert (gap["kind"], gap["gap_type"], gap["evidence"]) == (
        "orderbook",
        "unsynced",
        "best bid and best ask crossed",
    )
    assert road.asked == 1
    shown = len(list(road.of("md.orderbook")))
    road.snapshot(exchange.snapshot())
    for _ in range(4):
        road.feed(road.market.book_channel, exchange.change(), "ws")
    back = list(road.of("md.orderbook"))[shown:]
    assert back and all(equal(book["bids"], exchange.at[book["sequence"]]["bids"], -1) for book in back)
