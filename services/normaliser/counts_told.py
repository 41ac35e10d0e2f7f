"""How many frames the collector took of a stream, beside how many of them were read from RAW.

No exchange numbers its quotes or tickers without holes: a frame that was received, acknowledged, and is not on RAW any
more (a server that lost its last writes, a message that was deleted) would be missed by nobody.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Told(NamedTuple):
    """What a `counted` event says of one stream: `frames` from `since` until before `until`, and `total` ever."""

    frames: int
    total: int
    since: int
    until: int


class Short(NamedTuple):
    """So many frames received from `since` until before `until` (microseconds, our clock) were not on RAW."""

    frames: int
    since: int
    until: int


class CountsTold(msgspec.Struct):
    """What was last told of one stream on one connection.

    `known`: whether every frame since then was to be read here. It is not for a connection that comes back after it was
    taken for gone, nor for one that was open long before RAW begins: the next event is then where counting begins.
    """

    known: bool = False
    number: int = 0
    """Of the frame that told it."""
    total: int | None = None
    until: int = 0

    def is_new(self, number: int) -> bool:
        """Whether a `counted` event was not seen before."""
        return number > self.number

    def compare(self, number: int, told: Told, frames: int) -> Short | None:
        """Take the event `number`; return what is missing of `frames` read since the last one.

        Where an event is missing itself, the totals still tell what is; only the time becomes wider.
        """
        due, since = told.frames, told.since
        if self.total is not None and self.total + told.frames < told.total:
            due, since = told.total - self.total, self.until
        known, self.known = self.known and (self.total is not None or told.total == told.frames), True
        self.number, self.total, self.until = number, told.total, told.until
        return Short(due - frames, since, told.until) if known and due > frames else None
