"""What a scan found and what the normaliser tells of the same rows is one gap on record, whoever comes first."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.records import Gap
from schemas.spans import Spans
from services.gap_backfill.core import BackfillCore
from services.gap_backfill.findings import Hole, gaps_of
from services.gap_backfill.series import Series
from services.shared.exchanges.history import MINUTE_US
from services.shared.exchanges.known_history import history_of
from tests.unit.test_gap_core import BTC, MINUTE, NOW, World, gap

CANDLES = Series("binance", "perp", "BTC-USDT-PERP", "candle", "1m")


def found(world: World, series: Series, before: int, behind: int) -> Gap:
    """Have a scan find what is missing between two rows."""
    history = history_of(*series[:2], series.kind, series.interval)
    assert history is not None
    at = (NOW - 60_000_000, NOW) if history.keyed == "id" else (before, behind)
    hole = Hole(series, before, at[0], behind, at[1])
    [made] = gaps_of(hole, history, world.core.known().get(series, Spans()), world.now, started_at=0)
    assert world.core.found(made, world.now)
    return made


def on_record(world: World) -> list[str]:
    """Return the ids of the gaps that the log has."""
    return [name for name, one in world.core.states.items() if one.status != "merged"]


@pytest.mark.parametrize("filled_before", [False, True])
def test_what_is_told_after_it_was_found_is_one_gap_with_the_finders_evidence(filled_before: bool) -> None:
    world = World()
    scanned = found(world, BTC, 100, 201)
    world.look()
    assert world.call() is not None
    if filled_before:
        world.settle(5)
        assert world.last(scanned.gap_id).status == "filled"
    world.core.take(gap(first_missing=101, last_missing=200), world.now)
    world.settle(5)
    assert on_record(world) == ["g1"]
    told = world.last("g1")
    assert (told.status, told.records_filled, told.attempts, told.priority) == ("filled", 100, 1, "urgent")
    assert told.evidence.startswith("connection A closed")
    assert world.last(scanned.gap_id).evidence.endswith("; part of g1")
    assert len(world.calls) == 1, "what was asked for is not asked for again"


def test_what_is_told_while_the_tables_are_looked_through_is_not_found_again() -> None:
    world = World()
    history = history_of(*BTC[:2], BTC.kind, BTC.interval)
    assert history is not None
    hole = Hole(BTC, 100, NOW - 60_000_000, 201, NOW)
    [scanned] = gaps_of(hole, history, Spans(), world.now, started_at=0)
    world.core.take(gap(first_missing=101, last_missing=200), world.now)
    assert not world.core.found(scanned, world.now)
    world.settle(5)
    assert on_record(world) == ["g1"] and len(world.calls) == 1


def test_the_larger_one_of_two_findings_stays() -> None:
    world = World()
    scanned = found(world, BTC, 100, 301)
    world.core.take(gap(first_missing=101, last_missing=200), world.now)
    world.settle(5)
    assert on_record(world) == [scanned.gap_id]
    assert (world.last(scanned.gap_id).status, world.last(scanned.gap_id).records_filled) == ("filled", 200)
    assert (world.last().status, world.last().evidence) == ("merged", f"connection A closed; part of {scanned.gap_id}")
    world.core.take(gap(first_missing=101, last_missing=200, status="filled", received_at=NOW + 5), world.now)
    assert world.last().status == "merged", "what its finder tells later changes nothing"


def test_findings_of_different_rows_stay_both() -> None:
    world = World()
    scanned = found(world, BTC, 100, 201)
    world.core.take(gap(first_missing=150, last_missing=250), world.now)
    world.settle(5)
    assert on_record(world) == [scanned.gap_id, "g1"]
    assert world.last(scanned.gap_id).records_filled == 100 and world.last().records_filled == 101


def test_candles_merge_when_the_far_side_is_told() -> None:
    world = World()
    begin = MINUTE - 10 * MINUTE_US
    world.core.take(gap(series=CANDLES, lost_from=begin, lost_to=None, before_timestamp=None), world.now)
    scanned = found(world, CANDLES, begin, MINUTE - 4 * MINUTE_US)
    told: dict[str, Any] = {
        "after_timestamp": begin,
        "before_timestamp": MINUTE - 4 * MINUTE_US,
        "received_at": NOW + 1,
    }
    world.core.take(gap(series=CANDLES, lost_from=begin, **told), world.now)
    world.settle(30)
    assert on_record(world) == ["g1"] and world.last(scanned.gap_id).status == "merged"
    assert (world.last().status, world.last().records_filled) == ("filled", 5)


def test_what_was_merged_stays_so_after_a_restart() -> None:
    world = World()
    found(world, BTC, 100, 201)
    world.core.take(gap(first_missing=101, last_missing=200), world.now)
    world.settle(5)
    again = World(core=BackfillCore(history_of), now=world.now, stored=world.stored)
    again.core.load([gap(first_missing=101, last_missing=200), *world.events], again.now)
    again.settle(5)
    assert on_record(again) == ["g1"] and again.calls == [] and again.events == []
