"""What is saved together: everything of one instrument in one partition."""

from __future__ import annotations

from services.normaliser.lane import Lane
from services.normaliser.poll_lane import PollLane


class Unit:
    """All lanes of one instrument: what is saved together."""

    __slots__ = ("born", "lanes", "name", "polls", "saved", "seen")

    def __init__(self, name: tuple[str, str, str], born: int) -> None:
        self.name = name
        self.born = born
        """The RAW sequence of its first frame."""
        self.seen = 0
        """The RAW sequence up to which its saved state holds."""
        self.saved = False
        self.lanes: dict[str, Lane] = {}
        self.polls: dict[str, PollLane] = {}
