"""Today's OKX frames through the normaliser's core: chains of ids, trades that stand for many fills, liquidations."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from schemas import frames as raw_frames
from schemas import subjects
from services.normaliser.core import PartitionCore
from tests.core_bench import CoreBench
from tests.normaliser_rig import kinds, plain
from tests.recorded_okx import MARKETS, raw

SYMBOL, NAME = "BTC-USDT-PERP", "BTC-USDT-SWAP"
START = 1_786_540_436_000
ROW = {
    "instId": NAME,
    "instType": "SWAP",
    "uly": "BTC-USDT",
    "settleCcy": "USDT",
    "ctType": "linear",
    "ctVal": "0.01",
    "ctMult": "1",
    "tickSz": "0.1",
    "lotSz": "0.01",
    "listTime": "",
    "expTime": "",
    "state": "live",
}


class Okx:
    """One core that hears one connection; each frame comes 100 ms after the one before."""

    def __init__(self, symbol: str = SYMBOL) -> None:
        market = MARKETS["perp"]
        self.part = subjects.partition("okx", "perp", symbol)
        self.core = PartitionCore(self.part, {("okx", "perp"): market})
        self.symbol = symbol
        self.count = 0
        body = json.dumps({"code": "0", "data": [ROW, ROW | {"instId": "ETH-USDT-SWAP", "uly": "ETH-USDT"}]})
        self.feed("instruments", subjects.ALL, body.encode())

    def feed(self, channel: str, symbol: str, body: bytes) -> list[dict[str, Any]]:
        self.count += 1
        frame = raw("perp", channel, symbol, body, number=self.count, received_at=self.now * 1000 + 5_000)
        message = raw_frames.message(frame, self.part)
        return [plain(output) for output in self.core.process(self.count, *message)]

    @property
    def now(self) -> int:
        return START + 100 * self.count

    def push(self, channel: str, name: str, row: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
        body = {"arg": {"channel": name, "instId": NAME}, **more, "data": [row | {"ts": str(self.now)}]}
        return self.feed(channel, self.symbol, json.dumps(body).encode())

    def book(
        self, sequence: int, previous: int, *, bids: Any = (), asks: Any = (), whole: bool = False
    ) -> list[dict[str, Any]]:
        row = {"bids": list(bids), "asks": list(asks), "checksum": 0, "seqId": sequence, "prevSeqId": previous}
        return self.push("books", "books", row, action="snapshot" if whole else "update")

    def begin(self, sequence: int) -> list[dict[str, Any]]:
        bids, asks = [["99.0", "100", "0", "1"]], [["101.0", "100", "0", "1"]]
        return self.book(sequence, -1, bids=bids, asks=asks, whole=True)

    def trade(self, last: int, count: int) -> list[dict[str, Any]]:
        row = {"instId": NAME, "tradeId": str(last), "px": "100", "sz": "1", "side": "buy", "count": str(count)}
        return self.push("trades", "trades", row)


def changes(found: list[dict[str, Any]]) -> list[tuple[int, bool]]:
    return [(item["last_sequence"], item["in_step"]) for item in found if item["_to"] == "md.book_change"]


def gaps(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (item["kind"], item["gap_type"], item.get("first_missing"), item.get("last_missing"))
        for item in found
        if item["_to"] == "gap"
    ]


def test_changes_are_in_step_from_the_streams_own_snapshot_on() -> None:
    okx = Okx()
    okx.begin(100)
    assert changes(okx.book(110, 100, bids=[["99.5", "50", "0", "1"]])) == [(110, True)]
    assert okx.book(110, 110) == []  # the sign of life of a quiet market
    assert changes(okx.book(115, 110, bids=[["99.5", "0", "0", "0"]])) == [(115, True)]
    assert okx.core.take_resyncs() == []


def test_a_lost_change_is_a_gap_and_one_books_resubscription() -> None:
    okx = Okx()
    okx.begin(100)
    okx.book(110, 100)
    found = okx.book(130, 120, bids=[["99.7", "1", "0", "1"]])
    assert gaps(found)[0] == ("book_change", "sequence", 111, 120)
    assert not any(in_step for _, in_step in changes(found))
    (asked,) = okx.core.take_resyncs()
    assert (asked.symbol, asked.sequence) == (SYMBOL, 110)
    okx.begin(200)
    assert changes(okx.book(210, 200, asks=[["100.5", "3", "0", "1"]]))[-1] == (210, True)


def test_the_exchange_may_count_anew_within_the_chain() -> None:
    okx = Okx()
    okx.begin(333_794_734_996)
    for sequence, previous in ((333_794_735_000, 333_794_734_996), (3, 333_794_735_000), (5, 3)):
        found = okx.book(sequence, previous, bids=[["99.5", str(sequence % 100 + 1), "0", "1"]])
        assert (changes(found), gaps(found)) == ([(sequence, True)], [])


def test_published_levels_carry_base_quantity_and_contracts() -> None:
    okx = Okx()
    okx.begin(100)
    told: list[dict[str, Any]] = []
    for sequence in range(101, 130):
        told += okx.book(sequence, sequence - 1, bids=[["99.5", str(sequence), "0", "1"]])
    books = [item for item in told if item["_to"] == "md.orderbook"]
    assert len(books) == 3
    last = books[-1]
    assert last["bids"] == [["99.5", f"{last['sequence'] / 100:.2f}", str(last["sequence"])], ["99.0", "1.00", "100"]]
    assert last["asks"] == [["101.0", "1.00", "100"]]


def test_a_trade_of_many_fills_follows_without_a_gap_and_a_lost_one_is_known_exactly() -> None:
    okx = Okx()
    okx.trade(2_832_749_635, 1)
    assert gaps(okx.trade(2_832_749_645, 10)) == []
    found = okx.trade(2_832_749_650, 2)
    assert gaps(found) == [("trade", "sequence", 2_832_749_646, 2_832_749_648)]
    assert [item["sequence"] for item in found if item["_to"] == "md.trade"] == [2_832_749_650]


def test_liquidations_of_a_whole_market_are_told_by_instrument() -> None:
    okx = Okx(subjects.ALL)
    details = [{"bkPx": "0.4162", "posSide": "long", "side": "sell", "sz": "3", "ts": str(START)}]
    rows = [{"instId": name, "details": details} for name in (NAME, "ETH-USDT-SWAP")]
    body = json.dumps({"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": rows}).encode()
    found = okx.feed("liquidations", subjects.ALL, body)
    assert [(item["_to"], item["symbol"], item["quantity"], item["side"]) for item in found] == [
        ("md.liquidation", SYMBOL, "0.03", "sell"),
        ("md.liquidation", "ETH-USDT-PERP", "0.03", "sell"),
    ]


class Truth:
    """The book as the exchange has it: (price in tenths -> contracts) a side, and the number it is at."""

    def __init__(self) -> None:
        self.bids = {990 - step: 10 for step in range(3)}
        self.asks = {1010 + step: 10 for step in range(3)}
        self.sequence = 1_000
        self.states: dict[int, tuple[list[list[str]], list[list[str]]]] = {}
        self.keep()

    def keep(self) -> None:
        self.states[self.sequence] = (self.levels(self.bids, best_last=True), self.levels(self.asks, best_last=False))

    @staticmethod
    def levels(side: dict[int, int], *, best_last: bool) -> list[list[str]]:
        prices = sorted(side, reverse=best_last)
        return [[f"{price / 10:.1f}", f"{side[price] / 100:.2f}", str(side[price])] for price in prices]

    @staticmethod
    def wire(side: dict[int, int]) -> list[list[str]]:
        return [[f"{price / 10:.1f}", str(size), "0", "1"] for price, size in side.items()]

    def move(self, bids: dict[int, int], asks: dict[int, int], step: int) -> dict[str, Any]:
        """Change some levels, and return the arguments of the frame that says so."""
        previous = self.sequence
        self.sequence += step
        for side, changed in ((self.bids, bids), (self.asks, asks)):
            side.update(changed)
            for price in [price for price, size in side.items() if not size]:
                del side[price]
        self.keep()
        told = {"bids": self.wire(bids), "asks": self.wire(asks)}
        return {"sequence": self.sequence, "previous": previous, **told}


# Fewer prices a side than levels are published: every published book is whole.
_BIDS = st.dictionaries(st.integers(983, 1000), st.integers(0, 50), max_size=4)
_ASKS = st.dictionaries(st.integers(1001, 1018), st.integers(0, 50), max_size=4)
_MOVES = st.lists(
    st.tuples(_BIDS, _ASKS, st.integers(1, 500), st.sampled_from(["told", "told", "told", "lost", "twice"])),
    min_size=20,
    max_size=60,
)


# Without shrinking, which takes minutes for lists of changes and tells little more.
@settings(max_examples=60, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(_MOVES)
def test_whatever_is_lost_or_doubled_every_published_book_is_the_exchanges(moves: list[Any]) -> None:
    okx, truth = Okx(), Truth()
    told: list[dict[str, Any]] = []

    def begin() -> None:
        sides = {"bids": truth.wire(truth.bids), "asks": truth.wire(truth.asks)}
        told.extend(okx.book(truth.sequence, -1, whole=True, **sides))

    begin()
    lost: list[tuple[int, int]] = []
    """What the exchange's numbers say was lost: from behind the last change told to the end of the last one lost."""
    last_told, open_from = truth.sequence, None
    for bids, asks, step, fate in moves:
        change = truth.move(bids, asks, step)
        if fate == "lost":
            open_from = last_told if open_from is None else open_from
            continue
        if open_from is not None:
            lost.append((open_from + 1, change["previous"]))
            open_from = None
        last_told = change["sequence"]
        for _ in range(2 if fate == "twice" else 1):
            told += okx.book(**change)
        if okx.core.take_resyncs():
            begin()
    assert [gap[2:] for gap in gaps([item for item in told if item.get("kind") == "book_change"])] == lost
    for item in told:
        if item["_to"] == "md.orderbook":
            assert (item["bids"], item["asks"]) == truth.states[item["sequence"]]
        elif item["_to"] == "md.book_change":
            assert truth.states.keys() >= {item["last_sequence"], item["previous_sequence"]}
    numbers = [item["last_sequence"] for item in told if item["_to"] == "md.book_change"]
    assert numbers == sorted(set(numbers))


def test_two_channels_of_one_kind_have_gaps_of_their_own() -> None:
    bench = CoreBench(MARKETS["perp"], SYMBOL, {"code": "0", "data": [ROW]}, START * 1000)
    mark = {"instType": "SWAP", "instId": NAME, "markPx": "10", "ts": str(START)}
    index = {"instId": NAME.removesuffix("-SWAP"), "idxPx": "10", "ts": str(START)}

    def both(at: float, on: str) -> list[dict[str, Any]]:
        found = []
        for channel, own, row in (("mark_price", "mark-price", mark), ("index_price", "index-tickers", index)):
            body = {"arg": {"channel": own, "instId": row["instId"]}, "data": [row]}
            found += bench.ws(channel, body, at, on)
        return found

    assert kinds(both(1, "A")) == ["md.index_price", "md.index_price"]
    bench.closed("A", at=2)
    opened = [item for item in both(9, "B") if item["_to"] == "gap" and "before_timestamp" not in item]
    assert [item["kind"] for item in opened] == ["index_price", "index_price"]
    assert len({item["gap_id"] for item in opened}) == 2
