"""What one instrument says on its streams, in the order in which it falls due.

A feed is a handful of sources (steps of the book, candles, ticker, mark price, liquidations), each knowing when it
speaks next. Nothing is computed for a topic that nobody hears. Topics are the generator's own names; what stream of the
exchange stands for which topic is its dialect's business.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from services.exchange_simulator.generator.book import Book
from services.exchange_simulator.generator.candles import Candles
from services.exchange_simulator.generator.contracts import Liquidations, Regular
from services.exchange_simulator.generator.events import Event, FullTickerEvent, TickerEvent
from services.exchange_simulator.generator.market import Market
from services.exchange_simulator.generator.source import SECOND_US, Source
from services.exchange_simulator.generator.statistics import Statistics
from services.exchange_simulator.generator.steps import Steps
from services.exchange_simulator.generator.traded import CandleUpdates, Tickers, full_ticker, ticker_at


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How an exchange market publishes: at which intervals (us), and with what its streams begin."""

    candle_us: int = SECOND_US
    tells_candle_ends: bool = True
    """Whether a candle that ends is told once more in any case."""
    ticker_us: int = SECOND_US
    regular_us: Mapping[str, int] = field(default_factory=dict)
    """Of contract markets: topic (`mark`, `mark_slow`, `funding`, `open_interest`, `positions`) -> its period."""
    liquidations: bool = False
    book_depth: int | None = None
    """Levels of a side that the book stream tells of, where it does not tell of all."""
    begins: frozenset[str] = frozenset()
    """Topics that begin with how things stand, for each who subscribes; `book` among them: a snapshot in the stream
    (then `book_depth` is needed), else the snapshot is asked for by REST."""


class Feed:
    """All sources of one instrument; only those run that somebody hears."""

    def __init__(self, market: Market, rhythm: Rhythm) -> None:
        self.market = market
        self.book = Book(market)
        self.candles = Candles(market)
        self.statistics = Statistics(market)
        self._begins = rhythm.begins
        self._sources: list[Source] = [
            Steps(market, self.book, rhythm.book_depth),
            CandleUpdates(market, self.candles, rhythm.candle_us, rhythm.tells_candle_ends),
            Tickers(market, self.candles, self.statistics, rhythm.ticker_us),
            *(Regular(market, self.statistics, topic, period) for topic, period in rhythm.regular_us.items()),
        ]
        if rhythm.liquidations:
            self._sources.append(Liquidations(market, self.statistics))
        self.topics = frozenset[str]().union(*(source.topics for source in self._sources))
        self._running: list[Source] = []

    def hear(self, topics: Collection[str], now_us: int) -> None:
        """Run the sources that `topics` need from `now_us` on, and stop the others."""
        wanted = [source for source in self._sources if not source.topics.isdisjoint(topics)]
        for source in wanted:
            if source not in self._running:
                source.start(now_us)
        self._running = wanted

    def beginning(self, topic: str, now_us: int) -> Event | None:
        """Return what a stream of a topic that is heard says first to whoever subscribes now; None: nothing."""
        if topic not in self._begins:
            return None
        source = next(source for source in self._running if topic in source.topics)
        return source.state(topic, now_us)

    def full_ticker(self, now_us: int) -> FullTickerEvent:
        """Return the 24 hour statistics with prices, funding and open interest, as told at a time."""
        return full_ticker(self.ticker(now_us), self.statistics)

    def ticker(self, now_us: int) -> TickerEvent:
        """Return the 24 hour statistics as told at a time."""
        return ticker_at(self.market, self.candles, now_us)

    @property
    def due_us(self) -> int | None:
        """When something falls due next, or None while nobody hears anything."""
        return min((source.due_us for source in self._running), default=None)

    def take(self, heard: Collection[str]) -> Iterator[tuple[str, Event]]:
        """Yield what falls due next."""
        yield from min(self._running, key=lambda source: source.due_us).take(heard)
