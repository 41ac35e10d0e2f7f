"""What one instrument says on its streams, in the order in which it falls due.

A feed is a handful of sources (steps of the book, candles, ticker, mark price, liquidations), each knowing when it
speaks next. Nothing is computed for a topic that nobody hears. Topics are stream names without the symbol
(`depth@100ms`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Protocol

from services.exchange_simulator.generator.book import Book, Change, Walker
from services.exchange_simulator.generator.candles import INTERVALS_US, Candles
from services.exchange_simulator.generator.events import (
    BookEvent,
    CandleEvent,
    Event,
    FillEvent,
    LiquidationEvent,
    MarkEvent,
    MiniTickerEvent,
    QuoteEvent,
    TickerEvent,
    TradeEvent,
)
from services.exchange_simulator.generator.market import Market
from services.exchange_simulator.generator.statistics import Statistics

DAY_US = 86_400_000_000
_SECOND_US = 1_000_000
_CANDLE_GRID_US = {"perp": 250_000, "spot": 2_000_000}
_TICKER_GRID_US = {"perp": 2_000_000, "spot": 1_000_000}
_LIQUIDATION_LAG_US = 1_005_000


def whole_ms(time_us: int) -> int:
    """Cut a time to whole milliseconds, still in us."""
    return time_us // 1000 * 1000


class Source(Protocol):
    """One kind of news of one instrument."""

    topics: frozenset[str]
    due_us: int

    def start(self, now_us: int) -> None:
        """Speak from `now_us` on: what happened before is not told."""
        ...

    def take(self, heard: Collection[str]) -> Iterator[tuple[str, Event]]:
        """Yield what falls due at `due_us` as (topic, event) for the topics heard, and move `due_us` on."""
        ...


def lag_us(market: Market) -> int:
    """Return how long after a step the exchange speaks of it."""
    return 3_000 + market.key % 4_000


class Steps:
    """Book changes, quotes and trades: one step of the market at a time."""

    def __init__(self, market: Market, book: Book) -> None:
        self._market = market
        self._book = book
        self._lag_us = lag_us(market)
        names = {"depth@100ms", "bookTicker", "aggTrade"}
        self.topics = frozenset(names | ({"trade"} if market.listing.market == "spot" else set()))
        self.due_us = 0
        self._step = 0
        self._walker: Walker | None = None
        self._touch = market.touch(0)
        self._last_id = 0

    def start(self, now_us: int) -> None:
        """Begin with the first step told of after `now_us`."""
        told = self._market.step_at(now_us - self._lag_us)
        self._step = told + 1
        self._walker = None
        self._touch, self._last_id = self._market.touch(told), self._market.last_update_id(told)
        self._schedule()

    def _schedule(self) -> None:
        self.due_us = self._market.step_time(self._step) + self._lag_us

    def take(self, heard: Collection[str]) -> Iterator[tuple[str, Event]]:
        """Yield the step's trades, then the quote if it changed, then the book change."""
        market, step = self._market, self._step
        listing, sent_us = market.listing, whole_ms(self.due_us)
        if "aggTrade" in heard or "trade" in heard:
            for trade in market.trades_of_step(step):
                if "trade" in heard:
                    for place in range(len(trade.fills)):
                        yield "trade", FillEvent(listing, sent_us, trade, place)
                if "aggTrade" in heard:
                    yield "aggTrade", TradeEvent(listing, sent_us, trade)
        time_us = whole_ms(self.due_us - self._lag_us)
        first_id, last_id = market.update_ids(step, self._last_id)
        change = self._book_change() if "depth@100ms" in heard else None
        touch = market.touch(step) if change is None else change.touch
        if "bookTicker" in heard and touch != self._touch:
            yield "bookTicker", QuoteEvent(listing, sent_us, time_us, last_id, touch)
        if change is None:
            self._walker = None
        else:
            ids = (first_id, last_id, self._last_id)
            yield "depth@100ms", BookEvent(listing, sent_us, time_us, *ids, change.bids, change.asks)
        self._step, self._touch, self._last_id = step + 1, touch, last_id
        self._schedule()

    def _book_change(self) -> Change:
        if self._walker is None:
            self._walker = self._book.walker(self._step - 1)
        return self._walker.advance()


class CandleUpdates:
    """Candles of every interval heard: on a fixed grid of time, when trades came in or an interval ended."""

    def __init__(self, market: Market, candles: Candles) -> None:
        self._market = market
        self._candles = candles
        self._lag_us = lag_us(market)
        self._grid_us = _CANDLE_GRID_US[market.listing.market]
        self._phase_us = market.key % self._grid_us
        self.topics = frozenset(f"kline_{interval}" for interval in INTERVALS_US)
        self.due_us = 0
        self._told_trades = 0
        self._told_until_us = 0

    def start(self, now_us: int) -> None:
        """Begin with the trades that come in after `now_us`."""
        self.due_us = self._grid_after(now_us)
        self._told_until_us = now_us - self._lag_us
        self._told_trades = self._market.trades_upto(self._market.step_at(self._told_until_us))

    def _grid_after(self, time_us: int) -> int:
        return (time_us - self._phase_us) // self._grid_us * self._grid_us + self._grid_us + self._phase_us

    def take(self, heard: Collection[str]) -> Iterator[tuple[str, Event]]:
        """Yield, of each interval heard, the final version if it ended since last time, and the one that runs now."""
        market = self._market
        until_us = self.due_us - self._lag_us
        step = market.step_at(until_us)
        trades = market.trades_upto(step)
        for interval, length_us in INTERVALS_US.items():
            topic = f"kline_{interval}"
            if topic not in heard:
                continue
            open_us = until_us // length_us * length_us
            for ended_us in range(self._told_until_us // length_us * length_us, open_us, length_us):
                yield topic, self._candle(interval, ended_us, ended_us + length_us, None)
            if trades > max(self._told_trades, market.first_trade_of(open_us)):
                yield topic, self._candle(interval, open_us, open_us + length_us, step)
        self._told_until_us, self._told_trades = until_us, trades
        self.due_us += self._grid_us

    def _candle(self, interval: str, open_us: int, end_us: int, step: int | None) -> CandleEvent:
        closed = step is None
        bar = self._candles.between(open_us, end_us) if step is None else self._candles.bar(open_us, step)
        sent_us = whole_ms(self.due_us)
        return CandleEvent(self._market.listing, sent_us, interval, open_us, end_us - 1000, bar, closed)


class Tickers:
    """24 hour statistics, when trades came in."""

    topics = frozenset({"ticker", "miniTicker"})

    def __init__(self, market: Market, candles: Candles) -> None:
        self._market = market
        self._candles = candles
        self._lag_us = lag_us(market)
        self._grid_us = _TICKER_GRID_US[market.listing.market]
        self._phase_us = (market.key >> 20) % self._grid_us
        self.due_us = 0
        self._told_trades = 0

    def start(self, now_us: int) -> None:
        """Begin with the first point of the grid after `now_us`."""
        self.due_us = (now_us - self._phase_us) // self._grid_us * self._grid_us + self._grid_us + self._phase_us
        self._told_trades = 0

    def take(self, heard: Collection[str]) -> Iterator[tuple[str, Event]]:
        """Yield the statistics if anything traded since the last time."""
        trades = self._market.trades_upto(self._market.step_at(self.due_us - self._lag_us))
        if trades > self._told_trades:
            self._told_trades = trades
            ticker = ticker_at(self._market, self._candles, self.due_us)
            if "ticker" in heard:
                yield "ticker", ticker
            if "miniTicker" in heard:
                fields = {name: getattr(ticker, name) for name in ticker.__struct_fields__}
                yield "miniTicker", MiniTickerEvent(**fields)
        self.due_us += self._grid_us


def ticker_at(market: Market, candles: Candles, now_us: int) -> TickerEvent:
    """Return the 24 hour statistics as told at a time."""
    step = market.step_at(now_us - lag_us(market))
    sent_us = whole_ms(now_us)
    open_us = sent_us - DAY_US
    return TickerEvent(
        market.listing,
        sent_us,
        open_us,
        sent_us,
        candles.window(open_us, step),
        market.trade(market.trades_upto(step) - 1).steps,
        market.trade(market.first_trade_from(open_us) - 1).ticks,
        market.touch(step),
    )


class Marks:
    """Mark price, index price and funding, every second, and every third second for the slower stream."""

    topics = frozenset({"markPrice@1s", "markPrice"})

    def __init__(self, market: Market, statistics: Statistics) -> None:
        self._market = market
        self._statistics = statistics
        self.due_us = 0

    def start(self, now_us: int) -> None:
        """Begin with the next full second."""
        self.due_us = (now_us // _SECOND_US + 1) * _SECOND_US

    def take(self, heard: Collection[str]) -> Iterator[tuple[str, Event]]:
        """Yield the second's prices."""
        event = MarkEvent(self._market.listing, self.due_us, self._statistics.mark(self.due_us))
        if "markPrice@1s" in heard:
            yield "markPrice@1s", event
        if "markPrice" in heard and self.due_us // _SECOND_US % 3 == 0:
            yield "markPrice", event
        self.due_us += _SECOND_US


class Liquidations:
    """Forced orders, told about a second after they were filled."""

    topics = frozenset({"forceOrder"})

    def __init__(self, market: Market, statistics: Statistics) -> None:
        self._market = market
        self._statistics = statistics
        self._slot = 0
        self.due_us = 0

    def start(self, now_us: int) -> None:
        """Begin with the first order told of after `now_us`."""
        self._slot = now_us // self._statistics.slot_us - 1
        self._schedule()
        while self.due_us <= now_us:
            self._slot += 1
            self._schedule()

    def _schedule(self) -> None:
        self._order = self._statistics.liquidation(self._slot)
        self.due_us = self._order.time_us + _LIQUIDATION_LAG_US

    def take(self, heard: Collection[str]) -> Iterator[tuple[str, Event]]:
        """Yield the order."""
        if "forceOrder" in heard:
            yield "forceOrder", LiquidationEvent(self._market.listing, whole_ms(self.due_us), self._order)
        self._slot += 1
        self._schedule()


class Feed:
    """All sources of one instrument; only those run that somebody hears."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.book = Book(market)
        self.candles = Candles(market)
        self.statistics = Statistics(market)
        self._sources: list[Source] = [
            Steps(market, self.book),
            CandleUpdates(market, self.candles),
            Tickers(market, self.candles),
        ]
        if market.listing.market == "perp":
            self._sources += [Marks(market, self.statistics), Liquidations(market, self.statistics)]
        self.topics = frozenset[str]().union(*(source.topics for source in self._sources))
        self._running: list[Source] = []

    def hear(self, topics: Collection[str], now_us: int) -> None:
        """Run the sources that `topics` need from `now_us` on, and stop the others."""
        wanted = [source for source in self._sources if not source.topics.isdisjoint(topics)]
        for source in wanted:
            if source not in self._running:
                source.start(now_us)
        self._running = wanted

    @property
    def due_us(self) -> int | None:
        """When something falls due next, or None while nobody hears anything."""
        return min((source.due_us for source in self._running), default=None)

    def take(self, heard: Collection[str]) -> Iterator[tuple[str, Event]]:
        """Yield what falls due next."""
        yield from min(self._running, key=lambda source: source.due_us).take(heard)
