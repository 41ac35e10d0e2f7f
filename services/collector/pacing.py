"""How fast is allowed: budgets over a rolling window, and waits that grow with each failure. Times in microseconds."""

from __future__ import annotations

import random
from collections import deque
from typing import Protocol

from services.shared.exchanges.declaration import Limits

SECOND_US = 1_000_000


class Budget:
    """At most `limit` units in any `window_us`; `correct` takes the other side's own count into account."""

    def __init__(self, limit: float, window_us: int) -> None:
        self.limit = limit
        self.window_us = window_us
        self.paused_until_us = 0
        self._spent: deque[tuple[int, float]] = deque()
        self._sum = 0.0
        self._held = 0.0

    def wait_us(self, weight: float, now_us: int) -> int:
        """Return how long to wait until `weight` may be spent; 0 means now. Raises ValueError above the limit."""
        if weight > self.limit:
            raise ValueError(f"a weight of {weight} does not fit into a limit of {self.limit}")
        self._expire(now_us)
        wait = max(0, self.paused_until_us - now_us)
        over = self._sum + self._held + weight - self.limit
        for at_us, spent in self._spent:
            if over <= 0:
                return wait
            over -= spent
            wait = max(wait, at_us + self.window_us - now_us)
        # What is held is settled now at the earliest, and stays counted for a window from then.
        return max(wait, self.window_us) if over > 0 else wait

    def spend(self, weight: float, now_us: int) -> None:
        """Count what is spent now."""
        self._spent.append((now_us, weight))
        self._sum += weight

    def hold(self, weight: float) -> None:
        """Count what is under way. The other side counts it when it arrives, any time until it has been answered."""
        self._held += weight

    def settle(self, weight: float, now_us: int) -> None:
        """What was held has been answered: the other side has counted it by now, and perhaps only just."""
        self._held -= weight
        self.spend(weight, now_us)

    def used(self, now_us: int) -> float:
        """Return what is counted now, what is under way included."""
        self._expire(now_us)
        return self._sum + self._held

    def correct(self, used: float, now_us: int) -> None:
        """The other side counts `used` in its window: when that is more than we know of, believe it."""
        known = self.used(now_us)
        if used > known:
            self.spend(used - known, now_us)

    def pause(self, until_us: int) -> None:
        """Spend nothing until then."""
        self.paused_until_us = max(self.paused_until_us, until_us)

    def _expire(self, now_us: int) -> None:
        spent = self._spent
        while spent and spent[0][0] <= now_us - self.window_us:
            self._sum -= spent.popleft()[1]
        if not spent:
            self._sum = 0.0


class Paced(Protocol):
    """What must be waited for before something is done: one budget, or several at once."""

    def wait_us(self, weight: float, now_us: int) -> int:
        """Return how long to wait until `weight` may be spent; 0 means now."""

    def spend(self, weight: float, now_us: int) -> None:
        """Count what is spent now."""


class Pace:
    """Several budgets that all must have room: so many a second, and so many an hour."""

    def __init__(self, *budgets: Budget) -> None:
        self._budgets = budgets

    def wait_us(self, weight: float, now_us: int) -> int:
        """Return how long to wait until `weight` may be spent; 0 means now."""
        return max(budget.wait_us(weight, now_us) for budget in self._budgets)

    def spend(self, weight: float, now_us: int) -> None:
        """Count what is spent now."""
        for budget in self._budgets:
            budget.spend(weight, now_us)


def connects_pace(limits: Limits, share: float) -> Pace:
    """Return the pace of connection attempts from one address."""
    rates = [(limits.connects_per_5_min, 300)]
    if limits.connects_per_s is not None:
        rates.append((limits.connects_per_s, 1))
    return Pace(*(Budget(max(1.0, units * share), window_s * SECOND_US) for units, window_s in rates))


class Backoff:
    """Waits that double from `base_s` to `cap_s`, each drawn between half and the whole of it."""

    def __init__(self, base_s: float, cap_s: float, source: random.Random) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self._source = source
        self.failures = 0

    def next_s(self) -> float:
        """Return the wait after one more failure, in seconds."""
        whole = min(self._cap_s, self._base_s * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return float(whole * self._source.uniform(0.5, 1.0))

    def reset(self) -> None:
        """It works again."""
        self.failures = 0
