"""The book changes of one instrument: told once each, and in step or not; and the book they make.

A change is in step when it continues a chain that begins at a snapshot. Before a snapshot has come, changes are held,
bounded, so that this can be said truly of each; a change that breaks the chain is a gap, and the book waits for another
snapshot. The chain of changes and the book are told apart: a break between two held changes is a gap all the same.
"""

from __future__ import annotations

from collections import deque

import msgspec

from schemas import records
from services.normaliser.book import Book
from services.normaliser.change_lane import ChangeLane, LastChange
from services.normaliser.desk import Desk, Resync
from services.normaliser.gaps import Hole, gap_of
from services.shared.exchanges.declaration import APPLY, BROKEN, IGNORE, BookRule, BookSnapshot, Channel, Verdict

CHANGE = records.BookChange.KIND
BOOK = records.OrderBook.KIND


class BookLane(ChangeLane):
    """Book changes and the book of one instrument."""

    def __init__(self, desk: Desk, exchange: str, market: str, symbol: str, channel: Channel, rule: BookRule) -> None:
        super().__init__(desk, exchange, market, symbol, channel)
        self._first, self._following = rule.first, rule.following
        self.held: deque[records.BookChange] = deque()
        self.since: list[records.BookChange] = []
        """The changes since a snapshot was asked for while in step, to be put onto it."""

    # -- changes ---------------------------------------------------------------------------------------------------

    def accept(self, record: records.Record) -> None:
        """Take the leader's next change."""
        assert isinstance(record, records.BookChange)
        tail, taking_over = self.tail, self.overlap
        if tail is not None:
            verdict = (
                self._take_over(tail, record)
                if taking_over
                else self._following(
                    tail.last_sequence, record.first_sequence, record.last_sequence, record.previous_sequence
                )
            )
            if verdict is IGNORE:
                self._old(tail, record)
                return
            if verdict is BROKEN:
                self._broken(tail, record)
            elif taking_over and _before(record) < tail.last_sequence:
                record = msgspec.structs.replace(record, overlaps=True)
        if self.holes:
            self._settle(record)
        self.tail = record
        if self.in_step:
            self._apply(record)
        else:
            self._hold(record)

    def _take_over(self, tail: LastChange | records.BookChange, change: records.BookChange) -> Verdict:
        """Judge a new leader's change by what the old one told.

        Two connections cut the same updates at different places, and quantities are absolute: a change joins when it
        begins in what the old leader told and ends past it.
        """
        if change.last_sequence <= tail.last_sequence:
            return IGNORE
        self.overlap = False
        return _joins(tail.last_sequence, change)

    def _begins(self, sequence: int, change: records.BookChange) -> Verdict:
        return self._first(sequence, change.first_sequence, change.last_sequence, change.previous_sequence)

    def _old(self, tail: LastChange | records.BookChange, change: records.BookChange) -> None:
        """A change that ends before the last one: told by the old leader, or told twice, or sent out of order."""
        same = (change.first_sequence, change.last_sequence) == (tail.first_sequence, tail.last_sequence)
        if self.overlap or same:
            self.desk.counters.duplicates += 1
        else:
            self.desk.emit(change)

    def _broken(self, tail: LastChange | records.BookChange, change: records.BookChange) -> None:
        before = _before(change)
        why = f"the change before {change.first_sequence} ends at {before}, the last one here at {tail.last_sequence}"
        self._step_out()
        if CHANGE not in self.holes:
            hole = Hole(
                gap_type="sequence",
                evidence=why,
                detected=change.received_at,
                lost_from=tail.received_at,
                lost_to=change.received_at,
                after=tail.timestamp - 1,
                last_sequence=tail.last_sequence,
            )
            gap = gap_of(
                self.place(CHANGE),
                hole,
                received_at=change.received_at,
                before=change.timestamp + 1,
                last_missing=before,
            )
            self.tell_gap(gap)
        self._ask(why, change.received_at)

    def _apply(self, change: records.BookChange) -> None:
        """Put a change into the book that is in step, and out as in step."""
        book = self.book
        assert book is not None
        if self.fresh:
            verdict = self._begins(book.sequence, change)
            if verdict is IGNORE:
                self.desk.emit(change)
                return
            if verdict is BROKEN:
                self._step_out()
                self._ask("the snapshot ends before the first change", change.received_at)
                self._hold(change)
                return
            self.fresh = False
        applied, interval = self.applied, self.desk.options.book_interval_us
        if applied is not None and interval and change.timestamp // interval > applied.timestamp // interval:
            self._publish(change.received_at)
            if not self.in_step:
                self._hold(change)
                return
        assert isinstance(change.bids, msgspec.Raw) and isinstance(change.asks, msgspec.Raw)
        book.change(change.last_sequence, change.bids, change.asks)
        self.applied = change
        if self.asked_at is not None:
            self._remember(change)
        self.desk.emit(msgspec.structs.replace(change, in_step=True))
        if self.audits.current is not None:
            self.audits.saw(change)
        if self.alarm is None:
            self.wake()

    def _hold(self, change: records.BookChange) -> None:
        self.held.append(change)
        self._let_go(change.received_at)
        if self.alarm is None:
            self.wake()

    def _let_go(self, now: int) -> None:
        """Put out, as not in step, what was held for too long; a snapshot seems to be long in coming."""
        options, held = self.desk.options, self.held
        waited = False
        while held and (len(held) > options.hold_events or now - held[0].received_at > options.hold_us):
            self.desk.emit(held.popleft())
            waited = True
        if waited:
            self._ask("no snapshot has come", now)

    # -- snapshots -------------------------------------------------------------------------------------------------

    def snapshot(self, snapshot: BookSnapshot, received_at: int) -> None:
        """Take a snapshot: the book begins there, and held changes are in step from there on."""
        if self.in_step:
            if self.asked_at is not None:
                self._widen(snapshot, received_at)
            return
        held = self.held
        while held and self._begins(snapshot.sequence, held[0]) is IGNORE:
            self.desk.emit(held.popleft())
        if held and self._begins(snapshot.sequence, held[0]) is BROKEN:
            self.asked_at = None
            self._ask("the snapshot ends before the first change held", received_at)
            return
        self.asked_at = None
        self.book = Book(snapshot.sequence, snapshot.bids, snapshot.asks, snapshot.limit)
        self.in_step = self.fresh = True
        self.desk.counters.books_in_step += 1
        last: int | None = None
        while held and self.in_step:
            change = held[0]
            if last is not None and _joins(last, change) is BROKEN:
                self._step_out()
                self._ask("the snapshot ends before a break in the changes held", received_at)
                break
            held.popleft()
            self._apply(change)
            last = change.last_sequence
        self.wake()

    def _widen(self, snapshot: BookSnapshot, received_at: int) -> None:
        """Replace a book that proves too few levels by a snapshot and the changes since it was asked for."""
        book = self.book
        assert book is not None
        rest = [change for change in self.since if self._begins(snapshot.sequence, change) is not IGNORE]
        self.asked_at = None
        if self._begins(snapshot.sequence, rest[0]) is BROKEN if rest else snapshot.sequence < book.sequence:
            self._ask("the snapshot ends before the changes kept for it", received_at)
            return
        self.since = []
        self.audits.end("the book was replaced by a fresh one")
        self.book = Book(snapshot.sequence, snapshot.bids, snapshot.asks, snapshot.limit)
        self.fresh = not rest
        for change in rest:
            assert isinstance(change.bids, msgspec.Raw) and isinstance(change.asks, msgspec.Raw)
            self.book.change(change.last_sequence, change.bids, change.asks)

    def _remember(self, change: records.BookChange) -> None:
        self.since.append(change)
        if len(self.since) > self.desk.options.hold_events:
            self.since = []
            self.asked_at = None  # the next book that proves too little asks again

    def _ask(self, reason: str, now: int) -> None:
        """Ask for a snapshot, once until it comes, or again when it does not come for long."""
        if self.delisted:
            return  # the exchange has none any more
        asked_at = self.asked_at
        if asked_at is not None and now - asked_at < self.desk.options.ask_again_us:
            return
        self.asked_at = now
        self.since = []
        self.desk.counters.resyncs += 1
        self.desk.resyncs.append(
            Resync(
                self.exchange,
                self.market,
                self.symbol,
                self.leader.name if self.leader else "",
                self.tail.last_sequence if self.tail else None,
                reason,
                now,
            )
        )

    def _step_out(self) -> None:
        """The book is no longer known to be true; the last state that was is still told."""
        if not self.in_step:
            return
        applied = self.applied
        if applied is not None:
            self._publish(applied.received_at)
        if self.in_step:
            self._forget()

    def _forget(self) -> None:
        self.audits.end("the book fell out of step")
        self.in_step = self.fresh = False
        self.desk.counters.books_in_step -= 1
        self.book = self.applied = self.asked_at = None
        self.since = []

    # -- audits ----------------------------------------------------------------------------------------------------

    def begin_audit(self, now: int) -> None:
        """A snapshot to compare the book with is about to be asked for."""
        self.audits.begin(self.book if self.in_step and not self.fresh else None, now)

    def audit(self, snapshot: BookSnapshot, received_at: int) -> None:
        """Compare the book with a snapshot, now or when it gets there."""
        self.audits.compare(snapshot, self.book if self.in_step and not self.fresh else None, received_at)

    # -- books -----------------------------------------------------------------------------------------------------

    def _publish(self, now: int) -> None:
        """Put out the book as of the last change, if it is provably right."""
        change, book, desk = self.applied, self.book, self.desk
        self.applied = None
        if change is None or book is None or not desk.options.book_interval_us:
            return
        if book.crossed():
            desk.counters.crossed += 1
            self._doubt("best bid and best ask crossed", change, now)
            self._forget()
            self._ask("best bid and best ask crossed", now)
            return
        if not book.proves(desk.options.book_depth):
            desk.counters.unprovable += 1
            why = f"fewer than {desk.options.book_depth} levels a side are known"
            self._doubt(why, change, now)
            self._ask(why, now)
            return
        bids, asks = book.top(desk.options.book_depth)
        shown = records.OrderBook(
            exchange=self.exchange,
            market=self.market,
            symbol=self.symbol,
            timestamp=change.timestamp,
            timestamp_source=change.timestamp_source,
            received_at=change.received_at,
            source=change.source,
            sequence=change.last_sequence,
            bids=bids,
            asks=asks,
            sent_at=change.sent_at,
        )
        if BOOK in self.holes:
            super().settle(BOOK, shown)
        self.last[BOOK] = shown
        desk.emit(shown)

    def _doubt(self, why: str, change: LastChange | records.BookChange, now: int) -> None:
        """Record that books are missing from here on, although no change is."""
        if BOOK in self.holes:
            return
        last = self.last.get(BOOK)
        hole = Hole(
            gap_type="unsynced",
            evidence=why,
            detected=now,
            lost_from=change.received_at if last is None else last.received_at,
            after=None if last is None else last.timestamp,
        )
        self.holes[BOOK] = hole
        self.tell_gap(gap_of(self.place(BOOK), hole, received_at=now))

    def due(self) -> int | None:
        """Return when something is to be done even if no change comes, our clock."""
        options = self.desk.options
        times = []
        applied_at = self.applied_at
        if applied_at is not None and options.book_interval_us:
            times.append(applied_at + options.quiet_us)
        if self.held:
            times.append(self.held[0].received_at + options.hold_us + 1)
        return min(times, default=None)

    def ring(self, now: int) -> None:
        """Do what is due: put out a book that has been quiet, let go of what was held for too long."""
        applied_at = self.applied_at
        if applied_at is not None and now - applied_at >= self.desk.options.quiet_us:
            self._publish(now)
        self._let_go(now)

    # -- connections -----------------------------------------------------------------------------------------------

    def interrupted(self) -> None:
        """Coverage begins anew after a hole. The collector fetches a snapshot by itself after it subscribed."""
        self.resting()
        self._step_out()
        self.tail = None
        self.overlap = False

    def took_over(self, now: int) -> None:
        """Ask for a book unless there is one: the leader's own came while the old one seemed to be in step."""
        if not self.in_step:
            self._ask("its snapshot came while another connection led", now)

    def resting(self) -> None:
        """Nobody covers the lane: say what can be said."""
        if self.applied is not None:
            self._publish(self.applied.received_at)
        while self.held:
            self.desk.emit(self.held.popleft())

    def _behind_leader(self, record: records.Record) -> bool:
        assert isinstance(record, records.BookChange)
        return self.tail is not None and record.last_sequence <= self.tail.last_sequence

    # -- gaps ------------------------------------------------------------------------------------------------------

    def last_number(self, kind: str) -> int | None:
        """Return where the last change ended."""
        return None if self.tail is None else self.tail.last_sequence

    def _after(self, kind: str) -> int | None:
        return None if self.tail is None else self.tail.timestamp - 1

    def _settle(self, change: records.BookChange) -> None:
        """Publish a hole once more: the first change behind it says where the one before it ended."""
        hole = self.holes.pop(CHANGE, None)
        if hole is None:
            return
        before, last = _before(change), hole.last_sequence
        missing = last is None or before > last
        self.tell_gap(
            gap_of(
                self.place(CHANGE),
                hole,
                received_at=change.received_at,
                before=change.timestamp + 1,
                last_missing=before if missing and last is not None else None,
                status="open" if missing else "filled",
                evidence=None if missing else f"the change before {change.first_sequence} ends at {before}",
            )
        )


def _before(change: records.BookChange) -> int:
    """Return where the change before this one ended, as the exchange tells it."""
    previous = change.previous_sequence
    return change.first_sequence - 1 if previous is None else previous


def _joins(sequence: int, change: records.BookChange) -> Verdict:
    """Judge whether a change begins in what is told up to `sequence`: none is missing between."""
    return APPLY if _before(change) <= sequence else BROKEN
