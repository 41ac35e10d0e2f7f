"""The best levels of a book, and what a stream that tells of no others says when the book changes."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

from services.exchange_simulator.generator.book import Change, Level, Side, Snapshot, Walker


class Window:
    """The best `depth` levels of both sides, carried forward with a walker that stands at the same step."""

    def __init__(self, walker: Walker, snapshot: Snapshot, depth: int) -> None:
        self._walker = walker
        self._bids = _View(walker.bids, snapshot.bids, depth, -1)
        self._asks = _View(walker.asks, snapshot.asks, depth, 1)

    def advance(self) -> Change:
        """Take the next step and return what changed in view; where nothing did, the best bid is repeated."""
        change = self._walker.advance()
        bids, asks = self._bids.take(change.bids), self._asks.take(change.asks)
        if not bids and not asks:
            bids = [(change.touch.bid, change.touch.bid_steps)]
        return Change(change.step, change.touch, bids, asks, frozenset(self._bids.fresh), frozenset(self._asks.fresh))


class _View:
    """One side; `_prices` are those in view, rising."""

    def __init__(self, side: Side, levels: Sequence[Level], depth: int, direction: int) -> None:
        self._side = side
        self._depth = depth
        self._direction = direction
        self._worst = -1 if direction > 0 else 0
        self._prices = sorted(ticks for ticks, _ in levels)
        self.fresh: set[int] = set()
        """The prices that the last change brought into view."""

    def take(self, changed: Sequence[Level]) -> list[Level]:
        """Return what a change of the book means in view, prices rising."""
        prices, direction = self._prices, self._direction
        edge = prices[self._worst]
        told: dict[int, int] = {}
        fresh = self.fresh = set()
        for ticks, steps in changed:
            if (ticks - edge) * direction > 0:
                continue
            place = bisect_left(prices, ticks)
            known = place < len(prices) and prices[place] == ticks
            if known and not steps:
                del prices[place]
            elif not known and steps:
                prices.insert(place, ticks)
                fresh.add(ticks)
            if known or steps:
                told[ticks] = steps
        while len(prices) > self._depth:
            ticks = prices.pop(self._worst)
            if ticks in fresh:
                fresh.remove(ticks)
                del told[ticks]
            else:
                told[ticks] = 0
        if len(prices) < self._depth:
            for ticks, steps in self._side.beyond(edge, self._depth - len(prices)):
                insort(prices, ticks)
                fresh.add(ticks)
                told[ticks] = steps
        return sorted(told.items())
