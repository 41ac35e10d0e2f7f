"""The budget of an exchange against a model of the exchange's own counting, the order of service, what it learns."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.control import Priority
from services.collector.budget import SECOND_US, Ask, Pool
from services.shared.exchanges.binance_perp import BINANCE_PERP
from services.shared.exchanges.rest_rules import Rate, RestRules

RATES = (
    Rate("weight", 40, 10, but=("/free/",), used_header="x-used"),
    Rate("own", 5, 2, paths=("/own",), weighed=False),
    Rate("free", 4, 3, paths=("/free/",), apiece=True, weighed=False, left_header="x-left", reset_header="x-reset"),
)
RULES = RestRules(RATES, lambda body: None)
ENDPOINTS = ("/plain", "/own", "/free/a", "/free/b")


def counted(endpoint: str, weight: int) -> dict[str, int]:
    """What the exchange counts a request for, in its own words: written down here a second time, by hand."""
    return {
        "/plain": {"weight": weight},
        "/own": {"weight": weight, "own": 1},
        "/free/a": {"free a": 1},
        "/free/b": {"free b": 1},
    }[endpoint]


LIMITS = {"weight": (40, 10), "own": (5, 2), "free a": (4, 3), "free b": (4, 3)}


@dataclass
class Model:
    """An exchange that counts each request when it arrives, and what it counted."""

    arrived: list[tuple[int, dict[str, int]]] = field(default_factory=list)

    def fullest(self, name: str) -> int:
        """The most that any window of a limit ever held."""
        window = LIMITS[name][1] * SECOND_US
        return max(
            sum(counts.get(name, 0) for at, counts in self.arrived if end - window < at <= end)
            for end, _ in self.arrived
        )


requests = st.tuples(
    st.sampled_from(Priority),
    st.sampled_from(ENDPOINTS),
    st.integers(1, 40),
    st.integers(0, 3 * SECOND_US),  # when it is made, after the one before
    st.integers(0, 2 * SECOND_US),  # how long until the exchange counts it
    st.integers(0, 2 * SECOND_US),  # and until its answer is here
)


@given(st.lists(requests, min_size=1, max_size=40), st.sampled_from((1.0, 0.8, 0.3)), st.integers(1, 5))
def test_no_window_of_the_exchange_ever_holds_more_than_the_limit(
    made: list[tuple[Priority, str, int, int, int, int]], share: float, in_flight: int
) -> None:
    pool = Pool(RestRules(RATES, lambda body: None, in_flight=in_flight), share)
    model = Model()
    events: list[tuple[int, int, str, Ask | int]] = []
    at, number = 0, 0
    asks: dict[Ask, int] = {}
    for index, (*_, pause, _, _) in enumerate(made):
        at += pause
        heapq.heappush(events, (at, index, "make", index))
    now = 0
    granted = 0
    look_at: int | None = None
    while events or pool.waiting:
        if events and (look_at is None or events[0][0] <= look_at):
            now, _, what, about = heapq.heappop(events)
            if what == "make":
                assert isinstance(about, int)
                priority, endpoint, weight = made[about][:3]
                asks[pool.add(priority, endpoint, weight, lambda: None)] = about
            elif isinstance(about, Ask):
                pool.done(about, now)
        else:
            assert look_at is not None, "something waits and nothing will ever wake it"
            now = look_at
        while isinstance(found := pool.take(now), Ask):
            granted += 1
            there, back = made[asks[found]][4:]
            model.arrived.append((now + there, counted(found.endpoint, found.weight)))
            number += 1
            heapq.heappush(events, (now + there + back, len(made) + number, "answer", found))
            assert pool.under_way <= in_flight
        look_at = now + found if found is not None else None
    assert granted == len(made), "each was served, and once"
    for name, (units, _) in LIMITS.items():
        heaviest = max((counts.get(name, 0) for _, counts in model.arrived), default=0)
        assert model.fullest(name) <= max(units * share, heaviest, 1)


@given(st.lists(st.tuples(st.sampled_from(Priority), st.integers(1, 30)), max_size=60))
def test_those_that_cost_the_same_room_go_by_priority_and_age(queue: list[tuple[Priority, int]]) -> None:
    pool = Pool(RULES, 1.0)
    places = {pool.add(priority, "/plain", weight, lambda: None): at for at, (priority, weight) in enumerate(queue)}
    now, served = 0, []
    while (found := pool.take(now)) is not None:
        if isinstance(found, Ask):
            served.append(places[found])
            pool.done(found, now)
        else:
            now += found
    assert served == sorted(range(len(queue)), key=lambda index: (list(Priority).index(queue[index][0]), index))


def test_a_thousand_snapshots_take_hardly_longer_than_the_weight_allows() -> None:
    # 2,400 a minute, four fifths of it ours, 20 each: 96 at once, and 96 more with every minute.
    pool = Pool(BINANCE_PERP.rest, 0.8)
    for _ in range(1_000):
        ask(pool, Priority.STARTUP, "/fapi/v1/depth", 20)
    under_way: list[tuple[int, int, Ask]] = []
    now = answered = 0
    while answered < 1_000:
        found = pool.take(now)
        if isinstance(found, Ask):
            heapq.heappush(under_way, (now + 200_000, id(found), found))
        elif under_way and (found is None or under_way[0][0] <= now + found):
            now, _, done = heapq.heappop(under_way)
            pool.done(done, now)
            answered += 1
        else:
            assert found is not None
            now += found
    allowed_s = 10 * 60
    assert allowed_s <= now / SECOND_US <= 1.01 * allowed_s


def test_the_order_of_service_is_the_one_that_was_agreed() -> None:
    assert [item.value for item in sorted(Priority, key=lambda item: item.rank)] == [
        "resync",
        "startup",
        "urgent",
        "poll",
        "recent",
        "historical",
    ]


def ask(pool: Pool, priority: Priority, endpoint: str, weight: int = 1) -> Ask:
    return pool.add(priority, endpoint, weight, lambda: None)


def test_the_full_window_of_one_endpoint_holds_up_no_other() -> None:
    pool = Pool(RestRules(RATES, lambda body: None, in_flight=100), 1.0)
    for _ in range(6):
        ask(pool, Priority.RESYNC, "/own")
    plain = ask(pool, Priority.HISTORICAL, "/plain")
    taken = [pool.take(0) for _ in range(6)]
    assert taken[5] is plain
    assert [item.endpoint for item in taken[:5] if isinstance(item, Ask)] == ["/own"] * 5


def test_a_heavy_one_keeps_its_room_free_of_light_ones_behind_it() -> None:
    pool = Pool(RULES, 1.0)
    first = ask(pool, Priority.POLL, "/plain", 30)
    assert pool.take(0) is first
    pool.done(first, 0)
    heavy = ask(pool, Priority.STARTUP, "/plain", 20)
    light, other = ask(pool, Priority.POLL, "/own", 1), ask(pool, Priority.POLL, "/free/a")
    assert pool.take(1) is other, "it costs other room"
    assert pool.take(1) == 10 * SECOND_US - 1
    assert pool.take(10 * SECOND_US) is heavy
    assert pool.take(10 * SECOND_US) is light


def test_a_resync_that_comes_later_goes_before_all_that_waits_and_what_is_asked_again_keeps_its_place() -> None:
    pool = Pool(RULES, 1.0)
    order = pool.next_order()
    old = pool.add(Priority.POLL, "/plain", 40, lambda: None, order)
    assert pool.take(0) is old
    pool.done(old, 0)
    younger, again = ask(pool, Priority.POLL, "/plain", 40), pool.add(Priority.POLL, "/plain", 40, lambda: None, order)
    resync = ask(pool, Priority.RESYNC, "/plain", 40)
    served = []
    for minute in (10, 20, 30):
        found = pool.take(minute * SECOND_US)
        assert isinstance(found, Ask)
        pool.done(found, minute * SECOND_US)
        served.append(found)
    assert served == [resync, again, younger]


def test_the_exchanges_own_count_is_believed_when_it_is_higher() -> None:
    pool = Pool(RULES, 1.0)
    first = ask(pool, Priority.POLL, "/plain", 10)
    assert pool.take(0) is first
    pool.learn("/plain", {"x-used": "10"}, 1, 0.0)
    pool.done(first, 1)
    assert pool.used(1)["weight"] == 0.25, "it is what we knew"
    pool.learn("/plain", {"x-used": "38"}, 2, 0.0)
    waits, fits = ask(pool, Priority.RESYNC, "/own", 3), ask(pool, Priority.POLL, "/free/a")
    assert pool.take(2) is fits
    assert pool.take(2) == 10 * SECOND_US - 1, "somebody else uses this address: until what we did first is forgotten"
    assert pool.take(10 * SECOND_US + 1) is waits


def test_what_is_left_counts_for_its_endpoint_and_nothing_left_is_waited_out() -> None:
    pool = Pool(RULES, 1.0)
    now_s = 1_800_000_000.0
    pool.learn("/free/a", {"x-left": "1"}, 0, now_s)
    one, two, other = ask(pool, Priority.POLL, "/free/a"), ask(pool, Priority.POLL, "/free/a"), None
    assert pool.take(0) is one
    other = ask(pool, Priority.POLL, "/free/b")
    assert pool.take(0) is other
    pool.done(one, 0)
    pool.learn("/free/a", {"x-left": "0", "x-reset": "1800000009000"}, 0, now_s)
    assert pool.take(3 * SECOND_US) == 6 * SECOND_US, "the exchange says when, in milliseconds"
    assert pool.take(9 * SECOND_US) is two


def test_a_pause_stops_every_priority_and_ends() -> None:
    pool = Pool(RULES, 1.0)
    waiting = ask(pool, Priority.RESYNC, "/free/a")
    pool.pause(60 * SECOND_US)
    pool.pause(30 * SECOND_US)
    assert pool.take(1) == 60 * SECOND_US - 1
    assert pool.take(60 * SECOND_US) is waiting


def test_who_went_away_waits_no_more_and_what_was_granted_to_them_counts() -> None:
    pool = Pool(RestRules(RATES, lambda body: None, in_flight=1), 1.0)
    gone, next_one = ask(pool, Priority.RESYNC, "/plain", 40), ask(pool, Priority.POLL, "/plain", 1)
    last = ask(pool, Priority.RECENT, "/plain", 40)
    assert pool.take(0) is gone
    assert pool.take(0) is None, "one may be under way at a time"
    pool.withdraw(next_one)
    pool.done(gone, 5 * SECOND_US)
    pool.done(gone, 7 * SECOND_US)
    assert (pool.waiting, pool.under_way) == (1, 0)
    assert pool.take(6 * SECOND_US) == 9 * SECOND_US
    assert pool.take(15 * SECOND_US) is last


def test_a_weight_that_no_window_could_hold_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="a weight of 41 does not fit into limit 'weight' of 40 in 10 s"):
        ask(Pool(RULES, 1.0), Priority.POLL, "/plain", 41)
    alone = Pool(RULES, 0.5)
    heavy, light = ask(alone, Priority.POLL, "/plain", 40), ask(alone, Priority.POLL, "/plain", 1)
    assert alone.take(0) is heavy, "above our share of the limit, and below the limit: when nothing else has gone"
    alone.done(heavy, 0)
    assert alone.take(1) == 10 * SECOND_US - 1
    assert alone.take(10 * SECOND_US) is light


def test_endpoints_that_are_asked_for_once_are_forgotten() -> None:
    pool = Pool(RestRules((Rate("each", 1, 2, apiece=True),), lambda body: None), 1.0)
    for index in range(1_200):
        found = ask(pool, Priority.HISTORICAL, f"/{index}")
        assert pool.take(index * SECOND_US) is found
        pool.done(found, index * SECOND_US)
    assert len(pool._endpoints) <= 1_001
    again = ask(pool, Priority.RESYNC, "/1199")
    assert pool.take(1_200 * SECOND_US) == SECOND_US, "what still counts is not forgotten"
    assert pool.take(1_201 * SECOND_US) is again


def test_a_limit_that_the_exchange_tells_holds_from_then_on() -> None:
    pool = Pool(RULES, 0.5)
    first, _ = (ask(pool, Priority.POLL, "/plain", 20) for _ in range(2))
    assert pool.take(0) is first
    assert pool.take(0) == 10 * SECOND_US, "20 of 40 are ours"
    assert pool.told({"weight": 80, "free": 1, "no such limit": 1}) == {"weight": 80}
    assert pool.told({"weight": 80}) == {}, "no news"
    assert isinstance(pool.take(0), Ask)
    ask(pool, Priority.POLL, "/plain", 70)
    with pytest.raises(ValueError, match="'weight' of 80 in 10 s"):
        ask(pool, Priority.POLL, "/plain", 81)
    assert [one.units for one in RULES.rates] == [40, 5, 4], "what is declared stays"
