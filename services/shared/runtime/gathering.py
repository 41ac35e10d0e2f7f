"""How long a publisher gathers before it publishes: longer at high rates, where every batch costs the server alike.

nats-server 2.15 takes 1.6 ms of processor time for an atomic batch and 7 us for each message in it (file storage).
At 10,000 messages a second 10 ms make batches of 100, of which the batch itself is two thirds; at 25,000 twice as long
makes batches of 500, of which it is a third.
"""

from __future__ import annotations


class Gathering:
    """The time to gather: `base_s`, doubled up to `most` times of it while what was gathered is plenty."""

    def __init__(self, base_s: float, plenty: int, most: int) -> None:
        """Count as plenty so many messages or frames in one batch."""
        self.seconds = base_s
        self._base_s = base_s
        self._plenty = plenty
        self._most = most

    def took(self, count: int) -> None:
        """Learn how many were gathered last: more than plenty makes it longer, less than a quarter of it shorter."""
        if count > self._plenty:
            self.seconds = min(self.seconds * 2, self._base_s * self._most)
        elif count * 4 < self._plenty:
            self.seconds = max(self.seconds / 2, self._base_s)

    def left(self, began: float, now: float) -> float:
        """Return how many seconds there are still to wait, where gathering began at `began` (any clock, seconds)."""
        return max(0.0, began + self.seconds - now)
