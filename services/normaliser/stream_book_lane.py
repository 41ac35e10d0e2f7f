"""Book changes of an exchange whose stream begins with the whole book, and says it again whenever it begins anew.

Nothing is held for a snapshot here: it comes first, and the chain goes on from it. A snapshot within a stream that does
not stand where the last change ended means that changes were missed before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from msgspec import Raw

from schemas import records
from schemas.frames import RawFrame
from services.normaliser.book import Book
from services.normaliser.book_lane import CHANGE, BookLane
from services.normaliser.change_lane import LastChange
from services.normaliser.desk import Desk
from services.normaliser.gaps import Hole, gap_of
from services.normaliser.link import Link
from services.shared.exchanges.declaration import BookRule, BookSnapshot, Channel, Listing

_EMPTY = Raw(b"[]")


class BookStart(records.BookChange, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A snapshot in its place among the changes of its connection; it is never put out itself."""

    KIND: ClassVar[str] = "book_start"

    limit: int


class StreamBookLane(BookLane):
    """Book changes and the book of one instrument, begun by the stream itself."""

    def __init__(self, desk: Desk, exchange: str, market: str, symbol: str, channel: Channel, rule: BookRule) -> None:
        super().__init__(desk, exchange, market, symbol, channel, BookRule(rule.following, rule.following))
        self.parse = self._parse

    def _parse(self, frame: RawFrame, listing: Listing) -> Sequence[records.Record]:
        found = self.channel.parse(frame, listing)
        return [_start_of(item, frame) if isinstance(item, BookSnapshot) else item for item in found]

    def keep(self, link: Link, found: Sequence[records.Record], received_at: int) -> None:
        """Keep what a connection says that does not lead aside, its snapshot too."""
        if self.leader is not None and received_at < self.leader.since:
            found = [record for record in found if not isinstance(record, BookStart)]
        super().keep(link, found, received_at)

    def accept(self, record: records.Record) -> None:
        """Take the leader's next change, or the book that its stream begins with."""
        if isinstance(record, BookStart):
            self._begin(record)
        else:
            super().accept(record)

    def _begin(self, start: BookStart) -> None:
        tail = self.tail
        if self.overlap and tail is not None and start.last_sequence <= tail.last_sequence:
            if not self.in_step:  # the old leader's book was out of step: this one and what is held may be in step
                snapshot = BookSnapshot(
                    self.symbol, start.last_sequence, _raw(start.bids), _raw(start.asks), start.limit
                )
                self.snapshot(snapshot, start.received_at)
            return
        self.overlap = False
        self._step_out()
        while self.held:
            self.desk.emit(self.held.popleft())
        if tail is not None and start.last_sequence != tail.last_sequence:
            self._missed(tail, start)
        self.tail = records.BookChange(
            exchange=start.exchange,
            market=start.market,
            symbol=start.symbol,
            timestamp=start.timestamp,
            timestamp_source=start.timestamp_source,
            received_at=start.received_at,
            source=start.source,
            first_sequence=start.first_sequence,
            last_sequence=start.last_sequence,
            bids=_EMPTY,
            asks=_EMPTY,
            in_step=True,
            sent_at=start.sent_at,
        )
        self.asked_at = None
        self.book = Book(start.last_sequence, _raw(start.bids), _raw(start.asks), start.limit)
        self.in_step = True
        self.desk.counters.books_in_step += 1
        if start.timestamp_source != "received":
            self.applied = self.tail
        self.wake()

    def _missed(self, tail: LastChange | records.BookChange, start: BookStart) -> None:
        """Changes between the last one and the snapshot are missing; the first one behind it will say how many."""
        if CHANGE in self.holes:
            return
        ahead = start.last_sequence > tail.last_sequence  # if not, the exchange has begun to number anew
        hole = Hole(
            gap_type="sequence",
            evidence=f"a snapshot at {start.last_sequence} follows the change that ends at {tail.last_sequence}",
            detected=start.received_at,
            lost_from=tail.received_at,
            lost_to=start.received_at,
            after=tail.timestamp - 1,
            last_sequence=tail.last_sequence if ahead else None,
        )
        self.holes[CHANGE] = hole
        self.tell_gap(gap_of(self.place(CHANGE), hole, received_at=start.received_at))

    def _behind_leader(self, record: records.Record) -> bool:
        # Until the leader is in step a snapshot may be what helps it.
        return (self.in_step or not isinstance(record, BookStart)) and super()._behind_leader(record)


def _start_of(snapshot: BookSnapshot, frame: RawFrame) -> BookStart:
    known = snapshot.timestamp is not None
    return BookStart(
        exchange=frame.exchange,
        market=frame.market,
        symbol=snapshot.symbol,
        timestamp=snapshot.timestamp if snapshot.timestamp is not None else frame.received_at,
        timestamp_source=snapshot.timestamp_source if known else "received",
        received_at=frame.received_at,
        source="live",
        first_sequence=snapshot.sequence,
        last_sequence=snapshot.sequence,
        bids=snapshot.bids,
        asks=snapshot.asks,
        in_step=True,
        sent_at=snapshot.sent_at,
        limit=snapshot.limit,
    )


def _raw(levels: records.Levels) -> Raw:
    assert isinstance(levels, Raw)
    return levels
