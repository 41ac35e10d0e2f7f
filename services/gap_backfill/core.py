"""From findings to requests to closed gaps: the log of gaps, what is to be done next, and every change of state.

Pure: time comes in, nothing waits. Whoever runs it brings messages about gaps, what tables hold and what exchanges
answered; it says which series to look up, which page to ask for next, and which states to publish.

A gap begins `open`. It is `filling` once it is asked for, and ends as `filled` (every missing row is in its table, or
nothing was missing after all), `partly_filled` or `unavailable` (given up, in part or as a whole). When an answer
cannot be had it stays as it is and is asked for again, later and later. One that turns out to be part of another is
`merged`: what came of it is that one's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Literal

import msgspec

from schemas.records import Gap
from schemas.spans import Spans
from services.gap_backfill.filling import Filling, Page, Work
from services.gap_backfill.merging import Scanned, of_a_scan
from services.gap_backfill.patience import Patience
from services.gap_backfill.series import (
    UNTOLD_US,
    Ages,
    Lost,
    Series,
    Untold,
    Wanted,
    age_us,
    judge,
    reaches_beyond,
    series_of,
)
from services.gap_backfill.wording import cause, shortened
from services.shared.exchanges.history import History

Status = Literal["open", "filling", "filled", "partly_filled", "unavailable", "merged"]
FINAL: frozenset[Status] = frozenset(("filled", "partly_filled", "unavailable", "merged"))
_COMPLETE: frozenset[Status] = frozenset(("filled", "merged"))
"""Nothing of such a gap is missing any more, or another says whether."""

Histories = Callable[[str, str, str, str | None], History | None]


class BackfillCore:
    """All gaps that are not closed, by series; and the last state of every gap that was seen."""

    def __init__(self, histories: Histories, ages: Ages | None = None, patience: Patience | None = None) -> None:
        self.fillings: dict[Series, Filling] = {}
        self.states: dict[str, Gap] = {}
        """The latest state of each gap, by its id."""
        self.brought = 0
        """Rows that were brought, all together."""
        self._histories = histories
        self._ages = ages or Ages()
        self._patience = patience or Patience()
        self._events: list[Gap] = []
        self._scanned = Scanned()

    # -- what is known of gaps ---------------------------------------------------------------------------------------

    def load(self, log: Iterable[Gap], now: int) -> None:
        """Take the states that were told before this process began, in any order; nothing is told twice for them."""
        ours: dict[str, Gap] = {}
        theirs: dict[str, Gap] = {}
        for gap in log:
            side = ours if gap.source == "backfill" else theirs
            known = side.get(gap.gap_id)
            if known is None or (gap.received_at, gap.attempts) > (known.received_at, known.attempts):
                side[gap.gap_id] = gap
        for name, gap in theirs.items():
            if name not in ours:
                self.take(gap, now)
        for name, gap in ours.items():
            self.states[name] = gap
            if gap.status not in FINAL:
                self._open(gap, now)
            elif gap.status == "filled" and of_a_scan(gap):
                self._scanned.put(gap, self._places(gap, now))
            if name in theirs:
                self.take(theirs[name], now)

    def take(self, gap: Gap, now: int) -> None:
        """Take a gap's state, from the normaliser or out of the log; one that is older than what is known is old news.

        A gap that was closed here stays closed: when its finder tells its far side later, its state is told anew. (The
        finder's clock is that of the frames it reads, which may be far behind ours: its news counts by what it says.)
        """
        known = self.states.get(gap.gap_id)
        if known is not None:
            if gap.source == "live" and known.source == "backfill":
                self._learn(known, gap, now)
                return
            if (gap.received_at, gap.attempts) <= (known.received_at, known.attempts):
                return
        self.states[gap.gap_id] = gap
        if gap.status in FINAL:
            self._close(gap)
        else:
            self._open(gap, now)

    def _learn(self, known: Gap, told: Gap, now: int) -> None:
        """Put the bounds that the finder tells into our own state of the gap."""
        if known.status == "merged":
            return
        if told.status == "filled":
            if known.status != "filled":
                self._tell(told, "filled", now)
            return
        merged = msgspec.structs.replace(
            known,
            last_missing=told.last_missing if known.last_missing is None else known.last_missing,
            before_timestamp=told.before_timestamp if known.before_timestamp is None else known.before_timestamp,
            lost_to=told.lost_to if known.lost_to is None else known.lost_to,
        )
        if merged == known and told.received_at <= known.received_at:
            return
        reopened = known.status == "filled" and reaches_beyond(told, known)
        if reopened:
            merged = msgspec.structs.replace(merged, last_missing=told.last_missing)
        self._tell(merged, "open" if reopened else known.status, max(now, told.received_at))
        if reopened or known.status not in FINAL:
            self._open(self.states[known.gap_id], now)

    def _open(self, gap: Gap, now: int) -> None:
        series = series_of(gap)
        history = self._histories(*series[:2], series.kind, series.interval)
        verdict = judge(gap, history, now)
        if isinstance(verdict, Lost):
            self._tell(gap, "unavailable", now, evidence=f"{gap.evidence}; {verdict.reason}")
            return
        assert history is not None
        filling = self.fillings.get(series)
        if filling is None:
            filling = self.fillings[series] = Filling(series, history)
        work = filling.works.get(gap.gap_id)
        if work is None:
            work = filling.works[gap.gap_id] = Work(gap, attempts=gap.attempts, brought=gap.records_filled)
        work.gap = gap
        if isinstance(verdict, Untold) and work.probe_from is None and not work.fenced:
            work.probe_from, work.due_at = verdict.first, max(work.due_at, verdict.due_at)
        if not isinstance(verdict, Wanted):
            return
        if work.probe_from is not None:
            work.probe_from, work.due_at = None, work.due_at if work.failures else 0
        if gap.priority is None:
            work.gap = msgspec.structs.replace(gap, priority=self._ages.priority(age_us(gap, now)))
        if not verdict.places:
            self._tell(work.gap, "filled", now, evidence=f"{gap.evidence}; nothing was due between its bounds")
        elif verdict.places != work.wanted or work.fenced:
            work.wanted, work.ripe_at, work.looked, work.fenced = verdict.places, verdict.ripe_at, False, False
        if of_a_scan(gap):
            self._scanned.put(gap, verdict.places)
        else:
            self._merge(work, verdict.places, now)

    def _merge(self, work: Work, places: Spans, now: int) -> None:
        """Make one of a gap that was told and of what scans found of it: whichever holds the other stays."""
        around = self._scanned.around(work.gap, places)
        if around is not None and self.states[around].status not in FINAL:
            self._tell(work.gap, "merged", now, evidence=f"{cause(work.gap)}; part of {around}")
            return
        for name in self._scanned.within(work.gap, places):
            part = self.states[name]
            filling = self.fillings[series_of(part)]
            own = filling.works.get(name)
            work.brought += part.records_filled if own is None else own.brought
            work.attempts += part.attempts if own is None else own.attempts
            self._scanned.forget(part)
            self._tell(part, "merged", now, evidence=f"{cause(part)}; part of {work.gap.gap_id}")

    def _places(self, gap: Gap, now: int) -> Spans:
        series = series_of(gap)
        verdict = judge(gap, self._histories(*series[:2], series.kind, series.interval), now)
        return verdict.places if isinstance(verdict, Wanted) else Spans()

    def found(self, gap: Gap, now: int) -> bool:
        """Take a gap that we found ourselves: it is told, and goes the way of all others.

        False where one that is open holds it by now: it was told while the tables were looked through.
        """
        filling = self.fillings.get(series_of(gap))
        places = self._places(gap, now)
        if filling is not None and places and any(not places - work.wanted for work in filling.works.values()):
            return False
        self._tell(gap, "open", now, priority=self._ages.priority(age_us(gap, now)))
        self._open(self.states[gap.gap_id], now)
        return True

    def known(self) -> dict[Series, Spans]:
        """Return the places that need not be found again, by series: those being filled, those given up for good."""
        places: dict[Series, list[tuple[int, int]]] = {}
        for gap in self.states.values():
            if gap.status not in _COMPLETE:
                places.setdefault(series_of(gap), []).extend(self._places(gap, 0))
        return {series: Spans(pairs) for series, pairs in places.items()}

    def _close(self, gap: Gap) -> None:
        series = series_of(gap)
        filling = self.fillings.get(series)
        if filling is None or filling.works.pop(gap.gap_id, None) is None:
            return
        if not filling.works:
            del self.fillings[series]
            return
        keep = Spans()
        for work in filling.works.values():
            keep = keep | work.wanted
        for name in ("there", "answered", "pending", "refused"):
            setattr(filling, name, getattr(filling, name) & keep)

    # -- states ------------------------------------------------------------------------------------------------------

    def _tell(self, gap: Gap, status: Status, now: int, **more: object) -> None:
        """Put a state of ours into the log and among what is to be published."""
        known = self.states.get(gap.gap_id)
        at = now if known is None else max(now, known.received_at + 1)
        state = msgspec.structs.replace(gap, status=status, source="backfill", received_at=at, **more)
        self.states[gap.gap_id] = state
        self._events.append(state)
        if status in FINAL:
            self._close(state)
        else:
            filling = self.fillings.get(series_of(gap))
            if filling is not None and gap.gap_id in filling.works:
                filling.works[gap.gap_id].gap = state

    def take_events(self) -> list[Gap]:
        """Return the states to be published since the last call."""
        taken, self._events = self._events, []
        return taken

    def busy(self, soon: int) -> int:
        """Return how many gaps are on their way: being filled, or to be looked at or asked for until `soon`, our clock.

        Those are not that wait for somebody to listen again, or for an exchange that refused them so often that it must
        be away; one that asks for a pause is waited for.
        """
        works = (work for filling in self.fillings.values() for work in filling.works.values())
        return len(self._events) + sum(work.on_its_way(soon, self._patience.bad_tries) for work in works)

    # -- tables ------------------------------------------------------------------------------------------------------

    def lookups(self, now: int) -> list[Filling]:
        """Return the series about which the tables are to be asked now, the most urgent first."""
        due = []
        for filling in self.fillings.values():
            fresh = any(
                not work.looked and work.ripe_at is not None and work.ripe_at <= now for work in filling.works.values()
            )
            if fresh or (filling.look_at is not None and filling.look_at <= now):
                due.append(filling)
        return sorted(due, key=lambda filling: min(work.order for work in filling.works.values()))

    def resume(self, filling: Filling, published: Spans, sequence: int) -> None:
        """Say what was published for a series and is on its way still: it is not asked for again.

        `sequence` is the RAW sequence of the last frame. An earlier process had published it, or another one has.
        """
        filling.resumed, filling.sequence = True, sequence
        filling.answered = filling.answered | published
        filling.pending = filling.pending | published

    def looked(self, filling: Filling, there: Spans, now: int, *, through: bool = False) -> None:
        """Take what the table holds of a series' gaps, as places.

        `through`: everything that was published had come to its end before, in its table or among the refused.
        """
        for work in filling.touched(filling.pending & there):
            work.failures, work.trouble = 0, ""
        filling.there = there
        filling.pending = filling.pending - there
        filling.looks += 1
        if through and filling.pending:
            vanished, filling.pending = filling.pending, Spans()
            filling.answered = filling.answered - vanished
            for work in filling.touched(vanished):
                self._failed(work, now, "rows that were brought were refused on their way to the table")
                if work.failures >= self._patience.bad_tries:
                    filling.refused = filling.refused | (work.wanted & vanished)
        filling.fence = None
        for work in list(filling.works.values()):
            if work.ripe_at is not None and work.ripe_at <= now:
                work.looked = True
            if filling.done(work):
                self._finish(filling, work, now)
        filling.look_at = None
        if filling.pending:
            filling.look_at = now + self._patience.look_us * min(filling.looks, 20)

    def _finish(self, filling: Filling, work: Work, now: int) -> None:
        refused = work.wanted & filling.refused
        gap = msgspec.structs.replace(
            work.gap,
            attempts=work.attempts,
            records_filled=work.brought,
            priority=work.gap.priority or self._ages.priority(age_us(work.gap, now)),
            last_missing=work.wanted.last if work.fenced else work.gap.last_missing,
        )
        if not refused:
            why = "every missing row is in its table" if work.brought else "nothing was missing after all"
            self._tell(gap, "filled", now, evidence=f"{cause(gap)}; {why}")
            return
        status: Status = "partly_filled" if refused != work.wanted else "unavailable"
        why = work.trouble or "the exchange does not serve it"
        lost = shortened(refused)
        self._tell(gap, status, now, evidence=f"{cause(gap)}; lost for good: {lost} ({refused.count}): {why}")

    # -- requests ----------------------------------------------------------------------------------------------------

    def next_page(self, exchange: str, now: int) -> Page | None:
        """Return the call to be made next; the gaps it serves are `filling` from here on."""
        best: tuple[Filling, Work] | None = None
        for filling in self.fillings.values():
            work = filling.first_due(now) if filling.series.exchange == exchange else None
            if work is not None and (best is None or work.order < best[1].order):
                best = (filling, work)
        if best is None:
            return None
        filling, work = best
        page = filling.page(work, now)
        for served in filling.touched(page.wanted):
            if served.looked and served.gap.status == "open":
                self._tell(served.gap, "filling", now)
        return replace(page, gap=work.gap)

    def wait_us(self, exchange: str, now: int, most: int) -> int:
        """Return how long it is until something that failed may be asked for again, at most `most`."""
        due = (
            work.due_at - now
            for filling in self.fillings.values()
            if filling.series.exchange == exchange
            for work in filling.works.values()
            if work.due_at > now
        )
        return min(most, min(due, default=most))

    def answered(self, page: Page, found: Spans, now: int, *, full: bool = False) -> None:
        """Take an answer whose wanted rows are published: `found` are the places it holds rows of.

        `full`: it held as many rows as an answer may, so that more may lie behind its last one.
        """
        filling = self.fillings.get(page.series)
        if filling is None:
            return
        got = page.wanted & found
        if page.history.keyed == "time":
            covered = page.wanted.within(page.first, found.last) if full and found else page.wanted
            absent = Spans()
        else:
            covered, absent = got, page.wanted - got
            if full and found:
                absent = absent.within(page.first, max(page.first, found.last))
        filling.answered = filling.answered | covered
        filling.pending = filling.pending | got
        filling.looks = 0
        filling.look_at = now + self._patience.look_us
        self.brought += got.count
        for work in filling.touched(page.wanted):
            work.brought += (work.wanted & got).count
            missed = work.wanted & absent
            if not missed:
                work.absences = 0
                work.attempts += 1
                continue
            self._failed(work, now, "its answer does not hold what is missing")
            work.absences += 1
            if work.absences >= self._patience.absent_tries:
                work.trouble = "the exchange does not serve it"
                filling.refused = filling.refused | missed

    def probed(self, page: Page, found: Spans, now: int, *, full: bool) -> None:
        """Take what the exchange has from a gap's begin on, of which no row behind it has told the far side.

        What it has may have been heard by now, and be on its way: it is missing when it is in no table a while later.
        """
        filling = self.fillings.get(page.series)
        work = filling.works.get(page.gap.gap_id) if filling is not None else None
        if work is None or work.probe_from is None:
            return
        work.attempts, work.failures = work.attempts + 1, 0
        if found:
            work.wanted = work.wanted | Spans([(work.probe_from, found.last)])
            work.probe_from = found.last + 1
            if full:
                return
        work.probe_from = None
        if work.wanted:
            work.ripe_at, work.looked, work.fenced = now + UNTOLD_US, False, True
            return
        why = f"when the exchange was asked, it had nothing from {page.first} on"
        self._tell(work.gap, "filled", now, attempts=work.attempts, evidence=f"{cause(work.gap)}; {why}")

    def failed(self, page: Page, why: str, now: int, *, passing: bool, pause_us: int = 0) -> None:
        """Take it that a call brought nothing: `passing` when the exchange is away or overloaded.

        An answer that cannot be read, or is about something else, is tried again a few times; then its rows are lost.
        """
        filling = self.fillings.get(page.series)
        if filling is None:
            return
        for work in filling.served(page):
            self._failed(work, now, why, pause_us)
            if not passing and page.probe and work.failures >= self._patience.bad_tries:
                self._tell(work.gap, "unavailable", now, attempts=work.attempts, evidence=f"{cause(work.gap)}; {why}")
            elif not passing and work.failures >= self._patience.bad_tries:
                filling.refused = filling.refused | (page.wanted & work.wanted)
                filling.look_at = now

    def _failed(self, work: Work, now: int, why: str, pause_us: int = 0) -> None:
        work.attempts += 1
        work.failures += 1
        work.trouble = why
        work.due_at = now + max(pause_us, self._patience.pause_us(work.failures))
