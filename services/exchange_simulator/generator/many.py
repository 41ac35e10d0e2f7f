"""The sums of many whole blocks at once: what a day's candle and 24 hour statistics are made of.

The same as block by block, to the last digit: floats are added and multiplied in the same order, and whole numbers that
might not fit into 64 bits are left to the slow way. A day of 10 s blocks takes 13 ms (with its patterns) instead of 95.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from services.exchange_simulator.generator.market import EPOCH_US, FACTORS, SPREADS, Market, PriceProcess, Prices
from services.exchange_simulator.generator.mispricing import Mispriced
from services.exchange_simulator.generator.noise import Noise

Integers = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Bits = np.ndarray[Any, np.dtype[np.uint64]]

Sums = tuple[int, int, int, int, int, int, int, int, int]

_ROOM = 1 << 62
_STEP, _FIRST, _SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def mixed(key: int, numbers: Integers) -> Bits:
    """Return `noise.mix` of each number."""
    x = np.uint64(key) + numbers.astype(np.uint64) * _STEP
    x = (x ^ (x >> np.uint64(30))) * _FIRST
    x = (x ^ (x >> np.uint64(27))) * _SECOND
    found: Bits = x ^ (x >> np.uint64(31))
    return found


def noise_at(noise: Noise, times_us: Integers) -> Floats:
    """Return `noise.at` of each time, counted from the market epoch; the times rise.

    Most of a noise's cells hold many of the times: each is drawn once.
    """
    total = np.zeros(len(times_us))
    for key, period, height in noise.octaves:
        cell = times_us // period
        drawn = (2.0 * _units(key, np.arange(cell[0], cell[-1] + 2)) - 1.0) * height
        place = cell - cell[0]
        start = drawn[place]
        rise = drawn[place + 1] - start
        share = (times_us - cell * period) / period
        total += start + rise * share * share * (3.0 - 2.0 * share)
    return total


def _units(key: int, numbers: Integers) -> Floats:
    return (mixed(key, numbers) >> np.uint64(11)).astype(np.float64) * (1.0 / (1 << 53))


def sums_of_spans(market: Market, first: int, length: int, count: int) -> list[Sums] | None:
    """Return the sums of all trades of `count` spans of `length` blocks from number `first` on, as `candles.Candles`
    has them.

    None where the price is not simply the asset's own, or where 64 bits might not do.
    """
    block_us = market.shape.block_us
    process: Prices | None = market.process
    if isinstance(process, Mispriced):
        begin_us = EPOCH_US + first * block_us
        process = process.undisturbed(begin_us, begin_us + length * count * block_us)
    if not isinstance(process, PriceProcess):
        return None
    numbers = np.arange(first, first + length * count)
    passed_us = numbers * block_us
    asset, listing = process.asset, market.listing
    basis = 1.0 + listing.premium + noise_at(market.basis, passed_us)
    prices = asset.base_price * (1.0 + noise_at(process.noise, passed_us)) * listing.multiplier * basis
    bid = (prices / listing.tick).astype(np.int64)
    bits = mixed(market.key, numbers + 1_000)
    spread = np.array(SPREADS)[(bits & np.uint64(7)).astype(np.int64)]
    lot = market.lot * (1 + (bits >> np.uint64(8)).astype(np.int64) % FACTORS)
    played = ((bits >> np.uint64(16)) % np.uint64(market.shape.patterns)).astype(np.int64)
    known = np.array([_of_pattern(market, number) for number in range(market.shape.patterns)], dtype=np.int64)
    (opened, opened_buy, closed, closed_buy, lots, buy_lots, moved, buy_moved, *ends) = known.T[:, played]
    sell_high, sell_low, buy_high, buy_low = ends
    unit = market.unit
    widest = int(abs(moved).max()) * unit + (int(bid.max()) + int(spread.max())) * int(lots.max())
    if widest * int(lot.max()) * length >= _ROOM:
        return None

    def spans(values: Integers) -> Integers:
        return values.reshape(count, length)

    columns = (
        spans(bid + unit * opened + spread * opened_buy)[:, 0],
        spans(bid + np.maximum(unit * sell_high, unit * buy_high + spread)).max(axis=1),
        spans(bid + np.minimum(unit * sell_low, unit * buy_low + spread)).min(axis=1),
        spans(bid + unit * closed + spread * closed_buy)[:, -1],
        spans(lot * lots).sum(axis=1),
        spans(lot * (bid * lots + unit * moved + spread * buy_lots)).sum(axis=1),
        spans(lot * buy_lots).sum(axis=1),
        spans(lot * ((bid + spread) * buy_lots + unit * buy_moved)).sum(axis=1),
        np.full(count, market.shape.fills * length),
    )
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _of_pattern(market: Market, number: int) -> tuple[int, ...]:
    pattern = market.pattern(number)
    first, last, sums = pattern.trades[0], pattern.trades[-1], pattern.sums[-1]
    return (
        *(first.touch, int(first.buy), last.touch, int(last.buy), sums.lots, sums.buy_lots, sums.moved, sums.buy_moved),
        *(sums.sell_high, sums.sell_low, sums.buy_high, sums.buy_low),
    )
