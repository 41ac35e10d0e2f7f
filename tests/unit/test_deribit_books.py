"""Deribit's book rule through the core: whatever is lost, doubled or swapped on the way, no wrong book is published."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import frames, subjects
from services.normaliser.core import PartitionCore
from services.shared.exchanges.registry import MARKETS
from tests.normaliser_rig import plain
from tests.recorded_deribit import quotient
from tests.unit.test_deribit_parse import ROWS, push

SYMBOL = "BTC-USD-PERP"
PART = subjects.partition("deribit", "perp", SYMBOL)
START_MS = 1_786_563_085_000
STEP_MS = 400

Book = tuple[dict[int, int], dict[int, int]]


class Event(NamedTuple):
    """One change as the exchange sends it, and the book behind it."""

    previous: int
    change_id: int
    sides: tuple[list[tuple[int, int]], list[tuple[int, int]]]
    book: Book


_levels = st.tuples(st.integers(0, 9), st.integers(0, 4))
_changes = st.lists(
    st.tuples(st.integers(1, 1_000), st.lists(_levels, max_size=3), st.lists(_levels, max_size=3)),
    min_size=2,
    max_size=40,
)


def told_by_the_exchange(changes: Any) -> list[Event]:
    """A chain of changes from an empty book at id 100: prices 90 to 99 bid, 101 to 110 asked, 10 dollars a contract."""
    found: list[Event] = []
    book: Book = ({}, {})
    last = 100
    for jump, bids, asks in changes:
        sides = ([(99 - price, size * 10) for price, size in bids], [(101 + price, size * 10) for price, size in asks])
        book = (dict(book[0]), dict(book[1]))
        for side, levels in zip(book, sides, strict=True):
            for price, amount in levels:
                side[price] = amount
                if not amount:
                    del side[price]
        found.append(Event(last, last + jump, sides, book))
        last += jump
    return found


def levels(side: list[tuple[int, int]]) -> str:
    rows = [f'["{"change" if amount else "delete"}",{price},{amount}]' for price, amount in side]
    return f"[{','.join(rows)}]"


def frame_of(event: Event, at_ms: int, *, snapshot: bool = False) -> bytes:
    sides = event.sides if not snapshot else tuple(list(side.items()) for side in event.book)
    kind = '"snapshot"' if snapshot else f'"change","prev_change_id":{event.previous}'
    data = (
        f'{{"timestamp":{at_ms},"type":{kind},"change_id":{event.change_id},"instrument_name":"BTC-PERPETUAL",'
        f'"bids":{levels(sides[0])},"asks":{levels(sides[1])}}}'
    )
    return push("book.BTC-PERPETUAL.100ms", data)


def triples(side: dict[int, int], best_first: list[int]) -> list[list[str]]:
    return [[str(price), quotient(str(side[price]), str(price)), str(side[price] // 10)] for price in best_first]


class Reader:
    """A core that reads one connection."""

    def __init__(self) -> None:
        self.core = PartitionCore(PART, MARKETS)
        self.found: list[dict[str, Any]] = []
        self.number = 0
        self.at_ms = START_MS
        self.read(ROWS.encode(), "instruments", subjects.ALL)

    def read(self, body: bytes, channel: str = "depth", symbol: str = SYMBOL) -> None:
        self.number += 1
        raw = frames.RawFrame("deribit", "perp", channel, symbol, "c", "A", self.number, self.at_ms * 1_000, "ws", body)
        out = self.core.process(self.number, *frames.message(raw, PART))
        self.found += [item for item in map(plain, out) if item["_to"] != "md.instrument"]


@settings(max_examples=200, deadline=None)
@given(_changes, st.data())
def test_no_wrong_book_is_published(changes: Any, data: st.DataObject) -> None:
    events = told_by_the_exchange(changes)
    reader = Reader()
    reader.read(frame_of(Event(99, 100, ([], []), ({}, {})), reader.at_ms))
    reader.read(frame_of(Event(99, 100, ([], []), ({}, {})), reader.at_ms, snapshot=True))
    books = {100: ({}, {})} | {event.change_id: event.book for event in events}
    lost: set[int] = set()
    held: Event | None = None
    silent = 0
    for event in events:
        reader.at_ms += STEP_MS
        if silent:  # between the end of a subscription and the next one
            silent -= 1
            lost.add(event.change_id)
            if not silent:
                reader.read(frame_of(event, reader.at_ms, snapshot=True))
            continue
        fate = data.draw(st.sampled_from(["pass", "pass", "pass", "drop", "twice", "swap"]))
        if fate == "drop":
            lost.add(event.change_id)
        elif fate == "swap" and held is None:
            held = event
        else:
            for _ in range(2 if fate == "twice" else 1):
                reader.read(frame_of(event, reader.at_ms))
            if held is not None:
                reader.read(frame_of(held, reader.at_ms))
                held = None
        if reader.core.take_resyncs():
            silent = data.draw(st.integers(1, 3))
    for item in reader.found:
        if item["_to"] == "md.orderbook":
            bids, asks = books[item["sequence"]]
            assert item["bids"] == triples(bids, sorted(bids, reverse=True))
            assert item["asks"] == triples(asks, sorted(asks))
    told = [item for item in reader.found if item["_to"] == "md.book_change"]
    known = {event.change_id: event for event in events}
    in_step = [item for item in told if item["in_step"] and item["last_sequence"] in known]
    assert len({item["last_sequence"] for item in in_step}) == len(in_step)
    assert not any(item["_to"].startswith("dead") for item in reader.found)


@settings(max_examples=50, deadline=None)
@given(_changes)
def test_a_whole_stream_is_in_step_and_has_no_gap(changes: Any) -> None:
    events = told_by_the_exchange(changes)
    reader = Reader()
    reader.read(frame_of(Event(99, 100, ([], []), ({}, {})), reader.at_ms, snapshot=True))
    for event in events:
        reader.at_ms += STEP_MS
        reader.read(frame_of(event, reader.at_ms))
    told = [item for item in reader.found if item["_to"] == "md.book_change"]
    assert [item["last_sequence"] for item in told] == [event.change_id for event in events]
    assert all(item["in_step"] for item in told)
    assert not [item for item in reader.found if item["_to"] == "gap"]
    assert not reader.core.take_resyncs()


@settings(max_examples=50, deadline=None)
@given(_changes, st.data())
def test_a_lost_change_is_a_gap_of_its_ids(changes: Any, data: st.DataObject) -> None:
    events = told_by_the_exchange(changes)
    gone = data.draw(st.integers(0, len(events) - 2))
    reader = Reader()
    reader.read(frame_of(Event(99, 100, ([], []), ({}, {})), reader.at_ms, snapshot=True))
    for event in [*events[:gone], *events[gone + 1 :]]:
        reader.at_ms += STEP_MS
        reader.read(frame_of(event, reader.at_ms))
    [gap] = [item for item in reader.found if item["_to"] == "gap" and item["kind"] == "book_change"]
    lost = events[gone]
    assert (gap["first_missing"], gap["last_missing"]) == (lost.previous + 1, lost.change_id)
    assert [item.symbol for item in reader.core.take_resyncs()] == [SYMBOL]
