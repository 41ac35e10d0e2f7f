"""What a report shows, worked out of stored signals: plain numbers, for charts and for JSON. Pure.

Charts may round: numbers of money are floats here, while the tables keep them exact.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from services.arbitrage_signal.terms import HORIZONS, SECOND

HOUR_US = 3_600 * SECOND
DURATIONS_S = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300)
"""Upper bounds of the classes of durations, seconds; what lasted longer is a class of its own."""

Row = dict[str, Any]


def pair_of(row: Row) -> str:
    """Return what is bought and sold where, such as `BTC: binance.spot.BTC-USDT > okx.perp.BTC-USDT-PERP`."""
    buy = f"{row['exchange']}.{row['market']}.{row['symbol']}"
    return f"{row['asset']}: {buy} > {row['sell_exchange']}.{row['sell_market']}.{row['sell_symbol']}"


def figures(
    day: str, begin: int, opportunities: list[Row], spreads: dict[str, list[tuple[int, float]]]
) -> dict[str, Any]:
    """Return everything that the report of a day shows. `begin`: the day's first microsecond.

    `spreads`: the lines to be drawn, as `stored.nearest_spreads` has them.
    """
    last: dict[str, Row] = {}
    first: dict[str, Row] = {}
    for row in opportunities:
        last[row["opportunity_id"]] = row
        if row["event"] == "open":
            first[row["opportunity_id"]] = row
    closed = [row for row in last.values() if row["event"] == "closed"]
    confirmed = sum("confirmed_at" in row for row in last.values())
    return {
        "day": day,
        "opportunities": len(last),
        "confirmed": confirmed,
        "still_open": len(last) - len(closed),
        "best": [_shown(row) for row in sorted(last.values(), key=lambda row: -float(row["peak_net"]))[:20]],
        "by_pair_and_hour": _by_pair_and_hour(last.values(), begin),
        "durations": _durations(closed),
        "reasons": dict(Counter(row["reason"] for row in closed)),
        "profit_by_size": _profit_by_size(first.values()),
        "profit_by_delay": _profit_by_delay(first, last),
        "spreads": spreads,
    }


def _shown(row: Row) -> Row:
    return {
        "pair": pair_of(row),
        "opened_at": row["opened_at"],
        "duration_s": row["duration_us"] / SECOND,
        "peak_net": row["peak_net"],
        "peak_net_percent": row["peak_net_percent"],
        "size": row["size"],
        "quote": row["quote"],
        "confirmed": "confirmed_at" in row,
    }


def _by_pair_and_hour(rows: Any, begin: int) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(lambda: [0] * 24)
    for row in rows:
        found[pair_of(row)][min(23, (row["opened_at"] - begin) // HOUR_US)] += 1
    return dict(sorted(found.items(), key=lambda item: (-sum(item[1]), item[0])))


def _durations(closed: list[Row]) -> list[dict[str, Any]]:
    counts = [0] * (len(DURATIONS_S) + 1)
    for row in closed:
        seconds = row["duration_us"] / SECOND
        counts[sum(seconds > bound for bound in DURATIONS_S)] += 1
    names = [f"to {bound:g} s" for bound in DURATIONS_S] + [f"over {DURATIONS_S[-1]:g} s"]
    return [{"class": name, "count": count} for name, count in zip(names, counts, strict=True)]


def _profit_by_size(opened: Any) -> list[dict[str, Any]]:
    """What each size would have made, had each opportunity been taken at once wherever that size had a profit."""
    found: dict[str, float] = defaultdict(float)
    for row in opened:
        for size, *_, net, _percent in row["sizes"]:
            found[size] += max(0.0, float(net))
    return [{"size": size, "profit": found[size]} for size in sorted(found, key=float)]


def _profit_by_delay(first: dict[str, Row], last: dict[str, Row]) -> list[dict[str, Any]]:
    """What was left of all profits after a delay; nothing of those that were over by then."""
    found = [{"delay_s": 0.0, "profit": sum(float(row["net"]) for row in first.values())}]
    for after, name in HORIZONS:
        found.append(
            {"delay_s": after / SECOND, "profit": sum(float(row[name]) for row in last.values() if name in row)}
        )
    return found
