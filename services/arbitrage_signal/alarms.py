"""What is due at a later moment of the core's own clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import NamedTuple


class _Alarm(NamedTuple):
    due: int
    number: int
    ring: Callable[[int], None]


class Alarms:
    """Calls that are due, in the order of their time; those of one moment in the order in which they were set."""

    def __init__(self) -> None:
        self._heap: list[_Alarm] = []
        self._count = 0

    def set(self, due: int, ring: Callable[[int], None]) -> None:
        """Have `ring` called with `due` when that moment has come."""
        self._count += 1
        heapq.heappush(self._heap, _Alarm(due, self._count, ring))

    def due(self, now: int) -> int | None:
        """Return when the next call is due, None while that is later than `now`."""
        heap = self._heap
        return heap[0].due if heap and heap[0].due <= now else None

    def ring(self) -> None:
        """Make the next call."""
        alarm = heapq.heappop(self._heap)
        alarm.ring(alarm.due)

    def clear(self) -> None:
        """Forget them all."""
        self._heap.clear()
