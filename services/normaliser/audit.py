"""A local book compared with a fresh snapshot of the exchange's at the same update id.

The snapshot comes by REST and is late: the book has moved on by then. So the collector says that it is about to ask
(session event `auditing`), and from there on a copy of the book stands still while the changes behind it are kept. When
the snapshot is here and the changes reach its id, they are put into the copy, and the two are compared level by level,
as far as both are known. A change that passes over the id leaves its own levels undecided: they are not compared.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from schemas import records
from services.normaliser.book import Book, SavedBook
from services.shared.exchanges.declaration import BookSnapshot

Level = tuple[Decimal, ...]
"""Price, quantity, and on contract markets contracts."""

_decode = msgspec.json.Decoder(list[tuple[str, ...]]).decode


class Findings(msgspec.Struct):
    """What a comparison found."""

    verdict: Literal["equal", "different", "not_compared"]
    book_sequence: int | None = None
    levels: int = 0
    mismatches: int = 0
    reason: str | None = None


class Audit:
    """One comparison under way."""

    def __init__(self, book: Book, begun_at: int) -> None:
        self.book = book
        """As it stood at `begun_at`, our clock."""
        self.begun_at = begun_at
        self.changes: list[records.BookChange] = []
        """Those put into the lane's own book since, in step."""
        self.snapshot: BookSnapshot | None = None
        self.snapshot_at = 0
        """When it was received, our clock."""

    @property
    def reached(self) -> bool:
        """Whether the changes say what the book was at the snapshot's id."""
        if self.snapshot is None:
            return False
        last = self.changes[-1].last_sequence if self.changes else self.book.sequence
        return last >= self.snapshot.sequence

    def findings(self) -> Findings:
        """Compare; the audit is over with it. Only when `reached`."""
        snapshot, book = self.snapshot, self.book
        assert snapshot is not None
        if book.sequence > snapshot.sequence:
            return Findings("not_compared", book.sequence, reason="the snapshot is older than the copy kept for it")
        passing: records.BookChange | None = None
        for change in self.changes:
            if change.last_sequence > snapshot.sequence:
                passing = change if change.first_sequence <= snapshot.sequence else None
                break
            book.change(change.last_sequence, *_sides(change))
        undecided = [_prices(side) for side in _sides(passing)] if passing is not None else [set(), set()]
        return _compared(book.dump(), snapshot, undecided)


def _sides(change: records.BookChange) -> tuple[msgspec.Raw, msgspec.Raw]:
    assert isinstance(change.bids, msgspec.Raw) and isinstance(change.asks, msgspec.Raw)
    return change.bids, change.asks


def _levels(side: bytes | msgspec.Raw) -> dict[Decimal, Level]:
    return {Decimal(level[0]): tuple(map(Decimal, level)) for level in _decode(side)}


def _prices(side: msgspec.Raw) -> set[Decimal]:
    return set(_levels(side))


def _compared(ours: SavedBook, theirs: BookSnapshot, undecided: list[set[Decimal]]) -> Findings:
    found = Findings("equal", ours.sequence)
    sides = (
        ("bid", 1, ours.bids, theirs.bids, ours.bids_bound, undecided[0]),
        ("ask", -1, ours.asks, theirs.asks, ours.asks_bound, undecided[1]),
    )
    for name, sign, own, other, bound, left_out in sides:
        known, told = _levels(own), _levels(other)
        worst = None if bound is None else sign * Decimal(bound)
        cut = min(told, key=lambda price: sign * price) if len(told) >= theirs.limit else None
        for price in sorted(known.keys() | told.keys(), key=lambda price: -sign * price):
            if any(end is not None and sign * price < sign * end for end in (worst, cut)) or price in left_out:
                continue
            found.levels += 1
            if known.get(price) != told.get(price):
                found.mismatches += 1
                if found.reason is None:
                    found.reason = f"{name} {price}: {_said(known.get(price))} here, {_said(told.get(price))} there"
    if found.mismatches:
        found.verdict = "different"
    return found


def _said(level: Level | None) -> str:
    return "nothing" if level is None else " ".join(f"{number:f}" for number in level[1:])
