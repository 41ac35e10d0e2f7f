"""What every part of one partition's core shares: options, counters, and the tray into which records are put."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from schemas import records, subjects
from services.shared.exchanges.history import interval_of

LaneKey = tuple[str, str, str, str]
"""Exchange, market, symbol, channel."""

Series = tuple[str, str, str, str, str | None]
"""Exchange, market, symbol, kind, interval."""


class Output(msgspec.Struct, frozen=True, gc=False):
    """One message ready to be published."""

    subject: str
    body: bytes


class Resync(NamedTuple):
    """A fresh book is needed: `connection` is the one that feeds it, `sequence` the last that was in step."""

    exchange: str
    market: str
    symbol: str
    connection: str
    sequence: int | None
    reason: str
    asked_at: int
    """When the need was seen, our clock in microseconds: the same once more is a frame that was read once more."""


@dataclass(frozen=True, slots=True)
class CoreOptions:
    """What may be set. Times are microseconds on our receive clock, but for the grid, which is on the exchange's."""

    book_interval_us: int = 1_000_000
    """The grid of `timestamp` on which order books are published; 0 publishes none."""
    book_depth: int = 20
    """Levels a side of a published order book."""
    quiet_us: int = 1_000_000
    """After so long without a change a book is published without waiting for the next one."""
    hold_us: int = 10_000_000
    """How long book changes are held for the snapshot that says whether they are in step."""
    hold_events: int = 1_000
    """How many are held, and how many records of a second connection are kept aside before it takes over."""
    dead_after_us: int = 3_000_000
    """A connection that says nothing for so long, while another one covers the same, is taken for gone."""
    ask_again_us: int = 60_000_000
    """A request for a snapshot that brought none is repeated after this."""
    candle_intervals: tuple[str, ...] = ()
    """Candles to be built from those of a minute, besides the standard intervals that the exchange does not offer."""


@dataclass(slots=True)
class Counters:
    """Plain counters since the core was made, for metrics."""

    frames: int = 0
    duplicates: int = 0
    refused: int = 0
    resyncs: int = 0
    crossed: int = 0
    unprovable: int = 0
    books_in_step: int = 0
    records: Counter[str] = field(default_factory=Counter)
    gaps: Counter[str] = field(default_factory=Counter)
    unknown_fields: Counter[str] = field(default_factory=Counter)
    """Samples that had a field which was not known, by `<exchange> <market> <channel> <path>`."""
    audits: Counter[str] = field(default_factory=Counter)
    """Books compared with a snapshot, by verdict."""

    def as_dict(self) -> dict[str, object]:
        """Return them as plain values."""
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in self._items()}

    def _items(self) -> list[tuple[str, object]]:
        return [(name, getattr(self, name)) for name in self.__dataclass_fields__]


class Desk:
    """The state that the parts of one partition share."""

    def __init__(self, options: CoreOptions) -> None:
        self.options = options
        self.counters = Counters()
        self.tray: list[Output] = []
        """The same list for good: emptied, never replaced."""
        self.resyncs: list[Resync] = []
        self.heard: dict[str, int] = {}
        """Connection -> when it last showed that it lives (a frame of anything, or a session event), our clock."""

        self.alarms: dict[str, list[tuple[int, LaneKey]]] = {}
        """Connection -> heap of (when, which lane): what is due when a frame of that connection is that late."""
        self.refilled: dict[Series, Callable[[records.Record], bool]] = {}
        """Whether a row of it was brought by the exchange's history."""
        self.late: dict[Series, Callable[[records.Record], bool]] = {}
        """Whether a row of it came live after all, behind the gap that it had left; says so once."""

    def wake(self, connection: str, due: int, key: LaneKey) -> None:
        """Have a lane looked at when a frame of `connection` was received at `due` or later."""
        heapq.heappush(self.alarms.setdefault(connection, []), (due, key))

    def was_refilled(self, record: records.Record) -> bool:
        """Whether a live row that comes late was brought by the exchange's history already."""
        return bool(self.refilled) and _has(self.refilled, record)

    def came_late(self, record: records.Record) -> bool:
        """Whether a row of the exchange's history came live after all, and is stored; says so once."""
        return _has(self.late, record)

    def emit(self, record: records.Record) -> None:
        """Put a market record into the tray."""
        kind = record.KIND
        self.counters.records[kind] += 1
        self.tray.append(
            Output(subjects.md(kind, record.exchange, record.market, record.symbol), records.encode(record))
        )

    def emit_gap(self, gap: records.Gap) -> None:
        """Put a gap's state into the tray."""
        self.counters.gaps[gap.gap_type] += 1
        self.tray.append(Output(subjects.gap(gap.exchange, gap.market, gap.symbol), records.encode(gap)))

    def emit_dead(self, letter: records.DeadLetter) -> None:
        """Put a refused message into the tray."""
        self.counters.refused += 1
        self.tray.append(Output(subjects.dead(letter.service), records.encode(letter)))


def _has(known: dict[Series, Callable[[records.Record], bool]], record: records.Record) -> bool:
    has = known.get((record.exchange, record.market, record.symbol, record.KIND, interval_of(record)))
    return has is not None and has(record)
