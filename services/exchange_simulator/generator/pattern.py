"""Patterns: what happens inside one block of market time, relative to the price at which the block begins.

Market time is cut into blocks of 10 or 60 seconds (or as a setting says), a block into steps. A block plays one of
a few patterns, shifted to its price and scaled by its own factor. Because a pattern's sums are known, the sums of any
block are known without playing it: that is what makes a day's candle cheap although it equals its trades exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from random import Random

from services.exchange_simulator.generator.names import Counting
from services.exchange_simulator.generator.noise import key_of

SIZES = 256
"""How many different resting quantities a book has; patterns name them by index."""

_FILL_COUNTS = ((0.70, 1), (0.79, 2), (0.85, 3), (0.93, 4), (0.96, 7), (0.98, 11))
_MOST_FILLS = 17
_MOST_PATTERNS = 16
_FEWEST_PATTERNS = 4
_PATTERN_STEPS = 3_200
_POOL = 4_096
_PART_US = 15_000_000
"""Each part of a block, so long, has a trade (shorter blocks have one anyway): where nothing trades for minutes, a
candle that is closed by the next one's open is not closed."""
_TRADE_SIZES = (1, 1, 1, 1, 2, 2, 2, 3, 3, 5, 5, 8, 13, 21, 34, 80, 150)
_FAR = 10**9
"""Stands for the high or low of no trade at all."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What patterns of one kind have in common: block length, steps, and how the market's book and trades move."""

    block_us: int
    steps: int
    running_ids: bool
    trades: int
    fills: int
    lost_ids: int
    changes_per_side: float
    trade_spread_us: int
    patterns: int
    """How many patterns there are of this shape: fewer of long ones, which vary more in themselves."""

    @property
    def trade_ids(self) -> int:
        """Trade ids a block uses up: its fills, and those that the public never sees."""
        return self.fills + self.lost_ids


@dataclass(frozen=True, slots=True)
class PatternTrade:
    """One aggregate trade of a pattern: taken at the touch of the step before `step`, in whole trade lots."""

    step: int
    offset_us: int
    touch: int
    buy: bool
    fills: tuple[int, ...]
    lots: int
    first_id: int


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over the first trades of a pattern, in lots and price units relative to the block's price."""

    fills: int
    lots: int
    buy_lots: int
    moved: int
    buy_moved: int
    sell_high: int
    sell_low: int
    buy_high: int
    buy_low: int


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern. Lists are indexed by step unless they say otherwise.

    `touch` is the best bid's distance from the block's price in price units; `bid_changes` and `ask_changes` hold
    (distance from the touch in price units, shift within one unit, size index or -1 for an emptied level).
    """

    offset_us: list[int]
    touch: list[int]
    bid_size: list[int]
    ask_size: list[int]
    bid_changes: list[tuple[tuple[int, int, int], ...]]
    ask_changes: list[tuple[tuple[int, int, int], ...]]
    update_ids: list[int]
    """Where ids are contiguous: update ids used up to and including the step."""
    id_share: list[int]
    """Of a running counter: where in the stretch of ids since the step before the change begins, in 256ths."""
    trades: list[PatternTrade]
    trades_upto: list[int]
    """Trades up to and including the step."""
    sums: list[Sums]
    """Indexed by the number of trades summed."""


@lru_cache(maxsize=512)
def shape_of(spot: bool, counting: Counting, events_per_s: float, block_s: int | None = None) -> Shape:
    """Return the block shape for an activity: a step brings one book change, 0.8 quotes, 0.12 trades, 0.08 candles.

    `block_s` seconds is a block's length, a divisor of 60; without it 10 or 60, by the activity.
    """
    steps_per_s = events_per_s / 2.0
    if block_s is None:
        block_s = 10 if steps_per_s >= 0.8 else 60
    steps = _graded(max(8, round(steps_per_s * block_s)))
    trades = max(1, block_s * 1_000_000 // _PART_US, round(0.12 * steps))
    fills = sum(_fill_counts(trades))
    return Shape(
        block_us=block_s * 1_000_000,
        steps=steps,
        running_ids=counting.running_book_ids,
        trades=trades,
        fills=fills,
        lost_ids=counting.hidden_trade_ids,
        changes_per_side=0.25 if spot else 2.0,
        trade_spread_us=3_000 if spot else 90_000,
        patterns=max(_FEWEST_PATTERNS, min(_MOST_PATTERNS, _PATTERN_STEPS // steps)),
    )


def _graded(steps: int) -> int:
    """Round up by at most a 20th, so that symbols of like activity share their patterns."""
    grain = 1
    while steps // grain >= 40:
        grain *= 2
    return -(-steps // grain) * grain


def _fill_counts(trades: int) -> list[int]:
    """Return how many fills each of so many trades has: always the same collection, only the order varies."""
    shares = [(index + 0.5) / trades for index in range(trades)]
    return [next((count for below, count in _FILL_COUNTS if share < below), _MOST_FILLS) for share in shares]


@lru_cache(maxsize=4096)
def pattern_of(seed: int, shape: Shape, number: int) -> Pattern:
    """Return one of the `shape.patterns` patterns of a shape."""
    chance = Random(key_of("pattern", seed, shape, number))
    grid = [index * shape.block_us // shape.steps for index in range(shape.steps)]
    room = int(0.6 * shape.block_us / shape.steps)
    offset_us = [start + chance.randrange(room // 5, room) for start in grid]
    touch, bid_size, ask_size = _touches(shape.steps, chance)
    trades = _trades(shape, grid, offset_us, touch, chance)
    upto = [0] * shape.steps
    for trade in trades:
        upto[trade.step] += 1
    widths = [1 + (index % 4 == 0) + 2 * (index % 16 == 5) for index in range(shape.steps)]
    chance.shuffle(widths)
    return Pattern(
        offset_us=offset_us,
        touch=touch,
        bid_size=bid_size,
        ask_size=ask_size,
        bid_changes=chance.choices(_change_pool(seed, shape.changes_per_side), k=shape.steps),
        ask_changes=chance.choices(_change_pool(seed, shape.changes_per_side), k=shape.steps),
        update_ids=list(accumulate(widths)),
        id_share=[chance.randrange(256) for _ in range(shape.steps)],
        trades=trades,
        trades_upto=list(accumulate(upto)),
        sums=_running_sums(trades),
    )


def _touches(steps: int, chance: Random) -> tuple[list[int], list[int], list[int]]:
    """Walk the touch and the quantities at it; four steps of five change one or the other."""
    touch, bid, ask = [0], [chance.randrange(SIZES)], [chance.randrange(SIZES)]
    for _ in range(steps - 1):
        where, bid_size, ask_size = touch[-1], bid[-1], ask[-1]
        draw = chance.random()
        if draw < 0.24:
            pull = -1 if where > 0 else 1
            where += chance.choice((-2, -1, -1, 1, 1, 2)) if abs(where) < 8 else pull
            bid_size, ask_size = chance.randrange(SIZES), chance.randrange(SIZES)
        elif draw < 0.52:
            bid_size = (bid_size + chance.randrange(1, SIZES)) % SIZES
        elif draw < 0.80:
            ask_size = (ask_size + chance.randrange(1, SIZES)) % SIZES
        touch.append(where)
        bid.append(bid_size)
        ask.append(ask_size)
    return touch, bid, ask


@lru_cache(maxsize=16)
def _change_pool(seed: int, per_side: float) -> tuple[tuple[tuple[int, int, int], ...], ...]:
    """Return what patterns draw one side's level changes of a step from: mostly near the touch, a few far away."""
    chance = Random(key_of("changes", seed, per_side))
    pool = []
    for _ in range(_POOL):
        found = []
        for _ in range(int(per_side) + (chance.random() < per_side % 1)):
            distance = chance.randrange(1, 400) if chance.random() < 0.03 else 1 + int(chance.expovariate(1 / 9))
            size = -1 if chance.random() < 0.2 else chance.randrange(SIZES)
            found.append((distance, chance.randrange(1024), size))
        pool.append(tuple(found))
    return tuple(pool)


def _trades(
    shape: Shape, grid: list[int], offset_us: list[int], touch: list[int], chance: Random
) -> list[PatternTrade]:
    """Place the block's trades: in bursts, none in the first step, each at the touch that stood before its step."""
    parts = shape.block_us // _PART_US
    steps_of = [
        [step for step in range(1, shape.steps) if offset_us[step] // _PART_US == part] for part in range(parts)
    ]
    sure = [chance.choice(found) for found in steps_of]
    more = max(1, int(shape.trades * 0.7)) - parts
    bursts = [*sure, *(chance.randrange(1, shape.steps) for _ in range(more))]
    steps = sorted([*sure, *(chance.choice(bursts) for _ in range(shape.trades - parts))])
    counts = _fill_counts(shape.trades)
    chance.shuffle(counts)
    hole = chance.randrange(shape.trades) if shape.lost_ids else shape.trades
    found: list[PatternTrade] = []
    next_id = 0
    for index, step in enumerate(steps):
        reach = min(shape.trade_spread_us, offset_us[step] - grid[step])
        when = offset_us[step] - 1 - chance.randrange(reach)
        if found and found[-1].step == step:
            when = max(when, found[-1].offset_us) if chance.random() < 0.5 else found[-1].offset_us
        next_id += shape.lost_ids if index == hole else 0
        fills = tuple(chance.choice(_TRADE_SIZES) for _ in range(counts[index]))
        found.append(
            PatternTrade(step, when, touch[step - 1], chance.random() < 0.5, fills, sum(fills), first_id=next_id)
        )
        next_id += counts[index]
    return found


def _running_sums(trades: list[PatternTrade]) -> list[Sums]:
    sums = [Sums(0, 0, 0, 0, 0, -_FAR, _FAR, -_FAR, _FAR)]
    for trade in trades:
        last = sums[-1]
        moved = trade.touch * trade.lots
        buy_lots, buy_moved = (trade.lots, moved) if trade.buy else (0, 0)
        sums.append(
            Sums(
                fills=last.fills + len(trade.fills),
                lots=last.lots + trade.lots,
                buy_lots=last.buy_lots + buy_lots,
                moved=last.moved + moved,
                buy_moved=last.buy_moved + buy_moved,
                sell_high=last.sell_high if trade.buy else max(last.sell_high, trade.touch),
                sell_low=last.sell_low if trade.buy else min(last.sell_low, trade.touch),
                buy_high=max(last.buy_high, trade.touch) if trade.buy else last.buy_high,
                buy_low=min(last.buy_low, trade.touch) if trade.buy else last.buy_low,
            )
        )
    return sums
