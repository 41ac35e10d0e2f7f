"""Gate.io's REST answers for generated markets, spot and USDT futures, as of any market time.

What is answered agrees with what the streams say: the same trades, candles, books. History reaches back 30 days.
Trades, funding rates and liquidations are listed newest first, candles and statistics oldest first, as the exchange
lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import orjson

from services.exchange_simulator import gateio_rest as exchange_rest
from services.exchange_simulator.gateio_rest import ApiError, Query, levels, required
from services.exchange_simulator.generator.feed import Feed
from services.exchange_simulator.generator.gateio_figures import Figures
from services.exchange_simulator.generator.gateio_frames import Encoder, perp_ticker, spot_ticker
from services.exchange_simulator.generator.gateio_history import (
    Answer,
    Window,
    candles_of,
    integer,
    limit_of,
    trades_between,
)
from services.exchange_simulator.generator.gateio_info import contracts, currency_pair
from services.exchange_simulator.generator.gateio_statistics import funding_rates, liquidations, statistics
from services.exchange_simulator.generator.market import Trade
from services.exchange_simulator.generator.traded import full_ticker, ticker_at
from services.exchange_simulator.venue import Answer as HttpAnswer

_MOST_TRADES = 1_000
_MOST_CANDLES = {"spot": 1_000, "perp": 2_000}


class GeneratedRest:
    """The REST face of one market."""

    def __init__(self, market: str, feeds: Mapping[str, Feed], encoder: Encoder) -> None:
        self._feeds = feeds
        self._encoder = encoder
        self._market = market
        self._rest = exchange_rest.Rest(
            {f"/api/v4{path}": _as_json(answer) for path, answer in self._answers().items()}
        )

    def get(self, path: str, query: Mapping[str, str], now_us: int) -> HttpAnswer:
        """Answer as of market time `now_us`."""
        return self._rest.get(path, query, now_us)

    def _answers(self) -> dict[str, Answer]:
        if self._market == "spot":
            return {
                "/spot/time": _time,
                "/spot/currency_pairs": self._currency_pairs,
                "/spot/order_book": self._spot_book,
                "/spot/trades": self._spot_trades,
                "/spot/candlesticks": self._spot_candles,
                "/spot/tickers": self._tickers,
            }
        return {
            "/spot/time": _time,  # there is none of futures
            "/futures/usdt/contracts": self._contracts,
            "/futures/usdt/order_book": self._perp_book,
            "/futures/usdt/trades": self._perp_trades,
            "/futures/usdt/candlesticks": self._perp_candles,
            "/futures/usdt/tickers": self._tickers,
            "/futures/usdt/funding_rate": lambda query, now_us: funding_rates(self._feed(query), query, now_us),
            "/futures/usdt/contract_stats": lambda query, now_us: statistics(self._feed(query), query, now_us),
            "/futures/usdt/liq_orders": lambda query, now_us: liquidations(self._feed(query), query, now_us),
        }

    def _feed(self, query: Query) -> Feed:
        """Return the feed that a query names. Raises ApiError in the market's own words."""
        name = required(query, "currency_pair" if self._market == "spot" else "contract")
        feed = self._feeds.get(name)
        if feed is None and self._market == "spot":
            raise ApiError("INVALID_CURRENCY_PAIR", f"Invalid currency pair: {name}")
        if feed is None:
            raise ApiError("CONTRACT_NOT_FOUND", f"Contract not found: {name}")
        return feed

    def _figures(self, feed: Feed) -> Figures:
        return self._encoder.figures(feed.market.listing)

    def _currency_pairs(self, query: Query, now_us: int) -> object:
        return [currency_pair(feed.market.listing) for feed in self._feeds.values()]

    def _contracts(self, query: Query, now_us: int) -> object:
        feeds = list(self._feeds.values())
        first = integer(query, "offset", 0)
        return contracts(feeds[first : first + limit_of(query, len(feeds), 10_000)], now_us)

    def _spot_book(self, query: Query, now_us: int) -> object:
        feed = self._feed(query)
        market, figures = feed.market, self._figures(feed)
        book = feed.book.snapshot(market.step_at(now_us), levels(query))
        named = {"id": market.last_update_id(book.step)} if query.get("with_id") == "true" else {}
        return {
            **named,
            "current": now_us // 1_000,
            "update": market.step_time(book.step) // 1_000,
            "asks": [[figures.price(ticks), figures.amount(steps)] for ticks, steps in book.asks],
            "bids": [[figures.price(ticks), figures.amount(steps)] for ticks, steps in book.bids],
        }

    def _perp_book(self, query: Query, now_us: int) -> object:
        feed = self._feed(query)
        market, figures = feed.market, self._figures(feed)
        book = feed.book.snapshot(market.step_at(now_us), levels(query))
        named = {"id": market.last_update_id(book.step)} if query.get("with_id") == "true" else {}
        return {
            **named,
            "current": now_us // 1_000 / 1_000,
            "update": market.step_time(book.step) // 1_000 / 1_000,
            "asks": [{"s": steps, "p": figures.price(ticks)} for ticks, steps in book.asks],
            "bids": [{"s": steps, "p": figures.price(ticks)} for ticks, steps in book.bids],
        }

    def _page(self, query: Query, now_us: int) -> tuple[Feed, list[Trade]]:
        """Return the trades that a query names: by time, newest first, in pages; or by id, those after `last_id`."""
        feed, limit = self._feed(query), limit_of(query, 100, _MOST_TRADES)
        window = Window.of(query, now_us)
        place = limit * (integer(query, "page", 1) - 1) + integer(query, "offset", 0)
        return feed, list(islice(trades_between(feed, window, now_us), place, place + limit))

    def _spot_trades(self, query: Query, now_us: int) -> object:
        feed, page = self._page(query, now_us)
        figures = self._figures(feed)
        return [
            {
                "id": str(trade.last_id),
                "create_time": str(trade.time_us // 1_000_000),
                "create_time_ms": f"{trade.time_us // 1_000}.{trade.time_us % 1_000:03d}000",
                "currency_pair": feed.market.listing.wire_symbol,
                "side": "buy" if trade.buy else "sell",
                "amount": figures.amount(trade.steps),
                "price": figures.price(trade.ticks),
                "sequence_id": str(trade.last_id),
            }
            for trade in page
        ]

    def _perp_trades(self, query: Query, now_us: int) -> object:
        feed, page = self._page(query, now_us)
        figures = self._figures(feed)
        return [
            {
                "id": trade.aggregate_id,
                "create_time": trade.time_us // 1_000 / 1_000,
                "create_time_ms": trade.time_us // 1_000 / 1_000,
                "contract": feed.market.listing.wire_symbol,
                "size": trade.steps if trade.buy else -trade.steps,
                "price": figures.price(trade.ticks),
            }
            for trade in page
        ]

    def _spot_candles(self, query: Query, now_us: int) -> object:
        feed = self._feed(query)
        figures = self._figures(feed)
        return [
            [
                str(candle.open_us // 1_000_000),
                figures.value(candle.bar.value),
                *(figures.price(getattr(candle.bar, name)) for name in ("close", "high", "low", "open")),
                figures.amount(candle.bar.volume),
                "true" if candle.closed else "false",
            ]
            for candle in candles_of(feed, query, now_us, _MOST_CANDLES["spot"])
        ]

    def _perp_candles(self, query: Query, now_us: int) -> object:
        feed = self._feed(query)
        figures = self._figures(feed)
        return [
            {
                "t": candle.open_us // 1_000_000,
                "o": figures.price(candle.bar.open),
                "h": figures.price(candle.bar.high),
                "l": figures.price(candle.bar.low),
                "c": figures.price(candle.bar.close),
                "v": candle.bar.volume,
                "sum": figures.value(candle.bar.value),
            }
            for candle in candles_of(feed, query, now_us, _MOST_CANDLES["perp"])
        ]

    def _tickers(self, query: Query, now_us: int) -> object:
        named = query.get("currency_pair" if self._market == "spot" else "contract")
        feeds = [self._feed(query)] if named else list(self._feeds.values())
        return [self._ticker(feed, now_us) for feed in feeds]

    def _ticker(self, feed: Feed, now_us: int) -> Any:
        figures = self._figures(feed)
        ticker = ticker_at(feed.market, feed.candles, now_us)
        if self._market == "spot":
            return orjson.loads(spot_ticker(ticker, figures))
        return orjson.loads(perp_ticker(full_ticker(ticker, feed.statistics), figures))


def _time(query: Query, now_us: int) -> object:
    return {"server_time": now_us // 1_000}


def _as_json(answer: Answer) -> Callable[[Query, int], bytes]:
    return lambda query, now_us: orjson.dumps(answer(query, now_us))
