"""Deribit's volatility indices: a value each second, and candles of it for any time, as pure functions of market time.

Between whole minutes the index goes straight from one value to the next, so that the highest and lowest of any span of
whole minutes are among the values at its minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from services.exchange_simulator.generator.feed import Feed
from services.exchange_simulator.generator.market import EPOCH_US
from services.exchange_simulator.generator.noise import Noise, key_of, wandering

INDEX_DIGITS = 2
LEVELS = {"BTC": 4_500, "ETH": 6_500}
"""The currencies that have an index, and where it lies, per cent a year, in units of 10^-2."""

_MINUTE_US = 60_000_000
_SWING_PER_ROOT_S = 4.0e-4
_MOST_KEPT = 50_000


class Span(NamedTuple):
    """The index over a span of time, in units of 10^-2."""

    open: int
    high: int
    low: int
    close: int


class Volatility:
    """The volatility index of one currency."""

    def __init__(self, seed: int, currency: str) -> None:
        """Take one of `LEVELS`."""
        self._level = LEVELS[currency]
        octaves = wandering(_SWING_PER_ROOT_S, 60, 7 * 86_400)
        self._noise = Noise(key_of("volatility", seed, currency), octaves)
        self._minutes: dict[int, int] = {}

    def at(self, time_us: int) -> int:
        """Return the index at a time (us UTC), in units of 10^-2."""
        minute, rest = divmod(time_us, _MINUTE_US)
        start = self._at_minute(minute)
        return start + (self._at_minute(minute + 1) - start) * rest // _MINUTE_US

    def _at_minute(self, minute: int) -> int:
        units = self._minutes.get(minute)
        if units is None:
            if len(self._minutes) >= _MOST_KEPT:
                self._minutes.clear()
            units = round(self._level * (1.0 + self._noise.at(minute * _MINUTE_US - EPOCH_US)))
            self._minutes[minute] = units
        return units

    def span(self, start_us: int, end_us: int) -> Span:
        """Return the index from one time to another."""
        first, last = -(-start_us // _MINUTE_US), end_us // _MINUTE_US
        values = [self.at(start_us), *map(self._at_minute, range(first, last + 1)), self.at(end_us)]
        return Span(values[0], max(values), min(values), values[-1])


class Indices:
    """The volatility indices of a market: of the currencies of which it lists the inverse perpetual."""

    def __init__(self, feeds: Mapping[str, Feed]) -> None:
        self._feeds = feeds
        self._made: dict[str, Volatility] = {}

    def currencies(self) -> Mapping[str, Feed]:
        """Return the currencies that have an index now, and the perpetual under which it is filed."""
        perpetuals = {currency: self._feeds.get(f"{currency}-PERPETUAL") for currency in LEVELS}
        return {currency: feed for currency, feed in perpetuals.items() if feed is not None}

    def of(self, currency: str) -> Volatility:
        """Return the index of one of these currencies. Raises KeyError for another."""
        index = self._made.get(currency)
        if index is None:
            seed = self.currencies()[currency].market.seed
            index = self._made[currency] = Volatility(seed, currency)
        return index
