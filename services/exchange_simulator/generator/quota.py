"""How many requests an address may make in a window of time, as an exchange counts them."""

from __future__ import annotations

from collections import deque


class Quota:
    """So many requests in so long a window, which slides; those that were refused do not count."""

    def __init__(self, requests: int, window_us: int) -> None:
        self.requests = requests
        self._window_us = window_us
        self._made_us: deque[int] = deque()

    def take(self, now_us: int) -> bool:
        """Count a request; False where there is no room for it."""
        made = self._made_us
        while made and made[0] <= now_us - self._window_us:
            made.popleft()
        if len(made) >= self.requests:
            return False
        made.append(now_us)
        return True

    @property
    def left(self) -> int:
        """How many more there is room for, as of the request last counted."""
        return self.requests - len(self._made_us)
