"""Bybit's REST parameters, refusals and pages of history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from services.exchange_simulator.generator.bybit_figures import INTERVALS
from services.exchange_simulator.generator.candles import INTERVALS_US, Bar
from services.exchange_simulator.generator.feed import Feed
from services.exchange_simulator.generator.source import DAY_US, lag_us

Query = Mapping[str, str]
Answer = Callable[[Query, int], dict[str, Any]]
"""Answers one request: its query and the market time (us UTC) in, the result out. Raises ApiError."""

HISTORY_US = 30 * DAY_US
PARAMETER = 10001
PERIODS_US = {
    **{f"{minutes}min": minutes * 60_000_000 for minutes in (5, 15, 30)},
    **{name: INTERVALS_US[name] for name in ("1h", "4h", "1d")},
}


class ApiError(Exception):
    """A request the exchange refuses, with status 200: `retCode` and its text."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def integer(query: Query, name: str, default: int) -> int:
    """Return a parameter that is a whole number. Raises ApiError."""
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 13):
        raise ApiError(PARAMETER, f"params error: {name} invalid")
    return int(text)


def limit_of(query: Query, default: int, most: int) -> int:
    """Return how many rows are asked for; more than `most` are no more than that. Raises ApiError for none."""
    limit = integer(query, "limit", default)
    if limit < 1:
        raise ApiError(PARAMETER, "params error: limit invalid")
    return min(limit, most)


class Times(NamedTuple):
    """Points of a grid of time, newest first, of which there is room for `limit` in an answer."""

    found: list[int]
    more: bool
    """Whether there are older ones within what was asked for."""


def grid(query: Query, names: tuple[str, str], period_us: int, limit: int, now_us: int) -> Times:
    """Return the multiples of a period between two parameters (ms, both ends belong to it), at most up to now."""
    last_us = min(now_us, integer(query, names[1], now_us // 1_000) * 1_000) // period_us * period_us
    first_us = max(integer(query, names[0], 0) * 1_000, now_us - HISTORY_US)
    times = range(last_us, first_us - 1, -period_us)
    return Times(list(times[:limit]), len(times) > limit)


class Candle(NamedTuple):
    """One row of a list of candles."""

    open_us: int
    bar: Bar


def candles_of(feed: Feed, query: Query, now_us: int) -> list[Candle]:
    """Return the candles that a query names, newest first, the one that runs now among them. Raises ApiError."""
    interval = INTERVALS.get(query.get("interval", ""))
    if interval is None:
        raise ApiError(PARAMETER, f"Invalid period! {query.get('interval', '')}")
    length_us, told_us = INTERVALS_US[interval], now_us - lag_us(feed.market)
    step, found = feed.market.step_at(told_us), []
    for open_us in grid(query, ("start", "end"), length_us, limit_of(query, 200, 1_000), told_us).found:
        closed = open_us + length_us <= told_us
        bar = feed.candles.between(open_us, open_us + length_us) if closed else feed.candles.bar(open_us, step)
        found.append(Candle(open_us, bar))
    return found
