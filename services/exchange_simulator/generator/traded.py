"""What follows from an instrument's trades: candles and 24 hour statistics, on fixed grids of time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from services.exchange_simulator.generator.candles import INTERVALS_US, Candles
from services.exchange_simulator.generator.events import (
    CandleEvent,
    ChangedTickerEvent,
    Event,
    FullTickerEvent,
    MiniTickerEvent,
    TickerEvent,
)
from services.exchange_simulator.generator.market import Market
from services.exchange_simulator.generator.source import DAY_US, grid_after, lag_us, whole_ms
from services.exchange_simulator.generator.statistics import Statistics


class CandleUpdates:
    """Candles of every interval heard (`candle_1m`): on a fixed grid of time, when trades came in or an interval ended.

    An exchange that does not tell of an end by itself (`tells_ends`) is silent where nothing traded.
    """

    def __init__(self, market: Market, candles: Candles, grid_us: int, tells_ends: bool) -> None:
        self._market = market
        self._candles = candles
        self._lag_us = lag_us(market)
        self._grid_us = grid_us
        self._tells_ends = tells_ends
        self._phase_us = market.key % self._grid_us
        self.topics = frozenset(f"candle_{interval}" for interval in INTERVALS_US)
        self.due_us = 0
        self._told_trades = 0
        self._told_until_us = 0

    def start(self, now_us: int) -> None:
        """Begin with the trades that come in after `now_us`."""
        self.due_us = grid_after(now_us, self._grid_us, self._phase_us)
        self._told_until_us = now_us - self._lag_us
        self._told_trades = self._market.trades_upto(self._market.step_at(self._told_until_us))

    def take(self, heard: Collection[str]) -> Iterator[tuple[str, Event]]:
        """Yield, of each interval heard, the final version if it ended since last time, and the one that runs now."""
        market = self._market
        until_us = self.due_us - self._lag_us
        step = market.step_at(until_us)
        trades = market.trades_upto(step)
        for interval, length_us in INTERVALS_US.items():
            topic = f"candle_{interval}"
            if topic not in heard:
                continue
            open_us = until_us // length_us * length_us
            for ended_us in range(self._told_until_us // length_us * length_us, open_us, length_us):
                if self._tells_ends or self._traded(ended_us, market.first_trade_of(ended_us + length_us)):
                    yield topic, self._candle(interval, ended_us, ended_us + length_us, None)
            if self._traded(open_us, trades):
                yield topic, self._candle(interval, open_us, open_us + length_us, step)
        self._told_until_us, self._told_trades = until_us, trades
        self.due_us += self._grid_us

    def _traded(self, open_us: int, upto: int) -> bool:
        """Whether any of the trades before number `upto`, of an interval, have not been told of."""
        return upto > max(self._told_trades, self._market.first_trade_of(open_us))

    def _candle(self, interval: str, open_us: int, end_us: int, step: int | None) -> CandleEvent:
        closed = step is None
        bar = self._candles.between(open_us, end_us) if step is None else self._candles.bar(open_us, step)
        sent_us = whole_ms(self.due_us)
        return CandleEvent(self._market.listing, sent_us, interval, open_us, end_us - 1000, bar, closed)

    def state(self, topic: str, now_us: int) -> Event | None:
        """Return the candle that runs now, with what has been told of."""
        until_us = self._told_until_us
        interval = topic.removeprefix("candle_")
        length_us = INTERVALS_US[interval]
        open_us = until_us // length_us * length_us
        bar = self._candles.bar(open_us, self._market.step_at(until_us))
        sent_us, close_us = whole_ms(now_us), open_us + length_us - 1000
        return CandleEvent(self._market.listing, sent_us, interval, open_us, close_us, bar, False)


class Tickers:
    """24 hour statistics, when trades came in: topics `ticker`, `short_ticker`, `full_ticker`, `changed_ticker`.

    The last one begins with what was told last, however old, so that what follows has changed since for every hearer.
    """

    topics = frozenset({"ticker", "short_ticker", "full_ticker", "changed_ticker"})

    def __init__(self, market: Market, candles: Candles, statistics: Statistics, grid_us: int) -> None:
        self._market = market
        self._candles = candles
        self._statistics = statistics
        self._lag_us = lag_us(market)
        self._grid_us = grid_us
        self._phase_us = (market.key >> 20) % self._grid_us
        self.due_us = 0
        self._told_trades = 0
        self._told: FullTickerEvent | None = None

    def start(self, now_us: int) -> None:
        """Begin with the first point of the grid after `now_us`."""
        self.due_us = grid_after(now_us, self._grid_us, self._phase_us)
        self._told_trades = 0
        self._told = None

    def take(self, heard: Collection[str]) -> Iterator[tuple[str, Event]]:
        """Yield the statistics if anything traded since the last time."""
        trades = self._market.trades_upto(self._market.step_at(self.due_us - self._lag_us))
        if trades > self._told_trades:
            self._told_trades = trades
            for topic in sorted(self.topics.intersection(heard)):
                yield topic, self._ticker(topic, self.due_us)
        self.due_us += self._grid_us

    def state(self, topic: str, now_us: int) -> Event | None:
        """Return the statistics as they stand."""
        if topic != "changed_ticker":
            return self._ticker(topic, now_us)
        if self._told is None:
            self._told = full_ticker(ticker_at(self._market, self._candles, now_us), self._statistics)
        return ChangedTickerEvent(**_fields(self._told) | {"sent_us": whole_ms(now_us)}, before=None)

    def _ticker(self, topic: str, now_us: int) -> TickerEvent:
        ticker = ticker_at(self._market, self._candles, now_us)
        if topic == "ticker":
            return ticker
        if topic == "short_ticker":
            return MiniTickerEvent(**_fields(ticker))
        whole = full_ticker(ticker, self._statistics)
        if topic == "full_ticker":
            return whole
        before, self._told = self._told, whole
        return ChangedTickerEvent(**_fields(whole), before=before)


def full_ticker(ticker: TickerEvent, statistics: Statistics) -> FullTickerEvent:
    """Return 24 hour statistics with prices, funding and open interest as at the same time."""
    at_us = ticker.sent_us
    return FullTickerEvent(
        **_fields(ticker), mark=statistics.mark(at_us), open_interest=statistics.open_interest(at_us)
    )


def _fields(ticker: TickerEvent) -> dict[str, Any]:
    return {name: getattr(ticker, name) for name in ticker.__struct_fields__}


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
