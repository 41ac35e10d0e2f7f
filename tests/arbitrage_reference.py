"""The arbitrage signal's reference: whole books as fractions, every rule in the plainest way, nothing shared with it.

After each record every pair of the asset is looked at, every size walked level by level.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import permutations
from math import floor, lcm
from typing import Any

from tests.arbitrage_market import Listed, Message

Levels = list[tuple[Fraction, Fraction]]
"""Prices and quantities of one side of a book, best first."""

Sizes = dict[Fraction, Fraction]
"""Trade size -> net profit."""


exact = lru_cache(1_000_000)(Fraction)
"""A number's text as a fraction."""


@dataclass
class Known:
    """What has been told of one instrument."""

    listed: Listed
    bids: dict[Fraction, Fraction] = field(default_factory=dict)
    asks: dict[Fraction, Fraction] = field(default_factory=dict)
    book: bool | None = None
    book_told: int = 0
    quote: dict[str, Any] | None = None
    sides: dict[str, Levels | None] = field(default_factory=dict)
    """Both sides as they were last worked out."""

    def take(self, kind: str, record: dict[str, Any]) -> None:
        self.sides = {}
        if kind == "quote":
            self.quote = record
        elif kind == "gap":
            self.book = False
        elif kind == "orderbook":
            self.bids = {exact(row[0]): exact(row[1]) for row in record["bids"]}
            self.asks = {exact(row[0]): exact(row[1]) for row in record["asks"]}
            self._book_is(record)
        elif not record["in_step"]:
            self.book = False
        elif self.book:
            for side, rows in ((self.bids, record["bids"]), (self.asks, record["asks"])):
                for price, quantity, *_ in rows:
                    side[exact(price)] = exact(quantity)
                    if not exact(quantity):
                        del side[exact(price)]
            self._book_is(record)

    def _book_is(self, record: dict[str, Any]) -> None:
        self.book, self.book_told = True, record["timestamp"]

    def side(self, name: str) -> Levels | None:
        """Levels per unit of the asset, best first; None while the book may be wrong or nothing is known."""
        if name not in self.sides:
            self.sides[name] = self._side(name)
        return self.sides[name]

    def _side(self, name: str) -> Levels | None:
        if self.book is False or (self.book is None and self.quote is None):
            return None
        bids = name == "bid"
        levels = sorted((self.bids if bids else self.asks).items(), reverse=bids) if self.book else []
        if self._quote_leads():
            assert self.quote is not None
            best = exact(self.quote[f"{name}_price"]), exact(self.quote[f"{name}_quantity"])
            levels = [best, *(row for row in levels if (row[0] < best[0] if bids else row[0] > best[0]))]
        unit = self.listed.multiplier
        return [(price / unit, quantity * unit) for price, quantity in levels]

    def _quote_leads(self) -> bool:
        if self.quote is None:
            return False
        return not (self.book and self.bids and self.asks) or self.quote["timestamp"] >= self.book_told

    def told(self) -> int:
        """When what leads was true."""
        if self._quote_leads():
            assert self.quote is not None
            return int(self.quote["timestamp"])
        return self.book_told


@dataclass
class Found:
    """One opportunity as the reference sees it: `steps` has the net profit of each size at each moment it changed."""

    buy: Listed
    sell: Listed
    opened_at: int
    steps: list[tuple[int, Sizes]] = field(default_factory=list)
    closed_at: int | None = None


class Reference:
    """Feeds records in, keeps `found`."""

    def __init__(
        self,
        sizes: Sequence[str],
        threshold: str,
        fees: dict[tuple[str, str], str],
        age_us: int,
        different: set[str],
    ) -> None:
        self.sizes = [Fraction(size) for size in sizes]
        self.threshold = Fraction(threshold)
        self.fees = {market: Fraction(fee) for market, fee in fees.items()}
        self.age_us = age_us
        self.different = different
        self.known: dict[str, list[Known]] = {}
        self.open: dict[tuple[Listed, Listed], Found] = {}
        self.found: list[Found] = []

    def feed(self, item: Message) -> None:
        kind = "gap" if item.subject.startswith("gap.") else item.subject.split(".")[1]
        of_asset = self.known.setdefault(item.listed.asset, [])
        if kind == "instrument":
            of_asset.append(Known(item.listed))
            return
        self._expire(item.at)
        (changed,) = [one for one in of_asset if one.listed == item.listed]
        changed.take(kind, json.loads(item.body))
        for buy, sell in permutations(of_asset, 2):
            if changed in (buy, sell):
                self._look(buy, sell, item.at)

    def _expire(self, now: int) -> None:
        for (buy, sell), found in list(self.open.items()):
            told = [one.told() for one in self.known[buy.asset] if one.listed in (buy, sell)]
            end = min(told) + self.age_us + 1
            if end <= now:
                found.closed_at = end
                del self.open[buy, sell]

    def _look(self, buy: Known, sell: Known, now: int) -> None:
        sizes = self._profits(buy, sell, now)
        key = buy.listed, sell.listed
        found = self.open.get(key)
        if sizes is None:
            if found is not None:
                found.closed_at = now
                del self.open[key]
            return
        if found is None:
            found = self.open[key] = Found(buy.listed, sell.listed, now)
            self.found.append(found)
        if not found.steps or found.steps[-1][1] != sizes:
            found.steps.append((now, sizes))

    def _profits(self, buy: Known, sell: Known, now: int) -> Sizes | None:
        """Net profit of each size that both books fill; None unless one of them passes the threshold."""
        if any(one.listed.exchange in self.different for one in (buy, sell)):
            return None
        if any(now - one.told() > self.age_us for one in (buy, sell)):
            return None
        asks, bids = buy.side("ask"), sell.side("bid")
        other_bids, other_asks = buy.side("bid"), sell.side("ask")
        if not (asks and bids and other_bids and other_asks) or bids[0][0] <= asks[0][0]:
            return None
        middle = sorted((asks[0][0] + other_bids[0][0], bids[0][0] + other_asks[0][0]))
        if middle[1] > middle[0] * Fraction(6, 5):
            return None
        step = common_step(*(Fraction(one.listed.step) * one.listed.multiplier for one in (buy, sell)))
        fee_to_buy, fee_to_sell = (self.fees[one.listed[:2]] for one in (buy, sell))
        found = profits(asks, bids, self.sizes, step, fee_to_buy, fee_to_sell)
        if not any(net >= self.threshold * cost for cost, net in found.values()):
            return None
        return {size: net for size, (_, net) in found.items()}


def profits(
    asks: Levels, bids: Levels, sizes: Sequence[Fraction], step: Fraction, fee_to_buy: Fraction, fee_to_sell: Fraction
) -> dict[Fraction, tuple[Fraction, Fraction]]:
    """Cost and net profit of each size that both sides fill, in whole numbers of `step`; levels best first."""
    found = {}
    for size in sizes:
        quantity = floor(_affordable(asks, size) / step) * step
        if not quantity or quantity > sum(quantity for _, quantity in bids):
            continue
        cost, proceeds = _money(asks, quantity), _money(bids, quantity)
        found[size] = cost, proceeds - cost - cost * fee_to_buy - proceeds * fee_to_sell
    return found


def common_step(one: Fraction, other: Fraction) -> Fraction:
    """The least quantity that is a whole number of both."""
    scale = lcm(one.denominator, other.denominator)
    return Fraction(lcm(int(one * scale), int(other * scale)), scale)


def _affordable(asks: Levels, money: Fraction) -> Fraction:
    bought = Fraction(0)
    for price, quantity in asks:
        part = min(quantity, money / price)
        bought += part
        money -= part * price
        if not money:
            break
    return bought


def _money(levels: Levels, quantity: Fraction) -> Fraction:
    money = Fraction(0)
    for price, available in levels:
        part = min(available, quantity)
        money += part * price
        quantity -= part
        if not quantity:
            break
    assert not quantity
    return money
