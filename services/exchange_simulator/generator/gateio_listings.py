"""Gate.io's spot pairs and USDT futures: symbols, ticks, and how much of a coin makes a contract."""

from __future__ import annotations

from collections.abc import Sequence

from services.exchange_simulator.generator.names import (
    Asset,
    Listing,
    digits_of,
    events_per_s,
    plausible_contract,
    plausible_tick,
)

_SHARES = {"perp": 2.0 / 3.0, "spot": 1.0 / 3.0}
_PERP_PREMIUM = 1.5e-4

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


def listings(market: str, chosen: Sequence[Asset], total_per_s: float, start_us: int) -> tuple[Listing, ...]:
    """List every asset; `total_per_s` events a second are those of all of Gate.io. Nothing here has a date."""
    return tuple(
        _spot(asset, rank, events_per_s(total_per_s, len(chosen), rank, _SHARES["spot"]))
        if market == "spot"
        else _perp(asset, rank, events_per_s(total_per_s, len(chosen), rank, _SHARES["perp"]))
        for rank, asset in enumerate(chosen)
    )


def _spot(asset: Asset, rank: int, rate: float) -> Listing:
    tick, step, _, _ = _grid(asset)
    return Listing(
        exchange="gateio",
        market="spot",
        asset=asset,
        base=asset.name,
        quote="USDT",
        wire_symbol=f"{asset.name}_USDT",
        symbol=f"{asset.name}-USDT",
        tick_size=tick,
        step_size=step,
        events_per_s=rate,
        rank=rank,
        price_digits=digits_of(tick),
        quantity_digits=digits_of(step),
    )


def _perp(asset: Asset, rank: int, rate: float) -> Listing:
    _, _, tick, contract_size = _grid(asset)
    return Listing(
        exchange="gateio",
        market="perp",
        asset=asset,
        base=asset.name,
        quote="USDT",
        wire_symbol=f"{asset.name}_USDT",
        symbol=f"{asset.name}-USDT-PERP",
        tick_size=tick,
        step_size="1",
        events_per_s=rate,
        rank=rank,
        price_digits=digits_of(tick),
        quantity_digits=0,
        contract_size=contract_size,
        premium=_PERP_PREMIUM,
    )


def _grid(asset: Asset) -> tuple[str, str, str, str]:
    """Return the listed figures of a known asset, else plausible ones: a contract is worth some dollars."""
    if asset.name in _GRIDS:
        return _GRIDS[asset.name]
    tick = plausible_tick(asset.base_price)
    return tick, "0.001" if asset.base_price >= 1.0 else "0.1", tick, plausible_contract(asset.base_price)
