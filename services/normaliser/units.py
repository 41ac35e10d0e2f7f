"""What is saved together: everything of one instrument in one partition."""

from __future__ import annotations

from schemas.frames import RawFrame
from services.normaliser.desk import Desk
from services.normaliser.lane import Lane
from services.normaliser.poll_lane import PollLane
from services.normaliser.tally import SavedTally, Tally

_REMEMBERED = 256
"""Connections whose last frame number is kept beside the instruments' own."""


class Numbers:
    """How far connections were read, by their frames that belong to no instrument."""

    def __init__(self) -> None:
        self.last: dict[str, int] = {}
        """Connection -> number of its last such frame."""

    def is_new(self, frame: RawFrame, desk: Desk) -> bool:
        """Whether a frame was not read before."""
        if frame.number <= self.last.get(frame.connection, -1):
            desk.counters.duplicates += 1
            return False
        self.last.pop(frame.connection, None)
        self.last[frame.connection] = frame.number
        if len(self.last) > _REMEMBERED:
            del self.last[next(iter(self.last))]
        return True


class Unit:
    """All lanes of one instrument: what is saved together."""

    __slots__ = ("born", "lanes", "name", "polls", "saved", "seen", "tally")

    def __init__(self, name: tuple[str, str, str], born: int, minute: int) -> None:
        self.name = name
        self.born = born
        """The RAW sequence of its first frame."""
        self.seen = 0
        """The RAW sequence up to which its saved state holds."""
        self.saved = False
        self.lanes: dict[str, Lane] = {}
        self.polls: dict[str, PollLane] = {}
        self.tally = Tally(minute)

    def frames(self) -> dict[str, int]:
        """Return how many frames came since the tally was last told, by kind; counting begins anew."""
        found: dict[str, int] = {}
        for lane in self.lanes.values():
            if lane.frames:
                for kind in lane.channel.kinds:
                    found[kind] = found.get(kind, 0) + lane.frames
                lane.frames = 0
        return found

    def dump_tally(self) -> SavedTally:
        """Return the state of what was counted."""
        return self.tally.dump({name: lane.frames for name, lane in self.lanes.items() if lane.frames})

    def load_tally(self, saved: SavedTally | None) -> None:
        """Take the state of what was counted back, after the lanes."""
        if saved is not None:
            self.tally.load(saved)
            for name, frames in saved.frames.items():
                if name in self.lanes:
                    self.lanes[name].frames = frames
