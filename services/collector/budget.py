"""What one address may ask of one exchange: who waits, who is next, and what is spent. Pure: times come in.

Times are microseconds of a clock that never steps. Nothing here knows who asks: a request of this collector and one of
another process wait in the same queue.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from schemas.control import Priority
from services.collector.pacing import Budget
from services.shared.exchanges.rest_rules import Rate, RestRules

SECOND_US = 1_000_000
_MOST_ENDPOINTS = 1_000
"""Endpoints whose own counts are kept; above it those that have expired are forgotten."""


@dataclass(slots=True, eq=False)
class Ask:
    """One request that waits for leave, or has it: `granted` is called once when it is given."""

    priority: Priority
    endpoint: str
    weight: int
    order: int
    granted: Callable[[], None]
    state: Literal["waiting", "granted", "over"] = "waiting"

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands in the order of service: by priority, and by age within one."""
        return self.priority.rank, self.order


@dataclass(slots=True)
class _Counter:
    """One rate's count: of all the endpoints together, or of one where the rate is meant apiece."""

    rate: Rate
    budget: Budget

    def cost(self, weight: int) -> float:
        """Return what a request costs here. One above our share of the limit goes when nothing else has gone."""
        return min(float(weight) if self.rate.weighed else 1.0, self.budget.limit)


@dataclass(slots=True)
class _Endpoint:
    """The requests to one endpoint: they cost the same counters, so the first of them goes before the others."""

    counters: list[_Counter]
    heap: list[tuple[tuple[int, int], int, Ask]] = field(default_factory=list)

    def first(self) -> Ask | None:
        while self.heap:
            ask = self.heap[0][2]
            if ask.state == "waiting":
                return ask
            heapq.heappop(self.heap)
        return None


class Pool:
    """One exchange's budget for one outgoing address (or one of several that the exchange keeps apart)."""

    def __init__(self, rules: RestRules, share: float) -> None:
        self.rules = rules
        self.waiting = 0
        self.under_way = 0
        self.paused_until_us = 0
        self._share = share
        self._shared = [_Counter(rate, self._budget(rate)) for rate in rules.rates if not rate.apiece]
        self._endpoints: dict[str, _Endpoint] = {}
        self._orders = itertools.count()

    def _budget(self, rate: Rate) -> Budget:
        return Budget(self._allowed(rate), round(rate.window_s * SECOND_US))

    def _allowed(self, rate: Rate) -> float:
        return max(1.0, rate.units * self._share)

    def next_order(self) -> int:
        """Return the place in the queue of a request that is made now: it keeps it when it is asked again."""
        return next(self._orders)

    def add(
        self, priority: Priority, endpoint: str, weight: int, granted: Callable[[], None], order: int | None = None
    ) -> Ask:
        """Queue a request behind those of its own priority. Raises ValueError when no window could ever hold it."""
        found = self._endpoint(endpoint)
        for counter in found.counters:
            if counter.rate.weighed and weight > counter.rate.units:
                raise ValueError(
                    f"a weight of {weight} does not fit into limit {counter.rate.name!r} of {counter.rate.units} "
                    f"in {counter.rate.window_s:g} s"
                )
        ask = Ask(priority, endpoint, weight, self.next_order() if order is None else order, granted)
        heapq.heappush(found.heap, (ask.place, id(ask), ask))
        self.waiting += 1
        return ask

    def withdraw(self, ask: Ask) -> None:
        """Nobody waits for this one any more."""
        if ask.state == "waiting":
            ask.state = "over"
            self.waiting -= 1

    def take(self, now: int) -> Ask | int | None:
        """Give leave to the next request and return it, else the microseconds until one may go; None: not before done.

        The first in order goes first. One that must wait for room keeps that room free of those behind it (else light
        requests would keep a heavy one waiting for ever), but not the room that it does not wait for: the limit of one
        endpoint holds up no other.
        """
        if not self.waiting or self.under_way >= self.rules.in_flight:
            return None
        if now < self.paused_until_us:
            return self.paused_until_us - now
        if len(self._endpoints) > _MOST_ENDPOINTS:
            self._forget(now)
        kept: set[int] = set()
        soonest: int | None = None
        firsts = [(first, found) for found in self._endpoints.values() if (first := found.first()) is not None]
        for ask, found in sorted(firsts, key=lambda item: item[0].place):
            waits = [(counter, counter.budget.wait_us(counter.cost(ask.weight), now)) for counter in found.counters]
            wait = max((wait for _, wait in waits), default=0)
            if not any(id(counter) in kept for counter, _ in waits):
                if not wait:
                    self._grant(ask, found)
                    return ask
                soonest = wait if soonest is None else min(soonest, wait)
            kept |= {id(counter) for counter, needed in waits if needed}
        return soonest

    def _grant(self, ask: Ask, found: _Endpoint) -> None:
        heapq.heappop(found.heap)
        for counter in found.counters:
            counter.budget.hold(counter.cost(ask.weight))
        ask.state = "granted"
        self.waiting -= 1
        self.under_way += 1

    def done(self, ask: Ask, now: int) -> None:
        """The answer of a granted request is here, or nobody expects it any more: it counts from now on."""
        if ask.state != "granted":
            return
        ask.state = "over"
        self.under_way -= 1
        for counter in self._endpoint(ask.endpoint).counters:
            counter.budget.settle(counter.cost(ask.weight), now)

    def learn(self, endpoint: str, said: Mapping[str, str], now: int, now_s: float) -> None:
        """Take the exchange's own count out of an answer's headers. `now_s` is the time, seconds UTC."""
        for counter in self._endpoint(endpoint).counters:
            used = counter.rate.used(said)
            if used is not None:
                counter.budget.correct(used, now)
            reset_s = counter.rate.reset_s(said, now_s)
            if reset_s is not None:
                counter.budget.pause(now + round(reset_s * SECOND_US))

    def told(self, units: Mapping[str, int]) -> dict[str, int]:
        """Take what the exchange says its limits are, by name, but for those apiece; return those that are new."""
        new: dict[str, int] = {}
        for counter in self._shared:
            name = counter.rate.name
            if units.get(name, counter.rate.units) != counter.rate.units:
                new[name] = units[name]
                counter.rate = replace(counter.rate, units=units[name])
                counter.budget.limit = self._allowed(counter.rate)
        return new

    def pause(self, until_us: int) -> None:
        """Give no leave at all until then."""
        self.paused_until_us = max(self.paused_until_us, until_us)

    def used(self, now: int) -> dict[str, float]:
        """Return the share of each limit (of what we allow ourselves) that is used; apiece: of the fullest endpoint."""
        found: dict[str, float] = {rate.name: 0.0 for rate in self.rules.rates}
        own = (counter for endpoint in self._endpoints.values() for counter in endpoint.counters)
        for counter in (*self._shared, *own):
            name = counter.rate.name
            found[name] = max(found[name], counter.budget.used(now) / counter.budget.limit)
        return found

    def _forget(self, now: int) -> None:
        """Forget endpoints that nobody has asked for lately."""
        self._endpoints = {
            name: found
            for name, found in self._endpoints.items()
            if found.heap or any(counter.budget.used(now) for counter in found.counters if counter.rate.apiece)
        }

    def _endpoint(self, name: str) -> _Endpoint:
        found = self._endpoints.get(name)
        if found is None:
            shared = [counter for counter in self._shared if counter.rate.counts(name)]
            apiece = [rate for rate in self.rules.rates if rate.apiece and rate.counts(name)]
            own = [_Counter(rate, self._budget(rate)) for rate in apiece]
            found = self._endpoints[name] = _Endpoint([*shared, *own])
        return found
