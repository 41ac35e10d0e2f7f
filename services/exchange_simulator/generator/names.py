"""What is listed: assets with plausible prices, and their spot pairs and perpetuals with ticks, steps and activity.

The starter assets come first, then well-known ones, then invented ones up to any number. An asset is the same on every
exchange and market: its price process hangs on its name alone.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from services.exchange_simulator.generator.noise import key_of, mix, unit

MOST_ASSETS = 1_000
"""How many assets can be listed."""

_SPOT_DIGITS = 8
_SLOWEST_EVENTS_PER_S = 0.3

_KNOWN: tuple[tuple[str, float, float, str, str, str, str], ...] = (
    # asset, price, move per root second, spot tick, spot step, perpetual tick, perpetual step
    ("BTC", 83_000.0, 4.0e-5, "0.01", "0.00001", "0.10", "0.001"),
    ("ETH", 3_120.0, 5.0e-5, "0.01", "0.0001", "0.01", "0.001"),
    ("SOL", 162.0, 6.0e-5, "0.01", "0.001", "0.0100", "0.01"),
    ("DOGE", 0.1873, 7.0e-5, "0.00001", "1", "0.000010", "1"),
    ("ADA", 0.6214, 7.0e-5, "0.0001", "0.1", "0.00010", "1"),
    ("XRP", 2.2145, 6.0e-5, "0.0001", "0.1", "0.0001", "0.1"),
    ("BNB", 912.4, 5.0e-5, "0.01", "0.001", "0.010", "0.01"),
    ("PEPE", 0.00000921, 9.0e-5, "0.00000001", "1", "0.0000010", "1"),
    ("SHIB", 0.00001132, 8.0e-5, "0.00000001", "1", "0.000001", "1"),
    ("LINK", 15.82, 7.0e-5, "0.01", "0.01", "0.001", "0.01"),
    ("AVAX", 18.45, 7.0e-5, "0.01", "0.01", "0.0010", "1"),
    ("SUSHI", 0.6112, 8.0e-5, "0.0001", "0.1", "0.0001", "1"),
    ("BONK", 0.00001463, 9.0e-5, "0.00000001", "1", "0.0000010", "1"),
    ("FLOKI", 0.00006318, 9.0e-5, "0.00000001", "1", "0.00001", "1"),
)
_THOUSANDS = frozenset({"PEPE", "SHIB", "BONK", "FLOKI"})


@dataclass(frozen=True, slots=True)
class Asset:
    """One coin: its name, the price its process starts from, and how far that moves in a root second."""

    name: str
    base_price: float
    volatility: float


@dataclass(frozen=True)
class Listing:
    """One instrument of one exchange market, with everything its digits need.

    Prices are whole numbers of ticks and quantities whole numbers of steps wherever the generator computes.
    """

    exchange: str
    market: str
    asset: Asset
    multiplier: int
    tick_size: str
    step_size: str
    events_per_s: float
    rank: int

    @cached_property
    def base(self) -> str:
        """The base currency in the exchange's name: `BTC`, `1000PEPE`."""
        return self.asset.name if self.multiplier == 1 else f"{self.multiplier}{self.asset.name}"

    @cached_property
    def wire_symbol(self) -> str:
        """The exchange's symbol: `BTCUSDT`."""
        return f"{self.base}USDT"

    @cached_property
    def symbol(self) -> str:
        """Our symbol: `BTC-USDT`, `BTC-USDT-PERP`."""
        return f"{self.base}-USDT-PERP" if self.market == "perp" else f"{self.base}-USDT"

    @cached_property
    def price_digits(self) -> int:
        """Digits after the point of a price on the wire; the tick size is written with as many on futures."""
        return _SPOT_DIGITS if self.market == "spot" else _digits(self.tick_size)

    @cached_property
    def quantity_digits(self) -> int:
        """Digits after the point of a quantity on the wire."""
        return _SPOT_DIGITS if self.market == "spot" else _digits(self.step_size)

    @cached_property
    def tick_units(self) -> int:
        """One tick in units of the last price digit on the wire."""
        return _units(self.tick_size, self.price_digits)

    @cached_property
    def step_units(self) -> int:
        """One step in units of the last quantity digit on the wire."""
        return _units(self.step_size, self.quantity_digits)

    @cached_property
    def tick(self) -> float:
        """The tick as a float, for placing the price process on the grid."""
        return float(self.tick_size)

    @cached_property
    def step_value(self) -> float:
        """What one step of quantity is worth at the price the process starts from, in quote currency."""
        return self.base_ticks * self.tick * float(self.step_size)

    @cached_property
    def base_ticks(self) -> int:
        """The price the process starts from, in ticks."""
        return round(self.asset.base_price * self.multiplier / self.tick)


def _digits(text: str) -> int:
    return len(text.partition(".")[2])


def _units(text: str, digits: int) -> int:
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(digits, "0")[:digits])


def assets(seed: int, wanted: int | Sequence[str]) -> tuple[Asset, ...]:
    """Return the first so many assets, or those named (`BTC`). Raises ValueError for a number or name not there."""
    if isinstance(wanted, int):
        if not 1 <= wanted <= MOST_ASSETS:
            raise ValueError(f"symbols={wanted}: the generator lists 1 to {MOST_ASSETS} assets")
        return _all_assets(seed, wanted)
    listed = {asset.name: asset for asset in _all_assets(seed, MOST_ASSETS)}
    if unknown := [name for name in wanted if name not in listed]:
        raise ValueError(f"symbols={','.join(unknown)}: not among the generator's assets (BTC, ETH, ...)")
    return tuple(listed[name] for name in dict.fromkeys(wanted))


def listings(exchange: str, chosen: Sequence[Asset], seed: int, events_per_s: float) -> tuple[Listing, ...]:
    """List every asset as spot pair and perpetual; `events_per_s` is shared out, unevenly, over all of them.

    A few symbols have most of the activity. None is slower than 0.3 events a second: with very many symbols and a very
    small rate the total is therefore above `events_per_s`.
    """
    weights = [1.0 / (rank + 3.0) + 0.3 / (len(chosen) + 3.0) for rank in range(len(chosen))]
    total = sum(weights) * 3.0
    found = []
    for rank, asset in enumerate(chosen):
        for market, share in (("perp", 2.0), ("spot", 1.0)):
            tick, step = _grid(asset, market, seed)
            multiplier = 1000 if market == "perp" and asset.name in _THOUSANDS else 1
            rate = max(_SLOWEST_EVENTS_PER_S, events_per_s * weights[rank] * share / total)
            found.append(Listing(exchange, market, asset, multiplier, tick, step, rate, rank))
    return tuple(found)


def _all_assets(seed: int, count: int) -> tuple[Asset, ...]:
    found = [Asset(name, price, moves) for name, price, moves, *_ in _KNOWN[:count]]
    names = {asset.name for asset in found}
    key = key_of("assets", seed)
    draw = 0
    while len(found) < count:
        bits, draw = mix(key, draw), draw + 1
        name = "".join(string.ascii_uppercase[(bits >> 5 * place) % 26] for place in range(3 + bits % 3))
        if name in names or name.startswith("USD"):
            continue
        names.add(name)
        decade = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)[(bits >> 40) % 6]
        price = decade * (1.0 + 9.0 * unit(key, draw + 1_000_000))
        found.append(Asset(name, price, 5.0e-5 + 4.0e-5 * unit(key, draw + 2_000_000)))
    return tuple(found)


def _grid(asset: Asset, market: str, seed: int) -> tuple[str, str]:
    """Return tick and step: listed ones for known assets, else a tick of about one basis point and a plausible step."""
    for name, _, _, spot_tick, spot_step, perp_tick, perp_step in _KNOWN:
        if name == asset.name:
            return (spot_tick, spot_step) if market == "spot" else (perp_tick, perp_step)
    digits = next(d for d in range(8) if asset.base_price * 10**d >= 4_000.0)
    tick = "1" if digits == 0 else "0." + "0" * (digits - 1) + "1"
    if asset.base_price >= 50.0:
        return tick, "0.001" if market == "spot" else "0.01"
    if asset.base_price >= 1.0:
        return tick, "0.01" if market == "spot" else "0.1"
    return tick, "0.1" if market == "spot" else "1"
