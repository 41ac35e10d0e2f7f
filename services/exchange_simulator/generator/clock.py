"""Market time."""

from __future__ import annotations


class Clock:
    """Market time: the wall clock, or a clock that began at `start_us` when it was first looked at."""

    def __init__(self, start_us: int | None, duration_s: float | None) -> None:
        self._start_us = start_us
        self._duration_us = None if duration_s is None else round(duration_s * 1_000_000)
        self._ahead_us: int | None = None
        self._end_us: int | None = None

    def market_us(self, now_us: int) -> int:
        """Return the market time at a wall clock time, no later than the end of the run."""
        if self._ahead_us is None:
            start_us = now_us if self._start_us is None else self._start_us
            self._ahead_us = start_us - now_us
            self._end_us = None if self._duration_us is None else start_us + self._duration_us
        return now_us + self._ahead_us

    @property
    def endless(self) -> bool:
        """Whether the run has no end."""
        return self._duration_us is None

    def wall_us(self, market_us: int) -> int:
        """Return the wall clock time of a market time."""
        return market_us - (self._ahead_us or 0)

    def ends_before(self, market_us: int) -> bool:
        """Whether the run ends before a market time."""
        return self._end_us is not None and self._end_us < market_us
