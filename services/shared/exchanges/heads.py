"""What every record of a frame begins with, for parsers of which nobody asks to be fast. Pure."""

from __future__ import annotations

from typing import Any

from schemas.frames import RawFrame
from schemas.records import TimestampSource


def head(frame: RawFrame, symbol: str, timestamp: int, source: TimestampSource) -> dict[str, Any]:
    """Return whose a live record is, when it happened (microseconds UTC, and where that is from), and when it came."""
    return {
        "exchange": frame.exchange,
        "market": frame.market,
        "symbol": symbol,
        "timestamp": timestamp,
        "timestamp_source": source,
        "received_at": frame.received_at,
        "source": "live",
    }
