"""MEXC spot's REST answers for generated markets, as of any market time: a layout like Binance's.

What is answered agrees with what the streams say: the same trades, candles, books. Trades have no ids. History reaches
back 30 days. Each endpoint has a limit of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from services.exchange_simulator.generator.candles import INTERVALS_US
from services.exchange_simulator.generator.feed import Feed
from services.exchange_simulator.generator.market import Trade
from services.exchange_simulator.generator.mexc_figures import Figures, change_text
from services.exchange_simulator.generator.mexc_spot_frames import Encoder
from services.exchange_simulator.generator.names import Listing
from services.exchange_simulator.generator.quota import Quota
from services.exchange_simulator.generator.source import DAY_US, lag_us
from services.exchange_simulator.venue import Answer as HttpAnswer

Query = Mapping[str, str]
Answer = Callable[[Query, int], Any]

WEIGHT, WINDOW_US = 500, 10_000_000
"""So much of one address at one endpoint in so long."""
HISTORY_US = 30 * DAY_US
INTERVALS = {"1m": "1m", "5m": "5m", "15m": "15m", "30m": "30m", "60m": "1h", "4h": "4h", "1d": "1d"}
"""REST's names of candle intervals -> the generator's."""
_MOST_LEVELS = 5_000
_MOST_ROWS = 1_000
_ALL_TICKERS_WEIGHT = 40


class _ApiError(Exception):
    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.body = orjson.dumps({"code": code, "msg": message})


class GeneratedRest:
    """The REST face of spot."""

    def __init__(self, feeds: Mapping[str, Feed], encoder: Encoder) -> None:
        self._feeds = feeds
        self._encoder = encoder
        self._answers: dict[str, tuple[int, Answer]] = {
            "ping": (1, lambda query, now_us: {}),
            "time": (1, lambda query, now_us: {"serverTime": now_us // 1_000}),
            "exchangeInfo": (10, self._info),
            "depth": (1, self._depth),
            "trades": (5, self._trades),
            "aggTrades": (1, self._aggregates),
            "klines": (1, self._candles),
            "ticker/24hr": (1, self._tickers),
        }
        self._quotas = {name: Quota(WEIGHT, WINDOW_US) for name in self._answers}

    def get(self, path: str, query: Query, now_us: int) -> HttpAnswer:
        """Answer as of market time `now_us`: 200, the exchange's error, 429 above a limit, 404 for a path."""
        name = path.removeprefix("/api/v3/")
        if name not in self._answers or not path.startswith("/api/v3/"):
            return HttpAnswer(404, orjson.dumps({"code": 404, "msg": "Not Found"}))
        weight, answer = self._answers[name]
        if name == "ticker/24hr" and not query.get("symbol"):
            weight = _ALL_TICKERS_WEIGHT
        if not self._quotas[name].take(now_us, weight):
            return HttpAnswer(429, orjson.dumps({"code": 429, "msg": "Too many requests"}), {"Retry-After": "10"})
        try:
            return HttpAnswer(200, orjson.dumps(answer(query, now_us)))
        except _ApiError as error:
            return HttpAnswer(error.status, error.body)

    def _feed(self, query: Query) -> tuple[Feed, Figures]:
        feed = self._feeds.get(query.get("symbol", ""))
        if feed is None:
            raise _ApiError(10007, "bad symbol")
        return feed, self._encoder.figures(feed.market.listing)

    def _info(self, query: Query, now_us: int) -> Any:
        feeds = [self._feed(query)[0]] if query.get("symbol") else list(self._feeds.values())
        symbols = [_symbol(feed.market.listing) for feed in feeds]
        return {
            "timezone": "CST",
            "serverTime": now_us // 1_000,
            "rateLimits": [],
            "exchangeFilters": [],
            "symbols": symbols,
        }

    def _depth(self, query: Query, now_us: int) -> Any:
        feed, figures = self._feed(query)
        book = feed.book.snapshot(feed.market.step_at(now_us), _limit(query, 100, _MOST_LEVELS))
        price, amount = figures.level_price, figures.level_amount
        return {
            "lastUpdateId": feed.market.last_update_id(book.step),
            "bids": [[price(ticks), amount(steps)] for ticks, steps in book.bids],
            "asks": [[price(ticks), amount(steps)] for ticks, steps in book.asks],
            "timestamp": now_us // 1_000,
        }

    def _trades(self, query: Query, now_us: int) -> Any:
        """List the last trades, newest first."""
        feed, figures = self._feed(query)
        end = _told(feed, now_us)
        return [
            {
                "id": None,
                "price": figures.price(trade.ticks),
                "qty": figures.amount(trade.steps),
                "quoteQty": figures.value(trade.ticks * trade.steps),
                "time": trade.time_us // 1_000,
                "isBuyerMaker": not trade.buy,
                "isBestMatch": True,
                "tradeType": "BID" if trade.buy else "ASK",
            }
            for trade in map(feed.market.trade, range(end - 1, end - 1 - _limit(query, 500, _MOST_ROWS), -1))
        ]

    def _aggregates(self, query: Query, now_us: int) -> Any:
        """List trades newest first: the last ones, or the last of a window whose both ends are given."""
        feed, figures = self._feed(query)
        limit = _limit(query, 500, _MOST_ROWS)
        end, first = _told(feed, now_us), 0
        if ("startTime" in query) != ("endTime" in query):
            raise _ApiError(700003, "startTime and endTime must come together")
        if "startTime" in query:
            first = feed.market.first_trade_from(max(_millis(query, "startTime", 0), now_us - HISTORY_US))
            end = min(end, feed.market.first_trade_from(_millis(query, "endTime", now_us) + 1_000))
        first = max(first, end - limit)
        return [_aggregate(trade, figures) for trade in map(feed.market.trade, range(end - 1, first - 1, -1))]

    def _candles(self, query: Query, now_us: int) -> Any:
        """List candles oldest first, the one that runs now among them."""
        feed, figures = self._feed(query)
        interval = INTERVALS.get(query.get("interval", ""))
        if interval is None:
            raise _ApiError(-1121, f"Invalid interval; allowed: {', '.join(INTERVALS)}")
        length_us, told_us = INTERVALS_US[interval], now_us - lag_us(feed.market)
        limit = _limit(query, 500, _MOST_ROWS)
        last_us = min(told_us, _millis(query, "endTime", told_us)) // length_us * length_us
        oldest_us = now_us - HISTORY_US
        first_us = last_us - (limit - 1) * length_us
        if "startTime" in query:
            first_us = -(-max(_millis(query, "startTime", 0), oldest_us) // length_us) * length_us
        rows = []
        for open_us in list(range(max(first_us, oldest_us // length_us * length_us), last_us + 1, length_us))[:limit]:
            closed = open_us + length_us <= told_us
            step = feed.market.step_at(told_us)
            bar = feed.candles.between(open_us, open_us + length_us) if closed else feed.candles.bar(open_us, step)
            prices = [figures.price(ticks) for ticks in (bar.open, bar.high, bar.low, bar.close)]
            volume, value = figures.amount(bar.volume), figures.value(bar.value)
            rows.append([open_us // 1_000, *prices, volume, (open_us + length_us) // 1_000, value])
        return rows

    def _tickers(self, query: Query, now_us: int) -> Any:
        if query.get("symbol"):
            return self._ticker(*self._feed(query), now_us)
        return [self._ticker(feed, self._encoder.figures(feed.market.listing), now_us) for feed in self._feeds.values()]

    def _ticker(self, feed: Feed, figures: Figures, now_us: int) -> Any:
        event = feed.ticker(now_us)
        bar, touch, price, amount = event.bar, event.touch, figures.price, figures.amount
        return {
            "symbol": event.listing.wire_symbol,
            "priceChange": price(bar.close - event.before_ticks),
            "priceChangePercent": change_text(event),
            "prevClosePrice": price(event.before_ticks),
            "lastPrice": price(bar.close),
            "bidPrice": price(touch.bid),
            "bidQty": amount(touch.bid_steps),
            "askPrice": price(touch.ask),
            "askQty": amount(touch.ask_steps),
            "openPrice": price(event.before_ticks),
            "highPrice": price(bar.high),
            "lowPrice": price(bar.low),
            "volume": amount(bar.volume),
            "quoteVolume": figures.value(bar.value),
            "openTime": event.open_us // 1_000,
            "closeTime": event.close_us // 1_000,
            "count": None,
        }


def _told(feed: Feed, now_us: int) -> int:
    """Return how many trades have been told of."""
    return feed.market.trades_upto(feed.market.step_at(now_us - lag_us(feed.market)))


def _aggregate(trade: Trade, figures: Figures) -> dict[str, Any]:
    return {
        "a": None,
        "f": None,
        "l": None,
        "p": figures.price(trade.ticks),
        "q": figures.amount(trade.steps),
        "T": trade.time_us // 1_000,
        "m": not trade.buy,
        "M": True,
    }


def _symbol(listing: Listing) -> dict[str, Any]:
    """Return one row of `exchangeInfo`: how fine quantities and prices are is said in places after the point."""
    return {
        "symbol": listing.wire_symbol,
        "status": "1",
        "baseAsset": listing.base,
        "baseAssetPrecision": listing.quantity_digits,
        "quoteAsset": listing.quote,
        "quotePrecision": listing.price_digits,
        "quoteAssetPrecision": listing.price_digits,
        "baseCommissionPrecision": listing.quantity_digits,
        "quoteCommissionPrecision": listing.price_digits,
        "orderTypes": ["LIMIT", "MARKET", "LIMIT_MAKER"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "quoteAmountPrecision": "1",
        "baseSizePrecision": listing.step_size,
        "permissions": ["SPOT"],
        "filters": [],
        "maxQuoteAmount": "2000000",
        "makerCommission": "0",
        "takerCommission": "0.0005",
        "tradeSideType": 1,
        "fullName": listing.base,
    }


def _integer(query: Query, name: str, default: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 13):
        raise _ApiError(700004, f"Param {name!r} has an invalid value")
    return int(text)


def _limit(query: Query, default: int, most: int) -> int:
    limit = _integer(query, "limit", default)
    if not 0 < limit <= most:
        raise _ApiError(700004, f"Param 'limit' must be 1 to {most}")
    return limit


def _millis(query: Query, name: str, default_us: int) -> int:
    """Return a time, given in ms, in us."""
    return _integer(query, name, default_us // 1_000) * 1_000
