"""Deribit's past by REST: trades by number, and the hourly funding of perpetuals.

Candles are read from the stream of trades' charts; `get_tradingview_chart_data` has its prices as numbers of another
rounding and is not taken for the same record. Source: Deribit's v2 documentation of 2026-09.
"""

from __future__ import annotations

from services.shared.exchanges.deribit import EXCHANGE
from services.shared.exchanges.deribit_rest import PUBLIC, parse_funding, parse_trades
from services.shared.exchanges.history import INTERVAL_US, History, cost, refilled

_US = 1_000


def _trades_path(symbol: str, first: int, last: int, count: int) -> str:
    window = f"start_seq={first}&end_seq={last}&count={count}&sorting=asc"
    return f"{PUBLIC}/get_last_trades_by_instrument?instrument_name={symbol}&{window}"


def _funding_path(symbol: str, first: int, last: int, count: int) -> str:
    # Stamps are the ends of hours; both bounds are inside.
    window = f"start_timestamp={-(-first // _US)}&end_timestamp={last // _US}"
    return f"{PUBLIC}/get_funding_rate_history?instrument_name={symbol}&{window}"


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
    (EXCHANGE, "perp"): [TRADES, FUNDING],
    (EXCHANGE, "future"): [TRADES],
    (EXCHANGE, "option"): [TRADES],
}
