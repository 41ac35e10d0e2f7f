"""Pairs looked at, opportunities opened, kept and closed, and what is told of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from schemas.records import ArbitrageOpportunity, ArbitrageSpread
from services.arbitrage_signal.alarms import Alarms
from services.arbitrage_signal.leg import NO_ASK, NO_BID, OUT_OF_STEP, Leg, Name
from services.arbitrage_signal.opportunity import Opportunity
from services.arbitrage_signal.pair import Pair, Route
from services.arbitrage_signal.saved import Saved, loaded_opportunity, saved_opportunity
from services.arbitrage_signal.terms import HORIZONS, Terms
from services.arbitrage_signal.walk import Offer, offers

Output = ArbitrageOpportunity | ArbitrageSpread


class Suspension(NamedTuple):
    """A pair was suspended, or is trusted again."""

    pair: str
    suspended: bool
    at: int


class Signals:
    """All pairs and what is open. `now` and `sequence` are the core's clock and the message in hand."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.now = 0
        self.sequence = 0
        self.signalling = True
        """Whether anything may be told; not while a past is only being made up for."""
        self.counters: Counter[str] = Counter()
        """Why records, instruments or pairs gave no signal, and what was signalled, since the core was made."""
        self.alarms = Alarms()
        self.pairs: dict[Leg, list[Pair]] = {}
        self.open: dict[str, Route] = {}
        """Opportunity id -> where it is."""
        self.suspended: set[str] = set()
        """Names of the pairs that are suspended now."""
        self.suspensions: list[Suspension] = []
        """What became of pairs since somebody last took this list empty."""
        self._sizes = terms.amounts()
        self._told: list[Output] = []

    def take(self) -> list[Output]:
        """Return what was told since the last time."""
        told, self._told = self._told, []
        return told

    # -- pairs -----------------------------------------------------------------------------------------------------

    def add(self, pair: Pair) -> None:
        """Compare two legs from now on."""
        self.pairs.setdefault(pair.one, []).append(pair)
        self.pairs.setdefault(pair.other, []).append(pair)

    def remove(self, leg: Leg) -> None:
        """Compare a leg with nothing any more."""
        for pair in self.pairs.pop(leg, []):
            for route in pair.routes:
                if route.opportunity is not None:
                    self._close(route, self.now, "instrument")
            self.pairs[pair.against(leg)].remove(pair)
            self.suspended.discard(pair.key)

    def forget(self) -> None:
        """The clock has jumped back: end what is open, and know of no pair what it was like."""
        self.abandon("clock")
        for pairs in self.pairs.values():
            for pair in pairs:
                pair.apart_since = pair.near_since = None
                pair.suspended = False
        self.suspended.clear()
        self.alarms.clear()

    def abandon(self, reason: str) -> None:
        """End all that is open: nobody knows how it went on."""
        for route in list(self.open.values()):
            self._close(route, self.now, reason)

    # -- a leg's new offer -----------------------------------------------------------------------------------------

    def changed(self, leg: Leg) -> None:
        """Look at everything that a leg's new offer may change."""
        if leg.crossed:
            self.counters["crossed"] += 1
        elif (leg.bid == NO_BID or leg.ask == NO_ASK) and leg.book_state != OUT_OF_STEP:
            self.counters["empty_side"] += 1
        reach, hurdle = leg.reach, leg.hurdle
        for pair in self.pairs.get(leg, ()):
            other = pair.other if pair.one is leg else pair.one
            if pair.apart_since is not None or reach >= other.hurdle or other.reach >= hurdle:
                self._look(pair)
            else:
                for route in pair.routes:
                    if route.opportunity is not None:
                        self._close(route, self.now, self._why(route))

    def _look(self, pair: Pair) -> None:
        """Walk both ways of a pair whose best prices promise something."""
        now = self.now
        trusted = pair.one.fresh(now) and pair.other.fresh(now)
        if not trusted:
            self.counters["stale"] += 1
        elif self._doubted(pair):
            self.counters["apart"] += 1
            trusted = False
        for route in pair.routes:
            if trusted and route.sell.reach >= route.buy.hurdle:
                self._walk(route, pair)
            elif route.opportunity is not None:
                self._close(route, now, self._why(route, doubted=pair.apart_since is not None))

    def _why(self, route: Route, *, doubted: bool = False) -> str:
        """Return why an opportunity is over."""
        legs = (route.buy, route.sell)
        if any(leg.book_state == OUT_OF_STEP for leg in legs):
            return "out_of_step"
        if not all(leg.fresh(self.now) for leg in legs):
            return "stale"
        if any(leg.crossed for leg in legs):
            return "crossed"
        return "apart" if doubted else "spread"

    def _walk(self, route: Route, pair: Pair) -> None:
        found = offers(route.buy, route.sell, self._sizes, pair.step)
        best = self._best(found)
        opportunity, now = route.opportunity, self.now
        if opportunity is None:
            if best is None or not self.signalling:
                return
            opportunity = route.opportunity = Opportunity(route.buy, route.sell, now, self.sequence)
            opportunity.take(found, best, now, self.sequence)
            self.open[opportunity.opportunity_id] = route
            self.tell(opportunity.tell("open", now))
            self._set_alarms(route, opportunity)
        elif best is None:
            self._close(route, now, "spread" if found else "depth")
        else:
            opportunity.take(found, best, now, self.sequence)
            if opportunity.changed and opportunity.update_due is None:
                due = opportunity.told_at + self.terms.update_us
                if due <= now:
                    self.tell(opportunity.tell("update", now))
                else:
                    self._update_at(route, opportunity, due)

    def _best(self, found: Iterable[Offer]) -> Offer | None:
        """Return the offer with the largest net among those that pass the threshold."""
        threshold = self.terms.threshold
        passing = [offer for offer in found if offer.net >= threshold * offer.cost]
        return max(passing, key=lambda offer: offer.net, default=None)

    # -- an opportunity's life -------------------------------------------------------------------------------------

    def _set_alarms(self, route: Route, opportunity: Opportunity) -> None:
        """Set what is still to come of an opportunity's notes, confirmation and end of age."""
        for after, horizon in HORIZONS:
            if horizon not in opportunity.left:
                self.alarms.set(opportunity.opened_at + after, self._noting(route, opportunity, horizon))
        if opportunity.confirmed_at is None:
            self.alarms.set(opportunity.opened_at + self.terms.confirm_us, self._confirming(route, opportunity))
        self._expire_at(route, opportunity)

    def _noting(self, route: Route, opportunity: Opportunity, horizon: str) -> Callable[[int], None]:
        def note(_: int) -> None:
            if route.opportunity is opportunity:
                opportunity.note(horizon)

        return note

    def _confirming(self, route: Route, opportunity: Opportunity) -> Callable[[int], None]:
        def confirm(at: int) -> None:
            if route.opportunity is opportunity:
                opportunity.confirmed_at = at
                self.tell(opportunity.tell("confirmed", at))

        return confirm

    def _expire_at(self, route: Route, opportunity: Opportunity) -> None:
        """See to it that the opportunity ends when a side grows too old, though no record says so."""

        def expire(at: int) -> None:
            if route.opportunity is not opportunity:
                return
            if route.buy.fresh(at) and route.sell.fresh(at):
                self._expire_at(route, opportunity)
            else:
                self._close(route, at, "stale")

        self.alarms.set(min(route.buy.fresh_until, route.sell.fresh_until) + 1, expire)

    def _update_at(self, route: Route, opportunity: Opportunity, due: int) -> None:
        def update(at: int) -> None:
            if route.opportunity is not opportunity:
                return
            opportunity.update_due = None
            if opportunity.changed:
                self.tell(opportunity.tell("update", at))

        opportunity.update_due = due
        self.alarms.set(due, update)

    def _close(self, route: Route, at: int, reason: str) -> None:
        opportunity = route.opportunity
        assert opportunity is not None
        route.opportunity = None
        del self.open[opportunity.opportunity_id]
        opportunity.sequence = self.sequence
        self.tell(opportunity.tell("closed", at, reason))

    def tell(self, record: Output) -> None:
        """Put a record out."""
        if isinstance(record, ArbitrageOpportunity):
            self.counters[f"told_{record.event}"] += 1
        else:
            self.counters["told_spread"] += 1
        self._told.append(record)

    # -- two coins of one name -------------------------------------------------------------------------------------

    def _doubted(self, pair: Pair) -> bool:
        """Tell whether the two are perhaps not the same coin, and keep note of since when."""
        apart = pair.apart(self.terms.apart_percent)
        now = self.now
        if apart:
            pair.near_since = None
            if pair.apart_since is None:
                pair.apart_since = now
                self._suspend_at(pair, now)
            return True
        if apart is None:
            return True  # without both sides of both nobody can tell
        if pair.apart_since is None:
            return False
        if not pair.suspended:
            pair.apart_since = None
            return False
        if pair.near_since is None:
            pair.near_since = now
        if now - pair.near_since < self.terms.suspend_us:
            return True
        pair.apart_since = pair.near_since = None
        self._suspend(pair, suspended=False, at=now)
        return False

    def _suspend_at(self, pair: Pair, since: int) -> None:
        def suspend(at: int) -> None:
            if pair.apart_since == since and not pair.suspended:
                self._suspend(pair, suspended=True, at=at)

        self.alarms.set(since + self.terms.suspend_us, suspend)

    def _suspend(self, pair: Pair, *, suspended: bool, at: int) -> None:
        pair.suspended = suspended
        if suspended:
            self.suspended.add(pair.key)
        else:
            self.suspended.discard(pair.key)
        self.counters["suspended" if suspended else "trusted_again"] += 1
        self.suspensions.append(Suspension(pair.key, suspended, at))

    # -- a restart -------------------------------------------------------------------------------------------------

    def save(self) -> Saved:
        """Return what the last records alone do not bring back."""
        opportunities = [route.opportunity for route in self.open.values()]
        return Saved(
            self.now, [saved_opportunity(one) for one in opportunities if one is not None], sorted(self.suspended)
        )

    def restore(self, saved: Saved) -> None:
        """Go on from what was saved. An opportunity of instruments that are gone is dropped, and counted."""
        pairs = {pair.key: pair for pairs in self.pairs.values() for pair in pairs}
        for key in saved.suspended:
            pair = pairs.get(key)
            if pair is not None and not pair.suspended:
                pair.suspended = True
                pair.apart_since = pair.apart_since or saved.now
                self.suspended.add(key)
        routes = {(route.buy.name, route.sell.name): route for pair in pairs.values() for route in pair.routes}
        for one in saved.opportunities:
            route = routes.get((Name(*one.buy), Name(*one.sell)))
            if route is None:
                self.counters["not_restored"] += 1
                continue
            opportunity = loaded_opportunity(one, route.buy, route.sell)
            route.opportunity = opportunity
            self.open[one.opportunity_id] = route
            self._set_alarms(route, opportunity)
            if opportunity.update_due is not None:
                self._update_at(route, opportunity, opportunity.update_due)
