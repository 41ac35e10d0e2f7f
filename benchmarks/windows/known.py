"""What the live service had been told when it signalled, and what the simulator's own books say of that moment.

The order in which quotes and books came is MD's, as the tables keep it. What they hold is not read from there: each
sequence number names a step of the simulator's market, which is made anew from its seed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from benchmarks.books import Markets, step_of
from benchmarks.windows.drive import FEES, SIZES
from benchmarks.windows.plan import Place
from services.exchange_simulator.generator.book import Book
from services.exchange_simulator.generator.ledger_rows import MOST_DIGITS, Scales
from services.exchange_simulator.generator.market import Market
from tests.arbitrage_reference import Levels, Sizes, common_step, profits

DEPTH = 120
"""Levels of a side that are walked at most; a trade of the largest size needs a few."""
UNIT = 10**MOST_DIGITS


class Told(NamedTuple):
    """A quote or book as it came: `sequence` is MD's, `step` the market's."""

    sequence: int
    step: int
    timestamp: int
    received_at: int
    received: bool
    """Whether the exchange gave it no time."""


class Instrument:
    """One instrument: its market, and what was told of it, in order."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.quotes: list[Told] = []
        self.books: list[Told] = []
        self._book = Book(market)
        self._scales = Scales(market.listing, MOST_DIGITS)
        listing = market.listing
        self.step = Fraction(listing.step_size) * Fraction(listing.contract_size or 1) * listing.multiplier
        """Least quantity, in units of the asset."""
        self.levels = lru_cache(64)(self._levels)

    def first_at(self, time_us: int) -> tuple[int, int]:
        """Return MD's sequences of the first message, and of the first quote, from a market time on.

        Raises LookupError when nothing more was told.
        """
        found = []
        for kind, told in (("quote", self.quotes), ("book", self.books)):
            place = bisect_left(told, time_us, key=lambda one: self.market.step_time(one.step))
            if place == len(told):
                listing = self.market.listing
                name = f"{listing.exchange} {listing.market} {listing.symbol}"
                raise LookupError(f"no {kind} of {name} came behind the {len(told)} that were told before {time_us}")
            found.append(told[place].sequence)
        return min(found), found[0]

    def offers(self, side: str, sequence: int) -> Iterator[Levels]:
        """Yield what could be had on `bids` or `asks` by what was told up to a message, best first, per unit.

        First by the rule: of quote and book the newer one leads, and behind a quote stand the book's levels. Then the
        exception: a book of which a side was not told lets an older quote lead.
        """
        quote, book = _last(self.quotes, sequence), _last(self.books, sequence)
        if book is None or quote is None:
            return
        by_quote = self._behind(side, quote.step, book.step)
        by_book = self.levels(side, book.step)
        if _newer(book, quote):
            yield by_book
            yield by_quote
        else:
            yield by_quote

    def _behind(self, side: str, quote: int, book: int) -> Levels:
        best, *_ = self.levels(side, quote)
        sign = 1 if side == "asks" else -1
        return [best, *(level for level in self.levels(side, book) if (level[0] - best[0]) * sign > 0)]

    def _levels(self, side: str, step: int) -> Levels:
        snapshot = self._book.snapshot(step, DEPTH)
        multiplier = self.market.listing.multiplier
        found = []
        for level in snapshot.asks if side == "asks" else snapshot.bids:
            price, quantity, *_ = self._scales.level(*level)
            found.append((Fraction(price, UNIT * multiplier), Fraction(quantity * multiplier, UNIT)))
        return found


def instruments(markets: Markets, rows: Iterable[dict[str, Any]]) -> dict[tuple[str, str, str], Instrument]:
    """Return every instrument with what the tables' rows, which may come in any order, say came of it."""
    found = {name: Instrument(market) for name, market in markets.items()}
    for row in sorted(rows, key=lambda row: int(row["at"])):
        one = found[row["exchange"], row["market"], row["symbol"]]
        step = step_of(one.market, row["sequence"], row["timestamp"])
        told = Told(row["at"], step, row["timestamp"], row["received_at"], row["timestamp_source"] == "received")
        (one.quotes if row["kind"] == "quote" else one.books).append(told)
    return found


def possible(buy: Instrument, sell: Instrument, sequence: int) -> Iterator[Sizes]:
    """Yield the net profit of each size by the books known at a message, the plain rule's first."""
    fees = [
        Fraction(FEES[f"{one.market.listing.exchange}.{one.market.listing.market}"]["regular"]) for one in (buy, sell)
    ]
    step = common_step(buy.step, sell.step)
    for asks in buy.offers("asks", sequence):
        for bids in sell.offers("bids", sequence):
            found = profits(asks, bids, [Fraction(size) for size in SIZES], step, fees[0], fees[1])
            yield {size: net for size, (_, net) in found.items()}


def lateness_s(found: Iterable[Instrument]) -> float:
    """Return how late nine of ten messages of the latest instrument came at most, beside the quickest of all."""
    took = [sorted(told.received_at - told.timestamp for told in one.books) for one in found if one.books]
    return (max(each[len(each) * 9 // 10] for each in took) - min(each[0] for each in took)) / 1e6


def place_of(instrument: Instrument) -> Place:
    """Return where an instrument is traded."""
    listing = instrument.market.listing
    return Place(listing.exchange, listing.market, listing.asset.name)


def _last(told: list[Told], sequence: int) -> Told | None:
    place = bisect_right(told, sequence, key=lambda one: one.sequence)
    return told[place - 1] if place else None


def _newer(book: Told, quote: Told) -> bool:
    if book.received or quote.received:
        return book.received_at > quote.received_at
    return book.timestamp > quote.timestamp
