"""Gate.io's REST statistics of futures: settled funding, `contract_stats`, liquidated orders."""

from __future__ import annotations

from typing import Any

from services.exchange_simulator.gateio_rest import ApiError, Query
from services.exchange_simulator.generator.feed import Feed
from services.exchange_simulator.generator.figures import rounded, text_of, trimmed
from services.exchange_simulator.generator.gateio_figures import (
    ALL_ACCOUNTS,
    RATE_DIGITS,
    TOP_ACCOUNTS,
    TOP_POSITIONS,
    mark_units,
    quote_units,
    rate_units,
)
from services.exchange_simulator.generator.gateio_history import HISTORY_US, Window, integer, limit_of
from services.exchange_simulator.generator.statistics import FUNDING_INTERVAL_US, RATIO_DIGITS, Liquidation, Ratio

PERIODS_S = {"1m": 60, "5m": 300, "15m": 900, "30m": 1_800, "1h": 3_600, "4h": 14_400, "8h": 28_800, "1d": 86_400}
"""The periods of statistics that are generated; the exchange's 3d and 7d are not."""

_SECOND_US = 1_000_000
_HOUR_S = 3_600


def funding_rates(feed: Feed, query: Query, now_us: int) -> list[dict[str, Any]]:
    """Return `funding_rate`: rates settled, newest first."""
    limit, window = limit_of(query, 100, 1_000), Window.of(query, now_us)
    last = window.to_us // FUNDING_INTERVAL_US
    first = -(-window.from_us // FUNDING_INTERVAL_US)
    times = [number * FUNDING_INTERVAL_US for number in range(last, first - 1, -1)][:limit]
    return [
        {
            "t": time_us // _SECOND_US,
            "r": trimmed(rate_units(feed.statistics.funding_rate(time_us)), RATE_DIGITS),
        }
        for time_us in times
    ]


def statistics(feed: Feed, query: Query, now_us: int) -> list[dict[str, Any]]:
    """Return `contract_stats`: one row for each finished period, oldest first, stamped with its end."""
    interval = query.get("interval", "5m")
    if interval not in PERIODS_S:
        raise ApiError("INVALID_PARAM_VALUE", f"Invalid interval: {interval}; allowed: {', '.join(PERIODS_S)}")
    period_us = PERIODS_S[interval] * _SECOND_US
    limit = limit_of(query, 30, 1_000)
    last = now_us // period_us
    if "from" in query:
        begins_us = max(integer(query, "from", 0) * _SECOND_US, now_us - HISTORY_US)
        first = -(-begins_us // period_us)
        last = min(last, first + limit - 1)
    else:
        first = last - limit + 1
    return [statistics_row(feed, number * period_us, period_us) for number in range(first, last + 1)]


def statistics_row(feed: Feed, time_us: int, period_us: int) -> dict[str, Any]:
    """Return the statistics of the period that ends at `time_us`."""
    listing, told = feed.market.listing, feed.statistics
    steps = told.open_interest(time_us)
    step = feed.market.step_at(time_us)
    price = feed.market.touch(step).bid
    bar = feed.candles.between(time_us - period_us, time_us)
    orders = _orders_between(feed, time_us - period_us, time_us)
    return {
        "time": time_us // _SECOND_US,
        "contract": listing.wire_symbol,
        "mark_price": _number(mark_units(listing, told.mark(time_us).mark), listing.price_digits),
        "lsr_taker": round(bar.buy_volume / max(1, bar.volume - bar.buy_volume), 4),
        "lsr_account": ratio_number(told.ratio(ALL_ACCOUNTS, time_us)),
        **_liquidated("long", feed, [order for order in orders if not order.buy]),
        **_liquidated("short", feed, [order for order in orders if order.buy]),
        "open_interest": steps,
        "open_interest_usd": _number(*quote_units(listing, steps * price)),
        "top_lsr_account": ratio_number(told.ratio(TOP_ACCOUNTS, time_us)),
        "top_lsr_size": ratio_number(told.ratio(TOP_POSITIONS, time_us)),
    }


def ratio_number(ratio: Ratio) -> float:
    """Return a quotient as the JSON number of its four digits."""
    return _number(ratio.quotient, RATIO_DIGITS)


def _number(units: int, digits: int) -> float:
    """Return units of 10^-digits as a JSON number; its shortest form has the same digits, up to fifteen."""
    return float(text_of(units, digits))


def _liquidated(side: str, feed: Feed, orders: list[Liquidation]) -> dict[str, Any]:
    listing = feed.market.listing
    steps = sum(order.steps for order in orders)
    value, digits = quote_units(listing, sum(order.steps * order.average_ticks for order in orders))
    return {
        f"{side}_liq_size": steps,
        f"{side}_liq_amount": _number(steps * listing.contract_units, listing.contract_digits),
        f"{side}_liq_usd": _number(rounded(value, digits, 4), 4),
    }


def liquidations(feed: Feed, query: Query, now_us: int) -> list[dict[str, Any]]:
    """Return `liq_orders` of at most an hour, newest first; `size` is the position's: positive was long."""
    limit = limit_of(query, 100, 1_000)
    window = Window.of(query, now_us, _HOUR_S * _SECOND_US)
    if "from" in query and integer(query, "to", now_us // _SECOND_US) - integer(query, "from", 0) > _HOUR_S:
        raise ApiError("INVALID_PARAM_VALUE", f"from and to are more than {_HOUR_S} s apart")
    listing = feed.market.listing
    found = []
    for order in reversed(_orders_between(feed, window.from_us, window.to_us)):
        signed = order.steps if order.buy else -order.steps
        found.append(
            {
                "time": order.time_us // _SECOND_US,
                "contract": listing.wire_symbol,
                "size": -signed,
                "order_size": signed,
                "order_price": text_of(order.limit_ticks * listing.tick_units, listing.price_digits),
                "fill_price": text_of(order.average_ticks * listing.tick_units, listing.price_digits),
                "left": 0,
            }
        )
    return found[:limit]


def _orders_between(feed: Feed, from_us: int, to_us: int) -> list[Liquidation]:
    """Return the forced orders filled from one time on and before another."""
    slot_us = feed.statistics.slot_us
    slots = range(from_us // slot_us, to_us // slot_us + 1)
    return [order for order in map(feed.statistics.liquidation, slots) if from_us <= order.time_us < to_us]
