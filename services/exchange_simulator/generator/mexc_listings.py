"""MEXC's spot pairs and contracts against USDT: symbols, ticks, and how much of a coin makes a contract."""

from __future__ import annotations

from collections.abc import Sequence

from services.exchange_simulator.generator.names import (
    Asset,
    Counting,
    Listing,
    digits_of,
    events_per_s,
    plausible_contract,
    plausible_tick,
)

_SHARES = {"perp": 2.0 / 3.0, "spot": 1.0 / 3.0}
_PERP_PREMIUM = 1.3e-4
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


def listings(market: str, chosen: Sequence[Asset], total_per_s: float, start_us: int) -> tuple[Listing, ...]:
    """List every asset; `total_per_s` events a second are those of all of MEXC. Nothing here has a date."""
    rates = [events_per_s(total_per_s, len(chosen), rank, _SHARES[market]) for rank in range(len(chosen))]
    make = _spot if market == "spot" else _perp
    return tuple(make(asset, rank, rate) for rank, (asset, rate) in enumerate(zip(chosen, rates, strict=True)))


def _spot(asset: Asset, rank: int, rate: float) -> Listing:
    tick, step, _, _ = _grid(asset)
    return Listing(
        exchange="mexc",
        market="spot",
        asset=asset,
        base=asset.name,
        quote="USDT",
        wire_symbol=f"{asset.name}USDT",
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
        exchange="mexc",
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
        counting=Counting(single_book_ids=True, hidden_trade_ids=_LOST_TRADE_IDS),
    )


def _grid(asset: Asset) -> tuple[str, str, str, str]:
    """Return the listed figures of a known asset, else plausible ones: a contract is worth some dollars."""
    if asset.name in _GRIDS:
        return _GRIDS[asset.name]
    tick = plausible_tick(asset.base_price)
    return tick, "0.001" if asset.base_price >= 1.0 else "0.1", tick, plausible_contract(asset.base_price)
