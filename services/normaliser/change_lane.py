"""The quick way of book changes: while the book is in step, and the next change begins where the last one ended."""

from __future__ import annotations

import msgspec

from schemas import records
from services.normaliser.audits import Audits
from services.normaliser.book import Book
from services.normaliser.desk import Desk, Output
from services.normaliser.lane import Lane
from services.normaliser.quick import decoder
from services.shared.exchanges.declaration import Channel

_FOR_GOOD = 2**63


class LastChange(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """What is asked of a change after it was told; read from the JSON of one."""

    timestamp: int
    timestamp_source: records.TimestampSource
    received_at: int
    source: records.Source
    first_sequence: int
    last_sequence: int
    sent_at: int | None = None


class ChangeLane(Lane):
    """A lane of book changes and the state that its quick way shares with the long one."""

    def __init__(self, desk: Desk, exchange: str, market: str, symbol: str, channel: Channel) -> None:
        super().__init__(desk, exchange, market, symbol, channel)
        self._tail: LastChange | records.BookChange | None = None
        self._applied: LastChange | records.BookChange | None = None
        self.book: Book | None = None
        self.in_step = False
        self.fresh = False
        """The book is a snapshot that no change has proved to be joined to yet."""
        self.asked_at: int | None = None
        """When a snapshot was asked for that has not come. While in step: because the book proves too few levels."""
        self.audits = Audits(desk, exchange, market, symbol)
        self._second_from = self._second_until = 0
        """The cell of the grid of books that the last change lies in; holds while `_told` does."""
        self._received_at = 0
        """Of the last change; holds while `_told` does."""

    @property
    def tail(self) -> LastChange | records.BookChange | None:
        """The last change that came, in step or not."""
        if self._told is not None:
            self._read_back()
        return self._tail

    @tail.setter
    def tail(self, change: LastChange | records.BookChange | None) -> None:
        if self._told is not None:
            self._read_back()
        self._tail = change

    @property
    def applied(self) -> LastChange | records.BookChange | None:
        """The last change in the book, while its state is not published."""
        if self._told is not None:
            self._read_back()
        return self._applied

    @applied.setter
    def applied(self, change: LastChange | records.BookChange | None) -> None:
        if self._told is not None:
            self._read_back()
        self._applied = change

    @property
    def applied_at(self) -> int | None:
        """When the last change in the book was received, while its state is not published."""
        if self._told is not None:
            return self._received_at
        return None if self._applied is None else self._applied.received_at

    def _read_back(self) -> None:
        assert self._told is not None
        self._tail = self._applied = decoder(LastChange).decode(self._told)
        self._told = None

    def take(self, frame: bytes, received_at: int) -> bool:
        """Put the leader's next change into the book and out, if it plainly follows the last one."""
        book = self.book
        if (
            self.form is None
            or not self.in_step
            or self.fresh
            or self.holes
            or self.overlap
            or self.asked_at is not None
            or self.audits.current is not None
            or book is None
        ):
            return False
        told = self.form(frame, received_at)
        if told is None:
            return False
        before, last, timestamp, bids, asks, body = told  # type: ignore[misc]  # a book channel's form tells changes
        if self._told is None:
            if self._tail is None:
                return False
            self._number = self._tail.last_sequence
            self._second_from = self._second_until = 0
        if before != self._number:
            return False
        if not self._second_from <= timestamp < self._second_until and not self._turn(book, timestamp, received_at):
            return False
        book.change(last, bids, asks)
        self._number, self._told, self._received_at = last, body, received_at
        self._told_of[self._kind] += 1
        self._tray.append(Output(self._subject, body))
        if self.alarm is None:
            self.wake()
        return True

    def _turn(self, book: Book, timestamp: int, received_at: int) -> bool:
        """Publish the book when a change lies in another cell of the grid; False when that needs to be judged."""
        interval, applied = self.desk.options.book_interval_us, self.applied
        if not interval:
            self._second_from, self._second_until = 0, _FOR_GOOD
            return True
        cell = timestamp // interval
        if applied is not None and cell > applied.timestamp // interval:
            if not self._shows(book):
                return False
            self._publish(received_at)
        self._second_from, self._second_until = cell * interval, (cell + 1) * interval
        return True

    def _shows(self, book: Book) -> bool:
        """Whether a book may be published as it stands."""
        return not book.crossed() and book.proves(self.desk.options.book_depth)

    def _publish(self, now: int) -> None:
        """Put out the book as of the last change, if it is provably right."""
        raise NotImplementedError
