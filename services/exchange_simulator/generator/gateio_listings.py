"""Gate.io's spot pairs and USDT futures: symbols, ticks, and how much of a coin makes a contract."""

from __future__ import annotations

from services.exchange_simulator.generator.names import Counting
from services.exchange_simulator.generator.usdt_listings import UsdtMarkets

_GRIDS: dict[str, tuple[str, str, str, str]] = {
    # asset: spot tick, spot step, futures tick, quanto multiplier
    "BTC": ("0.1", "0.000001", "0.1", "0.0001"),
    "ETH": ("0.01", "0.0001", "0.01", "0.01"),
    "SOL": ("0.01", "0.001", "0.01", "1"),
    "DOGE": ("0.00001", "0.01", "0.00001", "10"),
    "ADA": ("0.0001", "0.01", "0.0001", "10"),
    "XRP": ("0.0001", "0.01", "0.0001", "10"),
    "BNB": ("0.1", "0.001", "0.1", "0.001"),
    "PEPE": ("0.00000001", "1", "0.00000001", "10000000"),
    "SHIB": ("0.00000001", "1", "0.00000001", "10000"),
    "LINK": ("0.001", "0.01", "0.001", "1"),
    "AVAX": ("0.001", "0.001", "0.001", "1"),
}

listings = UsdtMarkets(
    exchange="gateio",
    grids=_GRIDS,
    spot_joint="_",
    premium=1.5e-4,
    perp_counting=Counting(),
).listings
