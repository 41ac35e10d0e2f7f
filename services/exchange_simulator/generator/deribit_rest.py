"""Deribit's REST answers for generated markets, as of any market time: JSON-RPC results of GET requests.

What is answered agrees with what the streams say: the same trades, candles, books. History reaches back 30 days.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson

from services.exchange_simulator import deribit_protocol
from services.exchange_simulator.generator.deribit_credits import Credits
from services.exchange_simulator.generator.deribit_events import flag_of
from services.exchange_simulator.generator.deribit_figures import (
    index_digits,
    index_units,
    mark_digits,
    mark_units,
    number,
)
from services.exchange_simulator.generator.deribit_frames import Encoder, trade_data
from services.exchange_simulator.generator.deribit_history import (
    BadParam,
    Query,
    candles,
    choice,
    settled_rates,
    trades,
    volatility_candles,
)
from services.exchange_simulator.generator.deribit_info import instrument
from services.exchange_simulator.generator.deribit_ticker import ticker_data, ticker_fields
from services.exchange_simulator.generator.deribit_volatility import Indices
from services.exchange_simulator.generator.events import FullTickerEvent
from services.exchange_simulator.generator.feed import Feed
from services.exchange_simulator.generator.figures import amount_units
from services.exchange_simulator.generator.source import lag_us
from services.exchange_simulator.generator.traded import full_ticker, ticker_at
from services.exchange_simulator.venue import Answer

BOOK_LEVELS = 200
"""Levels a side that a book has as a whole, in the stream and here."""

_PUBLIC = "/api/v2/public/"
_DEPTHS = ("1", "5", "10", "20", "50", "100", "1000", "10000")
_KINDS = ("any", "future", "option", "spot", "future_combo", "option_combo")
_SOME_CURRENCIES = frozenset({"any", "BTC", "ETH", "USDC", "USDT", "EURR"})
_TOO_MANY = (10028, "too_many_requests")
_INVALID = (-32602, "Invalid params")


class _NotFound(Exception):
    """An instrument that is not listed."""


class GeneratedRest:
    """The REST face of one market."""

    def __init__(self, feeds: Mapping[str, Feed], encoder: Encoder, indices: Indices) -> None:
        self._feeds = feeds
        self._encoder = encoder
        self._indices = indices
        self._credits = Credits()
        self._methods: dict[str, Callable[[Query, int], str]] = {
            "get_time": lambda query, now_us: str(now_us // 1_000),
            "test": lambda query, now_us: '{"version":"1.2.26"}',
            "status": lambda query, now_us: '{"locked":"false","locked_indices":[]}',
            "get_instruments": self._instruments,
            "get_instrument": self._instrument,
            "get_order_book": self._order_book,
            "ticker": self._ticker,
            "get_book_summary_by_currency": self._summaries,
            "get_index_price": self._index_price,
            "get_last_trades_by_instrument": self._trades,
            "get_last_trades_by_instrument_and_time": self._trades,
            "get_tradingview_chart_data": lambda query, now_us: candles(self._feed(query), query, now_us),
            "get_funding_rate_history": lambda query, now_us: settled_rates(self._feed(query), query, now_us),
            "get_volatility_index_data": self._volatility,
        }

    def get(self, path: str, query: Query, now_us: int) -> Answer:
        """Answer one GET as of market time `now_us`: 200, or 400 with the exchange's error, 10028 without credits."""
        name = path.removeprefix(_PUBLIC)
        method = self._methods.get(name)
        if method is None or not path.startswith(_PUBLIC):
            return _refusal(-32601, "Method not found", now_us)
        if not self._credits.take(name, now_us):
            return _refusal(*_TOO_MANY, now_us, status=429)
        try:
            result = method(query, now_us)
        except BadParam as error:
            return _refusal(*_INVALID, now_us, {"reason": error.reason, "param": error.name})
        except _NotFound:
            return _refusal(13020, "not_found", now_us)
        times = f'"usIn":{now_us},"usOut":{now_us},"usDiff":0,"testnet":false'
        return Answer(200, f'{{"jsonrpc":"2.0","result":{result},{times}}}'.encode())

    def _feed(self, query: Query) -> Feed:
        name = query.get("instrument_name", "")
        if not name:
            raise BadParam("instrument_name", "value required")
        feed = self._feeds.get(name)
        if feed is None:
            raise _NotFound(name)
        return feed

    def _chosen(self, query: Query) -> list[Feed]:
        """Return the feeds of a currency and kind: of an inverse contract its coin, of a linear one its quote."""
        feeds = list(self._feeds.values())
        currencies = {_currency(feed): 0 for feed in feeds} | dict.fromkeys(_SOME_CURRENCIES, 0)
        currency = choice(query, "currency", currencies)
        kind = choice(query, "kind", dict.fromkeys(_KINDS), "any")
        if query.get("expired", "false") == "true":
            return []
        return [feed for feed in feeds if currency in ("any", _currency(feed)) and kind in ("any", _kind(feed))]

    def _instruments(self, query: Query, now_us: int) -> str:
        return orjson.dumps([instrument(feed.market.listing) for feed in self._chosen(query)]).decode()

    def _instrument(self, query: Query, now_us: int) -> str:
        return orjson.dumps(instrument(self._feed(query).market.listing)).decode()

    def _order_book(self, query: Query, now_us: int) -> str:
        feed = self._feed(query)
        market, figures = feed.market, self._encoder.figures(feed.market.listing)
        depth = int(choice(query, "depth", dict.fromkeys(_DEPTHS), "5"))
        book = feed.book.snapshot(market.step_at(now_us - lag_us(market)), min(depth, BOOK_LEVELS))
        bids, asks = (
            ",".join([f"[{figures.price(ticks)},{figures.amount(steps)}]" for ticks, steps in levels])
            for levels in (book.bids, book.asks)
        )
        fields = ticker_fields(_full_ticker(feed, now_us), figures)
        return f'{{"asks":[{asks}],"bids":[{bids}],"change_id":{market.last_update_id(book.step)},{fields}}}'

    def _ticker(self, query: Query, now_us: int) -> str:
        feed = self._feed(query)
        return ticker_data(_full_ticker(feed, now_us), self._encoder.figures(feed.market.listing))

    def _summaries(self, query: Query, now_us: int) -> str:
        return f"[{','.join([self._summary(feed, now_us) for feed in self._chosen(query)])}]"

    def _summary(self, feed: Feed, now_us: int) -> str:
        listing, figures = feed.market.listing, self._encoder.figures(feed.market.listing)
        told = _full_ticker(feed, now_us)
        price, bar = figures.price, told.bar
        return (
            f'{{"high":{price(bar.high)},"low":{price(bar.low)},"last":{price(bar.close)},'
            f'"instrument_name":"{listing.wire_symbol}","bid_price":{price(told.touch.bid)},'
            f'"ask_price":{price(told.touch.ask)},'
            f'"open_interest":{number(*amount_units(listing, told.open_interest))},'
            f'"mark_price":{number(mark_units(listing, told.mark.mark), mark_digits(listing))},'
            f'"base_currency":"{listing.base}","quote_currency":"{listing.quote}",'
            f'"creation_timestamp":{now_us // 1_000}}}'
        )

    def _index_price(self, query: Query, now_us: int) -> str:
        name = query.get("index_name", "")
        for feed in self._feeds.values():
            listing = feed.market.listing
            if instrument(listing)["price_index"] == name:
                index = index_units(listing, feed.statistics.mark(now_us).index)
                price = number(index, index_digits(listing))
                return f'{{"index_price":{price},"estimated_delivery_price":{price}}}'
        raise BadParam("index_name", "is not known")

    def _trades(self, query: Query, now_us: int) -> str:
        feed = self._feed(query)
        figures = self._encoder.figures(feed.market.listing)
        page = trades(feed, query, now_us)
        rows = [trade_data(trade, flag_of(feed.market, trade), figures, feed) for trade in page.trades]
        return f'{{"trades":[{",".join(rows)}],"has_more":{"true" if page.has_more else "false"}}}'

    def _volatility(self, query: Query, now_us: int) -> str:
        index = self._indices.of(choice(query, "currency", self._indices.currencies()))
        return orjson.dumps(volatility_candles(index, query, now_us)).decode()


def _full_ticker(feed: Feed, now_us: int) -> FullTickerEvent:
    return full_ticker(ticker_at(feed.market, feed.candles, now_us), feed.statistics)


def _currency(feed: Feed) -> str:
    listing = feed.market.listing
    return "USDC" if listing.quote == "USDC" else listing.base


def _kind(feed: Feed) -> str:
    return "option" if feed.market.listing.market == "option" else "future"


def _refusal(code: int, text: str, now_us: int, data: object = None, status: int = 400) -> Answer:
    return Answer(status, deribit_protocol.failure(None, code, text, now_us, data))
