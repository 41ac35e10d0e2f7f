"""One channel of one instrument: which connection feeds it, what was last said, and what is missing.

Several connections may feed a lane at once (a planned replacement, two collectors). One leads: its records go out as
they come. Those of the others are kept aside, bounded, and forgotten as the leader passes them. When the leader ends,
the longest-standing other takes its place: what it has beyond the leader's last record goes out, so nothing is doubled
and nothing is missed. Only where no other covered the moment of the leader's end is there a gap.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas import records
from schemas.frames import RawFrame
from services.normaliser.counts_told import Told
from services.normaliser.desk import Desk
from services.normaliser.gaps import GapType, Hole, Place, gap_of
from services.normaliser.link import THIN_AT, Link
from services.normaliser.quick import QuickLane
from services.normaliser.sayings import same, sent
from services.shared.exchanges.declaration import Channel

_REMEMBERED = 8
"""Ended connections whose last frame number is kept, to know their frames when they are published again."""


class Lane(QuickLane):
    """Records without numbers: tickers, candles, mark prices, liquidations. Told apart by send time and values."""

    def __init__(self, desk: Desk, exchange: str, market: str, symbol: str, channel: Channel) -> None:
        super().__init__(desk, exchange, market, symbol, channel)
        self.parse = channel.parse
        self.frames = 0
        """Frames that came since the unit's tally was last told."""
        self.leader: Link | None = None
        self.links: dict[str, Link] = {}
        self.ended: dict[str, int] = {}
        self.heard: dict[str, int] = {}
        """What a saved lane knew of the desk's `heard`."""
        self.down_since: int | None = None
        """Nobody covers the lane since then, our clock: the last sign of life of the last leader."""
        self.down_why = ""
        self.alarm: int | None = None
        """When the lane is to be looked at without a frame of its own; on its leader's frames only."""
        self.seen = 0
        """The RAW sequence up to which a saved lane's state holds; frames up to there are in it."""
        self.look_at_fields = 0
        """When its frames are to be looked through for unknown fields again, our clock."""
        self.delisted = False
        """The instrument is traded no more: whatever does not come any more is not missing."""
        self.given_up = ""
        """The last connection that gave the lane up on purpose, with none to follow it; its last frames may come."""
        self.presumed: set[str] = set()
        """Of the ended ones those that said no farewell, and come back when they are heard of again."""
        self.gap_told_at = 0
        """When a gap was last put out, our clock."""
        self.covered = 0
        """When the lane last passed from one leader to another, our clock: no hole begins before that."""

    # -- frames ----------------------------------------------------------------------------------------------------

    def link(self, frame: RawFrame) -> Link | None:
        """Return the link a frame came on, or None if the frame was already seen."""
        name, number = frame.connection, frame.number
        link = self.links.get(name)
        if link is None:
            last = self.ended.get(name)
            if last is not None and number <= last:
                return None
            if last is not None and not self._comes_back(name, frame.received_at):
                self.ended[name] = number
                return Link(name, frame.received_at, number)  # the last of what it had to say
            link = self.join(name, frame.received_at)
        elif number <= link.number:
            return None
        link.number = number
        return link

    def _comes_back(self, name: str, now: int) -> bool:
        """Whether an ended connection that says something feeds the lane once more.

        One that was taken for gone does (its collector was paused, or late), unless what it says is older than the
        leader is: then it is the late rest of one that is gone indeed.
        """
        leader = self.leader
        if leader is None:
            return name != self.given_up
        return name in self.presumed and now >= leader.since

    def keep(self, link: Link, found: Sequence[records.Record], received_at: int) -> None:
        """Keep the records of a connection that does not lead aside.

        What it heard before the leader began, the leader cannot tell: that goes out at once. It happens when a killed
        collector's frames reach RAW late, and with the last frames of a stream that was given up.
        """
        if self.leader is None or received_at < self.leader.since:
            for record in found:
                if not self.desk.was_refilled(record):
                    self.desk.emit(record)
            return
        link.aside.extend(found)
        self.look_at_leader(received_at)
        if len(link.aside) >= min(link.thin_at, self.desk.options.hold_events + 1):
            self._thin(link)

    def accept(self, record: records.Record) -> None:
        """Put the leader's next record out, unless it was already."""
        kind = record.KIND
        last = self.last.get(kind)
        if last is not None:
            if self.said(record, last) or (self.overlap and self.passed(record, last)):
                self.desk.counters.duplicates += 1
                return
            self.overlap = False
        if self.holes:
            self.settle(kind, record)
        self.last[kind] = record
        self.desk.emit(record)

    def said(self, record: records.Record, last: records.Record) -> bool:
        """Whether `record` is `last` once more."""
        if isinstance(record, records.Candle):
            return record.timestamp <= last.timestamp or self.desk.was_refilled(record)
        return sent(record) == sent(last) and same(record, last)

    def passed(self, record: records.Record, last: records.Record) -> bool:
        """Whether another connection has already told what `record`, of a new leader, tells."""
        return sent(record) < sent(last)

    def moment(self, record: records.Record) -> int:
        """Return when a record was said, on the exchange's clock: gaps are bounded by it."""
        return record.timestamp if isinstance(record, records.Candle) else sent(record)

    def _thin(self, link: Link) -> None:
        """Forget what the leader has passed. A leader that lives and yet leaves so much untold leads no more."""
        link.aside = self.untold(link)
        leader, most = self.leader, self.desk.options.hold_events
        link.thin_at = 2 * len(link.aside) + THIN_AT
        if len(link.aside) > most and leader is not None:
            self._end(leader.name, self._heard(leader), f"connection {leader.name} tells less than {link.name}")
            self.presumed.add(leader.name)

    def untold(self, link: Link) -> list[records.Record]:
        """Return what a connection has aside that the leader has not told."""
        return [item for item in link.aside if not self._behind_leader(item)]

    def inherited(self, heir: Link) -> list[records.Record]:
        """Return what a new leader has aside, for `accept` to judge."""
        return heir.aside

    def _behind_leader(self, record: records.Record) -> bool:
        """Whether a record kept aside tells nothing that the leader has not told."""
        last = self.last.get(record.KIND)
        return last is not None and (self.said(record, last) or self.passed(record, last))

    # -- connections -----------------------------------------------------------------------------------------------

    def join(self, name: str, since: int) -> Link:
        """Let a connection cover the lane from `since` on, our clock."""
        link = self.links.get(name)
        if link is None:
            self._presume(since)
            link = self.links[name] = Link(name, since, self.ended.pop(name, 0))
            self.presumed.discard(name)
            self.given_up = ""
        if self.leader is None:
            if self.down_since is not None:
                self.open_holes("disconnect", self.down_why, self.down_since, since, detected=since)
                self.down_since = None
                self.interrupted()
            self._lead(link)
        elif self.leader is not link:
            self.look_at_leader(since)
        return link

    def leave(self, name: str, ended_at: int, why: str, *, meant: bool = False) -> None:
        """End a connection at `ended_at`, our clock; `meant` when the lane was given up on purpose."""
        if name in self.links:
            self._end(name, ended_at, why, meant=meant)
        if name in self.ended:
            self.presumed.discard(name)
            self.forget(name)

    def _end(self, name: str, ended_at: int, why: str, *, meant: bool = False) -> None:
        link = self.links.pop(name)
        self.ended[name] = link.number
        while len(self.ended) > _REMEMBERED:
            oldest = next(iter(self.ended))
            del self.ended[oldest]
            self.presumed.discard(oldest)
            self.forget(oldest)
        if link is not self.leader:
            return
        alive_until = max(self._heard(link), self.covered)
        heir = min(self.links.values(), key=lambda other: (other.since, other.name), default=None)
        if heir is None:
            self.resting()
            self.leader = None
            if meant or self.delisted:
                self.given_up = name if meant else ""
                self.begin_anew()
            else:
                self.down_since, self.down_why = alive_until, why
            return
        self.covered = alive_until
        if heir.since <= ended_at:
            self.overlap = True
        else:
            self.open_holes("disconnect", why, alive_until, heir.since, detected=max(ended_at, heir.since))
            self.interrupted()
        self._lead(heir)
        aside, heir.aside = self.inherited(heir), []
        for record in aside:
            self.accept(record)

    def _presume(self, now: int) -> None:
        """Take those in the leader's shadow for gone that are unheard of at `now`: killed collectors add up."""
        gone = [link for link in self.links.values() if now - self._heard(link) > self.desk.options.dead_after_us]
        for link in gone:
            if link is not self.leader:
                self._end(link.name, now, "")
                self.presumed.add(link.name)

    def alive(self, name: str, now: int) -> None:
        """A connection lives at `now`: one that was taken for gone comes back, and the leader had better live too."""
        link = self.links.get(name)
        if link is None and name in self.presumed and self._comes_back(name, now):
            link = self.join(name, now)
        if link is not None and link is not self.leader:
            self.look_at_leader(now)

    def took_over(self, now: int) -> None:
        """The leader, which has been in the shadow until `now`, leads in the place of one that fell silent."""

    def forget(self, name: str) -> None:
        """An ended connection does not come back."""

    def _lead(self, link: Link) -> None:
        self.leader = link
        self.alarm = None
        self.wake()

    def wake(self) -> None:
        """Ask to be looked at when something is due, instead of whenever it was asked before."""
        due = self.due()
        if due is None:
            self.alarm = None  # one that is set would keep what comes due before it waiting
        elif self.leader is not None and due != self.alarm:
            self.alarm = due
            self.desk.wake(self.leader.name, due, (self.exchange, self.market, self.symbol, self.channel.name))

    def due(self) -> int | None:
        """Return when something is to be done even if no frame comes, our clock."""
        return None

    def ring(self, now: int) -> None:
        """Do what is due."""

    def dropped(self, link: Link, now: int, why: str) -> None:
        """The collector had no room for some of a connection's frames, until `now` on our clock."""
        if link is self.leader:
            self.open_holes("dropped", why, self._heard(link), now, detected=now)
        else:
            link.since, link.aside = now, []

    def counted(self, name: str, number: int, told: Told, now: int) -> None:
        """The collector says how many frames it took on a connection; those that RAW does not have are a gap.

        Where the numbers of a kind tell of what is missing, they do so better: then only if they have not yet.
        """
        link = self.links.get(name)
        if link is None or not link.counts.is_new(number):
            return
        short = link.counts.compare(number, told, link.frames)
        link.frames = 0
        if short is None or link is not self.leader:
            return
        why = f"the collector took {short.frames} frames on connection {name} that the raw stream does not have"
        for kind in self.channel.kinds:
            if self.last_number(kind) is None:
                hole = Hole(gap_type="ring", evidence=why, detected=now, lost_from=short.since, lost_to=short.until)
                self.tell_gap(gap_of(self.place(kind), hole, received_at=now))
            elif self.gap_told_at < short.since:
                self.open_holes("ring", why, short.since, short.until, detected=now)

    def lose(self, why: str) -> None:
        """Frames of RAW were discarded before they were read: whoever fed the lane, we do not know what it said."""
        if self.leader is not None:
            alive_until = max(self._heard(self.leader), self.covered)
            self.open_holes("ring", why, alive_until, None, detected=alive_until)
            self.interrupted()
        for link in self.links.values():
            self.ended[link.name] = link.number
        self.links = {}
        self.leader = None

    def look_at_leader(self, now: int) -> None:
        """Take a leader for gone that is unheard of while others are heard (a killed collector says no farewell)."""
        leader = self.leader
        if leader is not None and now - self._heard(leader) > self.desk.options.dead_after_us:
            why = f"connection {leader.name} fell silent without a farewell"
            self._end(leader.name, max(self._heard(leader), self.covered), why)
            self.presumed.add(leader.name)
            if self.leader is not None and self.leader.since < now:
                self.took_over(now)

    def _heard(self, link: Link) -> int:
        return max(self.desk.heard.get(link.name, link.since), self.heard.get(link.name, link.since))

    def heard_of(self, name: str) -> int:
        """Return when a connection of this lane last gave a sign of life, our clock."""
        return self._heard(self.links[name])

    def delist(self, now: int) -> None:
        """The instrument is traded no more as of `now`, our clock: what was missed until then is known, and all."""
        if self.down_since is not None:
            self.open_holes("disconnect", self.down_why, self.down_since, now, detected=now)
        self.begin_anew()
        self.delisted = True

    def relist(self) -> None:
        """The instrument is traded again: whatever was before is another life."""
        self.begin_anew()
        self.delisted = False

    def begin_anew(self) -> None:
        """Whatever comes next follows nothing that was before."""
        self.down_since = None
        self.interrupted()
        self.holes.clear()

    def tell_gap(self, gap: records.Gap) -> None:
        """Put out a gap's state, unless there is nothing to be missed."""
        if not self.delisted:
            self.gap_told_at = max(self.gap_told_at, gap.received_at)
            self.desk.emit_gap(gap)

    def interrupted(self) -> None:
        """Coverage begins anew after a hole: the next record need not follow the last one."""

    def resting(self) -> None:
        """Nobody covers the lane any more."""

    # -- gaps ------------------------------------------------------------------------------------------------------

    def open_holes(self, gap_type: GapType, why: str, lost_from: int, lost_to: int | None, *, detected: int) -> None:
        """Publish a gap of every kind of this lane; the first record of the kind will tell its far side."""
        for kind in self.channel.kinds:
            if kind in self.holes:
                continue
            hole = Hole(
                gap_type=gap_type,
                evidence=why,
                detected=detected,
                lost_from=lost_from,
                lost_to=lost_to,
                after=self._after(kind),
                last_sequence=self.last_number(kind),
            )
            self.holes[kind] = hole
            self.tell_gap(gap_of(self.place(kind), hole, received_at=detected))

    def place(self, kind: str) -> Place:
        """Return whose gap one of this lane and kind is."""
        return Place(self.exchange, self.market, self.symbol, kind, self.channel.interval, self.channel.name)

    def _after(self, kind: str) -> int | None:
        """Return the lower bound in exchange time. Records may share a time, so the last one's own time is inside."""
        last = self.last.get(kind)
        if last is None and kind == records.Candle.KIND:
            last = self.last.get(records.CandleUpdate.KIND)  # the candle that was open may have closed in the hole
            return None if last is None else last.timestamp - 1
        if last is None:
            return None
        return self.moment(last) if isinstance(last, records.Candle) else self.moment(last) - 1

    def last_number(self, kind: str) -> int | None:
        """Return the number of the last record, where numbers have no holes."""
        return None

    def settle(self, kind: str, record: records.Record) -> None:
        """Publish a hole once more, now that the first record behind it is here."""
        hole = self.holes.pop(kind, None)
        if hole is not None:
            before = self.moment(record)
            if not isinstance(record, records.Candle):
                before += 1
            self.tell_gap(gap_of(self.place(kind), hole, received_at=record.received_at, before=before))
