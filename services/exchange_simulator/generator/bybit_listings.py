"""Bybit's spot pairs and linear perpetuals against USDT; sizes are in base currency on both.

Ticks and steps are those of the exchange's lists where an asset is known there. Coins of very small prices are
perpetuals by the thousand, the factor before the name or behind it (`1000PEPE`, `SHIB1000`).
"""

from __future__ import annotations

from collections.abc import Sequence

from services.exchange_simulator.generator.names import (
    Asset,
    Counting,
    Listing,
    digits_of,
    plausible_tick,
)
from services.exchange_simulator.generator.usdt_listings import plausible_step, rates

_PERP_PREMIUM = 1.4e-4
_COUNTING = Counting(single_book_ids=True)

_SPOT_GRIDS: dict[str, tuple[str, str]] = {
    # asset: tick, step
    "BTC": ("0.1", "0.000001"),
    "ETH": ("0.01", "0.00001"),
    "SOL": ("0.01", "0.001"),
    "DOGE": ("0.00001", "0.1"),
    "ADA": ("0.0001", "0.01"),
    "XRP": ("0.0001", "0.01"),
    "BNB": ("0.1", "0.0001"),
    "PEPE": ("0.000000001", "1"),
    "SHIB": ("0.000000001", "1"),
    "LINK": ("0.001", "0.01"),
    "AVAX": ("0.001", "0.001"),
    "BONK": ("0.00000001", "1"),
    "FLOKI": ("0.00000001", "1"),
}
_PERP_GRIDS: dict[str, tuple[str, str]] = {
    # base: tick, step
    "BTC": ("0.10", "0.001"),
    "ETH": ("0.01", "0.01"),
    "SOL": ("0.010", "0.1"),
    "DOGE": ("0.00001", "1"),
    "ADA": ("0.0001", "1"),
    "XRP": ("0.0001", "0.1"),
    "BNB": ("0.10", "0.01"),
    "1000PEPE": ("0.0000001", "100"),
    "SHIB1000": ("0.000001", "10"),
    "LINK": ("0.001", "0.1"),
    "AVAX": ("0.001", "0.1"),
    "1000BONK": ("0.000001", "10"),
    "1000FLOKI": ("0.00001", "10"),
}
_THOUSANDS = {"PEPE": "1000PEPE", "SHIB": "SHIB1000", "BONK": "1000BONK", "FLOKI": "1000FLOKI"}


def listings(market: str, chosen: Sequence[Asset], total_per_s: float, start_us: int) -> tuple[Listing, ...]:
    """List every asset; `total_per_s` events a second are those of all of Bybit. Nothing here has a date."""
    found = zip(chosen, rates(market, len(chosen), total_per_s), strict=True)
    return tuple(_listing(market, asset, rank, rate) for rank, (asset, rate) in enumerate(found))


def _listing(market: str, asset: Asset, rank: int, rate: float) -> Listing:
    perp = market == "perp"
    base = _THOUSANDS.get(asset.name, asset.name) if perp else asset.name
    known = _PERP_GRIDS if perp else _SPOT_GRIDS
    tick, step = known.get(base) or (plausible_tick(asset.base_price), plausible_step(asset.base_price))
    return Listing(
        exchange="bybit",
        market=market,
        asset=asset,
        base=base,
        quote="USDT",
        wire_symbol=f"{base}USDT",
        symbol=f"{base}-USDT-PERP" if perp else f"{base}-USDT",
        tick_size=tick,
        step_size=step,
        events_per_s=rate,
        rank=rank,
        price_digits=digits_of(tick),
        quantity_digits=digits_of(step),
        multiplier=1 if base == asset.name else 1_000,
        premium=_PERP_PREMIUM if perp else 0.0,
        counting=_COUNTING,
    )
