"""The audits of one instrument's book: begun, fed and ended by its lane, one at a time."""

from __future__ import annotations

from schemas import records
from services.normaliser.audit import Audit, Findings
from services.normaliser.book import Book
from services.normaliser.desk import Desk
from services.shared.exchanges.declaration import BookSnapshot


class Audits:
    """Compares one book with the snapshots that are asked for to that end, and counts what differs.

    A book that differs is not thrown away for it: its chain is unbroken, and a snapshot may be what is wrong.
    """

    def __init__(self, desk: Desk, exchange: str, market: str, symbol: str) -> None:
        self._desk = desk
        self._exchange, self._market, self.symbol = exchange, market, symbol
        self.current: Audit | None = None

    def begin(self, book: Book | None, now: int) -> None:
        """A snapshot is about to be asked for: keep the book as it stands; None when it is not known to be true."""
        self.current = None if book is None else Audit(book.copy(), now)

    def compare(self, snapshot: BookSnapshot, book: Book | None, received_at: int) -> None:
        """Compare with a snapshot, now or when the book gets there. Without a copy kept for it it must lie ahead."""
        if self.current is None:
            self.begin(book, received_at)
        if self.current is None:
            self._put(snapshot.sequence, received_at, Findings("not_compared", reason="the book is not in step"))
            return
        self.current.snapshot, self.current.snapshot_at = snapshot, received_at
        self._look(received_at)

    def saw(self, change: records.BookChange) -> None:
        """Take a change that was put into the book."""
        if self.current is not None:
            self.current.changes.append(change)
            self._look(change.received_at)

    def end(self, reason: str) -> None:
        """Give up what is under way."""
        audit, self.current = self.current, None
        if audit is not None and audit.snapshot is not None:
            self._put(audit.snapshot.sequence, audit.snapshot_at, Findings("not_compared", reason=reason))

    def _look(self, now: int) -> None:
        audit, options = self.current, self._desk.options
        assert audit is not None
        if audit.reached and audit.snapshot is not None:
            self.current = None
            self._put(audit.snapshot.sequence, audit.snapshot_at, audit.findings())
        elif len(audit.changes) > options.hold_events or now - audit.begun_at > options.hold_us:
            self.end("snapshot and changes did not meet in time")

    def _put(self, sequence: int, received_at: int, found: Findings) -> None:
        self._desk.counters.audits[found.verdict] += 1
        self._desk.emit(
            records.BookAudit(
                exchange=self._exchange,
                market=self._market,
                symbol=self.symbol,
                timestamp=received_at,
                timestamp_source="received",
                received_at=received_at,
                source="live",
                verdict=found.verdict,
                sequence=sequence,
                book_sequence=found.book_sequence,
                levels=found.levels,
                mismatches=found.mismatches,
                reason=found.reason,
            )
        )
