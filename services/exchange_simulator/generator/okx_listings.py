"""OKX's instruments: spot pairs and linear perpetuals against USDT, and dated futures of the two largest assets.

Sizes of contracts are those of the exchange's lists of 2025 where an asset is known there, else powers of ten.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from services.exchange_simulator.generator.names import (
    Asset,
    Counting,
    Listing,
    digits_of,
    events_per_s,
    plausible_tick,
)

_SHARES = {"spot": 0.3, "perp": 0.6, "future": 0.1}
_COUNTING = Counting(running_book_ids=True)
_PERP_PREMIUM = 1.6e-4
_PREMIUM_A_YEAR = 0.05
_YEAR_US = 365 * 86_400_000_000
_FUTURES_PER_ASSET = 2
_QUARTERS = (3, 6, 9, 12)
_EXPIRES_AT_HOUR = 8
_LEAST_AHEAD = timedelta(days=7)

_SPOT_GRIDS: dict[str, tuple[str, str]] = {
    # asset: tick, step
    "BTC": ("0.1", "0.00000001"),
    "ETH": ("0.01", "0.000001"),
    "SOL": ("0.01", "0.000001"),
    "DOGE": ("0.00001", "0.000001"),
    "ADA": ("0.0001", "0.000001"),
    "XRP": ("0.0001", "0.000001"),
    "BNB": ("0.1", "0.000001"),
    "PEPE": ("0.000000001", "1"),
    "SHIB": ("0.000000001", "1"),
    "LINK": ("0.001", "0.000001"),
    "AVAX": ("0.01", "0.000001"),
    "BONK": ("0.000000001", "1"),
    "FLOKI": ("0.00000001", "1"),
}
_SWAP_GRIDS: dict[str, tuple[str, str, str]] = {
    # asset: tick, step in contracts, base currency in a contract
    "BTC": ("0.1", "0.01", "0.01"),
    "ETH": ("0.01", "0.01", "0.1"),
    "SOL": ("0.01", "0.01", "1"),
    "DOGE": ("0.00001", "0.01", "1000"),
    "ADA": ("0.0001", "0.1", "100"),
    "XRP": ("0.0001", "0.01", "100"),
    "BNB": ("0.1", "1", "0.01"),
    "PEPE": ("0.000000001", "0.1", "10000000"),
    "SHIB": ("0.000000001", "0.1", "1000000"),
    "LINK": ("0.001", "0.1", "1"),
    "AVAX": ("0.001", "0.1", "1"),
    "BONK": ("0.000000001", "1", "100000"),
    "FLOKI": ("0.00000001", "1", "100000"),
}
_INVERSE_GRIDS: dict[str, tuple[str, str, str]] = {
    # asset: tick, step in contracts, US dollars in a contract
    "BTC": ("0.1", "1", "100"),
    "ETH": ("0.01", "1", "10"),
}


def listings(market: str, chosen: Sequence[Asset], total_per_s: float, start_us: int) -> tuple[Listing, ...]:
    """List what OKX has of these assets; `total_per_s` events a second are those of all of OKX."""
    if market == "future":
        return _futures(chosen, total_per_s, start_us)
    rates = [events_per_s(total_per_s, len(chosen), rank, _SHARES[market]) for rank in range(len(chosen))]
    make = _spot if market == "spot" else _swap
    return tuple(make(asset, rank, rate) for rank, (asset, rate) in enumerate(zip(chosen, rates, strict=True)))


def _spot(asset: Asset, rank: int, rate: float) -> Listing:
    tick, step = _SPOT_GRIDS.get(asset.name, (plausible_tick(asset.base_price), "0.0001"))
    name = f"{asset.name}-USDT"
    return _listing("spot", asset, "USDT", name, name, tick, step, rate, rank, None, False, 0.0, None)


def _swap(asset: Asset, rank: int, rate: float) -> Listing:
    tick, step, size = _SWAP_GRIDS.get(asset.name) or (plausible_tick(asset.base_price), "1", _size(asset.base_price))
    pair = f"{asset.name}-USDT"
    return _listing(
        "perp",
        *(asset, "USDT", f"{pair}-SWAP", f"{pair}-PERP", tick, step, rate, rank, size, False, _PERP_PREMIUM, None),
    )


def _futures(chosen: Sequence[Asset], total_per_s: float, start_us: int) -> tuple[Listing, ...]:
    found: list[Listing] = []
    dated = [(rank, asset) for rank, asset in enumerate(chosen) if asset.name in _INVERSE_GRIDS]
    rate = events_per_s(total_per_s, 1, 0, _SHARES["future"]) / max(1, 2 * _FUTURES_PER_ASSET * len(dated))
    for rank, asset in dated:
        for expiry in _expiries(start_us):
            expires_us = int(expiry.timestamp()) * 1_000_000
            premium = _PREMIUM_A_YEAR * (expires_us - start_us) / _YEAR_US
            for quote, grid in (("USDT", _SWAP_GRIDS[asset.name]), ("USD", _INVERSE_GRIDS[asset.name])):
                tick, step, size = grid
                name = f"{asset.name}-{quote}-{expiry:%y%m%d}"
                rest = (tick, step, rate, rank, size, quote == "USD", premium, expires_us)
                found.append(_listing("future", asset, quote, name, name, *rest))
    return tuple(found)


def _listing(
    market: str,
    asset: Asset,
    quote: str,
    wire_symbol: str,
    symbol: str,
    tick: str,
    step: str,
    rate: float,
    rank: int,
    size: str | None,
    inverse: bool,
    premium: float,
    expires_us: int | None,
) -> Listing:
    return Listing(
        exchange="okx",
        market=market,
        asset=asset,
        base=asset.name,
        quote=quote,
        wire_symbol=wire_symbol,
        symbol=symbol,
        tick_size=tick,
        step_size=step,
        events_per_s=rate,
        rank=rank,
        price_digits=digits_of(tick),
        quantity_digits=digits_of(step),
        contract_size=size,
        inverse=inverse,
        premium=premium,
        expires_us=expires_us,
        counting=_COUNTING,
    )


def _size(price: float) -> str:
    """Return how much of an asset is in a contract: worth some ten dollars."""
    return next((size for least, size in ((50.0, "0.1"), (1.0, "1"), (0.01, "100")) if price >= least), "10000")


def _expiries(start_us: int) -> list[datetime]:
    """Return when the next quarterly futures expire: the last Friday of a quarter, a week ahead or more."""
    start = datetime.fromtimestamp(start_us / 1_000_000, UTC)
    found: list[datetime] = []
    year = start.year
    while len(found) < _FUTURES_PER_ASSET:
        for month in _QUARTERS:
            last = datetime(year, month, calendar.monthrange(year, month)[1], _EXPIRES_AT_HOUR, tzinfo=UTC)
            friday = last - timedelta(days=(last.weekday() - calendar.FRIDAY) % 7)
            if friday - start >= _LEAST_AHEAD:
                found.append(friday)
        year += 1
    return found[:_FUTURES_PER_ASSET]
