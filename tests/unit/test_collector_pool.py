"""Streams on connections: within the limit, evenly, few moves, and never on none."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.collector.core import Topic
from services.collector.pool import SPARE, Move, Pool, Room, Slot


def streams(*numbers: int) -> dict[str, Topic]:
    return {f"s{n}": Topic("trades", f"S{n}-USDT-PERP") for n in numbers}


def loads(pool: Pool) -> list[int]:
    return [len(slot.streams) for slot in pool.slots]


@pytest.mark.parametrize(
    ("count", "most", "sizes"), [(10, 10, [10]), (11, 10, [6, 5]), (25, 10, [9, 8, 8]), (1, 5, [1]), (0, 5, [])]
)
def test_connections_are_filled_evenly_within_the_limit(count: int, most: int, sizes: list[int]) -> None:
    pool = Pool(most, Room(None))
    changes = pool.want(streams(*range(count)))
    assert loads(pool) == sizes
    assert changes.opened == changes.touched == pool.slots and not changes.moves and not changes.closed
    # Neighbours stay together: a symbol's streams are on one connection where they can be.
    assert [name for slot in pool.slots for name in slot.streams] == list(streams(*range(count)))


def test_a_new_stream_goes_where_most_room_is_and_touches_no_other() -> None:
    pool = Pool(10, Room(None))
    pool.want(streams(*range(17)))
    full, other = pool.slots
    assert loads(pool) == [9, 8]
    changes = pool.want(streams(*range(18)))
    assert (changes.opened, changes.moves, changes.touched) == ([], [], [other])
    changes = pool.want(streams(*range(21)))
    assert loads(pool) == [9, 9, 3] and full not in changes.touched
    assert changes.opened == changes.touched == pool.slots[2:]


def test_a_slot_that_carries_nothing_is_gone_at_once() -> None:
    pool = Pool(2, Room(None))
    pool.want(streams(0, 1, 2, 3))
    first, second = pool.slots
    changes = pool.want(streams(2, 3))
    assert changes.closed == [first] and pool.slots == [second] and not changes.touched


def test_slots_are_given_up_by_a_clear_margin_only_and_by_moves() -> None:
    pool = Pool(10, Room(None))
    pool.want(streams(*range(20)))
    first, second = pool.slots
    assert pool.want(streams(*range(8), *range(10, 14))).moves == []
    assert loads(pool) == [8, 4], "12 would fit into one of 10 with another one left over: no"
    [move] = pool.want(streams(*range(5), *range(10, 12))).moves
    assert (move.source, move.target, move.names) == (second, first, ("s10", "s11"))
    # On both until the target delivers.
    assert loads(pool) == [7, 2] and first.arriving == second.leaving == {"s10", "s11"} and second.closing
    assert pool.moved(["s10"]) == []
    assert list(second.streams) == ["s11"] and first.arriving == {"s11"}
    # Meanwhile a new one comes: not to the slot that is being given up.
    assert pool.want(streams(*range(5), 10, 11, 15)).touched == [first]
    assert pool.moved(["s11", "s15", "unheard of"]) == [second]
    assert pool.slots == [first] and pool.moving == 0


def test_what_does_not_arrive_stays_where_it_was() -> None:
    pool = Pool(10, Room(None))
    pool.want(streams(*range(20)))
    first, second = pool.slots
    pool.want(streams(0, 1, 2, 10, 11))
    assert pool.moving == 2 and first.closing == (len(first.streams) < 3)
    source, target = (first, second) if first.closing else (second, first)
    names = list(source.leaving)
    assert pool.kept(names) == []
    assert not source.closing and not source.leaving and not target.arriving
    assert set(source.streams) & set(target.streams) == set()


def test_what_is_given_up_on_the_move_is_on_neither() -> None:
    pool = Pool(10, Room(None))
    pool.want(streams(*range(20)))
    first, second = pool.slots
    assert len(pool.want(streams(*range(5), 10, 11)).moves) == 1
    changes = pool.want(streams(*range(5), 10))
    assert changes.touched == [first, second] or changes.touched == [second, first]
    assert "s11" not in first.streams and "s11" not in second.streams and pool.moving == 1
    assert pool.moved(["s10", "s11"]) == [second] and loads(pool) == [6]


def check(pool: Pool, wanted: dict[str, Topic], most: int) -> None:
    """What always holds: every wanted stream is on one slot, or on two while it moves; limits; books that agree."""
    held = Counter(name for slot in pool.slots for name in slot.streams)
    leaving = Counter(name for slot in pool.slots for name in slot.leaving)
    arriving = Counter(name for slot in pool.slots for name in slot.arriving)
    assert held.keys() == wanted.keys()
    assert leaving == arriving and set(leaving.values()) <= {1} and leaving.total() == pool.moving
    assert all(count == 1 + leaving[name] for name, count in held.items())
    for slot in pool.slots:
        assert 0 < len(slot.streams) <= most
        assert slot.arriving <= slot.streams.keys() and slot.leaving <= slot.streams.keys()
        assert all(slot.streams[name] == wanted[name] for name in slot.streams)


def test_an_address_has_so_many_connections_and_what_finds_no_room_waits() -> None:
    room = Room(3)
    one, other = Pool(2, room), Pool(2, room)
    assert one.want(streams(0, 1, 2)).left_out == []
    assert other.want(streams(10, 11, 12, 13)).left_out == ["s12", "s13"]
    assert loads(one) == [2, 1] and loads(other) == [2]
    assert other.want(streams(10, 11, 12, 13)).left_out == ["s12", "s13"]
    # Room where one is gone; what has a place keeps it.
    assert one.want(streams(2)).left_out == []
    again = other.want(streams(10, 11, 12, 13))
    assert again.left_out == [] and len(again.opened) == 1 and loads(other) == [2, 2]


@given(
    most=st.integers(1, 12),
    steps=st.lists(
        st.one_of(
            st.sets(st.integers(0, 60)),  # what is listed from now on
            st.builds(lambda first, count: set(range(first, first + count)), st.integers(0, 9), st.integers(0, 50)),
            st.tuples(st.booleans(), st.integers(0, 5)),  # a move comes to its end, well or not
        ),
        max_size=30,
    ),
)
def test_listings_delistings_and_moves_in_any_order(most: int, steps: list[set[int] | tuple[bool, int]]) -> None:
    pool = Pool(most, Room(None))
    wanted: dict[str, Topic] = {}
    open_moves: list[Move] = []
    for step in steps:
        before = {slot.number: set(slot.streams) for slot in pool.slots}
        if isinstance(step, tuple):
            well, index = step
            if not open_moves:
                continue
            move = open_moves.pop(index % len(open_moves))
            gone = pool.moved(move.names) if well else pool.kept(move.names)
            assert all(not slot.streams for slot in gone)
            check(pool, wanted, most)
            continue
        wanted = streams(*sorted(step))
        changes = pool.want(wanted)
        open_moves += changes.moves
        check(pool, wanted, most)
        # What is told is what happened: no other slot's streams changed, none opened or closed untold.
        touched = {slot.number for slot in (*changes.touched, *changes.opened, *changes.closed)}
        after = {slot.number: set(slot.streams) for slot in pool.slots}
        assert all(before.get(number) == after.get(number) for number in before.keys() | after if number not in touched)
        # Nothing moves that need not: what was on a slot before and is wanted still is on it now.
        for number, names in before.items():
            assert names & wanted.keys() <= after.get(number, set())
        # Never more slots than the limit asks for because of this step.
        if changes.opened:
            assert not changes.moves
            room = sum(most - len(slot.streams) for slot in pool.slots if not slot.closing)
            assert room < most
        if changes.moves:
            moved = sum(len(move.names) for move in changes.moves)
            assert moved == pool.moving, "no stream is moved while others are"
            given_up = [slot for slot in pool.slots if slot.closing]
            assert moved == sum(len(slot.streams) for slot in given_up)
            least = min(len(slot.streams) - len(slot.arriving) for slot in pool.slots if not slot.closing)
            assert all(len(slot.streams) <= least for slot in given_up), "the least filled are given up"
            rest = [slot for slot in pool.slots if not slot.closing]
            assert len(wanted) <= len(rest) * max(1, int(most * (1 - SPARE)))
    # When every move is at its end, each stream is on exactly one.
    for move in open_moves:
        pool.moved(move.names)
    check(pool, wanted, most)
    assert pool.moving == 0 and not any(slot.closing for slot in pool.slots)


def test_a_slot_is_itself_however_it_looks() -> None:
    assert Slot(1) != Slot(1)
