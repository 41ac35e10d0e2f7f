"""Our clock."""

from __future__ import annotations

import time


def now_us() -> int:
    """Return the time now, microseconds UTC."""
    return time.time_ns() // 1000


def monotonic_us() -> int:
    """Return a time that never steps, microseconds from no particular moment: for budgets and waits."""
    return time.monotonic_ns() // 1000
