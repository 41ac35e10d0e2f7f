"""Which streams go on which connection, and which symbols are collected at all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from schemas import subjects
from schemas.records import Instrument
from services.collector.core import Topic
from services.shared.exchanges.declaration import Listing, Market, Poll

TRADING = "trading"


class Planned(NamedTuple):
    """One connection: its route, and the streams on it."""

    route: str
    streams: dict[str, Topic]


class Chosen(NamedTuple):
    """The instruments to collect, and the symbols that cannot be, each with why."""

    instruments: tuple[Instrument, ...]
    left_out: tuple[tuple[str, str], ...]


def market_of(symbol: str) -> str:
    """Return the market that a symbol's form belongs to (`BTC-USDT-PERP`: perp). By the project's naming rule."""
    parts = symbol.split("-")
    if parts[-1] == "PERP":
        return "perp"
    if len(parts) == 5:
        return "option"
    return "future" if len(parts) == 3 and parts[-1].isdigit() else "spot"


def _ours(market: Market, listing: Listing, symbol: str) -> str | None:
    """Return the symbol in our words, or None when it is not of this market."""
    where, colon, own = symbol.partition(":")
    if not colon:
        return symbol if market_of(symbol) == market.market else None
    if where != f"{market.exchange}.{market.market}":
        return None
    item = listing.by_exchange_symbol.get(own)
    return item.symbol if item is not None else symbol


def choose(market: Market, listing: Listing, universe: str, symbols: Sequence[str]) -> Chosen:
    """Return which instruments of a market are collected. `symbols`, where given, replaces the universe.

    A symbol is one of ours (`BTC-USDT-PERP`), or an exchange's own behind its market (`binance.perp:BTCUSDT`).
    """
    if symbols:
        wanted: Iterable[str] = (name for symbol in symbols if (name := _ours(market, listing, symbol)) is not None)
    elif universe == "starter":
        wanted = market.starter
    else:
        wanted = sorted(
            symbol
            for symbol, item in listing.by_symbol.items()
            if market.market == "perp" and item.quote == "USDT" and item.status == TRADING
        )
    chosen: list[Instrument] = []
    left_out: list[tuple[str, str]] = []
    for symbol in dict.fromkeys(wanted):
        item = listing.by_symbol.get(symbol)
        if item is None:
            left_out.append((symbol, f"{market.exchange} {market.market} lists no such symbol"))
        elif item.status != TRADING:
            left_out.append((symbol, f"its status is {item.status}"))
        else:
            chosen.append(item)
    return Chosen(tuple(chosen), tuple(left_out))


def topics(
    market: Market, instruments: Iterable[Instrument], channels: Collection[str], known: Collection[str] = ()
) -> dict[str, dict[str, Topic]]:
    """Return the streams of each route, symbol by symbol. No channel named: those that are on by default.

    A stream that carries the whole market is among them once, and not at all if it is `known` to be asked for already.
    """
    routes: dict[str, dict[str, Topic]] = {}
    for item in instruments:
        for channel in market.channels.values():
            if channel.name in channels or (not channels and channel.default):
                name = channel.stream(item.exchange_symbol if channel.per_symbol else "")
                if name and (channel.per_symbol or name not in known):
                    topic = Topic(channel.name, item.symbol if channel.per_symbol else subjects.ALL)
                    routes.setdefault(channel.route, {})[name] = topic
    return routes


def connections(market: Market, routes: dict[str, dict[str, Topic]]) -> list[Planned]:
    """Spread the streams of each route evenly over as few connections as the exchange's limit allows."""
    most = market.limits.streams_per_connection
    planned: list[Planned] = []
    for route, streams in routes.items():
        names = list(streams)
        count = -(-len(names) // most)
        for index in range(count):
            share = names[index * len(names) // count : (index + 1) * len(names) // count]
            planned.append(Planned(route, {name: streams[name] for name in share}))
    return planned


def polls(market: Market, channels: Collection[str]) -> list[Poll]:
    """Return the REST endpoints that are asked regularly. No channel named: those that are on by default."""
    return [
        poll
        for poll in market.polls.values()
        if poll.every_s is not None and (poll.name in channels or (not channels and poll.default))
    ]
