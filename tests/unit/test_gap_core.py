"""The log of gaps and what is asked for: bounds, priorities, pages, trouble, and going on after a crash."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from schemas.records import Gap
from schemas.spans import Spans
from services.gap_backfill.core import BackfillCore
from services.gap_backfill.filling import Filling, Page
from services.gap_backfill.patience import Patience
from services.gap_backfill.series import DAY_US, HOUR_US, SECOND_US, Ages, Series
from services.shared.exchanges.history import MINUTE_US
from services.shared.exchanges.known_history import history_of

NOW = 1_790_000_000 * SECOND_US
MINUTE = NOW // MINUTE_US * MINUTE_US
BTC = Series("binance", "perp", "BTC-USDT-PERP", "trade", None)


def gap(name: str = "g1", series: Series = BTC, **more: Any) -> Gap:
    fields: dict[str, Any] = {
        "timestamp": NOW - 60 * SECOND_US,
        "timestamp_source": "match",
        "received_at": NOW,
        "source": "live",
        "gap_id": name,
        "gap_type": "disconnect",
        "status": "open",
        "evidence": "connection A closed",
        "detection_time": NOW,
        "lost_from": NOW - 60 * SECOND_US,
        "lost_to": NOW,
        "before_timestamp": NOW,
    }
    return Gap(**series._asdict(), **fields | more)


@dataclass
class World:
    """What an exchange and a table hold, by series, and a core between them; `now` moves as it is told."""

    core: BackfillCore = field(default_factory=lambda: BackfillCore(history_of))
    now: int = NOW
    served: dict[Series, Spans] = field(default_factory=dict)
    """What the exchange serves; everything where nothing is said."""
    stored: dict[Series, Spans] = field(default_factory=dict)
    calls: list[Page] = field(default_factory=list)
    events: list[Gap] = field(default_factory=list)
    published: dict[Series, Spans] = field(default_factory=dict)
    """What is on its way to the table."""

    def look(self) -> None:
        """Look into the table where it is due."""
        for filling in self.core.lookups(self.now):
            self._resume(filling)
            keys = filling.lookup()
            assert keys is not None
            step = filling.history.step_us
            there = self.stored.get(filling.series, Spans()).within(keys[0] // step, keys[1] // step)
            self.core.looked(filling, there, self.now)
        self.events += self.core.take_events()

    def _resume(self, filling: Filling) -> None:
        if not filling.resumed:
            wanted = Spans(pair for work in filling.works.values() for pair in work.wanted)
            self.core.resume(filling, self.published.get(filling.series, Spans()) & wanted, 0)

    def call(self) -> Page | None:
        """Make the next call; its rows are published."""
        page = self.core.next_page("binance", self.now)
        if page is None:
            return None
        self.calls.append(page)
        rows = Spans([(page.first, page.last)])
        if page.series in self.served:
            rows = rows & self.served[page.series]
        if page.probe:
            self.core.probed(page, rows, self.now, full=rows.count >= page.count)
            return page
        got = rows & page.wanted
        self.published[page.series] = self.published.get(page.series, Spans()) | got
        self.core.answered(page, rows, self.now, full=rows.count >= page.count)
        return page

    def store(self) -> None:
        """Let everything published arrive in its table."""
        for series, places in self.published.items():
            assert not places & self.stored.get(series, Spans()), "a row was brought that was there"
            self.stored[series] = self.stored.get(series, Spans()) | places
        self.published = {}

    def settle(self, seconds: float = 120.0) -> None:
        """Let time pass until nothing is left to be done, or for so long."""
        end = self.now + round(seconds * SECOND_US)
        while self.now < end:
            self.look()
            while self.call() is not None:
                self.events += self.core.take_events()
            self.store()
            self.now += SECOND_US // 2
        self.look()

    def last(self, name: str = "g1") -> Gap:
        return self.core.states[name]


def test_a_gap_with_ids_is_asked_for_to_the_id_and_closed_when_its_rows_are_stored() -> None:
    world = World()
    world.core.take(gap(first_missing=101, last_missing=2_350), NOW)
    world.look()
    for _ in range(3):
        assert world.call()
    assert world.call() is None
    assert [page.path("BTCUSDT") for page in world.calls] == [
        "/fapi/v1/aggTrades?symbol=BTCUSDT&fromId=101&limit=1000",
        "/fapi/v1/aggTrades?symbol=BTCUSDT&fromId=1101&limit=1000",
        "/fapi/v1/aggTrades?symbol=BTCUSDT&fromId=2101&limit=250",
    ]
    world.now += SECOND_US
    world.look()
    assert world.last().status == "filling", "what is published is not stored yet"
    world.store()
    world.settle(2)
    closed = world.last()
    assert (closed.status, closed.priority, closed.attempts, closed.records_filled) == ("filled", "urgent", 3, 2_250)
    assert [event.status for event in world.events] == ["filling", "filled"]
    assert (closed.first_missing, closed.last_missing, closed.detection_time) == (101, 2_350, NOW)
    assert len(world.calls) == 3 and world.core.busy(world.now) == 0


def test_what_is_there_is_not_asked_for_and_one_call_serves_many_gaps() -> None:
    world = World(stored={BTC: Spans([(150, 160)])})
    world.core.take(gap("a", first_missing=140, last_missing=170), NOW)
    for number in range(100):
        world.core.take(gap(f"b{number}", first_missing=200 + 7 * number, last_missing=200 + 7 * number), NOW)
    world.settle(3)
    assert len(world.calls) == 1
    assert world.calls[0].wanted.count == 31 - 11 + 100
    assert {world.core.states[name].status for name in world.core.states} == {"filled"}
    assert (world.last("a").records_filled, world.last("b7").records_filled) == (20, 1)


def test_a_gap_waits_for_its_far_side_and_grows_with_it() -> None:
    world = World()
    world.core.take(gap(first_missing=5, before_timestamp=None, lost_to=None), NOW)
    world.settle(60)
    assert not world.calls and not world.events and world.core.busy(world.now) == 0, "nobody listens again yet"
    world.core.take(gap(first_missing=5, before_timestamp=None, lost_to=world.now, received_at=world.now), world.now)
    world.settle(5)
    assert not world.calls, "the next trade may come any moment"
    assert world.core.busy(world.now + 30 * SECOND_US) == 1
    world.core.take(gap(first_missing=5, last_missing=9, received_at=world.now), world.now)
    world.settle(3)
    assert world.last().status == "filled" and world.last().records_filled == 5


def test_a_gap_whose_next_trade_never_comes_ends_when_the_exchange_has_nothing_more() -> None:
    world = World(served={BTC: Spans()})
    world.core.take(gap(first_missing=5, before_timestamp=None), NOW)
    world.settle(40)
    assert [page.path("BTCUSDT") for page in world.calls] == ["/fapi/v1/aggTrades?symbol=BTCUSDT&fromId=5&limit=1000"]
    assert (world.last().status, world.last().records_filled) == ("filled", 0)
    assert "it had nothing from 5 on" in world.last().evidence
    told = gap(first_missing=5, last_missing=6, received_at=world.now + 1)
    world.served[BTC] = Spans([(5, 6)])
    world.core.take(told, world.now)
    assert world.last().status == "open", "the exchange had not told all"
    world.settle(5)
    assert (world.last().status, world.last().last_missing, world.last().records_filled) == ("filled", 6, 2)


def test_what_the_exchange_has_behind_a_gap_is_missing_if_it_is_in_no_table_a_while_later() -> None:
    world = World(served={BTC: Spans([(5, 1_205)])}, stored={BTC: Spans([(1_201, 1_205)])})
    world.core.take(gap(first_missing=5, before_timestamp=None), NOW)
    world.settle(25)
    assert [page.first for page in world.calls] == [5, 1_005], "until an answer is not full"
    assert world.last().status == "open" and not world.published
    world.settle(20)
    assert [str(page.wanted) for page in world.calls[2:]] == ["5-1004", "1005-1200"]
    assert (world.last().status, world.last().last_missing, world.last().records_filled) == ("filled", 1_205, 1_196)
    world.core.take(gap(first_missing=5, last_missing=1_200, received_at=world.now), world.now)
    assert world.last().status == "filled"


def test_a_trade_that_tells_the_far_side_in_time_is_believed_instead() -> None:
    world = World(served={BTC: Spans([(5, 20)])})
    world.core.take(gap(first_missing=5, before_timestamp=None), NOW)
    world.settle(20)
    assert len(world.calls) == 1
    world.core.take(gap(first_missing=5, last_missing=8, received_at=world.now), world.now)
    world.settle(5)
    assert world.stored[BTC] == Spans([(5, 8)]) and world.last().status == "filled"


def test_an_exchange_that_cannot_tell_what_there_is_leaves_the_gap_unavailable() -> None:
    world = World()
    world.core.take(gap(first_missing=5, before_timestamp=None), NOW)
    while world.now < NOW + 200 * SECOND_US and world.last().status == "open":
        page = world.core.next_page("binance", world.now)
        if page is not None:
            world.core.failed(page, "garbage", world.now, passing=False)
        world.now += SECOND_US
    assert (world.last().status, world.last().attempts) == ("unavailable", 6)


def test_a_gap_in_which_nothing_was_missed_is_closed_without_a_call() -> None:
    world = World()
    candle = BTC._replace(kind="candle", interval="1m")
    within: dict[str, Any] = {"after_timestamp": MINUTE - 2 * MINUTE_US, "before_timestamp": MINUTE - MINUTE_US}
    world.core.take(gap(series=candle, **within), NOW)
    world.settle(1)
    assert world.last().status == "filled" and "nothing was due between its bounds" in world.last().evidence
    assert not world.calls


def test_candles_are_asked_for_when_they_have_had_time_to_come_of_themselves() -> None:
    candle = BTC._replace(kind="candle", interval="1m")
    late = MINUTE // MINUTE_US - 2
    world = World(now=MINUTE + SECOND_US)
    hole: dict[str, Any] = {"lost_from": MINUTE - 200 * SECOND_US, "lost_to": world.now, "before_timestamp": None}
    world.core.take(gap(series=candle, after_timestamp=MINUTE - 5 * MINUTE_US, **hole), world.now)
    world.look()
    assert world.call() is None, "the last one may still come"
    world.stored[candle] = Spans([(late, late)])
    world.settle(20)
    first, last = (MINUTE - 4 * MINUTE_US) // 1000, (MINUTE - MINUTE_US) // 1000
    assert [page.path("BTCUSDT") for page in world.calls] == [
        f"/fapi/v1/klines?symbol=BTCUSDT&interval=1m&startTime={first}&endTime={last}&limit=4"
    ]
    assert world.last().records_filled == 3 and world.last().status == "filled"


@pytest.mark.parametrize(
    "kind", ["book_change", "quote", "liquidation", "index_price", "candle_update", "funding_rate"]
)
def test_what_no_exchange_serves_is_lost_for_good_and_stays_so_when_its_bounds_become_known(kind: str) -> None:
    world = World()
    world.core.take(gap(series=BTC._replace(kind=kind), before_timestamp=None, lost_to=None), NOW)
    world.look()
    assert world.last().status == "unavailable" and "serves no history" in world.last().evidence
    world.core.take(gap(series=BTC._replace(kind=kind), received_at=NOW + 5, lost_to=NOW + 2), NOW + 1)
    world.look()
    assert (world.last().status, world.last().lost_to, world.last().received_at) == ("unavailable", NOW + 2, NOW + 5)
    assert [event.status for event in world.events] == ["unavailable", "unavailable"]
    assert not world.calls


def test_a_finder_that_is_far_behind_is_heard_by_what_it_says() -> None:
    world = World()
    book = BTC._replace(kind="book_change")
    past = NOW - 3_600 * SECOND_US
    first = gap(series=book, first_missing=5, before_timestamp=None, received_at=past, detection_time=past)
    world.core.take(first, NOW)
    settled = gap(series=book, first_missing=5, last_missing=9, received_at=past + 1, detection_time=past)
    for _ in range(2):
        world.core.take(settled, NOW + 1)
        world.core.take(first, NOW + 2)
    world.look()
    assert [(event.status, event.last_missing) for event in world.events] == [("unavailable", None), ("unavailable", 9)]
    reborn = World()
    reborn.core.load([settled, *reversed(world.events), first], NOW + 9)
    assert reborn.last() == world.last() and reborn.core.take_events() == []


def test_what_is_older_than_its_table_keeps_is_not_asked_for() -> None:
    world = World()
    old = NOW - 8 * DAY_US
    world.core.take(gap(first_missing=1, last_missing=9, before_timestamp=old, lost_to=old, timestamp=old), NOW)
    world.settle(1)
    assert world.last().status == "unavailable" and "older than what is kept" in world.last().evidence


def test_a_hole_in_what_is_served_is_lost_to_the_id_and_the_rest_is_filled() -> None:
    world = World(served={BTC: Spans([(1, 102), (108, 5_000)])})
    world.core.take(gap(first_missing=101, last_missing=110), NOW)
    world.settle(30)
    closed = world.last()
    assert (closed.status, closed.records_filled) == ("partly_filled", 5)
    assert "lost for good: 103-107 (5): the exchange does not serve it" in closed.evidence
    assert len(world.calls) == 3, "asked for once, and twice more for what was not in the answer"


def test_an_exchange_that_is_away_is_asked_later_and_later_and_the_gap_stays_open() -> None:
    world = World(core=BackfillCore(history_of, patience=Patience(most_us=60 * SECOND_US)))
    world.core.take(gap(first_missing=1, last_missing=9), NOW)
    world.look()
    asked_at = []
    while world.now < NOW + 600 * SECOND_US:
        page = world.core.next_page("binance", world.now)
        if page is not None:
            asked_at.append((world.now - NOW) // SECOND_US)
            world.core.failed(page, "status 503", world.now, passing=True)
        world.now += SECOND_US
    pauses = [later - before for before, later in pairwise(asked_at)]
    world.core.take_events()
    assert pauses[:6] == [1, 2, 4, 8, 16, 32] and set(pauses[6:]) == {60}
    assert world.last().status == "filling" and world.core.busy(world.now) == 0
    world.settle(70)
    assert world.last().status == "filled"


def test_answers_that_are_none_end_in_a_clear_status_after_a_few_tries() -> None:
    world = World()
    world.core.take(gap(first_missing=1, last_missing=9), NOW)
    world.look()
    tries = 0
    while world.now < NOW + 600 * SECOND_US and world.last().status != "unavailable":
        page = world.core.next_page("binance", world.now)
        if page is not None:
            tries += 1
            world.core.failed(page, "an answer that cannot be used: garbage", world.now, passing=False)
        world.now += SECOND_US
        world.look()
    assert tries == Patience().bad_tries
    assert "lost for good: 1-9 (9): an answer that cannot be used: garbage" in world.last().evidence


def test_a_fresh_gap_overtakes_a_long_historical_fill() -> None:
    world = World()
    days = NOW - 3 * DAY_US
    world.core.take(gap("old", first_missing=1, last_missing=50_000, before_timestamp=days, lost_to=days), NOW)
    world.look()
    for _ in range(3):
        world.call()
    eth = BTC._replace(symbol="ETH-USDT-PERP")
    world.core.take(gap("new", eth, first_missing=1, last_missing=1_500), world.now)
    world.look()
    order = []
    for _ in range(4):
        page = world.call()
        assert page is not None
        order.append(page.gap.gap_id)
    assert order == ["new", "new", "old", "old"]
    assert world.last("old").priority == "historical" and world.last("new").priority == "urgent"


def test_two_hundred_symbols_of_all_priorities_urgent_first_and_a_crash_in_the_middle_asks_for_nothing_twice() -> None:
    ages = {"urgent": HOUR_US // 2, "recent": 5 * HOUR_US, "historical": 50 * HOUR_US}
    gaps = [
        gap(
            f"{symbol}-{priority}",
            BTC._replace(symbol=f"A{symbol}-USDT-PERP"),
            first_missing=1 + 10_000 * place,
            last_missing=1_500 + 10_000 * place,
            before_timestamp=NOW - ages[priority],
            lost_to=NOW - ages[priority],
        )
        for symbol in range(200)
        for place, priority in enumerate(("historical", "recent", "urgent"))
    ]
    world = World()
    for one in gaps:
        world.core.take(one, NOW)
    world.look()
    for number in range(700):
        page = world.call()
        assert page is not None
        if number % 50 == 0:
            world.store()  # some has reached its table when the process dies, some has not
            world.look()
    world.events += world.core.take_events()

    reborn = World(stored=world.stored, published=world.published, calls=world.calls, now=NOW + SECOND_US)
    reborn.core.load([*gaps, *world.events], reborn.now)
    reborn.settle(10)
    states = reborn.core.states
    assert {(state.status, state.priority) for state in states.values()} == {("filled", priority) for priority in ages}
    asked = [page.gap.gap_id.partition("-")[2] for page in reborn.calls]
    assert asked == sorted(asked, key=list(ages).index), "in the order of priorities"
    assert len(reborn.calls) == 200 * 3 * 2, "the fewest there can be"
    asked_for: dict[Series, Spans] = {}
    for page in reborn.calls:
        assert not page.wanted & asked_for.get(page.series, Spans()), "asked for twice"
        asked_for[page.series] = page.wanted | asked_for.get(page.series, Spans())
    assert all(reborn.stored[BTC._replace(symbol=one.symbol)].count == 4_500 for one in gaps)


def test_rows_that_are_refused_on_their_way_are_asked_for_again_and_given_up_in_the_end() -> None:
    world = World()
    world.core.take(gap(first_missing=1, last_missing=3), NOW)
    world.look()
    while world.last().status not in ("unavailable", "filled") and world.now < NOW + 600 * SECOND_US:
        if world.call():
            filling = world.core.fillings[BTC]
            world.published = {}
            world.core.looked(filling, Spans(), world.now, through=True)
            world.events += world.core.take_events()
        world.now += SECOND_US
        world.look()
    assert world.last().status == "unavailable" and "refused on their way to the table" in world.last().evidence


def test_priorities_follow_age() -> None:
    assert [Ages().priority(age) for age in (0, HOUR_US - 1, HOUR_US, DAY_US - 1, DAY_US)] == [
        "urgent",
        "urgent",
        "recent",
        "recent",
        "historical",
    ]
