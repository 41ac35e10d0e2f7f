"""MEXC contracts' REST answers for generated markets, as of any market time; numbers are bare.

What is answered agrees with what the streams say: the same trades, candles, books. History reaches back 30 days. Each
endpoint has a limit of its own, whatever the symbol at the end of its path. Errors have status 200.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from services.exchange_simulator.generator.candles import INTERVALS_US
from services.exchange_simulator.generator.feed import Feed
from services.exchange_simulator.generator.mexc_figures import INTERVALS, Figures
from services.exchange_simulator.generator.mexc_perp_frames import Encoder, change, deal, plain_levels, ticker
from services.exchange_simulator.generator.mexc_perp_info import detail
from services.exchange_simulator.generator.quota import Quota
from services.exchange_simulator.generator.source import DAY_US, lag_us
from services.exchange_simulator.generator.statistics import FUNDING_INTERVAL_US
from services.exchange_simulator.venue import Answer as HttpAnswer

Query = Mapping[str, str]
Answer = Callable[[Query, int], Any]
AnswerAbout = Callable[[Feed, Query, int], Any]

REQUESTS, WINDOW_US = 20, 2_000_000
"""So many requests of one address to one endpoint in so long."""
DETAIL_REQUESTS, DETAIL_WINDOW_US = 1, 5_000_000
HISTORY_US = 30 * DAY_US
_PREFIX = "/api/v1/contract/"
_TOO_MANY, _NO_CONTRACT, _PARAMETER = 510, 1001, 600
_MOST_CANDLES, _MOST_DEALS, _MOST_LEVELS, _MOST_COMMITS = 2_000, 100, 1_000, 1_000
_FUNDING_HOURS = FUNDING_INTERVAL_US // 3_600_000_000


class _ApiError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.body = orjson.dumps({"success": False, "code": code, "message": message})


class GeneratedRest:
    """The REST face of contracts."""

    def __init__(self, feeds: Mapping[str, Feed], encoder: Encoder) -> None:
        self._feeds = feeds
        self._encoder = encoder
        self._answers: dict[str, Answer] = {
            "ping": lambda query, now_us: now_us // 1_000,
            "detail": self._details,
            "ticker": self._tickers,
            "funding_rate/history": self._settled,
        }
        self._about: dict[str, AnswerAbout] = {
            "depth": self._depth,
            "depth_commits": self._commits,
            "index_price": self._index_price,
            "fair_price": self._fair_price,
            "funding_rate": self._funding_rate,
            "kline": self._candles,
            "deals": self._deals,
        }
        self._quotas = {name: Quota(REQUESTS, WINDOW_US) for name in (*self._answers, *self._about)}
        self._quotas["detail"] = Quota(DETAIL_REQUESTS, DETAIL_WINDOW_US)

    def get(self, path: str, query: Query, now_us: int) -> HttpAnswer:
        """Answer as of market time `now_us`: 200, also for the exchange's errors, or 404 for a path."""
        rest = path.removeprefix(_PREFIX)
        kind, _, about = rest.partition("/")
        name = rest if rest in self._answers else kind
        if not path.startswith(_PREFIX) or name not in self._quotas or (name in self._about and not about):
            return HttpAnswer(404, orjson.dumps({"success": False, "code": 404, "message": "Not Found"}))
        try:
            if not self._quotas[name].take(now_us):
                raise _ApiError(_TOO_MANY, "Requests are too frequent, please try again later!")
            if name in self._answers:
                data = self._answers[name](query, now_us)
            else:
                symbol, _, last = about.partition("/")
                data = self._about[name](self._feed(symbol), {**query, "last": last}, now_us)
        except _ApiError as error:
            return HttpAnswer(200, error.body, asked_too_often=error.code == _TOO_MANY)
        return HttpAnswer(200, orjson.dumps({"success": True, "code": 0, "data": data}))

    def _feed(self, symbol: str) -> Feed:
        feed = self._feeds.get(symbol)
        if feed is None:
            raise _ApiError(_NO_CONTRACT, "contract not exists")
        return feed

    def _figures(self, feed: Feed) -> Figures:
        return self._encoder.figures(feed.market.listing)

    def _named(self, query: Query) -> list[Feed] | None:
        """Return the feed that a query names, alone; None where it names none."""
        return [self._feed(query["symbol"])] if query.get("symbol") else None

    def _details(self, query: Query, now_us: int) -> Any:
        found = [detail(feed.market.listing) for feed in self._named(query) or self._feeds.values()]
        return found[0] if query.get("symbol") else found

    def _tickers(self, query: Query, now_us: int) -> Any:
        feeds = self._named(query) or self._feeds.values()
        found = [_raw(ticker(feed.full_ticker(now_us), self._figures(feed))) for feed in feeds]
        return found[0] if query.get("symbol") else found

    def _depth(self, feed: Feed, query: Query, now_us: int) -> Any:
        book = feed.book.snapshot(feed.market.step_at(now_us), _integer(query, "limit", _MOST_LEVELS, _MOST_LEVELS))
        return {
            "asks": _raw(plain_levels(book.asks, self._figures(feed))),
            "bids": _raw(plain_levels(book.bids, self._figures(feed))),
            "version": feed.market.last_update_id(book.step),
            "timestamp": now_us // 1_000,
        }

    def _commits(self, feed: Feed, query: Query, now_us: int) -> Any:
        """List the last changes of the book, oldest first."""
        step = feed.market.step_at(now_us)
        walker = feed.book.walker(step - _integer(query, "last", _MOST_COMMITS, _MOST_COMMITS))
        found = []
        while walker.step < step:
            told = walker.advance()
            version = feed.market.last_update_id(told.step)
            found.append(_raw(change(told.bids[::-1], told.asks, version, self._figures(feed))))
        return found

    def _index_price(self, feed: Feed, query: Query, now_us: int) -> Any:
        price = self._figures(feed).mark(feed.statistics.mark(now_us).index)
        return {"symbol": _symbol(feed), "indexPrice": _raw(price), "timestamp": now_us // 1_000}

    def _fair_price(self, feed: Feed, query: Query, now_us: int) -> Any:
        price = self._figures(feed).mark(feed.statistics.mark(now_us).mark)
        return {"symbol": _symbol(feed), "fairPrice": _raw(price), "timestamp": now_us // 1_000}

    def _funding_rate(self, feed: Feed, query: Query, now_us: int) -> Any:
        mark = feed.statistics.mark(now_us)
        return {
            "symbol": _symbol(feed),
            "fundingRate": _raw(self._figures(feed).rate(mark.rate)),
            "maxFundingRate": 0.0018,
            "minFundingRate": -0.0018,
            "collectCycle": _FUNDING_HOURS,
            "nextSettleTime": mark.next_funding_us // 1_000,
            "timestamp": now_us // 1_000,
        }

    def _settled(self, query: Query, now_us: int) -> Any:
        """List rates as they were settled, newest first, page by page."""
        (feed,) = self._named(query) or [self._feed("")]
        page, size = _integer(query, "page_num", 1, 10_000), _integer(query, "page_size", 20, 1_000)
        last = now_us // FUNDING_INTERVAL_US
        settled = range(last, -(-(now_us - HISTORY_US) // FUNDING_INTERVAL_US) - 1, -1)
        found = [
            {
                "symbol": _symbol(feed),
                "fundingRate": _raw(
                    self._figures(feed).rate(feed.statistics.funding_rate(number * FUNDING_INTERVAL_US))
                ),
                "settleTime": number * FUNDING_INTERVAL_US // 1_000,
            }
            for number in settled[(page - 1) * size : page * size]
        ]
        return {
            "pageSize": size,
            "totalCount": len(settled),
            "totalPage": -(-len(settled) // size),
            "currentPage": page,
            "resultList": found,
        }

    def _candles(self, feed: Feed, query: Query, now_us: int) -> Any:
        """List candles oldest first, the one that runs now among them, column by column; times in seconds."""
        interval = INTERVALS.get(query.get("interval", "Min1"))
        if interval is None:
            raise _ApiError(_PARAMETER, f"interval error; allowed: {', '.join(INTERVALS)}")
        length_us, told_us = INTERVALS_US[interval], now_us - lag_us(feed.market)
        last_us = min(told_us, _integer(query, "end", told_us // 1_000_000) * 1_000_000) // length_us * length_us
        begin_us = _integer(query, "start", 0) * 1_000_000
        oldest_us = max(begin_us, now_us - HISTORY_US, last_us - (_MOST_CANDLES - 1) * length_us)
        figures, step = self._figures(feed), feed.market.step_at(told_us)
        columns: dict[str, list[Any]] = {name: [] for name in ("time", "open", "close", "high", "low", "vol", "amount")}
        for open_us in range(-(-oldest_us // length_us) * length_us, last_us + 1, length_us):
            closed = open_us + length_us <= told_us
            bar = feed.candles.between(open_us, open_us + length_us) if closed else feed.candles.bar(open_us, step)
            columns["time"].append(open_us // 1_000_000)
            for name in ("open", "close", "high", "low"):
                columns[name].append(_raw(figures.price(getattr(bar, name))))
            columns["vol"].append(bar.volume)
            columns["amount"].append(_raw(figures.value(bar.value)))
        return columns

    def _deals(self, feed: Feed, query: Query, now_us: int) -> Any:
        """List the last trades, newest first; there is no asking for older ones."""
        end = feed.market.trades_upto(feed.market.step_at(now_us - lag_us(feed.market)))
        numbers = range(end - 1, end - 1 - _integer(query, "limit", _MOST_DEALS, _MOST_DEALS), -1)
        return [_raw(deal(trade, self._figures(feed))) for trade in map(feed.market.trade, numbers)]


def _symbol(feed: Feed) -> str:
    return feed.market.listing.wire_symbol


def _raw(text: str) -> orjson.Fragment:
    """Return JSON that is written already: numbers keep their digits."""
    return orjson.Fragment(text)


def _integer(query: Query, name: str, default: int, most: int | None = None) -> int:
    """Return a parameter that is a whole number. Raises _ApiError; one above `most` is `most`."""
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 12) or (most is not None and not int(text)):
        raise _ApiError(_PARAMETER, f"Parameter error: {name} is {text!r}")
    return int(text) if most is None else min(int(text), most)
