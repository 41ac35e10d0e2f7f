"""Which market is off, when, and what must be found of it: drawn from a seed, known before anything runs.

Time is cut into turns. In most of them each asset has one window of its own kind. Every few turns an exchange market
fails for all: it falls silent (`stale`), or its books lose their step and no snapshot is to be had (`out of step`);
half of the assets then are off at that very market, where nothing may be found, and half at another one, where the
failing market is no partner. `Place`s of one asset are the same coin, but for those that the plan says are not.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any, NamedTuple

EXCHANGES = ("binance", "okx", "bybit")
"""Whose books are known deep enough to follow a price that leaps; Gate.io shows a hundred levels."""
MARKETS = ("spot", "perp")
CONFIRM_S = 2.0
LEAD_IN_S = 30
"""Until then everything is connected, every book is in step and every clock is known."""
TURN_S = 7
TURNS_BETWEEN = 4
"""Turns before a market fails."""
SETTLED_S = 2
"""A market that failed is back so long before the next windows, at least."""
LEAP = (105, 151)
"""Hundredths of a percent by which a market is off: enough for every pair, and within the levels that are known. Beyond
2% Binance's thousand levels end, and a book without its best levels is out of step until the next snapshot."""
SMALL = (30, 46)
"""The same of windows below cost: net of the cheapest fees (0.1%) less than the threshold."""
FAR_PERCENT = 50.0
TURNS = ("true", "true", "below cost", "true", "short", "other coin")
"""What an asset's windows are, in turn."""
FAILURES = (
    ("stale", ("okx", "perp")),
    ("out of step", ("binance", "perp")),
    ("stale", ("bybit", "perp")),
    ("out of step", ("binance", "spot")),
)


class Place(NamedTuple):
    """Where an asset is traded."""

    exchange: str
    market: str
    asset: str


class Window(NamedTuple):
    """Each of `places` is off by `percent` from `start_s` on, for `length_s`, seconds of market time.

    `expected`: (where to buy, where to sell) of each opportunity that must be found, and no other.
    """

    kind: str
    places: tuple[Place, ...]
    percent: float
    start_s: int
    length_s: int
    expected: frozenset[tuple[Place, Place]]

    def texts(self) -> Iterator[str]:
        """Yield the window as the simulator's setting has it."""
        for place in self.places:
            yield f"{place.asset}:{place.exchange}.{place.market}:{self.percent}:{self.start_s}:{self.length_s}"


class Order(NamedTuple):
    """A fault that the simulator commits at a moment of market time."""

    at_s: float
    fault: dict[str, Any]


class Plan(NamedTuple):
    """A run."""

    exchanges: tuple[str, ...]
    assets: tuple[str, ...]
    windows: list[Window]
    orders: list[Order]
    duration_s: int
    different_coins: tuple[str, ...]
    age_limit_s: int


def plan(exchanges: Sequence[str], assets: Sequence[str], rounds: int, seed: int, age_limit_s: int) -> Plan:
    """Plan `rounds` rounds of a few turns and a failing one, for a signal that trusts prices up to an age.

    Of the second half of the assets the last exchange has coins of its own by the same names, as the settings say. At
    the exchange before, the last asset costs half as much again on spot, and nobody has said that it is another coin.
    """
    return _Planner(tuple(exchanges), tuple(assets), rounds, seed, age_limit_s).plan


class _Planner:
    def __init__(
        self, exchanges: tuple[str, ...], assets: tuple[str, ...], rounds: int, seed: int, age_limit_s: int
    ) -> None:
        self._age_limit_s = age_limit_s
        self._chance = random.Random(seed)
        self._exchanges = exchanges
        self._assets = assets
        self._other_coin_at = exchanges[-1]
        self._two_coins = assets[len(assets) // 2 :]
        self._far = Place(exchanges[-2], "spot", assets[-1])
        self._windows: list[Window] = []
        self._orders: list[Order] = []
        kinds = [cycle(TURNS[number % len(TURNS) :] + TURNS[: number % len(TURNS)]) for number in range(len(assets))]
        failures = cycle(failure for failure in FAILURES if failure[1][0] in exchanges)
        at_s = LEAD_IN_S
        for _ in range(rounds):
            for _ in range(TURNS_BETWEEN):
                for asset, own in zip(self._assets, kinds, strict=True):
                    self._windows.append(self._turn(asset, next(own), at_s + self._chance.randrange(2)))
                at_s += TURN_S
            at_s = self._fail(*next(failures), at_s) + SETTLED_S
        self._windows.append(Window("far coin", (self._far,), FAR_PERCENT, 0, at_s + 60, frozenset()))
        different = tuple(f"{asset}:{self._other_coin_at}" for asset in self._two_coins)
        self.plan = Plan(exchanges, self._assets, self._windows, self._orders, at_s, different, age_limit_s)

    def _places(self, asset: str) -> list[Place]:
        found = [Place(exchange, market, asset) for exchange in self._exchanges for market in MARKETS]
        return [place for place in found if place != self._far]

    def _same_coin(self, one: Place, other: Place) -> bool:
        if one.asset in self._two_coins and one.exchange != other.exchange:
            return self._other_coin_at not in (one.exchange, other.exchange)
        return True

    def _expected(self, off: Place, percent: float, failing: tuple[str, str] | None) -> frozenset[tuple[Place, Place]]:
        partners = [
            place
            for place in self._places(off.asset)
            if place != off and self._same_coin(place, off) and place[:2] != failing
        ]
        return frozenset((place, off) if percent > 0 else (off, place) for place in partners)

    def _turn(self, asset: str, kind: str, start_s: int) -> Window:
        if kind == "other coin" and asset not in self._two_coins:
            kind = "true"
        chance = self._chance
        places = [chance.choice(self._places(asset))]
        if kind == "other coin":
            # Both of that exchange's, or else its own two differ by right.
            places = [place for place in self._places(asset) if place.exchange == self._other_coin_at]
        percent = chance.randrange(*SMALL) / 100 if kind == "below cost" else chance.randrange(*LEAP) / 100
        percent *= chance.choice((1, -1))
        length_s = 1 if kind == "short" else chance.randrange(3, 5)
        expected = self._expected(places[0], percent, None) if kind == "true" else frozenset()
        return Window(kind, tuple(places), percent, start_s, length_s, expected)

    def _fail(self, kind: str, failing: tuple[str, str], at_s: int) -> int:
        """Have a market fail, and every asset be off at it or elsewhere meanwhile; return when it is back."""
        exchange, market = failing
        where = {"exchange": exchange, "market": market}
        begins_s = at_s + self._age_limit_s + 2
        ends_s = begins_s + 3
        if kind == "stale":
            # What it showed last is too old when the windows begin, and what it held back of them when it speaks again.
            back_s = ends_s + self._age_limit_s + 1
            self._orders.append(Order(at_s, {"fault": "stall", "seconds": back_s - at_s, **where}))
        else:
            # Without a snapshot its books stay out of step; asked for again and again, one comes in the end.
            back_s = ends_s + 6
            self._orders.append(Order(at_s, {"fault": "page", "path": "/depth", "count": 1_000_000, **where}))
            self._orders += [
                Order(begins_s - 2, {"fault": "drop", "kind": "book_change", "match": f'{asset}USDT"', **where})
                for asset in self._assets
            ]
            self._orders.append(Order(ends_s + 1, {"fault": "clear", **where}))
        for number, asset in enumerate(self._assets):
            percent = self._chance.randrange(*LEAP) / 100 * self._chance.choice((1, -1))
            if number % 2:
                off = Place(*failing, asset)
                self._windows.append(Window(f"{kind} side", (off,), percent, begins_s, 3, frozenset()))
            else:
                off = self._chance.choice([place for place in self._places(asset) if place[:2] != failing])
                expected = self._expected(off, percent, failing)
                self._windows.append(Window(f"{kind} partner", (off,), percent, begins_s, 3, expected))
        return back_s
