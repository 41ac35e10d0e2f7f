"""Which stream is on which connection, over time: as few connections as the limit asks for, and few moves.

Pure bookkeeping of one route of one market. A stream that is wanted is on exactly one slot (a connection, or its
successors), or on two while it moves: its old slot keeps it until the new one delivers. New streams go where there is
most room; a slot is opened only when there is none. Slots are given up when what they carry fits well into fewer.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from services.collector.core import Topic

SPARE = 0.25
"""Slots are given up only when the rest keep this share of their room: else a few listings would open them again."""


@dataclass(eq=False, slots=True)
class Slot:
    """One connection's place: what is on it, and what is on its way."""

    number: int
    streams: dict[str, Topic] = field(default_factory=dict)
    arriving: set[str] = field(default_factory=set)
    """Of `streams`: still carried by the slot they come from."""
    leaving: set[str] = field(default_factory=set)
    """Of `streams`: carried until the slot they go to delivers them."""
    closing: bool = False
    """All of it is on its way to other slots; it gets nothing new."""


@dataclass(frozen=True, slots=True)
class Move:
    """These streams are to be delivered by `target` before they end on `source`."""

    source: Slot
    target: Slot
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """What `Pool.want` changed."""

    opened: list[Slot]
    touched: list[Slot]
    """Slots whose streams changed, the opened ones among them."""
    moves: list[Move]
    """To be made."""
    closed: list[Slot]
    left_out: list[str]
    """Streams for which the address may have no further connection."""


class Room:
    """How many connections an address may have at the same time, of all pools of an exchange. None: any number."""

    def __init__(self, limit: int | None) -> None:
        self._left = limit

    def take(self, count: int) -> int:
        """Take up to so many connections; return how many there were."""
        if self._left is None:
            return count
        taken = min(count, self._left)
        self._left -= taken
        return taken

    def give_back(self, count: int) -> None:
        """So many are gone."""
        if self._left is not None:
            self._left += count


class Pool:
    """The slots of one route. `most` is the exchange's limit of streams per connection."""

    def __init__(self, most: int, room: Room) -> None:
        self.slots: list[Slot] = []
        self._most = most
        self._room = room
        self._numbers = 0
        self._holders: dict[str, Slot] = {}
        """Stream -> the slot it is on, or on its way to."""
        self._sources: dict[str, Slot] = {}
        """Moving stream -> the slot it comes from."""

    @property
    def moving(self) -> int:
        """How many streams are on two slots."""
        return len(self._sources)

    def want(self, streams: Mapping[str, Topic]) -> Changes:
        """Make these, and no others, the streams of the pool; what finds no room is tried again the next time."""
        touched: dict[int, Slot] = {}
        for name in [name for name in self._holders if name not in streams]:
            for slot in (self._holders.pop(name), self._sources.pop(name, None)):
                if slot is not None:
                    _take_off(slot, name)
                    touched[slot.number] = slot
        new = [name for name in streams if name not in self._holders]
        opened = self._open_for(len(new))
        fit = self._free()
        for slot, names in self._spread(new[:fit], self._open_slots()):
            slot.streams |= {name: streams[name] for name in names}
            self._holders |= dict.fromkeys(names, slot)
            touched[slot.number] = slot
        moves = [] if self._sources else self._shrink()
        for move in moves:
            touched[move.target.number] = move.target
        closed = self._close_empty()
        gone = {slot.number for slot in closed}
        kept = [slot for number, slot in touched.items() if number not in gone]
        return Changes(opened, kept, moves, closed, new[fit:])

    def moved(self, names: Iterable[str]) -> list[Slot]:
        """The targets deliver these streams: they end on their sources. Returns the slots that are gone with that.

        What is not moving, or not any more, is left as it is.
        """
        for name in names:
            source = self._sources.pop(name, None)
            if source is not None:
                self._holders[name].arriving.discard(name)
                _take_off(source, name)
        return self._close_empty()

    def kept(self, names: Iterable[str]) -> list[Slot]:
        """The targets do not deliver these streams: they stay where they were. Returns the slots that are gone."""
        for name in names:
            source = self._sources.pop(name, None)
            if source is not None:
                _take_off(self._holders[name], name)
                self._holders[name] = source
                source.leaving.discard(name)
                source.closing = False
        return self._close_empty()

    def _open_slots(self) -> list[Slot]:
        return [slot for slot in self.slots if not slot.closing]

    def _free(self) -> int:
        """Return how many streams more the open slots take."""
        return sum(self._most - len(slot.streams) for slot in self._open_slots())

    def _open_for(self, count: int) -> list[Slot]:
        """Open as many slots as it takes to have room for so many streams more."""
        opened = []
        for _ in range(self._room.take(max(0, -(-(count - self._free()) // self._most)))):
            self._numbers += 1
            opened.append(Slot(self._numbers))
        self.slots += opened
        return opened

    def _spread(self, names: Sequence[str], slots: Sequence[Slot]) -> list[tuple[Slot, Sequence[str]]]:
        """Give each slot its share, so that the emptiest fill up first; neighbours (of one symbol) stay together."""
        if not names:
            return []
        heap = [(len(slot.streams), place) for place, slot in enumerate(slots)]
        heapq.heapify(heap)
        shares = [0] * len(slots)
        for _ in names:
            load, place = heap[0]
            shares[place] += 1
            heapq.heapreplace(heap, (load + 1, place))
        spread = []
        start = 0
        for slot, share in zip(slots, shares, strict=True):
            if share:
                spread.append((slot, names[start : start + share]))
                start += share
        return spread

    def _shrink(self) -> list[Move]:
        """Empty the least filled slots, when the others would still have room to spare."""
        slots = self._open_slots()
        enough = max(1, -(-len(self._holders) // max(1, int(self._most * (1 - SPARE)))))
        moves: list[Move] = []
        if not self._holders or enough >= len(slots):
            return moves
        by_load = sorted(slots, key=lambda slot: len(slot.streams))
        for source in by_load[: len(slots) - enough]:
            source.closing = True
        for source in by_load[: len(slots) - enough]:
            for target, names in self._spread(list(source.streams), self._open_slots()):
                target.streams |= {name: source.streams[name] for name in names}
                target.arriving |= set(names)
                source.leaving |= set(names)
                self._holders |= dict.fromkeys(names, target)
                self._sources |= dict.fromkeys(names, source)
                moves.append(Move(source, target, tuple(names)))
        return moves

    def _close_empty(self) -> list[Slot]:
        closed = [slot for slot in self.slots if not slot.streams]
        self.slots = [slot for slot in self.slots if slot.streams]
        self._room.give_back(len(closed))
        return closed


def _take_off(slot: Slot, name: str) -> None:
    slot.streams.pop(name, None)
    slot.arriving.discard(name)
    slot.leaving.discard(name)
