"""Binance's `/futures/data` statistics for generated markets: open interest history, long/short ratios, taker volumes.

Rows stand at the ends of periods, of the last 30 days, and are out a few seconds after the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from services.exchange_simulator.binance_rest import ApiError, Query, integer, invalid_symbol, required_symbol
from services.exchange_simulator.generator.candles import INTERVALS_US
from services.exchange_simulator.generator.feed import Feed
from services.exchange_simulator.generator.figures import text_of, value_units
from services.exchange_simulator.generator.source import DAY_US
from services.exchange_simulator.generator.statistics import RATIO_DIGITS

PUBLISHED_AFTER_US = 8_000_000
_PERIODS = ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d")
_FINE = 8
_MOST_ROWS = 500
_REACH_US = 30 * DAY_US
_RATIO_PATHS = {
    "topLongShortPositionRatio": "top_positions",
    "topLongShortAccountRatio": "top_accounts",
    "globalLongShortAccountRatio": "all_accounts",
}

_Row = Callable[[Feed, int, int], dict[str, Any]]


class FuturesData:
    """Answers for the paths below `/futures/data/`."""

    def __init__(self, feeds: Mapping[str, Feed]) -> None:
        self._feeds = feeds

    def answers(self) -> dict[str, Callable[[Query, int], object]]:
        """Return an answer for each last part of the path."""
        rows: dict[str, _Row] = {"openInterestHist": _open_interest, "takerlongshortRatio": _taker_volume}
        rows |= {path: _ratio(name) for path, name in _RATIO_PATHS.items()}
        return {name: self._history(row) for name, row in rows.items()}

    def _history(self, row: _Row) -> Callable[[Query, int], object]:
        def answer(query: Query, now_us: int) -> object:
            feed = self._feeds.get(required_symbol(query))
            if feed is None:
                raise invalid_symbol()
            if query.get("period") not in _PERIODS:
                raise ApiError(-1130, "parameter 'period' is invalid.")
            length_us = INTERVALS_US[query["period"]]
            return [row(feed, end_us, length_us) for end_us in _ends(query, now_us, length_us)]

        return answer


def _ends(query: Query, now_us: int, length_us: int) -> range:
    """Return the ends of the periods asked for, ascending: the first ones from `startTime` on, else the last ones."""
    limit, start_ms, end_ms = (integer(query, name) for name in ("limit", "startTime", "endTime"))
    limit = 30 if limit is None else limit
    if not 1 <= limit <= _MOST_ROWS:
        raise ApiError(-1130, "parameter 'limit' is invalid.")
    if start_ms is not None and start_ms * 1000 < now_us - _REACH_US:
        raise ApiError(-1130, "parameter 'startTime' is invalid.")
    until_us = now_us - PUBLISHED_AFTER_US
    last_us = min(until_us, until_us if end_ms is None else end_ms * 1000) // length_us * length_us
    first_us = now_us - _REACH_US if start_ms is None else start_ms * 1000
    ends = range(-(-first_us // length_us) * length_us, last_us + 1, length_us)
    return ends[-limit:] if start_ms is None else ends[:limit]


def _open_interest(feed: Feed, end_us: int, length_us: int) -> dict[str, Any]:
    listing = feed.market.listing
    steps = feed.statistics.open_interest(end_us)
    touch = feed.market.touch(feed.market.step_at(end_us))
    supply = listing.step_units * steps * 40
    return {
        "symbol": listing.wire_symbol,
        "sumOpenInterest": text_of(steps * listing.step_units * 10 ** (_FINE - listing.quantity_digits), _FINE),
        "sumOpenInterestValue": text_of(value_units(listing, touch.bid * steps, _FINE), _FINE),
        "CMCCirculatingSupply": text_of(supply * 10 ** (_FINE - listing.quantity_digits), _FINE),
        "timestamp": end_us // 1000,
    }


def _taker_volume(feed: Feed, end_us: int, length_us: int) -> dict[str, Any]:
    listing = feed.market.listing
    bar = feed.candles.between(end_us - length_us, end_us)
    sold = bar.volume - bar.buy_volume
    quotient = bar.buy_volume * 10**RATIO_DIGITS // sold if sold else 0
    return {
        "buySellRatio": text_of(quotient, RATIO_DIGITS),
        "sellVol": text_of(sold * listing.step_units, listing.quantity_digits),
        "buyVol": text_of(bar.buy_volume * listing.step_units, listing.quantity_digits),
        "timestamp": end_us // 1000,
    }


def _ratio(name: str) -> _Row:
    def row(feed: Feed, end_us: int, length_us: int) -> dict[str, Any]:
        ratio = feed.statistics.ratio(name, end_us)
        return {
            "symbol": feed.market.listing.wire_symbol,
            "longAccount": text_of(ratio.long, RATIO_DIGITS),
            "longShortRatio": text_of(ratio.quotient, RATIO_DIGITS),
            "shortAccount": text_of(ratio.short, RATIO_DIGITS),
            "timestamp": end_us // 1000,
        }

    return row
