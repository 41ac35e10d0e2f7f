"""Bybit's REST answers for generated markets, spot and linear contracts, as of any market time.

What is answered agrees with what the streams say: the same trades, candles, books. History reaches back 30 days. Lists
come newest first. Both categories are served by the same paths, each market answers for its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from services.exchange_simulator.generator.bybit_figures import Figures, trade_id, value_units
from services.exchange_simulator.generator.bybit_frames import Encoder, linear_ticker, sequence, spot_ticker
from services.exchange_simulator.generator.bybit_info import contract, pair
from services.exchange_simulator.generator.bybit_query import (
    PARAMETER,
    PERIODS_US,
    Answer,
    ApiError,
    Query,
    candles_of,
    grid,
    integer,
    limit_of,
)
from services.exchange_simulator.generator.feed import Feed
from services.exchange_simulator.generator.figures import text_of, trimmed
from services.exchange_simulator.generator.quota import Quota
from services.exchange_simulator.generator.source import lag_us
from services.exchange_simulator.generator.statistics import FINE_DIGITS, FUNDING_INTERVAL_US, RATIO_DIGITS, RATIOS
from services.exchange_simulator.venue import Answer as HttpAnswer

REQUESTS, WINDOW_US = 600, 5_000_000
"""So many requests of one address, whatever they ask, in so long; beyond it the address is shut out."""

CATEGORIES = {"spot": "spot", "perp": "linear"}
_ALL_ACCOUNTS = RATIOS[2]
_SPOT_TRADES = 60


class GeneratedRest:
    """The REST face of one market."""

    def __init__(self, market: str, feeds: Mapping[str, Feed], encoder: Encoder) -> None:
        self._feeds = feeds
        self._encoder = encoder
        self._spot = market == "spot"
        self._category = CATEGORIES[market]
        self._quota = Quota(REQUESTS, WINDOW_US)
        self._answers: dict[str, Answer] = {
            "time": _time,
            "instruments-info": self._instruments,
            "orderbook": self._book,
            "kline": self._candles,
            "recent-trade": self._trades,
            "tickers": self._tickers,
        }
        if not self._spot:
            self._answers |= {
                "funding/history": self._funding,
                "open-interest": self._open_interest,
                "account-ratio": self._ratios,
            }

    def get(self, path: str, query: Query, now_us: int) -> HttpAnswer:
        """Answer as of market time `now_us`: 200, also for the exchange's errors; 403 beyond the limit; 404."""
        if not self._quota.take(now_us):
            return HttpAnswer(403, b"access too frequent", {"Content-Type": "text/plain"})
        answer = self._answers.get(path.removeprefix("/v5/market/"))
        if answer is None or not path.startswith("/v5/market/"):
            return HttpAnswer(404, _answer(10017, "Route not found.", {}, now_us))
        try:
            return HttpAnswer(200, _answer(0, "OK", answer(query, now_us), now_us))
        except ApiError as error:
            return HttpAnswer(200, _answer(error.code, error.message, {}, now_us))

    def _check(self, query: Query) -> None:
        if query.get("category") != self._category:
            raise ApiError(PARAMETER, f"params error: category {query.get('category', '')} is not {self._category}")

    def _feed(self, query: Query) -> tuple[Feed, Figures]:
        """Return the feed that a query names, and who writes its numbers. Raises ApiError."""
        self._check(query)
        feed = self._feeds.get(query.get("symbol", ""))
        if feed is None:
            raise ApiError(PARAMETER, f"params error: symbol invalid {query.get('symbol', '')}")
        return feed, self._encoder.figures(feed.market.listing)

    def _list(self, rows: Sequence[object], **more: object) -> dict[str, Any]:
        return {"category": self._category, **more, "list": rows}

    def _instruments(self, query: Query, now_us: int) -> dict[str, Any]:
        """List what there is; of contracts in pages."""
        self._check(query)
        feeds = [self._feed(query)[0]] if query.get("symbol") else list(self._feeds.values())
        if self._spot:
            return self._list([pair(feed.market.listing) for feed in feeds])
        first, limit = integer(query, "cursor", 0), limit_of(query, 500, 1_000)
        rows = [contract(feed.market.listing) for feed in feeds[first : first + limit]]
        goes_on = first + limit < len(feeds)
        return self._list(rows) | {"nextPageCursor": str(first + limit) if goes_on else ""}

    def _book(self, query: Query, now_us: int) -> dict[str, Any]:
        feed, figures = self._feed(query)
        market = feed.market
        book = feed.book.snapshot(market.step_at(now_us), limit_of(query, 1 if self._spot else 25, 1_000))
        time_us = market.step_time(book.step)
        return {
            "s": market.listing.wire_symbol,
            "b": [[figures.price(ticks), figures.size(steps)] for ticks, steps in book.bids],
            "a": [[figures.price(ticks), figures.size(steps)] for ticks, steps in book.asks],
            "ts": now_us // 1_000,
            "u": market.last_update_id(book.step),
            "seq": sequence(time_us),
            "cts": time_us // 1_000,
        }

    def _candles(self, query: Query, now_us: int) -> dict[str, Any]:
        feed, figures = self._feed(query)
        rows = [
            [
                str(open_us // 1_000),
                *(figures.candle_price(price) for price in (bar.open, bar.high, bar.low, bar.close)),
                figures.volume(bar.volume),
                trimmed(*value_units(feed.market.listing, bar.value)),
            ]
            for open_us, bar in candles_of(feed, query, now_us)
        ]
        return self._list(rows, symbol=feed.market.listing.wire_symbol)

    def _trades(self, query: Query, now_us: int) -> dict[str, Any]:
        """List the last trades; there is no asking for older ones."""
        feed, figures = self._feed(query)
        market = feed.market
        limit = limit_of(query, _SPOT_TRADES, _SPOT_TRADES) if self._spot else limit_of(query, 500, 1_000)
        told = market.trades_upto(market.step_at(now_us - lag_us(market)))
        rows = [
            {
                "execId": trade_id(market.listing, trade),
                "symbol": market.listing.wire_symbol,
                "price": figures.price(trade.ticks),
                "size": figures.size(trade.steps),
                "side": "Buy" if trade.buy else "Sell",
                "time": str(trade.time_us // 1_000),
                "isBlockTrade": False,
                "isRPITrade": False,
                "seq": str(sequence(trade.time_us)),
            }
            for trade in map(market.trade, range(told - 1, told - 1 - limit, -1))
        ]
        return self._list(rows)

    def _tickers(self, query: Query, now_us: int) -> dict[str, Any]:
        self._check(query)
        feeds = [self._feed(query)[0]] if query.get("symbol") else list(self._feeds.values())
        return self._list([self._ticker(feed, now_us) for feed in feeds])

    def _ticker(self, feed: Feed, now_us: int) -> dict[str, str]:
        figures = self._encoder.figures(feed.market.listing)
        if not self._spot:
            return linear_ticker(feed.full_ticker(now_us), figures)
        ticker = feed.ticker(now_us)
        touch = ticker.touch
        return spot_ticker(ticker, figures) | {
            "bid1Price": figures.price(touch.bid),
            "bid1Size": figures.size(touch.bid_steps),
            "ask1Price": figures.price(touch.ask),
            "ask1Size": figures.size(touch.ask_steps),
        }

    def _funding(self, query: Query, now_us: int) -> dict[str, Any]:
        """List rates as they were settled. A beginning without an end is an error."""
        feed, _ = self._feed(query)
        if "startTime" in query and "endTime" not in query:
            raise ApiError(PARAMETER, "params error: endTime is required with startTime")
        times = grid(query, ("startTime", "endTime"), FUNDING_INTERVAL_US, limit_of(query, 200, 200), now_us)
        rows = [
            {
                "symbol": feed.market.listing.wire_symbol,
                "fundingRate": trimmed(feed.statistics.funding_rate(time_us), FINE_DIGITS),
                "fundingRateTimestamp": str(time_us // 1_000),
            }
            for time_us in times.found
        ]
        return self._list(rows)

    def _open_interest(self, query: Query, now_us: int) -> dict[str, Any]:
        feed, figures = self._feed(query)
        rows, cursor = self._statistic(query, "intervalTime", 50, 200, now_us)
        found = [
            {
                "openInterest": figures.size(2 * feed.statistics.open_interest(time_us)),
                "singleOpenInterest": figures.size(feed.statistics.open_interest(time_us)),
                "timestamp": str(time_us // 1_000),
            }
            for time_us in rows
        ]
        return self._list(found, symbol=feed.market.listing.wire_symbol) | {"nextPageCursor": cursor}

    def _ratios(self, query: Query, now_us: int) -> dict[str, Any]:
        """List the shares of all accounts that hold long and short."""
        feed, _ = self._feed(query)
        rows, cursor = self._statistic(query, "period", 50, 500, now_us)
        found = []
        for time_us in rows:
            ratio = feed.statistics.ratio(_ALL_ACCOUNTS, time_us)
            found.append(
                {
                    "symbol": feed.market.listing.wire_symbol,
                    "buyRatio": text_of(ratio.long, RATIO_DIGITS),
                    "sellRatio": text_of(ratio.short, RATIO_DIGITS),
                    "timestamp": str(time_us // 1_000),
                }
            )
        return {"list": found, "nextPageCursor": cursor}

    def _statistic(self, query: Query, name: str, default: int, most: int, now_us: int) -> tuple[list[int], str]:
        """Return the times of a page of statistics, newest first, and where the next page begins. Raises ApiError."""
        period_us = PERIODS_US.get(query.get(name, ""))
        if period_us is None:
            raise ApiError(PARAMETER, f"params error: {name} invalid; allowed: {', '.join(PERIODS_US)}")
        if cursor := integer(query, "cursor", 0):
            query = {**query, "endTime": str(cursor)}
        times = grid(query, ("startTime", "endTime"), period_us, limit_of(query, default, most), now_us)
        return times.found, str((times.found[-1] - period_us) // 1_000) if times.more else ""


def _time(query: Query, now_us: int) -> dict[str, Any]:
    return {"timeSecond": str(now_us // 1_000_000), "timeNano": str(now_us * 1_000)}


def _answer(code: int, text: str, result: Mapping[str, Any], now_us: int) -> bytes:
    said = {"retCode": code, "retMsg": text, "result": result, "retExtInfo": {}, "time": now_us // 1_000}
    return orjson.dumps(said)
