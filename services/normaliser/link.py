"""One of the connections that feed a lane."""

from __future__ import annotations

from schemas import records
from services.normaliser.counts_told import CountsTold

THIN_AT = 32
"""Records aside at which a link is first looked through for those that the leader has passed."""


class Link:
    """One connection that feeds a lane."""

    __slots__ = ("aside", "counts", "frames", "name", "number", "since", "thin_at")

    def __init__(self, name: str, since: int, number: int = 0) -> None:
        self.name = name
        self.since = since
        """When it began to cover the lane, our clock: its subscription was confirmed, or its first frame came."""
        self.number = number
        """Of its last frame here. Per connection and partition numbers rise, so one not above it is a repetition."""
        self.aside: list[records.Record] = []
        self.thin_at = THIN_AT
        """How many records aside make it worth to forget those that the leader has passed."""
        self.frames = 0
        """Read since the collector last told how many there were."""
        self.counts = CountsTold(known=number == 0)
