"""The faults that came to pass, as the simulator's ledger tells of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.chaos.account import Gap, Instrument
from services.exchange_simulator.fault_schedule import KINDS, kinds_of

SECOND_US = 1_000_000
BACK_US = 60 * SECOND_US
"""A connection that was cut is back within so long, whatever else befalls it meanwhile."""
CUTTING = frozenset({"close", "abort", "expire", "refuse", "stall"})
"""What ends coverage: a stall does, when it outlasts the collector's patience."""
SPOILING = frozenset({"drop", "truncate", "unchain", "swap", "duplicate"})
"""What breaks the numbers of a stream, or the order in which they come."""

Fault = tuple[str, int, str | None]
"""What, when (us UTC), and which symbol, where it was about one."""
Faults = Mapping[tuple[str, str], Sequence[Fault]]
"""By exchange and market."""


def wanted() -> tuple[str, ...]:
    """Return the kinds of fault that come by themselves."""
    return tuple(kind for kind in KINDS if kind in kinds_of(()))


def read(data: Path) -> Faults:
    """Return the faults of a run."""
    found: dict[tuple[str, str], list[Fault]] = defaultdict(list)
    for path in sorted((data / "ledger").glob("*.fault-*.parquet")):
        for row in pq.read_table(path).to_pylist():
            at_us = round(row["timestamp"].timestamp() * SECOND_US)
            found[row["exchange"], row["market"]].append((row["fault"], at_us, row["symbol"]))
    return found


def too_few(faults: Faults, exchanges: Collection[str], least: int) -> list[str]:
    """Say which kinds of fault have not hit an exchange often enough."""
    hits: Counter[tuple[str, str]] = Counter()
    for (exchange, _), found in faults.items():
        hits.update((exchange, fault) for fault, _, _ in found)
    few = [(exchange, kind) for exchange in exchanges for kind in wanted() if hits[exchange, kind] < least]
    return [f"{exchange}: {kind} came to pass {hits[exchange, kind]} times, not {least}" for exchange, kind in few]


def caused(gap: Gap, faults: Sequence[Fault], symbol: str | None = None) -> bool:
    """Whether a fault of a kind that makes such a gap came to pass about when it began."""
    until = (gap.lost_to_us or gap.lost_from_us) + SECOND_US
    for fault, at_us, about in faults:
        if fault in CUTTING and gap.lost_from_us - BACK_US <= at_us <= until:
            return True
        if fault in SPOILING and gap.lost_from_us - SECOND_US <= at_us <= until and symbol in (None, about):
            return True
    return False


def baseless(gaps: Mapping[tuple[Instrument, str, str | None], Sequence[Gap]], faults: Faults) -> list[str]:
    """Return the gaps on record that no fault accounts for, in words."""
    return [
        f"no fault made this gap: {' '.join(instrument)} {kind} {gap}"
        for (instrument, kind, _), found in gaps.items()
        for gap in found
        if not caused(gap, faults.get(instrument[:2], ()), instrument[2])
    ]
