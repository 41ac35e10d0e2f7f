"""Our clock."""

from __future__ import annotations

import time


def now_us() -> int:
    """Return the time now, microseconds UTC."""
    return time.time_ns() // 1000
