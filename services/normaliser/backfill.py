"""Answers about the past: the rows that were missing, each once, beside the live stream and without touching it.

Which rows were missing stands in the frame itself, and whoever asked takes care to ask for each once: a row that went
missing from its table later may be brought again. What has been put out is remembered for the live lanes, so that a
live row that comes after all doubles nothing.
"""

from __future__ import annotations

import msgspec

from schemas.errors import BadFrame
from schemas.frames import RawFrame
from schemas.records import Record
from schemas.spans import Pair, Spans
from services.normaliser.desk import Desk
from services.shared.exchanges.declaration import Listing
from services.shared.exchanges.history import History
from services.shared.exchanges.known_history import HISTORIES

Instrument = tuple[str, str, str]
"""Exchange, market, symbol."""

_REMEMBERED = 4_096
"""Runs of refilled rows that are remembered, the newest: gaps older than that are long closed."""
_CONNECTIONS = 8
"""Connections whose last frame number is kept, to know their answers when they are published again."""


class SavedBackfill(msgspec.Struct):
    """The state of a `BackfillLane`."""

    numbers: dict[str, int]
    told: tuple[Pair, ...]


class BackfillLane:
    """One endpoint's past of one instrument."""

    def __init__(self, desk: Desk, history: History) -> None:
        self.history = history
        self.told = Spans()
        """What was put out, by place: a number, or a time in steps of the grid."""
        self.numbers: dict[str, int] = {}
        self._desk = desk

    def take(self, frame: RawFrame, listing: Listing) -> None:
        """Put out the rows of an answer that are wanted. Raises BadFrame."""
        if frame.number <= self.numbers.get(frame.connection, -1):
            self._desk.counters.duplicates += 1
            return
        self.numbers.pop(frame.connection, None)
        self.numbers[frame.connection] = frame.number
        if len(self.numbers) > _CONNECTIONS:
            del self.numbers[next(iter(self.numbers))]
        try:
            wanted = Spans.parse(frame.wanted or "")
        except ValueError as error:
            raise BadFrame(f"an answer that says what was wanted, and {error}") from None
        told: set[int] = set()
        for record in self.history.parse(frame, listing):
            assert isinstance(record, Record)
            key = self.history.key(record)
            place = key // self.history.step_us
            if key not in wanted:
                continue
            if place in told or self._desk.came_late(record):
                self._desk.counters.duplicates += 1
                continue
            told.add(place)
            self._desk.emit(record)
        self.told = Spans((self.told | Spans.of(told)).pairs[-_REMEMBERED:])

    def has(self, record: Record) -> bool:
        """Whether a row was put out."""
        return self.history.key(record) // self.history.step_us in self.told


class Backfills:
    """The past of all instruments of a partition; what it brought is known to the live lanes by way of the desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lanes: dict[Instrument, dict[str, BackfillLane]] = {}

    def take(self, frame: RawFrame, listing: Listing) -> None:
        """Put out what is wanted in an answer. Raises BadFrame."""
        self._lane((frame.exchange, frame.market, frame.symbol), frame.channel).take(frame, listing)

    def dump(self, instrument: Instrument) -> dict[str, SavedBackfill]:
        """Return an instrument's state."""
        lanes = self._lanes.get(instrument, {})
        return {name: SavedBackfill(dict(lane.numbers), lane.told.pairs) for name, lane in lanes.items()}

    def load(self, instrument: Instrument, saved: dict[str, SavedBackfill]) -> None:
        """Take an instrument's saved state back; what is not served any more is forgotten."""
        for name, state in saved.items():
            if name in HISTORIES.get(instrument[:2], {}):
                lane = self._lane(instrument, name)
                lane.numbers, lane.told = state.numbers, Spans(state.told)

    def _lane(self, instrument: Instrument, name: str) -> BackfillLane:
        lanes = self._lanes.setdefault(instrument, {})
        lane = lanes.get(name)
        if lane is None:
            history = HISTORIES.get(instrument[:2], {}).get(name)
            if history is None:
                raise BadFrame(f"{instrument[0]} {instrument[1]} has no history {name!r}")
            lane = lanes[name] = BackfillLane(self._desk, history)
            self._desk.refilled[(*instrument, history.kind, history.interval)] = lane.has
        return lane
