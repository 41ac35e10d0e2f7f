"""What a source of news is, and the times that all of them share."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Protocol

from services.exchange_simulator.generator.events import Event
from services.exchange_simulator.generator.market import Market

SECOND_US = 1_000_000
DAY_US = 86_400_000_000


class Source(Protocol):
    """One kind of news of one instrument."""

    topics: frozenset[str]
    due_us: int

    def start(self, now_us: int) -> None:
        """Speak from `now_us` on: what happened before is not told."""
        ...

    def take(self, heard: Collection[str]) -> Iterator[tuple[str, Event]]:
        """Yield what falls due at `due_us` as (topic, event) for the topics heard, and move `due_us` on."""
        ...

    def state(self, topic: str, now_us: int) -> Event | None:
        """Return how a topic stands, for streams that begin with that; None where there is no such thing.

        The source runs, and everything that fell due up to `now_us` has been taken.
        """
        ...


def whole_ms(time_us: int) -> int:
    """Cut a time to whole milliseconds, still in us."""
    return time_us // 1000 * 1000


def lag_us(market: Market) -> int:
    """Return how long after a step the exchange speaks of it."""
    return 3_000 + market.key % 4_000


def grid_after(time_us: int, grid_us: int, phase_us: int) -> int:
    """Return the first point of a grid after a time."""
    return (time_us - phase_us) // grid_us * grid_us + grid_us + phase_us
