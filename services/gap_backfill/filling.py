"""One series whose gaps are being filled: what is left to ask for, what is on its way to the table, what is there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.records import Gap
from schemas.spans import Spans
from services.gap_backfill.series import RANKS, Series, keys_of
from services.shared.exchanges.history import History


@dataclass(frozen=True, slots=True)
class Page:
    """One call to be made: the places from `first` to `last`, of which `wanted` are missing; `count` rows at most."""

    series: Series
    history: History
    first: int
    last: int
    count: int
    wanted: Spans
    gap: Gap
    """The gap that it is made for; others of the series are served by it in passing."""
    probe: bool = False
    """Only to learn what there is: nothing of the answer is published."""

    def path(self, symbol: str) -> str:
        """Return path and query; `symbol` is the exchange's own, percent-encoded."""
        step = self.history.step_us
        return self.history.path(symbol, self.first * step, self.last * step, self.count)


@dataclass(slots=True)
class Work:
    """One gap that is not closed yet."""

    gap: Gap
    wanted: Spans = field(default_factory=Spans)
    ripe_at: int | None = None
    """When it is to be looked at, our clock; None while its bounds are not known."""
    looked: bool = False
    """Whether the table was asked for what is there already."""
    due_at: int = 0
    """Not to be asked for before, after something went wrong."""
    attempts: int = 0
    """Calls made for it."""
    failures: int = 0
    """Of these, so many brought nothing since a row of it last came to its table."""
    absences: int = 0
    """Answers in a row that did not hold all that was asked for."""
    probe_from: int | None = None
    """While its far side is untold: the place from which on the exchange is to be asked what there is."""
    fenced: bool = False
    """Its far side was told by the exchange alone: what was heard live until then has to be told first."""
    brought: int = 0
    """Rows of it that were brought from the exchange."""
    trouble: str = ""
    """What went wrong last."""
    _left: Spans = field(default_factory=Spans)
    _left_of: tuple[Spans, ...] = ()
    """What `_left` was computed of: spans never change, so the same ones leave the same."""

    def left(self, *without: Spans) -> Spans:
        """Return what is wanted beyond these places."""
        of = (self.wanted, *without)
        if len(of) != len(self._left_of) or any(one is not other for one, other in zip(of, self._left_of, strict=True)):
            self._left, self._left_of = self.wanted, of
            for places in without:
                self._left = self._left - places
        return self._left

    def on_its_way(self, soon: int, most_failures: int) -> bool:
        """Return whether it is looked at or asked for until `soon`, our clock, or after fewer failures than these."""
        due_at = self.due_at if self.probe_from is not None else self.ripe_at
        if due_at is None:
            return False
        return self.failures < most_failures if self.failures else due_at <= soon

    @property
    def order(self) -> tuple[int, int, str]:
        """Return its place among those that wait: by priority, then by when it was found."""
        return RANKS[self.gap.priority], self.gap.detection_time, self.gap.gap_id


class Filling:
    """The open gaps of one series."""

    def __init__(self, series: Series, history: History) -> None:
        self.series = series
        self.history = history
        self.works: dict[str, Work] = {}
        self.there = Spans()
        """Places whose rows are in the table, within the gaps."""
        self.answered = Spans()
        """Places that an answer has told of."""
        self.pending = Spans()
        """Places whose rows were published and are not in the table yet."""
        self.refused = Spans()
        """Places that the exchange does not serve, or not in a readable form: given up."""
        self.sequence = 0
        """The RAW sequence of the last frame of this series that was published, by whomever."""
        self.covered: tuple[int, int] | None = None
        """A frame's RAW sequence, and the MD sequence by which the normaliser had read it: its rows stand before."""
        self.resumed = False
        """Whether it was looked up what an earlier process had published."""
        self.look_at: int | None = None
        """When the table is to be asked, our clock."""
        self.fence: int | None = None
        """The RAW sequence up to which the normaliser must have read before fenced gaps are looked at."""
        self.looks = 0
        """How often it was asked since anything was published."""

    def left(self, work: Work) -> Spans:
        """Return what of a gap is still to be asked for."""
        return work.left(self.there, self.answered, self.refused)

    def done(self, work: Work) -> bool:
        """Whether everything of a gap has come to its end."""
        return work.looked and not self.left(work) and not work.wanted & self.pending

    def first_due(self, now: int) -> Work | None:
        """Return the gap that matters most, of those that something is to be asked for now."""
        due = (
            work
            for work in self.works.values()
            if work.due_at <= now
            and (work.probe_from is not None or (self.resumed and work.looked and self.left(work)))
        )
        return min(due, key=lambda work: work.order, default=None)

    def page(self, work: Work, now: int) -> Page:
        """Return the next call for a gap; it serves the others of the series that lie in its reach."""
        if work.probe_from is not None:
            first, most = work.probe_from, self.history.most
            return Page(self.series, self.history, first, first + most - 1, most, Spans(), work.gap, probe=True)
        left = self.left(work)
        first = left.first
        if self.history.keyed == "time":
            last = left.pairs[0][1]
            return Page(self.series, self.history, first, last, self.history.most, left.within(first, last), work.gap)
        asked = left
        for other in self.works.values():
            if other is not work and other.looked and other.due_at <= now:
                asked = asked | self.left(other)
        wanted = asked.within(first, first + self.history.most - 1)
        last = wanted.last
        return Page(self.series, self.history, first, last, last - first + 1, wanted, work.gap)

    def fenced(self, now: int) -> bool:
        """Return whether a gap is to be looked at for the first time whose far side the exchange alone has told."""
        return any(
            work.fenced and not work.looked and work.ripe_at is not None and work.ripe_at <= now
            for work in self.works.values()
        )

    def touched(self, wanted: Spans) -> Iterable[Work]:
        """Return the gaps that a page serves."""
        return [work for work in self.works.values() if work.wanted & wanted]

    def served(self, page: Page) -> Iterable[Work]:
        """Return the gaps that a page is made for: one, where it is only to learn what there is."""
        if page.probe:
            return [work for name, work in self.works.items() if name == page.gap.gap_id]
        return self.touched(page.wanted)

    def lookup(self) -> tuple[int, int] | None:
        """Return the first and last key about which the table is to be asked: of everything that is not closed."""
        keys = [keys_of(work.wanted, self.history) for work in self.works.values() if work.wanted]
        if not keys:
            return None
        return min(spans.first for spans in keys), max(spans.last for spans in keys)
