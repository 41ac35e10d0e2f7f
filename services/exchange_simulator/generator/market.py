"""One instrument's market as a pure function of (seed, symbol, market time): prices, touch, trades and all ids.

Steps are numbered from the market epoch; every id is a closed form of the step or trade number, so that any moment can
be asked for without having lived the ones before. Prices are whole ticks, quantities whole steps, times us UTC.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from services.exchange_simulator.generator.names import Asset, Listing
from services.exchange_simulator.generator.noise import Noise, key_of, mix, wandering
from services.exchange_simulator.generator.pattern import (
    SIZES,
    Pattern,
    Shape,
    pattern_of,
    shape_of,
)

EPOCH_US = 1_577_836_800_000_000
"""2020-01-01: where blocks, steps and ids are counted from."""

_RUNNING_IDS_FROM = 1_000_000_000_000
_US_PER_RUNNING_ID = 10
SPREADS = (1, 1, 1, 1, 1, 1, 2, 3)
FACTORS = 8
_TRADE_LOT_VALUE = 40.0
_RESTING_VALUE = 8_000.0
_CELL_SHARE = 0.2e-4
_KEPT_BLOCKS = 64
_DAY_S = 86_400


class Prices(Protocol):
    """What an instrument's price hangs on."""

    def at(self, time_us: int) -> float:
        """Return the price of one unit at a market time (us UTC), in quote currency."""
        ...

    def index_at(self, time_us: int) -> float:
        """Return the price of the asset itself: an option has one of its own, and this one beside it."""
        ...


class PriceProcess:
    """The one price of an asset, shared by everything that trades it."""

    def __init__(self, asset: Asset, seed: int) -> None:
        self.asset = asset
        key = key_of("asset", seed, asset.name)
        self.noise = Noise(key, wandering(asset.volatility, 10, 30 * _DAY_S))

    def at(self, time_us: int) -> float:
        """Return the price of one unit of the asset."""
        return self.asset.base_price * (1.0 + self.noise.at(time_us - EPOCH_US))

    index_at = at


@dataclass(frozen=True, slots=True)
class Block:
    """One block of market time: a pattern, the bid it starts from, its spread (ticks) and its quantity factor."""

    number: int
    start_us: int
    bid: int
    spread: int
    factor: int
    pattern: Pattern


@dataclass(frozen=True, slots=True)
class Touch:
    """Best bid and ask after a step: ticks and steps."""

    bid: int
    bid_steps: int
    ask: int
    ask_steps: int


@dataclass(frozen=True, slots=True)
class Trade:
    """One aggregate trade; `fills` are its single fills' quantities, numbered on from `first_id`."""

    aggregate_id: int
    time_us: int
    ticks: int
    steps: int
    buy: bool
    first_id: int
    fills: tuple[int, ...]

    @property
    def last_id(self) -> int:
        """The id of the last fill."""
        return self.first_id + len(self.fills) - 1


class Market:
    """One listed instrument. Cheap to walk forward, and answers for any other moment as well."""

    def __init__(self, listing: Listing, seed: int, process: Prices, block_s: int | None = None) -> None:
        """Give `listing` its life; instruments of one asset are built on the same `process`.

        `block_s` seconds of market time have one price; see `shape_of`.
        """
        self.listing = listing
        self.seed = seed
        self.process = process
        self.shape: Shape = shape_of(listing.market == "spot", listing.counting, listing.events_per_s, block_s)
        self.key = key_of("market", seed, listing.exchange, listing.market, listing.wire_symbol)
        self.cell = max(1, round(_CELL_SHARE * listing.base_ticks))
        """Away from the touch there is one resting level in each cell of so many ticks."""
        self.unit = max(1, self.cell // 4)
        """What a pattern's price unit is here, in ticks."""
        self.lot = max(1, round(_TRADE_LOT_VALUE / listing.step_value))
        self.sizes = _sizes(self.key, max(1, round(_RESTING_VALUE / listing.step_value)))
        """Resting quantities (steps) by a pattern's size index."""
        self.basis = Noise(mix(self.key, 1), ((60_000_000, 5.0e-5), (3_600_000_000, 1.0e-4)))
        self._blocks: dict[int, Block] = {}
        self._patterns: list[Pattern | None] = [None] * self.shape.patterns

    def price_at(self, time_us: int) -> float:
        """Return this venue's fair price: the asset's, times the multiplier, plus a small basis of its own."""
        basis = 1.0 + self.listing.premium + self.basis.at(time_us - EPOCH_US)
        return self.process.at(time_us) * self.listing.multiplier * basis

    def block(self, number: int) -> Block:
        """Return a block by its number since the epoch; the last few are kept."""
        held = self._blocks.get(number)
        if held is None:
            if len(self._blocks) >= _KEPT_BLOCKS:
                self._blocks.clear()
            held = self._blocks[number] = self._make_block(number)
        return held

    def _make_block(self, number: int) -> Block:
        start_us = EPOCH_US + number * self.shape.block_us
        bits = mix(self.key, number + 1_000)
        return Block(
            number=number,
            start_us=start_us,
            bid=int(self.price_at(start_us) / self.listing.tick),
            spread=SPREADS[bits & 7],
            factor=1 + (bits >> 8) % FACTORS,
            pattern=self.pattern((bits >> 16) % self.shape.patterns),
        )

    def pattern(self, number: int) -> Pattern:
        """Return one of the patterns that blocks play."""
        pattern = self._patterns[number]
        if pattern is None:
            pattern = self._patterns[number] = pattern_of(self.seed, self.shape, number)
        return pattern

    def block_at(self, time_us: int) -> int:
        """Return the number of the block that holds a time."""
        return (time_us - EPOCH_US) // self.shape.block_us

    def step_at(self, time_us: int) -> int:
        """Return the number of the last step at or before a time."""
        number = self.block_at(time_us)
        block = self.block(number)
        return number * self.shape.steps + bisect_right(block.pattern.offset_us, time_us - block.start_us) - 1

    def step_time(self, step: int) -> int:
        """Return when a step changed the book (us)."""
        number, index = divmod(step, self.shape.steps)
        block = self.block(number)
        return block.start_us + block.pattern.offset_us[index]

    def touch(self, step: int) -> Touch:
        """Return best bid and ask as a step leaves them."""
        number, index = divmod(step, self.shape.steps)
        block = self.block(number)
        pattern = block.pattern
        bid = block.bid + self.unit * pattern.touch[index]
        sizes = self.sizes
        return Touch(bid, sizes[pattern.bid_size[index]], bid + block.spread, sizes[pattern.ask_size[index]])

    def pattern_step(self, step: int) -> tuple[Pattern, int]:
        """Return the pattern that a step plays and its place in it."""
        number, index = divmod(step, self.shape.steps)
        return self.block(number).pattern, index

    def last_update_id(self, step: int) -> int:
        """Return the last book update id of a step: contiguous, or of the exchange's running counter."""
        if self.listing.counting.single_book_ids:
            return step
        if self.shape.running_ids:
            return _RUNNING_IDS_FROM + (self.step_time(step) - EPOCH_US) // _US_PER_RUNNING_ID
        number, index = divmod(step, self.shape.steps)
        pattern = self.block(number).pattern
        return number * pattern.update_ids[-1] + pattern.update_ids[index]

    def first_update_id(self, step: int) -> int:
        """Return the first book update id of a step; of a running counter some ids after the last one before."""
        return self.update_ids(step, self.last_update_id(step - 1))[0]

    def update_ids(self, step: int, before: int) -> tuple[int, int]:
        """Return the first and last book update id of a step, given the last one of the step before."""
        last = self.last_update_id(step)
        if not self.shape.running_ids:
            return before + 1, last
        pattern, index = self.pattern_step(step)
        return before + 1 + ((last - before - 1) * pattern.id_share[index] >> 8), last

    def trades_of_step(self, step: int) -> Iterator[Trade]:
        """Yield the aggregate trades between the step before and this one, in order."""
        number, index = divmod(step, self.shape.steps)
        upto = self.block(number).pattern.trades_upto
        for place in range(upto[index - 1] if index else 0, upto[index]):
            yield self._trade(number, place)

    def trades_upto(self, step: int) -> int:
        """Return how many aggregate trades there were up to and including a step: the id of the next one."""
        number, index = divmod(step, self.shape.steps)
        return number * self.shape.trades + self.block(number).pattern.trades_upto[index]

    def trade(self, aggregate_id: int) -> Trade:
        """Return an aggregate trade by its id."""
        return self._trade(*divmod(aggregate_id, self.shape.trades))

    def _trade(self, number: int, place: int) -> Trade:
        block = self.block(number)
        drawn = block.pattern.trades[place]
        lot = self.lot * block.factor
        return Trade(
            aggregate_id=number * self.shape.trades + place,
            time_us=block.start_us + drawn.offset_us,
            ticks=block.bid + self.unit * drawn.touch + (block.spread if drawn.buy else 0),
            steps=drawn.lots * lot,
            buy=drawn.buy,
            first_id=number * self.shape.trade_ids + drawn.first_id,
            fills=tuple(lots * lot for lots in drawn.fills),
        )

    def first_trade_of(self, block_start_us: int) -> int:
        """Return the id of the first aggregate trade at or after the beginning of a block."""
        return self.block_at(block_start_us) * self.shape.trades

    def first_trade_from(self, time_us: int) -> int:
        """Return the id of the first aggregate trade at or after a time."""
        number = self.block_at(time_us)
        block = self.block(number)
        place = sum(1 for drawn in block.pattern.trades if block.start_us + drawn.offset_us < time_us)
        return number * self.shape.trades + place

    def trade_of_fill(self, fill_id: int) -> int:
        """Return the id of the aggregate trade that holds a fill id, or the next one where the id is a hole."""
        number, rest = divmod(fill_id, self.shape.trade_ids)
        for place, drawn in enumerate(self.block(number).pattern.trades):
            if rest < drawn.first_id + len(drawn.fills):
                return number * self.shape.trades + place
        return (number + 1) * self.shape.trades


def _sizes(key: int, common: int) -> tuple[int, ...]:
    """Return the resting quantities: from a fortieth to forty times the common one, most of them small."""
    found = []
    for index in range(SIZES):
        bits = mix(key, 50_000 + index)
        found.append(max(1, common * (1 + bits % 97) * (1 << (bits >> 20) % 7) // 1_600))
    return tuple(found)
