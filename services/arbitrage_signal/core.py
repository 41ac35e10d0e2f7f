"""Records in the order of the MD stream in; opportunities, spreads and counters out. Pure.

The only clock is the receive time of the market record in hand. Whatever was due before it, or at the same moment,
happens first, with the time at which it was due. A record that was received a little before the last one does not turn
the clock back; a clock that jumps back by more makes everything forgotten, since nobody knows what is old then.

One record costs a comparison with each other instrument of its asset; books are walked only where that comparison says
that the best prices alone would pass the threshold.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

import msgspec

from services.arbitrage_signal import inputs
from services.arbitrage_signal.book import BadLevel
from services.arbitrage_signal.leg import BadTerms, Leg, Name
from services.arbitrage_signal.pair import Pair
from services.arbitrage_signal.saved import Saved
from services.arbitrage_signal.signals import Output, Signals
from services.arbitrage_signal.terms import MEMORY_US, SECOND, Terms

BOOK_KINDS = ("book_change", "orderbook")
LIVE = "live"
MARK_US = 5 * SECOND
"""How often it is noted which message came when."""


class ArbitrageCore:
    """All instruments and their market, as far as it matters for signals."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.signals = Signals(terms)
        self.legs: dict[Name, Leg] = {}
        self._by_asset: dict[str, list[Leg]] = {}
        self._offsets: dict[tuple[str, str], int] = {}
        self._marks: deque[tuple[int, int]] = deque()
        """(clock, MD sequence) now and then, over the last `MEMORY_US`."""
        self._subjects: dict[str, tuple[Callable[[Name, bytes], None], Name] | None] = {}
        self._handlers: dict[str, Callable[[Name, bytes], None]] = {
            "quote": self._quote,
            "orderbook": self._orderbook,
            "book_change": self._book_change,
            "instrument": self._instrument,
            "clock_offset": self._clock_offset,
        }

    @property
    def counters(self) -> Counter[str]:
        """Why records, instruments or pairs gave no signal, and what was signalled, since the core was made."""
        return self.signals.counters

    def process(self, sequence: int, subject: str, body: bytes) -> list[Output]:
        """Take the next message; return what it, and whatever was due before it, has to tell."""
        self.signals.sequence = sequence
        try:
            found = self._subjects[subject]
        except KeyError:
            found = self._find(subject)
        if found is None:
            self.counters["ignored"] += 1
            return []
        handle, name = found
        try:
            handle(name, body)
        except msgspec.MsgspecError:
            self.counters["undecodable"] += 1
        return self.signals.take()

    def _find(self, subject: str) -> tuple[Callable[[Name, bytes], None], Name] | None:
        parts = subject.split(".")
        handler: Callable[[Name, bytes], None] | None = None
        if parts[0] == "md" and len(parts) == 5:
            handler = self._handlers.get(parts[1])
        elif parts[0] == "gap" and len(parts) == 4:
            handler = self._gap
        found = None if handler is None else (handler, Name(*parts[-3:]))
        if len(self._subjects) >= 100_000:  # subjects come and go with instruments
            self._subjects.clear()
        self._subjects[subject] = found
        return found

    # -- records of the market -------------------------------------------------------------------------------------

    def _quote(self, name: Name, body: bytes) -> None:
        leg = self._leg(name)
        if leg is None:
            return
        record = inputs.quote(body)
        if self._begin(leg, record):
            try:
                leg.take_quote(record)
            except BadLevel:
                self.counters["bad_level"] += 1
            self.signals.changed(leg)

    def _orderbook(self, name: Name, body: bytes) -> None:
        leg = self._leg(name)
        if leg is None:
            return
        record = inputs.orderbook(body)
        if self._begin(leg, record):
            try:
                leg.take_book(record)
            except BadLevel:
                self.counters["bad_level"] += 1
            self.signals.changed(leg)

    def _book_change(self, name: Name, body: bytes) -> None:
        leg = self._leg(name)
        if leg is None:
            return
        record = inputs.book_change(body)
        if self._begin(leg, record):
            try:
                changed = leg.take_change(record)
            except BadLevel:
                self.counters["bad_level"] += 1
                changed = True
            if changed:
                self.signals.changed(leg)

    def _leg(self, name: Name) -> Leg | None:
        leg = self.legs.get(name)
        if leg is None:
            self.counters["unknown_instrument"] += 1
        return leg

    def _gap(self, name: Name, body: bytes) -> None:
        leg = self.legs.get(name)
        gap = inputs.gap(body)
        if leg is None or gap.status != "open":
            return
        if gap.kind in BOOK_KINDS:
            if leg.lose_step():
                self.signals.changed(leg)
        elif gap.kind == "quote":
            leg.lose_quote()
            self.signals.changed(leg)

    # -- instruments and clocks ------------------------------------------------------------------------------------

    def _instrument(self, name: Name, body: bytes) -> None:
        told = inputs.instrument(body)
        if told.source != LIVE:
            return
        leg = self.legs.get(name)
        if leg is not None and leg.told == told:
            return
        if leg is not None:
            self.signals.remove(leg)
            self._by_asset[leg.asset].remove(leg)
            del self.legs[name]
        try:
            leg = Leg(name, told, self.terms)
        except BadTerms as error:
            self.counters[f"left_out_{error.reason}"] += 1
        else:
            self._add(leg)

    def _add(self, leg: Leg) -> None:
        leg.set_offset(self._offsets.get((leg.name.exchange, leg.name.market), 0))
        self.legs[leg.name] = leg
        terms = self.terms
        others = self._by_asset.setdefault(leg.asset, [])
        for other in others:
            if not terms.worth_the_same(leg.quote, other.quote):
                continue
            if not terms.same_coin(leg.asset, leg.name.exchange, other.name.exchange):
                self.counters["different_coin"] += 1
                continue
            self.signals.add(Pair(*sorted((leg, other), key=lambda one: one.name)))
        others.append(leg)

    def _clock_offset(self, name: Name, body: bytes) -> None:
        offset = inputs.clock_offset(body).offset_us
        self._offsets[name.exchange, name.market] = offset
        for leg in self.legs.values():
            if leg.name[:2] == name[:2]:
                leg.set_offset(offset)

    # -- the clock -------------------------------------------------------------------------------------------------

    def _begin(self, leg: Leg, record: inputs.Timed) -> bool:
        """Bring the clock to a market record; return whether the record is to be taken."""
        if record.source != LIVE:
            self.counters["not_live"] += 1
            return False
        signals = self.signals
        at, now = record.received_at, signals.now
        if at > now:
            if now and at - now > self.terms.jump_us:
                self.counters["clock_forward"] += 1
            alarms = signals.alarms
            while (due := alarms.due(at)) is not None:
                signals.now = max(signals.now, due)
                alarms.ring()
            signals.now = at
            self._mark(at)
        elif now - at > self.terms.jump_us:
            self.counters["clock_back"] += 1
            self._forget(at)
        if self.terms.spread_us:
            place = (signals.now - leg.spread_phase) // self.terms.spread_us
            if place > leg.spread_place:
                self._tell_spreads(leg, place)
        return True

    def _forget(self, at: int) -> None:
        """The clock has jumped back to `at`: whatever is known has no age."""
        self.signals.forget()
        for leg in self.legs.values():
            leg.forget()
        self._marks.clear()
        self.signals.now = at

    def _tell_spreads(self, leg: Leg, place: int) -> None:
        """A leg's first record of a second: its pairs are told as they stood at the end of the last one with a change.

        A pair whose other leg was here first in this second was told then. Seconds begin at another moment for each
        asset: all pairs at once would hold up the signals of the next fifth of a second.
        """
        if leg.spread_place >= 0 and self.signals.signalling:
            interval = self.terms.spread_us
            for pair in self.signals.pairs.get(leg, ()):
                other = pair.against(leg)
                if other.spread_place < place:
                    at = (max(leg.spread_place, other.spread_place) + 1) * interval + leg.spread_phase
                    if (spread := pair.spread(at)) is not None:
                        self.signals.tell(spread)
        leg.spread_place = place

    # -- a restart -------------------------------------------------------------------------------------------------

    def _mark(self, now: int) -> None:
        marks = self._marks
        if not marks or now - marks[-1][0] >= MARK_US:
            marks.append((now, self.signals.sequence - 1))
            while len(marks) > 1 and now - marks[1][0] >= MEMORY_US:
                marks.popleft()

    def rebuild_from(self) -> int:
        """Return the MD sequence after which everything has to be read again to know the market as it is known now."""
        return self._marks[0][1] if self._marks else self.signals.sequence

    def save(self) -> Saved:
        """Return what reading again does not bring back."""
        return self.signals.save()

    def restore(self, saved: Saved) -> None:
        """Go on from what was saved, after the market was read again with `signals.signalling` off."""
        self.signals.signalling = True
        self.signals.restore(saved)
