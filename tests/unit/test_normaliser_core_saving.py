"""Saved and restored at any moment, a core says byte for byte what one that was never stopped says."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from schemas import frames
from schemas.frames import RawFrame, RawMessage
from services.normaliser.core import Output, PartitionCore
from services.shared.exchanges.registry import MARKETS
from tests.normaliser_rig import Rig, recorded

Messages = list[tuple[int, RawMessage]]


def run(core: PartitionCore, messages: Messages, after: int = 0) -> dict[int, list[Output]]:
    return {sequence: core.process(sequence, *message) for sequence, message in messages if sequence > after}


def busy_partition(seed: int) -> tuple[int, Messages]:
    """Two instruments' worth of trouble in one partition: overlaps, holes, drops, doubles, late snapshots."""
    chance = random.Random(seed)
    rig = Rig()
    number = {"A": 1, "B": 1}
    connections = ["A"]
    last = 0
    rig.session("subscribed", "trades", "depth", at=0.1)
    for step in range(1, 120):
        at = step / 3
        on = chance.choice(connections)
        roll = chance.random()
        if roll < 0.3:
            number["A"] += chance.choice([1, 1, 1, 3])
            rig.trade(number["A"], at=at, on=on)
        elif roll < 0.7:
            first = last + chance.choice([1, 1, 1, 1, 5])
            rig.depth(first, first + 2, last if first == last + 1 else first - 1, at=at, on=on, bids=[["99.5", "1"]])
            last = first + 2
        elif roll < 0.78:
            rig.snapshot(max(0, last - chance.randrange(4)), at=at)
        elif roll < 0.82:
            rig.again()
        elif roll < 0.86:
            rig.ws("trades", b"{", at=at, on=on)
        elif roll < 0.9:
            rig.session("alive", at=at, on=on)
        elif roll < 0.95 and len(connections) < 2:
            name = f"C{step}"
            connections.append(name)
            rig.session("subscribed", "trades", "depth", at=at, on=name)
        elif len(connections) > 1:
            rig.session("closed", at=at, on=connections.pop(0))
        else:
            rig.session("closed", at=at, on=connections[0])
            connections[0] = f"D{step}"
    return rig.part, rig.sent


def check_resume(part: int, messages: Messages, chance: random.Random) -> None:
    stayed = run(PartitionCore(part, MARKETS), messages)
    cut = chance.randrange(1, len(messages))
    stopped = PartitionCore(part, MARKETS)
    saved: dict[str, bytes] = {}
    for sequence, message in messages[:cut]:
        stopped.process(sequence, *message)
        for key in stopped.units():
            if chance.random() < 0.1:
                saved[key] = stopped.save(key)
    resumed = PartitionCore(part, MARKETS)
    after = resumed.restore(saved)
    assert after <= messages[cut - 1][0]
    again = run(resumed, messages, after)
    for sequence, _ in messages[cut:]:
        assert again[sequence] == stayed[sequence], f"RAW {sequence}, cut at {cut}, resumed after {after}"


@pytest.mark.parametrize("seed", range(60))
def test_a_restart_at_any_moment_changes_no_byte(seed: int) -> None:
    part, messages = busy_partition(seed)
    check_resume(part, messages, random.Random(seed * 7 + 1))


def test_a_restart_in_the_recorded_session_changes_no_byte(recordings: Path) -> None:
    filed = recorded(recordings, "BINANCE_FUTURES", "perp")
    by_part: dict[int, list[RawFrame]] = {}
    for part, frame in filed:
        by_part.setdefault(part, []).append(frame)
    part = max(by_part, key=lambda number: len(by_part[number]))
    messages = [(number, frames.message(frame, part)) for number, frame in enumerate(by_part[part], 1)]
    for seed in range(5):
        check_resume(part, messages, random.Random(seed))


def test_a_core_that_resumes_asks_the_exchange_for_nothing() -> None:
    rig = Rig()
    rig.snapshot(10, at=1)
    rig.depth(10, 12, 9, at=1.1)
    saved = {key: rig.core.save(key) for key in rig.core.units()}
    core = PartitionCore(rig.part, MARKETS)
    assert core.restore(saved) == rig.sequence
    rig.core = core
    (change,) = rig.depth(13, 15, 12, at=1.2)
    assert change["in_step"] is True
    assert rig.resyncs() == []


def test_units_have_keys_that_a_key_value_store_takes() -> None:
    rig = Rig(symbol="币安-USDT-PERP", bases=("币安",))
    rig.ws("ticker", b"{", at=1)
    assert list(rig.core.units()) == ["partition", "binance/perp/=E5=B8=81=E5=AE=89-USDT-PERP"]


def test_nothing_saved_means_reading_from_the_beginning() -> None:
    assert PartitionCore(0, MARKETS).restore({}) == 0


def test_an_unknown_unit_is_refused_by_name() -> None:
    with pytest.raises(KeyError, match="binance/perp/NO"):
        Rig().core.save("binance/perp/NO")


def test_state_that_cannot_be_read_means_reading_from_the_beginning() -> None:
    rig = Rig()
    rig.trade(1, at=1)
    saved = {key: rig.core.save(key) for key in rig.core.units()}
    for key in saved:
        assert PartitionCore(rig.part, MARKETS).restore(saved | {key: b"of another version"}) == 0


def test_what_the_ring_discarded_behind_a_saved_state_is_a_gap() -> None:
    rig = Rig()
    rig.trade(10, at=1)
    saved = {key: rig.core.save(key) for key in rig.core.units()}
    rig.core = PartitionCore(rig.part, MARKETS)
    after = rig.core.restore(saved)
    rig.core.lost(after + 1, after + 50)
    rig.sequence = after + 50
    gap, known, trade = rig.trade(15, at=5)
    assert (gap["gap_type"], known["first_missing"], known["last_missing"], trade["sequence"]) == ("ring", 11, 14, 15)
