"""What the collector counted beside what the raw stream has: exact, said once, the same after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from schemas import frames, subjects
from schemas.errors import BadFrame
from schemas.frames import Count
from services.collector.core import Link, Topic
from services.collector.outbox import Origin, Outbox
from services.normaliser.tally import MINUTE_US
from services.shared.exchanges.registry import MARKETS
from tests.normaliser_rig import SECOND, START, Rig, millis
from tests.unit.test_collector_core import RULES

FIRST = START // MINUTE_US * MINUTE_US
NEXT = 60 - START // SECOND % 60
"""Seconds from START to the next whole minute."""


@pytest.fixture(params=[False, True], ids=["running", "restarted-after-each-message"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    made = Rig()
    made.restarts = request.param  # type: ignore[misc]  # of this one alone
    yield made


def ticker(rig: Rig, at: float, *, on: str = "A", lost: bool = False) -> list[dict[str, Any]]:
    """A 24 h ticker; `lost`: its connection counts it and RAW does not have it."""
    if lost:
        rig.numbers[on] += 1
        return []
    body = {"e": "24hrTicker", "E": millis(at), "s": "BTCUSDT"}
    prices = dict.fromkeys("clohwpPQqv", "1")
    return rig.ws(
        "ticker",
        {**body, **prices, "c": str(at), "O": millis(at), "C": millis(at), "F": 1, "L": 2, "n": 2},
        at=at,
        on=on,
    )


def counted(
    rig: Rig, minute: int, taken: int, total: int, *, on: str = "A", channel: str = "ticker"
) -> list[dict[str, Any]]:
    """The collector's count of a minute after the first, told behind it."""
    since = FIRST + minute * MINUTE_US
    told = {"BTC-USDT-PERP": {channel: Count(taken, total)}}
    at = NEXT + 60 * minute + 0.3
    return rig.session("counted", at=at, on=on, counts=told, since=since, until=since + MINUTE_US)


def gaps(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (
            item["kind"],
            item["gap_type"],
            (item["lost_from"] - FIRST) // MINUTE_US,
            (item["lost_to"] - FIRST) // MINUTE_US,
        )
        for item in found
        if item["_to"] == "gap"
    ]


def test_a_frame_that_raw_does_not_have_is_a_gap_of_its_minute(rig: Rig) -> None:
    rig.session("subscribed", "ticker", at=0.5)
    ticker(rig, 1)
    ticker(rig, 2, lost=True)
    assert gaps(counted(rig, 0, 2, 2)) == [("ticker", "ring", 0, 1)]
    ticker(rig, NEXT + 1)
    assert gaps(counted(rig, 1, 1, 3)) == []
    ticker(rig, NEXT + 61, lost=True)
    assert gaps(counted(rig, 2, 1, 4)) == [("ticker", "ring", 2, 3)]


def test_a_count_that_is_published_twice_tells_nothing_new(rig: Rig) -> None:
    ticker(rig, 1)
    assert gaps(counted(rig, 0, 1, 1)) == []
    ticker(rig, NEXT + 1)
    rig.feed(rig.sent[-2][1])
    assert gaps(counted(rig, 1, 1, 2)) == []
    ticker(rig, NEXT + 61, lost=True)
    assert gaps(counted(rig, 2, 1, 3)) == [("ticker", "ring", 2, 3)]
    assert gaps(rig.again()) == []


def test_where_a_count_is_missing_itself_the_next_one_still_tells_what_is(rig: Rig) -> None:
    ticker(rig, 1)
    assert gaps(counted(rig, 0, 1, 1)) == []
    ticker(rig, NEXT + 1)
    ticker(rig, NEXT + 61)
    assert gaps(counted(rig, 2, 1, 3)) == []
    ticker(rig, NEXT + 121, lost=True)
    ticker(rig, NEXT + 181)
    assert gaps(counted(rig, 4, 1, 5)) == [("ticker", "ring", 3, 5)]


def test_only_the_connection_that_leads_is_missed(rig: Rig) -> None:
    rig.session("subscribed", "ticker", at=0.5)
    rig.session("subscribed", "ticker", at=0.6, on="B")
    ticker(rig, 1)
    ticker(rig, 1, on="B", lost=True)
    assert gaps(counted(rig, 0, 1, 1, on="B")) == []
    assert gaps(counted(rig, 0, 1, 1)) == []
    rig.session("closed", at=NEXT + 1)
    ticker(rig, NEXT + 2, on="B", lost=True)
    assert gaps(counted(rig, 1, 1, 2, on="B")) == [("ticker", "ring", 1, 2)]


def test_one_that_comes_back_after_it_was_taken_for_gone_is_counted_from_its_next_minute(rig: Rig) -> None:
    for name in "AB":
        rig.session("subscribed", "ticker", at=0.5, on=name)
    ticker(rig, 1)
    ticker(rig, 6, on="B")
    ticker(rig, 7)
    ticker(rig, 12)  # by now B's turn to be silent
    assert gaps(counted(rig, 0, 3, 3)) == []
    ticker(rig, NEXT + 1, lost=True)
    found = counted(rig, 1, 1, 4)
    assert gaps(found) == [("ticker", "ring", 1, 2)]


def test_of_a_connection_older_than_raw_the_first_count_is_where_counting_begins(rig: Rig) -> None:
    ticker(rig, 50)
    assert gaps(counted(rig, 0, 40, 900)) == []
    ticker(rig, NEXT + 1, lost=True)
    assert gaps(counted(rig, 1, 1, 901)) == [("ticker", "ring", 1, 2)]


def test_numbers_say_better_what_is_missing_and_counts_only_what_they_cannot_yet(rig: Rig) -> None:
    rig.session("subscribed", "trades", at=0.5)
    rig.trade(10, at=1)
    rig.numbers["A"] += 1
    assert gaps(rig.trade(12, at=3)) == [("trade", "sequence", 0, 0)]
    assert gaps(counted(rig, 0, 3, 3, channel="trades")) == []
    rig.trade(13, at=NEXT + 1)
    rig.numbers["A"] += 1
    (gap,) = counted(rig, 1, 2, 5, channel="trades")
    assert (gap["kind"], gap["gap_type"], gap["first_missing"]) == ("trade", "ring", 14)
    known, _ = rig.trade(16, at=NEXT + 70)
    assert (known["gap_id"], known["first_missing"], known["last_missing"]) == (gap["gap_id"], 14, 15)


class Counting:
    """A connection's frames, and what it says of them, in the order of RAW."""

    def __init__(self) -> None:
        self.outbox = Outbox(10**9, lambda: None)
        origin = Origin("binance", "perp", "c1", "A", "wss://x")
        streams = {
            "btcusdt@ticker": Topic("ticker", "BTC-USDT-PERP"),
            "dogeusdt@ticker": Topic("ticker", "DOGE-USDT-PERP"),
        }
        self.link = Link(MARKETS["binance", "perp"], origin, streams, self.outbox, RULES)
        self.link.opened(START)
        self.link.subscribed(streams, START)

    def frame(self, symbol: str, at: float) -> None:
        self.link.received(b'{"stream":"%susdt@ticker","data":{}}' % symbol.encode(), START + round(at * SECOND))

    def told(self) -> list[tuple[int, int, int, dict[str, dict[str, Count]]]]:
        """Minute begun and ended (or the seconds into it), how many frames had gone before, and the counts."""
        self.outbox.pack()
        batch = self.outbox.peek(10**6, 10**9)
        self.outbox.pop(len(batch))
        found, gone = [], 0
        for packed in batch:
            for frame in frames.unpack(*packed.message):
                gone += frame.channel == "ticker"
                if frame.channel == subjects.SESSION:
                    event = frames.decode_session(frame.body)
                    if event.event == "counted":
                        found.append(
                            ((event.since - START) // SECOND, (event.until - START) // SECOND, gone, event.counts)
                        )
        return found


def test_the_collector_tells_a_minute_behind_its_last_frame_and_nothing_of_a_quiet_one() -> None:
    made = Counting()
    made.frame("btc", 1)
    made.frame("btc", NEXT - 0.000001)
    made.frame("btc", NEXT)
    made.link.look(START + (NEXT + 60) * SECOND)
    made.link.look(START + (NEXT + 120) * SECOND)
    made.frame("btc", NEXT + 130)
    assert made.told() == [
        (0, NEXT, 2, {"BTC-USDT-PERP": {"ticker": Count(2, 2)}}),
        (NEXT, NEXT + 60, 3, {"BTC-USDT-PERP": {"ticker": Count(1, 3)}}),
    ]


def test_the_collector_tells_each_partition_its_own_and_the_rest_before_it_closes() -> None:
    made = Counting()
    made.frame("btc", 1)
    made.frame("doge", 1)
    made.link.closed("told to", START + 5 * SECOND)
    assert sorted(sorted(counts.items()) for *_, counts in made.told()) == [
        [("BTC-USDT-PERP", {"ticker": Count(1, 1)})],
        [("DOGE-USDT-PERP", {"ticker": Count(1, 1)})],
    ]


def test_what_found_no_room_is_told_as_dropped_and_not_counted() -> None:
    made = Counting()
    made.frame("btc", 1)
    made.outbox.limit = 0
    made.frame("btc", 2)
    made.outbox.limit = 10**9
    made.frame("btc", 3)
    made.link.look(START + NEXT * SECOND)
    assert [counts for *_, counts in made.told()] == [{"BTC-USDT-PERP": {"ticker": Count(2, 2)}}]


@pytest.mark.parametrize("count", ["[1]", "[1,-1]", f"[1,{1 << 63}]", "7"])
def test_counts_of_another_form_are_refused(count: str) -> None:
    with pytest.raises(BadFrame, match="not a session event"):
        frames.decode_session(b'{"event":"counted","url":"","counts":{"X":{"y":%s}}}' % count.encode())


def test_a_book_change_that_raw_does_not_have_is_known_by_its_number_once_the_next_one_comes(rig: Rig) -> None:
    rig.session("subscribed", "depth", at=0.5)
    rig.snapshot(10, at=1)
    rig.depth(9, 12, 8, at=1.1)
    rig.numbers["A"] += 1
    opened = [item for item in counted(rig, 0, 2, 2, channel="depth") if item["_to"] == "gap"]
    assert [(gap["kind"], gap["gap_type"], gap["first_missing"]) for gap in opened] == [("book_change", "ring", 13)]
    found = rig.depth(20, 25, 19, at=NEXT + 1)
    (known,) = (item for item in found if item["_to"] == "gap")
    assert (known["gap_id"], known["first_missing"], known["last_missing"]) == (opened[0]["gap_id"], 13, 19)
    assert rig.depth(26, 27, 25, at=NEXT + 1.1) == [], "out of step: held for a snapshot"
    assert [resync.sequence for resync in rig.resyncs()] == [12]
