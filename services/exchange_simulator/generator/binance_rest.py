"""Binance's REST answers for generated markets, spot and USD-M futures, as of any market time.

What is answered agrees with what the streams say: the same trades, candles, books. History reaches back 30 days from
the beginning of the current UTC day; what is older was never there. Funding rates carry no `rateType`: its values are
not known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from services.exchange_simulator import binance_rest as exchange_rest
from services.exchange_simulator.binance_rest import ApiError, Query, depth_limit, integer, required_symbol
from services.exchange_simulator.generator.binance_frames import Digits, Encoder
from services.exchange_simulator.generator.binance_info import exchange_info
from services.exchange_simulator.generator.candles import INTERVALS_US
from services.exchange_simulator.generator.feed import Feed
from services.exchange_simulator.generator.figures import (
    PERCENT_DIGITS,
    average_units,
    percent_units,
    text_of,
    ticker_value_digits,
    value_units,
)
from services.exchange_simulator.generator.futures_data import FuturesData
from services.exchange_simulator.generator.market import Trade
from services.exchange_simulator.generator.source import DAY_US, lag_us
from services.exchange_simulator.generator.statistics import FINE_DIGITS, FUNDING_INTERVAL_US
from services.exchange_simulator.generator.traded import ticker_at
from services.exchange_simulator.venue import Answer

HISTORY_US = 30 * DAY_US

_LIMITS = {"spot": exchange_rest.SPOT, "perp": exchange_rest.PERP}
_MOST_CANDLES = {"spot": 1000, "perp": 1500}
_HOUR_US = 3_600_000_000
_MOST_ROWS = 1000
_PATIENCE = 10
_BAN_US = 120_000_000


def history_from(now_us: int) -> int:
    """Return where history begins (us)."""
    return now_us // DAY_US * DAY_US - HISTORY_US


class GeneratedRest:
    """The REST face of one market."""

    def __init__(self, market: str, feeds: Mapping[str, Feed], encoder: Encoder) -> None:
        self._market = market
        self._feeds = feeds
        self._encoder = encoder
        self._limits = _LIMITS[market]
        self._rest = exchange_rest.Rest(self._limits, self._endpoints())
        self._refused = 0
        self._refused_minute = 0
        self._banned_until_us = 0

    def get(self, path: str, query: Mapping[str, str], now_us: int) -> Answer:
        """Answer as of market time `now_us`; who goes on after ten 429 in a minute is banned for two minutes (418)."""
        if now_us < self._banned_until_us:
            return self._ban(now_us)
        answer = self._rest.get(path, query, now_us)
        if answer.status == 429:
            minute = now_us // 60_000_000
            self._refused = self._refused + 1 if minute == self._refused_minute else 1
            self._refused_minute = minute
            if self._refused > _PATIENCE:
                self._banned_until_us = now_us + _BAN_US
                return self._ban(now_us)
        return answer

    def _ban(self, now_us: int) -> Answer:
        error = ApiError(
            -1003,
            f"Way too many requests; IP(127.0.0.1) banned until {self._banned_until_us // 1000}. "
            "Please use the websocket for live updates to avoid bans.",
            418,
        )
        rest_s = -(-(self._banned_until_us - now_us) // 1_000_000)
        return Answer(error.status, error.body, {"Retry-After": str(rest_s)})

    def _endpoints(self) -> dict[str, Callable[[Query, int], bytes]]:
        answers: dict[str, Callable[[Query, int], object]] = {
            "/exchangeInfo": self._exchange_info,
            "/depth": self._depth,
            "/trades": self._trades,
            "/aggTrades": self._agg_trades,
            "/klines": self._klines,
            "/ticker/24hr": self._tickers,
            "/ticker/bookTicker": self._book_tickers,
        }
        if self._market == "spot":
            answers["/historicalTrades"] = self._trades
        else:
            answers["/premiumIndex"] = self._premium_index
            answers["/fundingInfo"] = lambda query, now_us: []
            answers["/openInterest"] = self._open_interest
        found = {f"{self._limits.prefix}{path}": _as_json(answer) for path, answer in answers.items()}
        if self._market == "perp":
            data = FuturesData(self._feeds)
            found["/fapi/v1/fundingRate"] = _as_json(_counted(500, self._funding_rates))
            counted = _Counter(1000)
            for path, answer in data.answers().items():
                found[f"/futures/data/{path}"] = _as_json(_counted(counted, answer))
        return found

    def _feed(self, query: Query) -> Feed:
        feed = self._feeds.get(required_symbol(query))
        if feed is None:
            raise exchange_rest.invalid_symbol()
        return feed

    def _chosen(self, query: Query) -> list[Feed]:
        """Return the feeds of `symbol`, of `symbols` (a JSON list, spot only), or all."""
        if self._market == "spot" and "symbols" in query:
            try:
                names = orjson.loads(query["symbols"])
            except orjson.JSONDecodeError:
                names = None
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ApiError(-1100, "Illegal characters found in parameter 'symbols'.")
            if any(name not in self._feeds for name in names):
                raise exchange_rest.invalid_symbol()
            return [self._feeds[name] for name in names]
        return [self._feed(query)] if "symbol" in query else list(self._feeds.values())

    def _digits(self, feed: Feed) -> Digits:
        return self._encoder.digits(feed.market.listing)

    def _rows(self, query: Query, default: int, most: int) -> int:
        limit = integer(query, "limit")
        if limit is None:
            return default
        if limit == 0 or (limit > most and self._market == "perp"):
            raise ApiError(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(limit, most)

    def _exchange_info(self, query: Query, now_us: int) -> object:
        feeds = self._chosen(query) if self._market == "spot" else self._feeds.values()
        return exchange_info(self._market, [feed.market.listing for feed in feeds], now_us)

    def _depth(self, query: Query, now_us: int) -> object:
        feed = self._feed(query)
        market, digits = feed.market, self._digits(feed)
        book = feed.book.snapshot(market.step_at(now_us), depth_limit(self._limits, query))
        answer: dict[str, Any] = {"lastUpdateId": market.last_update_id(book.step)}
        if self._market == "perp":
            answer |= {"E": now_us // 1000, "T": market.step_time(book.step) // 1000}
        answer["bids"] = [(digits.price(ticks), digits.quantity(steps)) for ticks, steps in book.bids]
        answer["asks"] = [(digits.price(ticks), digits.quantity(steps)) for ticks, steps in book.asks]
        return answer

    def _told(self, feed: Feed, now_us: int) -> tuple[int, int]:
        """Return the ids (first, one past the last) of the aggregate trades in reach of history and told of by now."""
        first = feed.market.first_trade_from(history_from(now_us))
        return first, feed.market.trades_upto(feed.market.step_at(now_us - lag_us(feed.market)))

    def _trades(self, query: Query, now_us: int) -> object:
        feed, limit = self._feed(query), self._rows(query, 500, _MOST_ROWS)
        from_id = integer(query, "fromId") if self._market == "spot" else None
        first, end = self._told(feed, now_us)
        rows: list[dict[str, Any]] = []
        if from_id is None:
            while end > first and len(rows) < limit:
                end -= 1
                rows = [*self._fills(feed, feed.market.trade(end)), *rows]
            return rows[-limit:]
        place = max(first, feed.market.trade_of_fill(from_id))
        while place < end and len(rows) < limit:
            rows += [row for row in self._fills(feed, feed.market.trade(place)) if row["id"] >= from_id]
            place += 1
        return rows[:limit]

    def _fills(self, feed: Feed, trade: Trade) -> list[dict[str, Any]]:
        digits, spot = self._digits(feed), self._market == "spot"
        value_digits = 8 if spot else 2
        listing = feed.market.listing
        return [
            {
                "id": trade.first_id + place,
                "price": digits.price(trade.ticks),
                "qty": digits.quantity(steps),
                "quoteQty": text_of(value_units(listing, trade.ticks * steps, value_digits), value_digits),
                "time": trade.time_us // 1000,
                "isBuyerMaker": not trade.buy,
                **({"isBestMatch": True} if spot else {}),
            }
            for place, steps in enumerate(trade.fills)
        ]

    def _agg_trades(self, query: Query, now_us: int) -> object:
        feed, limit = self._feed(query), self._rows(query, 500, _MOST_ROWS)
        first, end = self._told(feed, now_us)
        from_id, start_ms, end_ms = (integer(query, name) for name in ("fromId", "startTime", "endTime"))
        if (
            start_ms is not None
            and end_ms is not None
            and self._market == "perp"
            and (end_ms - start_ms) * 1000 >= _HOUR_US
        ):
            raise ApiError(-1127, "More than 1 hours between startTime and endTime.")
        if from_id is not None:
            if self._market == "perp" and (start_ms is not None or end_ms is not None):
                raise ApiError(-1128, "Combination of optional parameters invalid.")
            first = max(first, from_id)
        if start_ms is not None:
            first = max(first, feed.market.first_trade_from(start_ms * 1000))
        if end_ms is not None:
            end = min(end, feed.market.first_trade_from((end_ms + 1) * 1000))
        if from_id is None and start_ms is None:
            first = max(first, end - limit)
        return [self._agg_trade(feed, number) for number in range(first, min(end, first + limit))]

    def _agg_trade(self, feed: Feed, number: int) -> dict[str, Any]:
        trade, digits = feed.market.trade(number), self._digits(feed)
        return {
            "a": trade.aggregate_id,
            "p": digits.price(trade.ticks),
            "q": digits.quantity(trade.steps),
            "f": trade.first_id,
            "l": trade.last_id,
            "T": trade.time_us // 1000,
            "m": not trade.buy,
            **({"M": True} if self._market == "spot" else {}),
        }

    def _klines(self, query: Query, now_us: int) -> object:
        feed, limit = self._feed(query), self._rows(query, 500, _MOST_CANDLES[self._market])
        if "interval" not in query:
            raise ApiError(-1102, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.")
        length_us = INTERVALS_US.get(query["interval"])
        if length_us is None:
            raise ApiError(-1120, "Invalid interval.")
        start_ms, end_ms = integer(query, "startTime"), integer(query, "endTime")
        step = feed.market.step_at(now_us - lag_us(feed.market))
        until_us = now_us - lag_us(feed.market)
        last_us = min(until_us, now_us if end_ms is None else end_ms * 1000) // length_us * length_us
        first_us = -(-history_from(now_us) // length_us) * length_us
        if start_ms is not None:
            first_us = max(first_us, -(-start_ms * 1000 // length_us) * length_us)
            last_us = min(last_us, first_us + (limit - 1) * length_us)
        else:
            first_us = max(first_us, last_us - (limit - 1) * length_us)
        digits = self._digits(feed)
        rows = []
        for open_us in range(first_us, last_us + 1, length_us):
            ended = open_us + length_us <= until_us
            bar = feed.candles.between(open_us, open_us + length_us) if ended else feed.candles.bar(open_us, step)
            rows.append(
                [
                    open_us // 1000,
                    *(digits.price(ticks) for ticks in (bar.open, bar.high, bar.low, bar.close)),
                    digits.quantity(bar.volume),
                    (open_us + length_us) // 1000 - 1,
                    digits.value(bar.value),
                    bar.count,
                    digits.quantity(bar.buy_volume),
                    digits.value(bar.buy_value),
                    "0",
                ]
            )
        return rows

    def _tickers(self, query: Query, now_us: int) -> object:
        rows = [self._ticker(feed, now_us) for feed in self._chosen(query)]
        return rows[0] if "symbol" in query else rows

    def _ticker(self, feed: Feed, now_us: int) -> dict[str, Any]:
        ticker, digits, listing = ticker_at(feed.market, feed.candles, now_us), self._digits(feed), feed.market.listing
        bar, price, touch, spot = ticker.bar, digits.price, ticker.touch, self._market == "spot"
        change, value_digits = bar.close - bar.open, ticker_value_digits(listing)
        row = {
            "symbol": listing.wire_symbol,
            "priceChange": price(change),
            "priceChangePercent": text_of(percent_units(change, bar.open), PERCENT_DIGITS),
            "weightedAvgPrice": text_of(average_units(ticker), listing.price_digits),
            "prevClosePrice": price(ticker.before_ticks),
            "lastPrice": price(bar.close),
            "lastQty": digits.quantity(ticker.last_steps),
            "bidPrice": price(touch.bid),
            "bidQty": digits.quantity(touch.bid_steps),
            "askPrice": price(touch.ask),
            "askQty": digits.quantity(touch.ask_steps),
            "openPrice": price(bar.open),
            "highPrice": price(bar.high),
            "lowPrice": price(bar.low),
            "volume": digits.quantity(bar.volume),
            "quoteVolume": text_of(value_units(listing, bar.value, value_digits), value_digits),
            "openTime": ticker.open_us // 1000,
            "closeTime": ticker.close_us // 1000,
            "firstId": bar.first_id,
            "lastId": bar.last_id,
            "count": bar.count,
        }
        spot_only = ("prevClosePrice", "bidPrice", "bidQty", "askPrice", "askQty")
        return row if spot else {name: value for name, value in row.items() if name not in spot_only}

    def _book_tickers(self, query: Query, now_us: int) -> object:
        rows = [self._book_ticker(feed, now_us) for feed in self._chosen(query)]
        return rows[0] if "symbol" in query else rows

    def _book_ticker(self, feed: Feed, now_us: int) -> dict[str, Any]:
        market, digits = feed.market, self._digits(feed)
        step = market.step_at(now_us)
        touch = market.touch(step)
        return {
            "symbol": market.listing.wire_symbol,
            "bidPrice": digits.price(touch.bid),
            "bidQty": digits.quantity(touch.bid_steps),
            "askPrice": digits.price(touch.ask),
            "askQty": digits.quantity(touch.ask_steps),
            **({} if self._market == "spot" else {"time": market.step_time(step) // 1000}),
        }

    def _premium_index(self, query: Query, now_us: int) -> object:
        rows = []
        for feed in self._chosen(query):
            mark = feed.statistics.mark(now_us // 1_000_000 * 1_000_000)
            rows.append(
                {
                    "symbol": feed.market.listing.wire_symbol,
                    "markPrice": text_of(mark.mark, FINE_DIGITS),
                    "indexPrice": text_of(mark.index, FINE_DIGITS),
                    "estimatedSettlePrice": text_of(mark.settlement, FINE_DIGITS),
                    "lastFundingRate": text_of(mark.rate, FINE_DIGITS),
                    "interestRate": "0.00010000",
                    "nextFundingTime": mark.next_funding_us // 1000,
                    "time": now_us // 1_000_000 * 1000,
                }
            )
        return rows[0] if "symbol" in query else rows

    def _open_interest(self, query: Query, now_us: int) -> object:
        feed = self._feed(query)
        steps = feed.statistics.open_interest(now_us)
        return {
            "openInterest": self._digits(feed).quantity(steps),
            "symbol": feed.market.listing.wire_symbol,
            "time": now_us // 1000,
        }

    def _funding_rates(self, query: Query, now_us: int) -> object:
        limit = self._rows(query, 100, _MOST_ROWS)
        start_ms, end_ms = integer(query, "startTime"), integer(query, "endTime")
        last_us = min(now_us, now_us if end_ms is None else end_ms * 1000) // FUNDING_INTERVAL_US * FUNDING_INTERVAL_US
        first_us = history_from(now_us) if start_ms is None else max(history_from(now_us), start_ms * 1000)
        first_us = -(-first_us // FUNDING_INTERVAL_US) * FUNDING_INTERVAL_US
        times = range(first_us, last_us + 1, FUNDING_INTERVAL_US)
        rows = [
            {
                "symbol": feed.market.listing.wire_symbol,
                "fundingTime": time_us // 1000,
                "fundingRate": text_of(feed.statistics.funding_rate(time_us), FINE_DIGITS),
                "markPrice": text_of(feed.statistics.mark(time_us).mark, FINE_DIGITS),
            }
            for time_us in times
            for feed in self._chosen(query)
        ]
        return rows[-limit:] if start_ms is None else rows[:limit]


class _Counter:
    """Counts requests against a limit of their own per five minutes."""

    _WINDOW_US = 300_000_000

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._window = 0
        self._count = 0

    def count(self, now_us: int) -> None:
        """Count one request. Raises ApiError (429) above the limit."""
        window = now_us // self._WINDOW_US
        self._count = self._count + 1 if window == self._window else 1
        self._window = window
        if self._count > self._limit:
            raise ApiError(-1003, f"Too many requests; current limit is {self._limit} requests per 5 minutes.", 429)


def _counted(limit: int | _Counter, answer: Callable[[Query, int], object]) -> Callable[[Query, int], object]:
    counter = _Counter(limit) if isinstance(limit, int) else limit

    def counting(query: Query, now_us: int) -> object:
        counter.count(now_us)
        return answer(query, now_us)

    return counting


def _as_json(answer: Callable[[Query, int], object]) -> Callable[[Query, int], bytes]:
    return lambda query, now_us: orjson.dumps(answer(query, now_us))
