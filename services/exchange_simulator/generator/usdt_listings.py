"""What exchanges list against USDT alike: of each asset a spot pair and a perpetual in contracts of some coin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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


def rates(market: str, count: int, total_per_s: float) -> list[float]:
    """Return the events a second of each of `count` assets, the busiest first, of an exchange's `total_per_s`.

    `market` is `spot` or `perp`; contracts have two thirds of an exchange's events.
    """
    return [events_per_s(total_per_s, count, rank, _SHARES[market]) for rank in range(count)]


def plausible_step(price: float) -> str:
    """Return a step of quantity on spot, in base currency, for an asset that no list has."""
    return "0.001" if price >= 1.0 else "0.1"


@dataclass(frozen=True)
class UsdtMarkets:
    """An exchange's spot pairs and perpetuals against USDT, perpetuals in whole contracts. Nothing here has a date."""

    exchange: str
    grids: Mapping[str, tuple[str, str, str, str]]
    """Asset -> spot tick, spot step, perpetual tick, contract size in base currency; of others plausible ones."""
    spot_joint: str
    """What stands between base and quote in the exchange's symbol of a spot pair; in that of a perpetual it is `_`."""
    premium: float
    """How far perpetuals trade above the asset's price, as a fraction."""
    perp_counting: Counting
    """How perpetuals number; spot pairs number without holes."""

    def listings(self, market: str, chosen: Sequence[Asset], total_per_s: float, start_us: int) -> tuple[Listing, ...]:
        """List every asset on `spot` or `perp`; `total_per_s` events a second are those of the whole exchange."""
        make = self._spot if market == "spot" else self._perp
        found = zip(chosen, rates(market, len(chosen), total_per_s), strict=True)
        return tuple(make(asset, rank, rate) for rank, (asset, rate) in enumerate(found))

    def _spot(self, asset: Asset, rank: int, rate: float) -> Listing:
        tick, step, _, _ = self._grid(asset)
        return Listing(
            exchange=self.exchange,
            market="spot",
            asset=asset,
            base=asset.name,
            quote="USDT",
            wire_symbol=f"{asset.name}{self.spot_joint}USDT",
            symbol=f"{asset.name}-USDT",
            tick_size=tick,
            step_size=step,
            events_per_s=rate,
            rank=rank,
            price_digits=digits_of(tick),
            quantity_digits=digits_of(step),
        )

    def _perp(self, asset: Asset, rank: int, rate: float) -> Listing:
        _, _, tick, contract_size = self._grid(asset)
        return Listing(
            exchange=self.exchange,
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
            premium=self.premium,
            counting=self.perp_counting,
        )

    def _grid(self, asset: Asset) -> tuple[str, str, str, str]:
        """Return the listed figures of a known asset, else plausible ones: a contract is worth some dollars."""
        if asset.name in self.grids:
            return self.grids[asset.name]
        tick = plausible_tick(asset.base_price)
        return tick, plausible_step(asset.base_price), tick, plausible_contract(asset.base_price)
