"""Stored books beside the simulator's own: at sequence numbers drawn from all that were published, level by level.

The simulator's markets are a pure function of seed, symbol and time. They are made anew here, so neither a parser nor a
frame lies between the book that is expected and the price process.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from services.exchange_simulator import generator
from services.exchange_simulator.generator.book import Book
from services.exchange_simulator.generator.ledger_rows import MOST_DIGITS, Scales
from services.exchange_simulator.generator.market import Market
from services.exchange_simulator.generator.venue import GeneratedVenue
from services.exchange_simulator.settings import SimulatorSettings
from tests.pipeline import at_rest

_AROUND_US = 60_000_000
"""A book's step is looked for so far before and behind its time."""

Markets = dict[tuple[str, str, str], Market]


class Compared(NamedTuple):
    """How many of an exchange's books were compared, and those that differ, in words."""

    books: int
    wrong: list[str]


def markets(data: Path, **settings: Any) -> Markets:
    """Return a run's markets by exchange, market and symbol, given the settings of its simulator."""
    found: Markets = {}
    for venue in generator.build(SimulatorSettings(data_dir=data, ledger=False, **settings)):
        assert isinstance(venue, GeneratedVenue)
        for feed in venue.feeds.values():
            found[venue.exchange, venue.market, feed.market.listing.symbol] = feed.market
    return found


def compare(data: Path, known: Markets, count: int, seed: int) -> dict[str, Compared]:
    """Compare up to `count` books of each exchange."""
    rows = at_rest(
        data,
        "SELECT exchange, market, symbol, sequence, toUnixTimestamp64Micro(timestamp) AS at_us, bids, asks "
        "FROM tapeline.orderbooks ORDER BY exchange, market, symbol, sequence "
        "SETTINGS output_format_json_quote_decimals = 1, output_format_json_quote_64bit_integers = 0",
    )
    by_exchange: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_exchange[row["exchange"]].append(row)
    chance = random.Random(seed)
    found = {}
    for exchange, of_it in by_exchange.items():
        drawn = chance.sample(of_it, min(count, len(of_it)))
        said = [_difference(row, known[exchange, row["market"], row["symbol"]]) for row in drawn]
        found[exchange] = Compared(len(drawn), [text for text in said if text])
    return found


def step_of(market: Market, sequence: int, at_us: int) -> int:
    """Return the step that has a book update id, not far from a market time. Raises LookupError when none has."""
    first, last = market.step_at(at_us - _AROUND_US), market.step_at(at_us + _AROUND_US)
    step = first + bisect_left(range(first, last), sequence, key=market.last_update_id)
    if market.last_update_id(step) != sequence:
        raise LookupError(f"the market has no number {sequence}; the next one is {market.last_update_id(step)}")
    return step


def _difference(row: dict[str, Any], market: Market) -> str:
    """Say how a stored book differs from the market's at that sequence number; nothing where it does not."""
    name = f"{row['exchange']} {row['market']} {row['symbol']} at {row['sequence']}"
    try:
        step = step_of(market, row["sequence"], row["at_us"])
    except LookupError as error:
        return f"{name}: {error}"
    depth = max(len(row["bids"]), len(row["asks"]))
    book = Book(market).snapshot(step, depth)
    scales = Scales(market.listing, MOST_DIGITS)
    for side, expected in (("bids", book.bids), ("asks", book.asks)):
        levels = [[_decimal(number) for number in scales.level(*level)] for level in expected]
        stored = [[Decimal(number) for number in level] for level in row[side]]
        if levels != stored:
            return f"{name}: its {side} are {stored[:3]} ..., the market's {levels[:3]} ..."
    return ""


def _decimal(units: int) -> Decimal:
    return Decimal(units).scaleb(-MOST_DIGITS)
