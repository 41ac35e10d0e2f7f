"""What an address may ask in a window of time, as an exchange counts it."""

from __future__ import annotations

from collections import deque


class Quota:
    """So much weight in so long a window, which slides; requests that were refused do not count."""

    def __init__(self, weight: int, window_us: int) -> None:
        self.weight = weight
        self._window_us = window_us
        self._asked: deque[tuple[int, int]] = deque()
        self._used = 0

    def take(self, now_us: int, weight: int = 1) -> bool:
        """Count a request of a weight; False where there is no room for it."""
        asked = self._asked
        while asked and asked[0][0] <= now_us - self._window_us:
            self._used -= asked.popleft()[1]
        if self._used + weight > self.weight:
            return False
        asked.append((now_us, weight))
        self._used += weight
        return True
