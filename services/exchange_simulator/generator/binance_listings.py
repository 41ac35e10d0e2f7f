"""Binance's spot pairs and USD-M perpetuals: symbols, ticks and steps, all against USDT."""

from __future__ import annotations

from collections.abc import Sequence

from services.exchange_simulator.generator.names import (
    Asset,
    Counting,
    Listing,
    digits_of,
    plausible_tick,
)
from services.exchange_simulator.generator.usdt_listings import rates

_SPOT_DIGITS = 8
_THOUSANDS = frozenset({"PEPE", "SHIB", "BONK", "FLOKI"})
_PERP_COUNTING = Counting(running_book_ids=True, hidden_trade_ids=1)
_PERP_PREMIUM = 2.0e-4

_GRIDS: dict[str, tuple[str, str, str, str]] = {
    # asset: spot tick, spot step, perpetual tick, perpetual step
    "BTC": ("0.01", "0.00001", "0.10", "0.001"),
    "ETH": ("0.01", "0.0001", "0.01", "0.001"),
    "SOL": ("0.01", "0.001", "0.0100", "0.01"),
    "DOGE": ("0.00001", "1", "0.000010", "1"),
    "ADA": ("0.0001", "0.1", "0.00010", "1"),
    "XRP": ("0.0001", "0.1", "0.0001", "0.1"),
    "BNB": ("0.01", "0.001", "0.010", "0.01"),
    "PEPE": ("0.00000001", "1", "0.0000010", "1"),
    "SHIB": ("0.00000001", "1", "0.000001", "1"),
    "LINK": ("0.01", "0.01", "0.001", "0.01"),
    "AVAX": ("0.01", "0.01", "0.0010", "1"),
    "SUSHI": ("0.0001", "0.1", "0.0001", "1"),
    "BONK": ("0.00000001", "1", "0.0000010", "1"),
    "FLOKI": ("0.00000001", "1", "0.00001", "1"),
}


def listings(market: str, chosen: Sequence[Asset], total_per_s: float, start_us: int) -> tuple[Listing, ...]:
    """List every asset; `total_per_s` events a second are those of all of Binance. Nothing here has a date."""
    found = []
    for rank, (asset, rate) in enumerate(zip(chosen, rates(market, len(chosen), total_per_s), strict=True)):
        tick, step = _grid(asset, market)
        multiplier = 1000 if market == "perp" and asset.name in _THOUSANDS else 1
        base = asset.name if multiplier == 1 else f"{multiplier}{asset.name}"
        spot = market == "spot"
        found.append(
            Listing(
                exchange="binance",
                market=market,
                asset=asset,
                base=base,
                quote="USDT",
                wire_symbol=f"{base}USDT",
                symbol=f"{base}-USDT" if spot else f"{base}-USDT-PERP",
                tick_size=tick,
                step_size=step,
                events_per_s=rate,
                rank=rank,
                price_digits=_SPOT_DIGITS if spot else digits_of(tick),
                quantity_digits=_SPOT_DIGITS if spot else digits_of(step),
                multiplier=multiplier,
                premium=0.0 if spot else _PERP_PREMIUM,
                counting=Counting() if spot else _PERP_COUNTING,
            )
        )
    return tuple(found)


def _grid(asset: Asset, market: str) -> tuple[str, str]:
    """Return tick and step: listed ones for known assets, else a plausible pair."""
    if asset.name in _GRIDS:
        spot_tick, spot_step, perp_tick, perp_step = _GRIDS[asset.name]
        return (spot_tick, spot_step) if market == "spot" else (perp_tick, perp_step)
    tick = plausible_tick(asset.base_price)
    if asset.base_price >= 50.0:
        return tick, "0.001" if market == "spot" else "0.01"
    if asset.base_price >= 1.0:
        return tick, "0.01" if market == "spot" else "0.1"
    return tick, "0.1" if market == "spot" else "1"
