"""Deribit's limit on requests: credits of pools that refill, one for ordinary methods, one for instrument lists."""

from __future__ import annotations

_HEAVY = "get_instruments"
_ORDINARY_POOL = 50_000
_ORDINARY_COST = 500
_ORDINARY_PER_S = 10_000
_HEAVY_POOL = 5
_HEAVY_EVERY_S = 10


class Pool:
    """A pool of credits; times are microseconds."""

    def __init__(self, most: int, per_s: float) -> None:
        self._most = most
        self._per_s = per_s
        self._left = float(most)
        self._seen_us = 0

    def take(self, cost: int, now_us: int) -> bool:
        """Take credits if there are enough; say whether there were."""
        passed_us = max(0, now_us - self._seen_us)
        self._left = min(self._most, self._left + passed_us / 1_000_000 * self._per_s)
        self._seen_us += passed_us
        if self._left < cost:
            return False
        self._left -= cost
        return True


class Credits:
    """What one address may still ask of one market."""

    def __init__(self) -> None:
        self._ordinary = Pool(_ORDINARY_POOL, _ORDINARY_PER_S)
        self._heavy = Pool(_HEAVY_POOL, 1.0 / _HEAVY_EVERY_S)

    def take(self, method: str, now_us: int) -> bool:
        """Say whether a method may be asked now, and count it."""
        if method == _HEAVY:
            return self._heavy.take(1, now_us)
        return self._ordinary.take(_ORDINARY_COST, now_us)
