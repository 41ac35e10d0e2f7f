"""OKX's REST answers for generated markets, as of any market time: lists, books, tickers, statistics, and pages of
history, newest first, `after` meaning older and `before` newer than what is named.

What is answered agrees with what the streams say. History reaches back 90 days. Who asks oftener than an endpoint
allows is refused with 429 and code 50011, until the 2 seconds are over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from services.exchange_simulator.generator.candles import INTERVALS_US
from services.exchange_simulator.generator.events import (
    CandleEvent,
    FillEvent,
    FundingEvent,
    MarkEvent,
    OpenInterestEvent,
)
from services.exchange_simulator.generator.feed import Feed
from services.exchange_simulator.generator.figures import text_of, trimmed
from services.exchange_simulator.generator.okx_figures import KINDS, Figures
from services.exchange_simulator.generator.okx_frames import (
    Encoder,
    candle_row,
    fill_row,
    funding_row,
    mark_row,
    open_interest_row,
    orders,
    ticker_row,
)
from services.exchange_simulator.generator.okx_info import instrument
from services.exchange_simulator.generator.source import DAY_US, lag_us, whole_ms
from services.exchange_simulator.generator.statistics import FINE_DIGITS, FUNDING_INTERVAL_US, RATIO_DIGITS
from services.exchange_simulator.venue import Answer

Query = Mapping[str, str]
Endpoint = Callable[[Query, int], list[Any]]

HISTORY_US = 90 * DAY_US
_WINDOW_US = 2_000_000
_RUBIK = "/api/v5/rubik/stat/contracts"
_RATIOS = {
    "long-short-account-ratio-contract": "all_accounts",
    "long-short-account-ratio-contract-top-trader": "top_accounts",
    "long-short-position-ratio-contract-top-trader": "top_positions",
}
BARS = {
    **{bar: bar.lower() for bar in ("1m", "3m", "5m", "15m", "30m", "1H", "2H", "4H")},
    "6Hutc": "6h",
    "12Hutc": "12h",
    "1Dutc": "1d",
}
"""The exchange's name of a candle's interval -> ours. Its own days, which begin at UTC+8, are not generated."""
_PERIODS = {"5m": "5m", "15m": "15m", "30m": "30m", "1H": "1h", "2H": "2h", "4H": "4h"}
_MOST_BOOK_LEVELS = 400


class ApiError(Exception):
    """A request the exchange refuses: its own code and text, and the HTTP status."""

    def __init__(self, code: str, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.answer = Answer(status, orjson.dumps({"code": code, "msg": message, "data": []}))


class GeneratedRest:
    """The REST face of one market; of its endpoints `_LIMITS` says how many requests are allowed in 2 s."""

    def __init__(self, market: str, feeds: Mapping[str, Feed], encoder: Encoder) -> None:
        self._market = market
        self._feeds = feeds
        self._encoder = encoder
        self._counts: dict[str, int] = {}
        self._window = 0
        self._endpoints = self._all_endpoints()

    def get(self, path: str, query: Query, now_us: int) -> Answer:
        """Answer as of market time `now_us`."""
        found = self._endpoints.get(path)
        if found is None:
            return ApiError("404", "Not Found", 404).answer
        limit, endpoint = found
        try:
            self._count(path, query, now_us, limit)
            return Answer(200, orjson.dumps({"code": "0", "msg": "", "data": endpoint(query, now_us)}))
        except ApiError as error:
            return error.answer

    def _all_endpoints(self) -> dict[str, tuple[int, Endpoint]]:
        """Return by path how many requests 2 seconds allow, and what answers."""
        found: dict[str, tuple[int, Endpoint]] = {
            "/api/v5/public/time": (10, lambda query, now_us: [{"ts": str(now_us // 1000)}]),
            "/api/v5/public/instruments": (20, self._instruments),
            "/api/v5/market/books": (40, self._books),
            "/api/v5/market/tickers": (20, self._tickers),
            "/api/v5/market/ticker": (20, self._ticker),
            "/api/v5/market/candles": (40, self._candles),
            "/api/v5/market/history-candles": (20, self._candles),
            "/api/v5/market/trades": (100, self._trades),
            "/api/v5/market/history-trades": (20, self._history_trades),
        }
        if self._market == "spot":
            return found
        found |= {
            "/api/v5/public/mark-price": (10, self._mark_prices),
            "/api/v5/public/open-interest": (20, self._open_interests),
        }
        if self._market == "perp":
            found |= {
                "/api/v5/public/funding-rate": (10, self._funding_rates),
                "/api/v5/public/funding-rate-history": (10, self._funding_history),
                f"{_RUBIK}/open-interest-history": (10, self._open_interest_history),
                **{f"{_RUBIK}/{path}": (5, self._ratios(name)) for path, name in _RATIOS.items()},
            }
        return found

    def _count(self, path: str, query: Query, now_us: int, limit: int) -> None:
        window = now_us // _WINDOW_US
        if window != self._window:
            self._window = window
            self._counts.clear()
        key = f"{path} {query.get('instId', '')}" if path.startswith(_RUBIK) else path
        self._counts[key] = self._counts.get(key, 0) + 1
        if self._counts[key] > limit:
            raise ApiError("50011", "Too Many Requests", 429)

    def _feed(self, query: Query) -> Feed:
        name = query.get("instId", "")
        if not name:
            raise ApiError("50014", "Parameter instId can not be empty.", 400)
        if name not in self._feeds:
            raise ApiError("51001", f"Instrument ID, Instrument ID code, or Spread ID doesn't exist: {name}.")
        return self._feeds[name]

    def _chosen(self, query: Query) -> list[Feed]:
        """Return the feed of `instId`, or all of `instType`."""
        if "instId" in query:
            return [self._feed(query)]
        if query.get("instType") not in KINDS.values():
            raise ApiError("51000", "Parameter instType  error", 400)
        return list(self._feeds.values()) if query["instType"] == KINDS[self._market] else []

    def _instruments(self, query: Query, now_us: int) -> list[Any]:
        if query.get("instType") not in KINDS.values():
            raise ApiError("51000", "Parameter instType  error", 400)
        return [instrument(feed.market.listing, now_us) for feed in self._chosen(query)]

    def _books(self, query: Query, now_us: int) -> list[Any]:
        feed, levels = self._feed(query), _limit(query, "sz", 1, _MOST_BOOK_LEVELS)
        market, figures = feed.market, self._encoder.figures(feed.market.listing)
        step = market.step_at(now_us - lag_us(market))
        book = feed.book.snapshot(step, levels)
        sides = {
            name: [[figures.price(ticks), figures.size(steps), "0", str(orders(steps))] for ticks, steps in side]
            for name, side in (("asks", book.asks), ("bids", book.bids))
        }
        return [{**sides, "ts": str(market.step_time(step) // 1000), "seqId": market.last_update_id(step)}]

    def _tickers(self, query: Query, now_us: int) -> list[Any]:
        chosen = self._chosen(query)
        return [_row(ticker_row(feed.ticker(now_us), self._encoder.figures(feed.market.listing))) for feed in chosen]

    def _ticker(self, query: Query, now_us: int) -> list[Any]:
        self._feed(query)
        return self._tickers(query, now_us)

    def _candles(self, query: Query, now_us: int) -> list[Any]:
        feed, limit = self._feed(query), _limit(query, "limit", 100, 300)
        length_us = INTERVALS_US.get(BARS.get(query.get("bar", "1m"), ""), 0)
        if not length_us:
            raise ApiError("51000", "Parameter bar error", 400)
        until_us = now_us - lag_us(feed.market)
        step = feed.market.step_at(until_us)
        figures = self._encoder.figures(feed.market.listing)
        rows: list[Any] = []
        for open_us in _newest_first(query, until_us // length_us * length_us, length_us, now_us):
            if len(rows) == limit:
                break
            ended = open_us + length_us <= until_us
            bar = feed.candles.between(open_us, open_us + length_us) if ended else feed.candles.bar(open_us, step)
            event = CandleEvent(feed.market.listing, now_us, "", open_us, open_us + length_us - 1000, bar, ended)
            rows.append(_row(candle_row(event, figures)))
        return rows

    def _fills(self, feed: Feed, now_us: int, below: int | None) -> Iterator[FillEvent]:
        """Yield single fills, the newest one told of (or the last one below an id) first."""
        market = feed.market
        end = market.trades_upto(market.step_at(now_us - lag_us(market)))
        if below is not None:
            end = min(end, market.trade_of_fill(below) + 1)
        first = market.first_trade_from(now_us - HISTORY_US)
        for number in range(end - 1, first - 1, -1):
            trade = market.trade(number)
            for place in reversed(range(len(trade.fills))):
                if below is None or trade.first_id + place < below:
                    yield FillEvent(market.listing, now_us, trade, place)

    def _trades(self, query: Query, now_us: int) -> list[Any]:
        return self._page_of_trades(self._feed(query), now_us, _limit(query, "limit", 100, 500), None, None)

    def _history_trades(self, query: Query, now_us: int) -> list[Any]:
        feed, limit = self._feed(query), _limit(query, "limit", 100, 100)
        after, before = _integer(query, "after"), _integer(query, "before")
        if query.get("type", "1") == "2":
            after, before = (
                None if ms is None else feed.market.trade(feed.market.first_trade_from(ms * 1000)).first_id
                for ms in (after, None if before is None else before + 1)
            )
            before = None if before is None else before - 1
        return self._page_of_trades(feed, now_us, limit, after, before)

    def _page_of_trades(self, feed: Feed, now_us: int, limit: int, after: int | None, before: int | None) -> list[Any]:
        figures = self._figures(feed)
        rows: list[Any] = []
        for event in self._fills(feed, now_us, after):
            if len(rows) == limit or (before is not None and event.trade.first_id + event.place <= before):
                break
            rows.append(_row(fill_row(event, figures)))
        return rows

    def _mark_prices(self, query: Query, now_us: int) -> list[Any]:
        at_us = whole_ms(now_us)
        return [
            _row(mark_row(MarkEvent(one.market.listing, at_us, one.statistics.mark(at_us)), self._figures(one)))
            for one in self._chosen(query)
        ]

    def _figures(self, feed: Feed) -> Figures:
        return self._encoder.figures(feed.market.listing)

    def _open_interests(self, query: Query, now_us: int) -> list[Any]:
        return [
            _row(open_interest_row(_interest(one, whole_ms(now_us)), self._figures(one))) for one in self._chosen(query)
        ]

    def _funding_rates(self, query: Query, now_us: int) -> list[Any]:
        chosen = list(self._feeds.values()) if query.get("instId") == "ANY" else [self._feed(query)]
        at_us = whole_ms(now_us)
        return [
            _row(funding_row(FundingEvent(one.market.listing, at_us, one.statistics.mark(at_us)), self._figures(one)))
            for one in chosen
        ]

    def _funding_history(self, query: Query, now_us: int) -> list[Any]:
        feed, limit = self._feed(query), _limit(query, "limit", 400, 400)
        rows: list[Any] = []
        last_us = now_us // FUNDING_INTERVAL_US * FUNDING_INTERVAL_US
        for time_us in _newest_first(query, last_us, FUNDING_INTERVAL_US, now_us):
            if len(rows) == limit:
                break
            rate = text_of(feed.statistics.funding_rate(time_us), FINE_DIGITS)
            rows.append(
                {
                    "formulaType": "withRate",
                    "fundingRate": rate,
                    "fundingTime": str(time_us // 1000),
                    "instId": feed.market.listing.wire_symbol,
                    "instType": "SWAP",
                    "method": "current_period",
                    "realizedRate": rate,
                }
            )
        return rows

    def _statistic(self, query: Query, now_us: int, row: Callable[[Feed, int], list[str]]) -> list[Any]:
        feed, limit = self._feed(query), _limit(query, "limit", 100, 100)
        length_us = INTERVALS_US.get(_PERIODS.get(query.get("period", "5m"), ""), 0)
        if not length_us:
            raise ApiError("51000", "Parameter period error", 400)
        begin_ms, end_ms = _integer(query, "begin"), _integer(query, "end")
        last_us = min(now_us, now_us if end_ms is None else end_ms * 1000) // length_us * length_us
        first_us = max(now_us - HISTORY_US, 0 if begin_ms is None else begin_ms * 1000)
        times = range(last_us, first_us - 1, -length_us)
        return [row(feed, time_us) for time_us in times[:limit]]

    def _ratios(self, name: str) -> Endpoint:
        def row(feed: Feed, time_us: int) -> list[str]:
            return [str(time_us // 1000), trimmed(feed.statistics.ratio(name, time_us).quotient, RATIO_DIGITS)]

        return lambda query, now_us: self._statistic(query, now_us, row)

    def _open_interest_history(self, query: Query, now_us: int) -> list[Any]:
        def row(feed: Feed, time_us: int) -> list[str]:
            said = _row(open_interest_row(_interest(feed, time_us), self._figures(feed)))
            return [said["ts"], said["oi"], said["oiCcy"], said["oiUsd"]]

        return self._statistic(query, now_us, row)


def _interest(feed: Feed, at_us: int) -> OpenInterestEvent:
    ticks = feed.market.touch(feed.market.step_at(at_us)).bid
    return OpenInterestEvent(feed.market.listing, at_us, feed.statistics.open_interest(at_us), ticks)


def _row(text: str) -> Any:
    return orjson.loads(text)


def _integer(query: Query, name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    if not text.isdecimal() or len(text) > 19:
        raise ApiError("51000", f"Parameter {name} error", 400)
    return int(text)


def _limit(query: Query, name: str, default: int, most: int) -> int:
    asked = _integer(query, name)
    if asked is None:
        return default
    if asked == 0:
        raise ApiError("51000", f"Parameter {name} error", 400)
    return min(asked, most)


def _newest_first(query: Query, last_us: int, length_us: int, now_us: int) -> Iterator[int]:
    """Yield times from `last_us` back: older than `after` and newer than `before`, both in ms, within history."""
    after, before = _integer(query, "after"), _integer(query, "before")
    if after is not None:
        last_us = min(last_us, (after * 1000 - 1) // length_us * length_us)
    first_us = now_us - HISTORY_US if before is None else max(now_us - HISTORY_US, before * 1000 + 1)
    yield from range(last_us, first_us - 1, -length_us)
