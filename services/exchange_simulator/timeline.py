"""Recorded frames on a clock: which reader gets which frame when, and which frames nobody was there to read.

Pure: times come in. A stream is a named sequence of frames (`btcusdt@trade`); a `Cursor` is one reader of any number of
streams and gets their frames merged in recorded order.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Entry(NamedTuple):
    """One recorded frame: receive time (us UTC), its stream, and its bytes."""

    at_us: int
    stream: str
    payload: bytes


@dataclass(slots=True)
class _Stream:
    """`indices` point into the timeline; `position` counts the frames that somebody got or that were missed."""

    indices: list[int] = field(default_factory=list)
    position: int = 0
    readers: int = 0
    claimed: bool = False


class Timeline:
    """All frames of one recorded market.

    `pace` 1.0 plays at the recorded pace, N plays N times faster; the clock starts when every recorded stream has had a
    subscriber, `grace_us` after the first subscription at the latest, so that a client has the time to subscribe all.
    A frame whose time passes while nobody is subscribed to its stream is missed. `pace` 0 plays as fast as readers
    read: each stream waits for its reader, and after a reconnect goes on behind the last frame handed out; a stream
    that nobody ever asked for is given up as missed once all others are through and `patience_us` has passed.
    """

    def __init__(
        self, entries: Sequence[Entry], opened_us: int, pace: float, patience_us: int, grace_us: int = 0
    ) -> None:
        """Put the frames, in order, on a clock that began at `opened_us`, when the recorder connected."""
        if pace < 0:
            raise ValueError(f"pace {pace} is negative; 0 (as fast as possible) and above is allowed")
        self.entries = tuple(entries)
        self.missed = 0
        self._opened_us = opened_us
        self._pace = pace
        self._patience_us = patience_us
        self._grace_us = grace_us
        self._started_us: int | None = None
        self._active_us = 0
        self._cursors: set[Cursor] = set()
        self._streams: dict[str, _Stream] = {}
        for index, entry in enumerate(self.entries):
            self._streams.setdefault(entry.stream, _Stream()).indices.append(index)

    def open(self) -> Cursor:
        """Return a new reader, subscribed to nothing."""
        cursor = Cursor(self)
        self._cursors.add(cursor)
        return cursor

    def passed(self, stream: str, now_us: int) -> list[bytes]:
        """Return the frames of a stream that have been handed out or missed so far, in order."""
        self.settle(now_us)
        recorded = self._streams.get(stream)
        if recorded is None:
            return []
        return [self.entries[index].payload for index in recorded.indices[: recorded.position]]

    def finished(self, now_us: int) -> bool:
        """Whether every frame has been handed out or missed, and no reader is behind."""
        self.settle(now_us)
        through = all(stream.position == len(stream.indices) for stream in self._streams.values())
        return through and not any(cursor.behind() for cursor in self._cursors)

    def settle(self, now_us: int) -> None:
        """Count as missed what fell due up to `now_us` without a reader (or, at pace 0, what nobody ever asked for)."""
        give_up = self._pace == 0 and self._idle(now_us)
        for stream in self._streams.values():
            if stream.readers:
                continue
            if self._pace == 0:
                passed = len(stream.indices) if give_up else stream.position
            else:
                passed = self._first_after(stream, now_us)
            self.missed += passed - stream.position
            stream.position = passed

    def _idle(self, now_us: int) -> bool:
        """Whether readers are there, every stream ever asked for is through, and nothing has happened for a while."""
        reading = any(cursor.positions for cursor in self._cursors)
        behind = any(cursor.behind() for cursor in self._cursors)
        waiting = any(stream.claimed and stream.position < len(stream.indices) for stream in self._streams.values())
        return reading and not behind and not waiting and now_us - self._active_us >= self._patience_us

    def _start(self, now_us: int) -> None:
        """Start the clock with the first subscription, after the grace; at once when there is nothing to wait for."""
        if self._started_us is None:
            self._started_us = now_us + self._grace_us
        elif self._started_us <= now_us:
            return
        if all(stream.claimed for stream in self._streams.values()):
            self._started_us = now_us

    def due_us(self, index: int) -> int:
        """When a frame falls due: 0 (at once) at pace 0."""
        if self._pace == 0 or self._started_us is None:
            return 0
        return self._started_us + int((self.entries[index].at_us - self._opened_us) / self._pace)

    def _first_after(self, stream: _Stream, now_us: int) -> int:
        """Return the position in a stream of the first frame, from its own position on, that is not yet due."""
        position = stream.position
        if self._pace == 0 or self._started_us is None:
            return position
        while position < len(stream.indices) and self.due_us(stream.indices[position]) <= now_us:
            position += 1
        return position


class Cursor:
    """One reader of a timeline. Subscribing to a stream that was not recorded is allowed and brings nothing."""

    def __init__(self, timeline: Timeline) -> None:
        self.positions: dict[str, int] = {}
        self._timeline = timeline
        self._heap: list[tuple[int, str]] = []

    def subscribe(self, streams: Iterable[str], now_us: int) -> None:
        """Read these streams from here on; see `Timeline` for when this starts its clock."""
        timeline = self._timeline
        timeline.settle(now_us)
        for name in streams:
            stream = timeline._streams.get(name)
            if stream is None or name in self.positions:
                continue
            timeline._active_us = now_us
            stream.readers += 1
            stream.claimed = True
            timeline._start(now_us)
            position = timeline._first_after(stream, now_us)
            self.positions[name] = position
            if position < len(stream.indices):
                heapq.heappush(self._heap, (stream.indices[position], name))

    def unsubscribe(self, streams: Iterable[str], now_us: int) -> None:
        """Stop reading these streams; what is not yet handed out is for others, or missed."""
        for name in streams:
            if self.positions.pop(name, None) is not None:
                self._timeline._streams[name].readers -= 1
        self._timeline.settle(now_us)

    def close(self, now_us: int) -> None:
        """Stop reading altogether."""
        self.unsubscribe(tuple(self.positions), now_us)
        self._timeline._cursors.discard(self)

    def take(self, now_us: int, limit: int) -> list[bytes]:
        """Return at most `limit` frames due at `now_us`, in recorded order; they count as handed out."""
        timeline, heap, positions = self._timeline, self._heap, self.positions
        entries, paced = timeline.entries, timeline._pace != 0
        taken: list[bytes] = []
        while len(taken) < limit and self.behind():
            index, name = heap[0]
            if paced and timeline.due_us(index) > now_us:
                break
            taken.append(entries[index].payload)
            stream = timeline._streams[name]
            position = positions[name] = positions[name] + 1
            stream.position = max(stream.position, position)
            if position < len(stream.indices):
                heapq.heapreplace(heap, (stream.indices[position], name))
            else:
                heapq.heappop(heap)
        if taken:
            timeline._active_us = now_us
        return taken

    def behind(self) -> bool:
        """Whether any frame is still to come for this reader."""
        heap = self._heap
        while heap:
            index, name = heap[0]
            indices = self._timeline._streams[name].indices
            position = self.positions.get(name, len(indices))
            if position < len(indices) and indices[position] == index:
                return True
            heapq.heappop(heap)  # left from a stream unsubscribed since
        return False

    def next_due_us(self) -> int | None:
        """When the next frame falls due (0: at once), or None while nothing is to come."""
        return self._timeline.due_us(self._heap[0][0]) if self.behind() else None
