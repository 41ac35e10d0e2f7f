"""Deribit's past by REST: trades by number, candles, and the hourly funding of perpetuals.

Its volatility index is told live as one value at a time, and served as candles: not the same record, so not refilled.
Source: Deribit's v2 documentation of 2026-09.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Raw

from schemas import records
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from services.shared.exchanges import deribit_wire as wire
from services.shared.exchanges.candle_history import asked_about, closed_candle
from services.shared.exchanges.declaration import Listing, Parser
from services.shared.exchanges.deribit import EXCHANGE
from services.shared.exchanges.deribit_numbers import plain, statistic
from services.shared.exchanges.deribit_prices import RESOLUTIONS
from services.shared.exchanges.deribit_rest import PUBLIC, parse_funding, parse_trades
from services.shared.exchanges.history import INTERVAL_US, History, PathOf, candles, cost, refilled
from services.shared.exchanges.shared_answers import answer_reader

_US = 1_000


class _Chart(msgspec.Struct, gc=False):
    """The result of `get_tradingview_chart_data`: an array a column, `ticks` the open times in ms, oldest first."""

    status: Literal["ok", "no_data"]
    ticks: list[wire.Millis] = []
    open: list[Raw] = []
    high: list[Raw] = []
    low: list[Raw] = []
    close: list[Raw] = []
    volume: list[Raw] = []
    cost: list[Raw] = []


_read_chart = answer_reader(wire.Answer[_Chart])


def _trades_path(symbol: str, first: int, last: int, count: int) -> str:
    window = f"start_seq={first}&end_seq={last}&count={count}&sorting=asc"
    return f"{PUBLIC}/get_last_trades_by_instrument?instrument_name={symbol}&{window}"


def _funding_path(symbol: str, first: int, last: int, count: int) -> str:
    # Stamps are the ends of hours; both bounds are inside.
    window = f"start_timestamp={-(-first // _US)}&end_timestamp={last // _US}"
    return f"{PUBLIC}/get_funding_rate_history?instrument_name={symbol}&{window}"


def _candle_parser(interval: str) -> Parser:
    def parse(frame: RawFrame, listing: Listing) -> tuple[records.Candle, ...]:
        """Parse `get_tradingview_chart_data`, closed ones only; the numbers are those of `chart.trades.*`."""
        symbol, chart = asked_about(frame, listing).symbol, _read_chart(frame).result
        columns = (chart.open, chart.high, chart.low, chart.close, chart.volume, chart.cost)
        if {len(column) for column in columns} != {len(chart.ticks)}:
            raise BadFrame(f"a chart of {len(chart.ticks)} ticks whose columns are not as long")
        found = []
        for tick, *prices, volume, cost_ in zip(chart.ticks, *columns, strict=True):
            first, high, low, last = (plain(price, "a price") for price in prices)
            told = (statistic(volume, "volume"), statistic(cost_, "cost"))
            found.append(closed_candle(frame, symbol, interval, tick * _US, (first, high, low, last), *told))
        return tuple(candle for candle in found if candle is not None)

    return parse


def _candles_path(resolution: str) -> PathOf:
    def make(symbol: str, first: int, last: int, count: int) -> str:
        window = f"start_timestamp={-(-first // _US)}&end_timestamp={last // _US}&resolution={resolution}"
        return f"{PUBLIC}/get_tradingview_chart_data?instrument_name={symbol}&{window}"

    return make


CANDLES = [
    candles(interval, _candles_path(resolution), _candle_parser(interval), 1_000, cost(1))
    for interval, resolution in RESOLUTIONS.items()
]
TRADES = History("trades_history", "trade", "id", _trades_path, refilled(parse_trades), 1_000, cost(1))
FUNDING = History(
    "funding_history",
    "funding_rate",
    "grid",
    _funding_path,
    refilled(parse_funding),
    700,
    cost(1),
    "settled",
    INTERVAL_US["1h"],
    delay_us=10 * 60 * 1_000_000,
)

DERIBIT_HISTORY = {
    (EXCHANGE, "perp"): [TRADES, *CANDLES, FUNDING],
    (EXCHANGE, "future"): [TRADES, *CANDLES],
    (EXCHANGE, "option"): [TRADES, *CANDLES],
}
