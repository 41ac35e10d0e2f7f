"""Pages of Deribit's history: trades by number or time, candles, settled funding, the volatility index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from services.exchange_simulator.generator.candles import INTERVALS_US
from services.exchange_simulator.generator.deribit_figures import (
    base_volume,
    index_digits,
    index_units,
    number,
    turnover,
)
from services.exchange_simulator.generator.deribit_volatility import INDEX_DIGITS, Volatility
from services.exchange_simulator.generator.feed import Feed
from services.exchange_simulator.generator.figures import text_of
from services.exchange_simulator.generator.market import Trade
from services.exchange_simulator.generator.source import DAY_US, SECOND_US, lag_us
from services.exchange_simulator.generator.statistics import FINE_DIGITS

Query = Mapping[str, str]

HISTORY_US = 30 * DAY_US
RESOLUTIONS = {
    "1": "1m",
    "3": "3m",
    "5": "5m",
    "15": "15m",
    "30": "30m",
    "60": "1h",
    "120": "2h",
    "360": "6h",
    "720": "12h",
    "1D": "1d",
}
"""The resolutions of candles that are generated, and the generator's names for them; of 10 and 180 there are none."""
_VOLATILITY_US = {"60": 60 * SECOND_US, "3600": 3_600 * SECOND_US, "43200": 43_200 * SECOND_US, "1D": DAY_US}
_HOUR_US = 3_600 * SECOND_US
_MOST_TRADES = 1_000
_MOST_CANDLES = 5_000
_MOST_FUNDING = 744
_MOST_VOLATILITY = 1_000
_RATE_DIGITS = FINE_DIGITS + 3
"""Digits of an eighth of a funding rate."""


class BadParam(Exception):
    """A parameter that the exchange refuses: its name and why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


def whole(query: Query, name: str, default: int | None = None) -> int:
    """Return a parameter that is a whole number. Raises BadParam."""
    text = query.get(name, "")
    if not text and default is not None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadParam(name, "must be a non-negative integer" if text else "value required")
    return int(text)


def choice(query: Query, name: str, allowed: Mapping[str, Any], default: str = "") -> str:
    """Return a parameter that is one of a few words. Raises BadParam."""
    text = query.get(name, default)
    if text not in allowed:
        raise BadParam(name, f"must be one of {', '.join(allowed)}")
    return text


class Page(NamedTuple):
    """Trades in the order asked for, and whether there are more of those asked for."""

    trades: list[Trade]
    has_more: bool


def trades(feed: Feed, query: Query, now_us: int) -> Page:
    """Return the trades that a query names by number (`start_seq`, `end_seq`) or time, both ends among them.

    Rising ones with a beginning start there; all others are the newest of those asked for.
    """
    market = feed.market
    count = whole(query, "count", 10)
    if not 0 < count <= _MOST_TRADES:
        raise BadParam("count", f"must be from 1 to {_MOST_TRADES}")
    sorting = choice(query, "sorting", {"default": 0, "asc": 0, "desc": 0}, "default")
    first = market.first_trade_from(now_us - HISTORY_US)
    last = market.trades_upto(market.step_at(now_us - lag_us(market))) - 1
    first = max(first, whole(query, "start_seq", first))
    last = min(last, whole(query, "end_seq", last))
    if "start_timestamp" in query:
        first = max(first, market.first_trade_from(max(0, whole(query, "start_timestamp")) * 1_000))
    if "end_timestamp" in query:
        last = min(last, market.first_trade_from((whole(query, "end_timestamp") + 1) * 1_000) - 1)
    bounded = "start_seq" in query or "start_timestamp" in query
    if sorting == "asc" and bounded:
        found = range(first, min(last, first + count - 1) + 1)
    else:
        found = range(max(first, last - count + 1), last + 1)
    page = [market.trade(number) for number in found]
    return Page(page if sorting == "asc" else page[::-1], last - first + 1 > len(page))


def candles(feed: Feed, query: Query, now_us: int) -> str:
    """Return `get_tradingview_chart_data`: the newest points of the time asked for, in arrays, as JSON."""
    listing = feed.market.listing
    length_us = INTERVALS_US[RESOLUTIONS[choice(query, "resolution", RESOLUTIONS)]]
    told_us = now_us - lag_us(feed.market)
    last_us = min(told_us, whole(query, "end_timestamp") * 1_000) // length_us * length_us
    first_us = -(-max(whole(query, "start_timestamp") * 1_000, now_us - HISTORY_US) // length_us) * length_us
    first_us = max(first_us, last_us - (_MOST_CANDLES - 1) * length_us)
    step = feed.market.step_at(told_us)
    columns: dict[str, list[str]] = {name: [] for name in ("volume", "ticks", "open", "low", "high", "cost", "close")}
    for open_us in range(first_us, last_us + 1, length_us):
        closed = open_us + length_us <= told_us
        bar = feed.candles.between(open_us, open_us + length_us) if closed else feed.candles.bar(open_us, step)
        columns["ticks"].append(str(open_us // 1_000))
        for name in ("open", "high", "low", "close"):
            columns[name].append(number(getattr(bar, name) * listing.tick_units, listing.price_digits))
        columns["volume"].append(number(*base_volume(listing, bar)))
        columns["cost"].append(number(*turnover(listing, bar)))
    arrays = {name: f"[{','.join(values)}]" for name, values in columns.items()}
    status = "ok" if columns["ticks"] else "no_data"
    return (
        f'{{"volume":{arrays["volume"]},"ticks":{arrays["ticks"]},"status":"{status}","open":{arrays["open"]},'
        f'"low":{arrays["low"]},"high":{arrays["high"]},"cost":{arrays["cost"]},"close":{arrays["close"]}}}'
    )


def settled_rates(feed: Feed, query: Query, now_us: int) -> str:
    """Return `get_funding_rate_history`: one row for each hour, stamped with its end, oldest first, as JSON."""
    if feed.market.listing.market != "perp":
        raise BadParam("instrument_name", "must be a perpetual")
    start_us = max(whole(query, "start_timestamp") * 1_000, now_us - HISTORY_US)
    end_us = min(whole(query, "end_timestamp") * 1_000, now_us)
    hours = range(-(-start_us // _HOUR_US), end_us // _HOUR_US + 1)[-_MOST_FUNDING:]
    listing = feed.market.listing
    rows = []
    for hour in hours:
        rate = feed.statistics.funding_rate(hour * _HOUR_US)
        prices = [
            number(index_units(listing, feed.statistics.mark(at * _HOUR_US).index), index_digits(listing))
            for at in (hour - 1, hour)
        ]
        rows.append(
            f'{{"timestamp":{hour * _HOUR_US // 1_000},"prev_index_price":{prices[0]},"index_price":{prices[1]},'
            f'"interest_8h":{number(rate, FINE_DIGITS)},"interest_1h":{number(rate * 125, _RATE_DIGITS)}}}'
        )
    return f"[{','.join(rows)}]"


def volatility_candles(volatility: Volatility, query: Query, now_us: int) -> dict[str, Any]:
    """Return `get_volatility_index_data`: the newest candles of the time asked for, oldest first.

    `continuation` is the time up to which the rest is to be asked for, or null. Of seconds there are none.
    """
    resolution = choice(query, "resolution", _VOLATILITY_US)
    length_us = _VOLATILITY_US[resolution]
    end_us = min(whole(query, "end_timestamp") * 1_000, now_us)
    start_us = max(whole(query, "start_timestamp") * 1_000, now_us - HISTORY_US)
    numbers = range(-(-start_us // length_us), end_us // length_us + 1)
    shown = numbers[-_MOST_VOLATILITY:]
    rows = []
    for number_ in shown:
        open_us = number_ * length_us
        span = volatility.span(open_us, min(open_us + length_us, now_us))
        rows.append([open_us // 1_000, *(float(text_of(units, INDEX_DIGITS)) for units in span)])
    more = len(shown) < len(numbers)
    return {"data": rows, "continuation": shown[0] * length_us // 1_000 - 1 if more else None}
