"""How many frames came of each stream of a connection, minute by minute of our clock. Pure.

They are told behind the last frame of the minute, in order with the frames themselves: whoever reads RAW and has fewer
knows that frames are gone which no number of the exchange's would have missed. A frame costs one addition and one
comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from schemas.frames import Count
from services.collector.outbox import Lane

MINUTE_US = 60_000_000


class Target:
    """Where the frames of a stream go, and how many have gone there."""

    __slots__ = ("channel", "frames", "lane", "symbol", "told")

    def __init__(self, lane: Lane, channel: str, symbol: str, before: Target | None = None) -> None:
        """`before`: the same stream's, asked for earlier on the same connection; counting goes on from it."""
        self.lane = lane
        self.channel = channel
        self.symbol = symbol
        self.frames: int = before.frames if before is not None else 0
        self.told: int = before.told if before is not None else 0
        """How many of the frames were told of."""


class Counted(NamedTuple):
    """What came from `since` until before `until` (microseconds UTC): counts by partition, symbol and channel."""

    since: int
    until: int
    counts: dict[int, dict[str, dict[str, Count]]]


class StreamCounts:
    """The clock of one connection's counts."""

    def __init__(self, targets: Mapping[str, Target]) -> None:
        self._targets = targets
        self._since = 0
        self.due_us = 0
        """When the minute that is being counted is over: it is to be told before a frame received then is taken."""

    def begin(self, now_us: int) -> None:
        """Count from now on."""
        self._since = now_us
        self.due_us = now_us - now_us % MINUTE_US + MINUTE_US

    def take(self, now_us: int) -> Counted:
        """Return what came since this was last asked, of the streams that had any.

        A minute that is over ends at its end, however late this is asked; another part of a minute ends now.
        """
        over = now_us >= self.due_us
        counted = Counted(self._since, self.due_us if over or now_us < self._since else now_us, {})
        for target in self._targets.values():
            if target.frames > target.told:
                of_symbol = counted.counts.setdefault(target.lane.part, {}).setdefault(target.symbol, {})
                of_symbol[target.channel] = Count(target.frames - target.told, target.frames)
                target.told = target.frames
        self.begin(now_us - now_us % MINUTE_US if over else now_us)
        return counted
