"""What befalls the pipeline, and when: drawn from a seed, and the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

What = Literal["kill", "pause", "away", "full", "cut", "poison"]

COLLECTOR = "collector"
STORING = ("normaliser", "nats-server", "storage-batcher", "clickhouse")
"""Whose death loses nothing at all: what is behind the collector."""
KILLED = (*STORING, "gap-backfill", COLLECTOR)

PAUSE_S = 45.0
CLICKHOUSE_AWAY_S = 120.0
NATS_AWAY_S = 60.0
FULL_S = 20.0


class Deed(NamedTuple):
    """One thing that is done: at `at_s` from when data flows, to a process (or a market), for `seconds`."""

    at_s: float
    what: What
    whom: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        length = f" for {self.seconds:.0f} s" if self.seconds else ""
        return f"{self.at_s:7.1f} s  {self.what} {self.whom}{length}"


def plan(
    seed: int,
    duration_s: float,
    kills: int,
    markets: Sequence[str],
    *,
    loses: bool = True,
    full_disk: bool = True,
    lengths: float = 1.0,
) -> list[Deed]:
    """Return what is done within `duration_s`, in order.

    `kills` SIGKILLs in turns over everybody, so that each dies; three pauses, ClickHouse and NATS away for long, a full
    disk, poisoned rows and cut connections. With `loses` false only those behind the collector die or pause, and rows
    are poisoned: then nothing at all may be missing. `lengths` multiplies how long a pause or an absence is.
    """
    chance = random.Random(seed)
    last_s = duration_s * 0.9

    def moment(latest_s: float = last_s) -> float:
        return round(chance.uniform(0, max(latest_s, 1.0)), 1)

    victims = [*(KILLED if loses else STORING)]
    chance.shuffle(victims)
    deeds = [Deed(moment(), "kill", victims[number % len(victims)]) for number in range(kills)]
    pausable = [name for name in victims if name != COLLECTOR]
    deeds += [Deed(moment(), "pause", name, PAUSE_S) for name in chance.sample(pausable, 3)]
    deeds += [Deed(moment(), "poison", chance.choice(markets)) for _ in range(6)]
    if loses:
        deeds += [Deed(moment(), "cut", chance.choice(markets)) for _ in range(4)]
        deeds += [Deed(moment(), "pause", COLLECTOR, PAUSE_S)]
    deeds += [
        Deed(moment(), "away", "clickhouse", CLICKHOUSE_AWAY_S),
        Deed(moment(), "away", "nats-server", NATS_AWAY_S),
    ]
    if loses and full_disk:
        deeds += [Deed(moment(), "full", "disk", FULL_S)]
    return sorted(deed._replace(seconds=deed.seconds * lengths) for deed in deeds)
