"""Which streams a market's instruments have, and which REST endpoints are polled."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from schemas import subjects
from schemas.records import Instrument
from services.collector.core import Topic
from services.shared.exchanges.declaration import Market, Poll


def topics(market: Market, instruments: Iterable[Instrument], channels: Collection[str]) -> dict[str, dict[str, Topic]]:
    """Return the streams of each route, symbol by symbol. No channel named: those that are on by default.

    A stream that carries the whole market is among them once.
    """
    routes: dict[str, dict[str, Topic]] = {}
    for item in instruments:
        for channel in market.channels.values():
            if channel.name in channels or (not channels and channel.default):
                symbol = item.exchange_symbol if channel.per_symbol else ""
                name = channel.stream(symbol)
                if name:
                    topic = Topic(channel.name, item.symbol if channel.per_symbol else subjects.ALL)
                    routes.setdefault(channel.route_of(symbol), {})[name] = topic
    return routes


def polls(market: Market, channels: Collection[str]) -> list[Poll]:
    """Return the statistics that are asked for regularly. No channel named: those that are on by default.

    The instrument list and a book's snapshot have rules of their own.
    """
    own = {poll.name for poll in (market.instruments, market.book_snapshot) if poll is not None}
    return [
        poll
        for poll in market.polls.values()
        if poll.every_s is not None
        and poll.name not in own
        and (poll.name in channels or (not channels and poll.default))
    ]
