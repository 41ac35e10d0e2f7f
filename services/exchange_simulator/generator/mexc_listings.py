"""MEXC's spot pairs and contracts against USDT: symbols, ticks, and how much of a coin makes a contract."""

from __future__ import annotations

from services.exchange_simulator.generator.names import Counting
from services.exchange_simulator.generator.usdt_listings import UsdtMarkets

_LOST_TRADE_IDS = 7

_GRIDS: dict[str, tuple[str, str, str, str]] = {
    # asset: spot tick, spot step, contract tick, contract size
    "BTC": ("0.01", "0.00000001", "0.1", "0.0001"),
    "ETH": ("0.01", "0.00001", "0.01", "0.01"),
    "SOL": ("0.01", "0.001", "0.01", "0.1"),
    "DOGE": ("0.00001", "0.01", "0.00001", "100"),
    "ADA": ("0.0001", "0.01", "0.0001", "10"),
    "XRP": ("0.0001", "0.01", "0.0001", "10"),
    "BNB": ("0.01", "0.0001", "0.1", "0.01"),
    "PEPE": ("0.000000001", "1", "0.000000001", "1000000"),
    "SHIB": ("0.000000001", "1", "0.000000001", "100000"),
    "LINK": ("0.001", "0.01", "0.001", "1"),
    "AVAX": ("0.001", "0.01", "0.001", "1"),
}

listings = UsdtMarkets(
    exchange="mexc",
    grids=_GRIDS,
    spot_joint="",
    premium=1.3e-4,
    perp_counting=Counting(single_book_ids=True, hidden_trade_ids=_LOST_TRADE_IDS),
).listings
