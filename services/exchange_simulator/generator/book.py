"""The order book: a pure function of market and step, and a walker that gives the differences between steps cheaply.

Layers, the upper hiding the lower: nothing beyond the touch; the touch itself with the pattern's quantities; level
changes of the last steps, each in force for `LIFETIME` steps; and resting levels that never change, one per cell of
the price grid. `Book.snapshot` computes a book from nothing; `Walker` carries it forward. A test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from services.exchange_simulator.generator.market import Market, Touch
from services.exchange_simulator.generator.noise import mix
from services.exchange_simulator.generator.pattern import Pattern

LIFETIME = 8
"""For how many steps a level change stands before the level falls back to its resting quantity."""

_TABLE = 1024
_SPREAD = 2_654_435_761
_MOST_KNOWN = 10_000

Level = tuple[int, int]
"""Price in ticks, quantity in steps."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Best levels of both sides after a step, best first."""

    step: int
    bids: list[Level]
    asks: list[Level]


@dataclass(frozen=True, slots=True)
class Change:
    """What one step did to the book: levels with their new quantity, 0 where there is none any more; prices rising.

    `new_bids` and `new_asks` are the prices among them that were not there before, told by a window alone.
    """

    step: int
    touch: Touch
    bids: list[Level]
    asks: list[Level]
    new_bids: frozenset[int] = frozenset()
    new_asks: frozenset[int] = frozenset()


class Resting:
    """The levels that never change: in each cell of the grid one price with one quantity."""

    def __init__(self, market: Market) -> None:
        key = mix(market.key, 2)
        self.cell = market.cell
        self._known: dict[int, int] = {}
        self._shifts = [mix(key, index) % market.cell for index in range(_TABLE)]
        self._steps = [market.sizes[mix(key, _TABLE + index) % len(market.sizes)] for index in range(_TABLE)]

    def at(self, ticks: int) -> int:
        """Return the quantity resting at a price, 0 where there is none."""
        steps = self._known.get(ticks)
        if steps is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            cell, shift = divmod(ticks, self.cell)
            place = cell * _SPREAD >> 8 & _TABLE - 1
            steps = self._known[ticks] = self._steps[place] if self._shifts[place] == shift else 0
        return steps

    def price(self, cell: int) -> int:
        """Return the price (ticks) of a cell's level."""
        return cell * self.cell + self._shifts[cell * _SPREAD >> 8 & _TABLE - 1]

    def between(self, low: int, high: int) -> list[int]:
        """Return the prices from `low` to `high` (ticks) that have a resting level, and perhaps a few just outside."""
        return [self.price(cell) for cell in range(low // self.cell, high // self.cell + 1)]


class Side:
    """One side of the book: touch, level changes in force, and the resting levels behind them.

    `direction` is -1 for bids, whose further levels have lower prices, and 1 for asks.
    """

    def __init__(self, resting: Resting, direction: int) -> None:
        self._resting = resting
        self._direction = direction
        self._changes: dict[int, tuple[int, int]] = {}
        self._expiring: dict[int, list[int]] = {}
        self.best = 0
        self._best_steps = 0

    def take(self, step: int, best: int, best_steps: int, fresh: dict[int, int]) -> list[Level]:
        """Move to `step` with its touch and its level changes; return the levels that differ now, prices rising."""
        direction, changes, resting = self._direction, self._changes, self._resting.at
        old_best, old_steps = self.best, self._best_steps
        expired = {ticks for ticks in self._expiring.pop(step, ()) if changes[ticks][1] == step}
        touched = {old_best, best, *fresh, *expired}
        if best != old_best and old_best:
            low, high = (old_best, best) if old_best < best else (best, old_best)
            touched.update(self._resting.between(low, high))
            touched.update([ticks for ticks in changes if low <= ticks <= high])
        found = []
        for ticks in sorted(touched):
            behind = changes.get(ticks)
            if ticks == old_best:
                was = old_steps
            elif (ticks - old_best) * direction < 0:
                was = 0
            else:
                was = resting(ticks) if behind is None else behind[0]
            if ticks == best:
                steps = best_steps
            elif (ticks - best) * direction < 0:
                steps = 0
            elif ticks in fresh:
                steps = fresh[ticks]
            else:
                steps = resting(ticks) if behind is None or ticks in expired else behind[0]
            if steps != was:
                found.append((ticks, steps))
        for ticks in expired:
            del changes[ticks]
        until = step + LIFETIME
        for ticks, steps in fresh.items():
            changes[ticks] = (steps, until)
        self._expiring[until] = list(fresh)
        self.best, self._best_steps = best, best_steps
        return found

    def beyond(self, edge: int, count: int) -> list[Level]:
        """Return the next `count` levels further out than a price, best first; the touch among them if it is."""
        behind = {ticks: steps for ticks, (steps, _) in self._changes.items()}
        if (self.best - edge) * self._direction <= 0:
            return _levels_behind(self._resting, edge, behind, count, self._direction)
        touch = (self.best, self._best_steps)
        return [touch, *_levels_behind(self._resting, self.best, behind, count - 1, self._direction)]


class Walker:
    """One book, carried forward step by step."""

    def __init__(self, market: Market, resting: Resting, step: int) -> None:
        """Stand after `step`, rebuilt from the level changes that are still in force."""
        self._market = market
        self.bids = Side(resting, -1)
        self.asks = Side(resting, 1)
        self.step = step - LIFETIME
        while self.step < step:
            self.advance()

    def advance(self) -> Change:
        """Take the next step and return the difference it makes; where there is none, the best bid is repeated."""
        self.step += 1
        pattern, index = self._market.pattern_step(self.step)
        touch = self._market.touch(self.step)
        bids, asks = level_changes(self._market, pattern, index, touch)
        changed_bids = self.bids.take(self.step, touch.bid, touch.bid_steps, bids)
        changed_asks = self.asks.take(self.step, touch.ask, touch.ask_steps, asks)
        if not changed_bids and not changed_asks:
            changed_bids = [(touch.bid, touch.bid_steps)]
        return Change(self.step, touch, changed_bids, changed_asks)


def level_changes(market: Market, pattern: Pattern, index: int, touch: Touch) -> tuple[dict[int, int], dict[int, int]]:
    """Return the levels behind the touch that a step sets, bids and asks; a quantity of 0 empties a level."""
    unit, sizes, bid, ask = market.unit, market.sizes, touch.bid, touch.ask
    bids = {
        bid - distance * unit - shift % unit: sizes[size] if size >= 0 else 0
        for distance, shift, size in pattern.bid_changes[index]
    }
    if bids and min(bids) <= 0:
        bids = {ticks: steps for ticks, steps in bids.items() if ticks > 0}
    asks = {
        ask + distance * unit + shift % unit: sizes[size] if size >= 0 else 0
        for distance, shift, size in pattern.ask_changes[index]
    }
    return bids, asks


def _levels_behind(resting: Resting, edge: int, changed: dict[int, int], limit: int, direction: int) -> list[Level]:
    """Return the best `limit` levels beyond a price: resting ones as `changed` leaves them."""
    levels: dict[int, int] = {}
    cell = edge // resting.cell
    while len(levels) < limit + len(changed) and cell >= 0:
        ticks = resting.price(cell)
        if (ticks - edge) * direction > 0 and ticks > 0:
            levels[ticks] = resting.at(ticks)
        cell += direction
    levels.update((ticks, steps) for ticks, steps in changed.items() if (ticks - edge) * direction > 0)
    found = sorted(((ticks, steps) for ticks, steps in levels.items() if steps), reverse=direction < 0)
    return found[:limit]


class Book:
    """The book of one market, at any step."""

    def __init__(self, market: Market) -> None:
        self._market = market

    @cached_property
    def _resting(self) -> Resting:
        return Resting(self._market)

    def walker(self, step: int) -> Walker:
        """Return the book after a step, to be carried forward."""
        return Walker(self._market, self._resting, step)

    def snapshot(self, step: int, limit: int) -> Snapshot:
        """Return the best `limit` levels of each side after a step, computed from nothing."""
        market, resting = self._market, self._resting
        changed_bids: dict[int, int] = {}
        changed_asks: dict[int, int] = {}
        for past in range(step - LIFETIME + 1, step + 1):
            bids, asks = level_changes(market, *market.pattern_step(past), market.touch(past))
            changed_bids.update(bids)
            changed_asks.update(asks)
        touch = market.touch(step)
        return Snapshot(
            step,
            [(touch.bid, touch.bid_steps), *_levels_behind(resting, touch.bid, changed_bids, limit - 1, -1)],
            [(touch.ask, touch.ask_steps), *_levels_behind(resting, touch.ask, changed_asks, limit - 1, 1)],
        )
