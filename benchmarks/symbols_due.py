"""What an exchange's own limits allow a collector of so many symbols: how many connections, and how soon what is asked.

Computed from what each market declares (`Limits`, `RestRules`, weights of its endpoints) and the share of the budgets
that the collector uses. It is what a queue could do at best that is never idle and asks nothing twice: books first,
then what is polled, one answer per symbol. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from services.collector import plan
from services.shared.exchanges.declaration import AUDIT, Market, Poll
from services.shared.exchanges.rest_rules import Rate


class Due(NamedTuple):
    """One endpoint: what a round of all symbols costs, and when the limits allow it to be through."""

    poll: Poll
    weight: int
    """Of one round."""
    rate: str
    """The limit that decides, and what may be used of it, in words."""
    seconds: float


def connections(market: Market, symbols: Sequence[str]) -> dict[str, int]:
    """Return how many connections each route needs for the streams of these symbols (the exchange's own names)."""
    names: dict[str, set[str]] = {}
    for channel in market.channels.values():
        if channel.default:
            for symbol in symbols:
                own = symbol if channel.per_symbol else ""
                if name := channel.stream(own):
                    names.setdefault(channel.route_of(own), set()).add(name)
    most = market.limits.streams_per_connection
    return {route: -(-len(found) // most) for route, found in names.items()}


def rounds(market: Market, symbols: int, share: float) -> list[Due]:
    """Return what is asked of each symbol, in the order of service: the book, what is polled, and last the audits.

    Audits compare books that are there already, so that nothing waits for them.
    """
    polled = [poll for poll in plan.polls(market, ()) if poll.per_symbol]
    audits = [poll for poll in polled if poll.name == AUDIT]
    statistics = [poll for poll in polled if poll.name != AUDIT]
    books = [market.book_snapshot] if market.book_snapshot is not None else []
    asked: list[Poll] = [market.instruments]
    found: list[Due] = []
    for stage in (books, statistics, audits):
        asked += stage
        found += [_due(market, poll, asked, symbols, share) for poll in stage]
    return found


def _due(market: Market, poll: Poll, asked: Sequence[Poll], symbols: int, share: float) -> Due:
    rates = [rate for rate in market.rest.rates if rate.counts(poll.endpoint)]
    taken = [_seconds(rate, [poll] if rate.apiece else asked, symbols, share) for rate in rates]
    seconds = max(taken, default=0.0)
    if not rates:
        return Due(poll, poll.weight * symbols, "none", seconds)
    decides = rates[taken.index(seconds)]
    words = f"{decides.units * share:,.0f} of {decides.units:,} {decides.name} in {decides.window_s:g} s"
    return Due(poll, poll.weight * symbols, words, seconds)


def _seconds(rate: Rate, asked: Sequence[Poll], symbols: int, share: float) -> float:
    """Return how long one round of all that is `asked` takes under one limit."""
    counted = [poll for poll in asked if rate.counts(poll.endpoint)]
    cost = sum((poll.weight if rate.weighed else 1) * (symbols if poll.per_symbol else 1) for poll in counted)
    return cost / (rate.units * share) * rate.window_s
