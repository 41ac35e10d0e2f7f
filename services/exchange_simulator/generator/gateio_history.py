"""Pages of Gate.io's history: trades and candles by time, and the parameters that name a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from services.exchange_simulator.gateio_rest import ApiError, Query
from services.exchange_simulator.generator.candles import INTERVALS_US, Bar
from services.exchange_simulator.generator.feed import Feed
from services.exchange_simulator.generator.market import Trade
from services.exchange_simulator.generator.source import DAY_US, SECOND_US, lag_us

HISTORY_US = 30 * DAY_US

_OFFERED = ("1m", "5m", "15m", "30m", "1h", "4h", "8h", "1d")


def integer(query: Query, name: str, default: int) -> int:
    """Return a parameter that is a whole number. Raises ApiError INVALID_PARAM_VALUE."""
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise ApiError("INVALID_PARAM_VALUE", f"Invalid {name}: {text}")
    return int(text)


def limit_of(query: Query, default: int, most: int) -> int:
    """Return how many rows are asked for. Raises ApiError when it is none or more than `most`."""
    limit = integer(query, "limit", default)
    if not 0 < limit <= most:
        raise ApiError("INVALID_PARAM_VALUE", f"Invalid limit: {limit}; at most {most}")
    return limit


class Window(NamedTuple):
    """A span of time asked for, microseconds UTC, within what is kept: both ends belong to it."""

    from_us: int
    to_us: int

    @classmethod
    def of(cls, query: Query, now_us: int, default_span_us: int = HISTORY_US) -> Window:
        """Read `from` and `to`, whole seconds; a second asked for last belongs to the window as a whole."""
        to_us = min(now_us, (integer(query, "to", now_us // SECOND_US) + 1) * SECOND_US - 1)
        from_us = integer(query, "from", (to_us - default_span_us) // SECOND_US) * SECOND_US
        return cls(max(from_us, now_us - HISTORY_US), to_us)


def trades_between(feed: Feed, window: Window, now_us: int) -> Iterator[Trade]:
    """Yield the aggregate trades of a window that have been told of by now, newest first."""
    market = feed.market
    first = market.first_trade_from(window.from_us)
    end = min(market.first_trade_from(window.to_us + 1), market.trades_upto(market.step_at(now_us - lag_us(market))))
    for aggregate_id in range(end - 1, first - 1, -1):
        yield market.trade(aggregate_id)


class Candle(NamedTuple):
    """One row of a list of candles."""

    open_us: int
    bar: Bar
    closed: bool


def candles_of(feed: Feed, query: Query, now_us: int, most: int) -> list[Candle]:
    """Return the candles that a query names, oldest first, the one that runs now among them.

    Raises ApiError for an interval that is not offered, and when both a limit and a beginning are given.
    """
    interval = query.get("interval", "5m")
    if interval not in _OFFERED:
        raise ApiError("INVALID_PARAM_VALUE", f"Invalid interval: {interval}; allowed: {', '.join(_OFFERED)}")
    if "limit" in query and "from" in query:
        raise ApiError("INVALID_PARAM_VALUE", "limit conflicts with from and to")
    length_us = INTERVALS_US[interval]
    told_us = now_us - lag_us(feed.market)
    last_us = min(told_us, integer(query, "to", now_us // SECOND_US) * SECOND_US) // length_us * length_us
    if "from" in query:
        first_us = -(-integer(query, "from", 0) * SECOND_US // length_us) * length_us
        if (last_us - first_us) // length_us >= most:
            raise ApiError("INVALID_PARAM_VALUE", f"Too many points; at most {most}")
    else:
        first_us = last_us - (limit_of(query, 100, most) - 1) * length_us
    first_us = max(first_us, (now_us - HISTORY_US) // length_us * length_us)
    step = feed.market.step_at(told_us)
    found = []
    for open_us in range(first_us, last_us + 1, length_us):
        closed = open_us + length_us <= told_us
        bar = feed.candles.between(open_us, open_us + length_us) if closed else feed.candles.bar(open_us, step)
        found.append(Candle(open_us, bar, closed))
    return found


Answer = Callable[[Query, int], object]
"""Answers one request: its query and the market time (us UTC) in, JSON out. Raises ApiError."""
