"""Deribit's instruments: perpetuals in US dollars and USDC, dated futures, and a small chain of options.

BTC and ETH have inverse contracts, dated futures and options in the coin; every asset has a perpetual in USDC. Dated
instruments expire at 08:00 UTC of the last Friday of a month; which months is counted from the start of the run.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from math import sqrt

from services.exchange_simulator.generator.market import Prices
from services.exchange_simulator.generator.names import (
    Asset,
    Listing,
    digits_of,
    events_per_s,
    plausible_contract,
    plausible_tick,
)

_SHARES = {"perp": 0.8, "future": 0.1, "option": 0.1}
_DATED_AT_LEAST_PER_S = 5.0
"""Dated instruments are few and each is heard of, however slow the exchange is as a whole."""
_INVERSE: dict[str, tuple[str, str]] = {"BTC": ("0.5", "10"), "ETH": ("0.05", "1")}
"""Tick and contract size in US dollars of inverse contracts."""
_LINEAR: dict[str, tuple[str, str]] = {
    # asset: tick, contract size in base currency
    "BTC": ("0.5", "0.0001"),
    "ETH": ("0.05", "0.001"),
    "SOL": ("0.01", "0.1"),
    "DOGE": ("0.00001", "100"),
    "ADA": ("0.0001", "10"),
    "XRP": ("0.0001", "10"),
    "BNB": ("0.01", "0.01"),
}
_OPTION_STEPS = {"BTC": "0.1", "ETH": "1"}
_OPTION_TICK = "0.0001"
_STRIKE_SHARES = (0.95, 1.05)
_YEAR_US = 365.0 * 86_400_000_000.0
_DAY_US = 86_400_000_000
_LEAST_LIFE_US = 20 * _DAY_US
_EXPIRY_HOUR = 8
_FRIDAY = 4
_FUTURES = 2
"""How many expiries there are futures of; options are of the first."""
_PREMIUM = 1.0e-4
_PREMIUM_A_YEAR = 0.06
VOLATILITY = {"BTC": 0.45, "ETH": 0.65}
"""What the market takes the coming year's volatility to be, as a fraction."""
_MEAN_MOVE = 0.8
"""The mean distance of a normal distribution from its middle, as a share of its deviation: the root of 2 / pi."""


@dataclass(frozen=True, eq=False)
class OptionListing(Listing):
    """An option: its strike, its side, and the price that it starts from, in the coin where the quote is the coin."""

    strike: float = 0.0
    call: bool = True
    usual_price: float = 0.0

    @cached_property
    def base_ticks(self) -> int:
        """The price the process starts from, in ticks."""
        return round(self.usual_price / self.tick)

    @cached_property
    def step_value(self) -> float:
        """What one step is worth at the price the process starts from, in US dollars."""
        return float(self.step_size) * self.usual_price * self.asset.base_price


class OptionPrices:
    """The price of an option in the coin, from the coin's own."""

    def __init__(self, listing: OptionListing, coin: Prices) -> None:
        self._listing = listing
        self.index_at = coin.index_at
        """The price of the coin."""

    def at(self, time_us: int) -> float:
        """Return the price of an option on one coin, in coins."""
        listing = self._listing
        assert listing.expires_us is not None
        left_us = listing.expires_us - time_us
        return worth(listing.strike, listing.call, self.index_at(time_us), reach(listing.asset.name, left_us))


def prices(listing: Listing, asset_prices: Prices) -> Prices:
    """Return what an instrument's price hangs on."""
    return OptionPrices(listing, asset_prices) if isinstance(listing, OptionListing) else asset_prices


def reach(name: str, left_us: int) -> float:
    """Return how far, as a fraction, a coin's price is thought to move in the time left: its mean move to one side."""
    return _MEAN_MOVE * VOLATILITY[name] * sqrt(max(0, left_us) / _YEAR_US)


def worth(strike: float, call: bool, spot: float, move: float) -> float:
    """Return an option's worth in coins: what exercising it now brings, smoothed by what the coin may still move."""
    inner = 1.0 - strike / spot if call else strike / spot - 1.0
    return (inner + sqrt(inner * inner + move * move)) / 2.0


def perpetuals(chosen: Sequence[Asset], total_per_s: float, start_us: int) -> tuple[Listing, ...]:
    """List the perpetuals: inverse ones of BTC and ETH, linear ones of every asset."""
    found = []
    for rank, asset in enumerate(chosen):
        rate = events_per_s(total_per_s, len(chosen), rank, _SHARES["perp"])
        if asset.name in _INVERSE:
            name = f"{asset.name}-PERPETUAL"
            found.append(_inverse("perp", asset, rank, rate * 0.6, name, f"{asset.name}-USD-PERP", _PREMIUM, None))
            rate *= 0.4
        tick, contract_size = _LINEAR.get(asset.name) or _plausible(asset)
        found.append(
            Listing(
                exchange="deribit",
                market="perp",
                asset=asset,
                base=asset.name,
                quote="USDC",
                wire_symbol=f"{asset.name}_USDC-PERPETUAL",
                symbol=f"{asset.name}-USDC-PERP",
                tick_size=tick,
                step_size="1",
                events_per_s=rate,
                rank=rank,
                price_digits=digits_of(tick),
                quantity_digits=0,
                contract_size=contract_size,
                premium=_PREMIUM,
            )
        )
    return tuple(found)


def futures(chosen: Sequence[Asset], total_per_s: float, start_us: int) -> tuple[Listing, ...]:
    """List the dated futures of BTC and ETH, all inverse."""
    found = []
    for rank, asset in enumerate(chosen):
        if asset.name not in _INVERSE:
            continue
        rate = _dated(events_per_s(total_per_s, len(chosen), rank, _SHARES["future"]) / _FUTURES)
        for expiry in _expiries(start_us, _FUTURES):
            expires_us = _micros(expiry)
            premium = _PREMIUM + _PREMIUM_A_YEAR * (expires_us - start_us) / _YEAR_US
            name, symbol = f"{asset.name}-{wire_day(expiry)}", f"{asset.name}-USD-{expiry:%y%m%d}"
            found.append(_inverse("future", asset, rank, rate, name, symbol, premium, expires_us))
    return tuple(found)


def options(chosen: Sequence[Asset], total_per_s: float, start_us: int) -> tuple[Listing, ...]:
    """List a call and a put at two strikes of BTC and ETH, priced in the coin."""
    found: list[Listing] = []
    (expiry,) = _expiries(start_us, 1)
    for rank, asset in enumerate(chosen):
        if asset.name not in _OPTION_STEPS:
            continue
        rate = _dated(events_per_s(total_per_s, len(chosen), rank, _SHARES["option"]) / (2 * len(_STRIKE_SHARES)))
        for share in _STRIKE_SHARES:
            strike = _round_number(asset.base_price * share)
            for side in "CP":
                found.append(_option(asset, rank, rate, expiry, strike, side, start_us))
    return tuple(found)


def _option(
    asset: Asset, rank: int, rate: float, expiry: datetime, strike: int, side: str, start_us: int
) -> OptionListing:
    call, tail, step = side == "C", f"{strike}-{side}", _OPTION_STEPS[asset.name]
    move = reach(asset.name, _micros(expiry) - start_us)
    return OptionListing(
        exchange="deribit",
        market="option",
        asset=asset,
        base=asset.name,
        quote=asset.name,
        wire_symbol=f"{asset.name}-{wire_day(expiry)}-{tail}",
        symbol=f"{asset.name}-USD-{expiry:%y%m%d}-{tail}",
        tick_size=_OPTION_TICK,
        step_size=step,
        events_per_s=rate,
        rank=rank,
        price_digits=digits_of(_OPTION_TICK),
        quantity_digits=digits_of(step),
        contract_size="1",
        expires_us=_micros(expiry),
        strike=float(strike),
        call=call,
        usual_price=worth(float(strike), call, asset.base_price, move),
    )


def _inverse(
    market: str, asset: Asset, rank: int, rate: float, name: str, symbol: str, premium: float, expires_us: int | None
) -> Listing:
    tick, contract_size = _INVERSE[asset.name]
    return Listing(
        exchange="deribit",
        market=market,
        asset=asset,
        base=asset.name,
        quote="USD",
        wire_symbol=name,
        symbol=symbol,
        tick_size=tick,
        step_size="1",
        events_per_s=rate,
        rank=rank,
        price_digits=digits_of(tick),
        quantity_digits=0,
        contract_size=contract_size,
        inverse=True,
        premium=premium,
        expires_us=expires_us,
    )


def _dated(rate: float) -> float:
    return max(rate, _DATED_AT_LEAST_PER_S)


def _plausible(asset: Asset) -> tuple[str, str]:
    """Return tick and contract size of an asset that is not known."""
    return plausible_tick(asset.base_price), plausible_contract(asset.base_price)


def _expiries(start_us: int, count: int) -> list[datetime]:
    """Return the next last Fridays of a month that are far enough from the start of the run."""
    month = datetime.fromtimestamp(start_us / 1_000_000, UTC).replace(day=1)
    found: list[datetime] = []
    while len(found) < count:
        last = calendar.monthrange(month.year, month.month)[1]
        day = datetime(month.year, month.month, last, _EXPIRY_HOUR, tzinfo=UTC)
        day -= timedelta(days=(day.weekday() - _FRIDAY) % 7)
        if _micros(day) - start_us >= _LEAST_LIFE_US:
            found.append(day)
        month = (month + timedelta(days=31)).replace(day=1)
    return found


def wire_day(expiry: datetime) -> str:
    """Write a day as the exchange's names do: `25DEC26`, `6AUG21`."""
    return f"{expiry.day}{expiry:%b%y}".upper()


def _micros(time: datetime) -> int:
    return int(time.timestamp()) * 1_000_000


def _round_number(price: float) -> int:
    """Return a price with two digits, as strikes are."""
    grain: int = 10 ** (len(str(int(price))) - 2)
    return round(price / grain) * grain
