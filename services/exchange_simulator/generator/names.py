"""What can be listed: assets with plausible prices, and what every listing of any exchange has in common.

The starter assets come first, then well-known ones, then invented ones up to any number. An asset is the same on every
exchange and market: its price process hangs on its name alone. What an exchange makes of it (symbols, ticks, steps,
contracts) is the business of that exchange's own listings (`binance_listings.py`).
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from services.exchange_simulator.generator.noise import key_of, mix, unit

MOST_ASSETS = 1_000
"""How many assets can be listed."""

_SLOWEST_EVENTS_PER_S = 0.3
_CONTRACT_VALUE = 10.0

_KNOWN: tuple[tuple[str, float, float], ...] = (
    # asset, price, move per root second
    ("BTC", 83_000.0, 4.0e-5),
    ("ETH", 3_120.0, 5.0e-5),
    ("SOL", 162.0, 6.0e-5),
    ("DOGE", 0.1873, 7.0e-5),
    ("ADA", 0.6214, 7.0e-5),
    ("XRP", 2.2145, 6.0e-5),
    ("BNB", 912.4, 5.0e-5),
    ("PEPE", 0.00000921, 9.0e-5),
    ("SHIB", 0.00001132, 8.0e-5),
    ("LINK", 15.82, 7.0e-5),
    ("AVAX", 18.45, 7.0e-5),
    ("SUSHI", 0.6112, 8.0e-5),
    ("BONK", 0.00001463, 9.0e-5),
    ("FLOKI", 0.00006318, 9.0e-5),
)


@dataclass(frozen=True, slots=True)
class Asset:
    """One coin: its name, the price its process starts from, and how far that moves in a root second."""

    name: str
    base_price: float
    volatility: float


@dataclass(frozen=True, slots=True)
class Counting:
    """How an exchange market numbers its book changes and trades."""

    running_book_ids: bool = False
    """Book ids are stretches of one running counter, with holes between changes; else each change begins where the one
    before ended."""
    single_book_ids: bool = False
    """Each book change has one id, one above that of the change before; else it may have several."""
    hidden_trade_ids: int = 0
    """Trade ids a block of time uses up that the public never sees."""


@dataclass(frozen=True, eq=False)
class Listing:
    """One instrument of one exchange market, with everything its digits need. Compared and hashed by identity.

    Prices are whole numbers of ticks and quantities whole numbers of steps wherever the generator computes. A quantity
    is what the exchange's wire says: base currency on spot, contracts where `contract_size` is given.
    """

    exchange: str
    market: str
    asset: Asset
    base: str
    """The base currency in the exchange's name: `BTC`, `1000PEPE`."""
    quote: str
    wire_symbol: str
    """The exchange's own symbol: `BTCUSDT`, `BTC-USDT-SWAP`."""
    symbol: str
    """tapeline's: `BTC-USDT`, `BTC-USDT-PERP`."""
    tick_size: str
    step_size: str
    """On contract markets in contracts."""
    events_per_s: float
    rank: int
    """0 is the busiest asset."""
    price_digits: int
    """Digits of the unit in which prices are counted for the wire."""
    quantity_digits: int
    """Digits of the unit in which quantities are counted for the wire."""
    multiplier: int = 1
    """Units of the asset in one unit of the base: 1000 of `1000PEPE`."""
    contract_size: str | None = None
    """What a contract is worth: base currency, or quote currency where `inverse`; None where there are no contracts."""
    inverse: bool = False
    premium: float = 0.0
    """How far this instrument trades above the asset's price, as a fraction."""
    expires_us: int | None = None
    counting: Counting = Counting()

    @cached_property
    def tick_units(self) -> int:
        """One tick in units of the last price digit on the wire."""
        return units_of(self.tick_size, self.price_digits)

    @cached_property
    def step_units(self) -> int:
        """One step in units of the last quantity digit on the wire."""
        return units_of(self.step_size, self.quantity_digits)

    @cached_property
    def contract_digits(self) -> int:
        """Digits after the point of the contract size; 0 where there are no contracts."""
        return digits_of(self.contract_size or "1")

    @cached_property
    def contract_units(self) -> int:
        """The contract size in units of its last digit; 1 where there are no contracts."""
        return units_of(self.contract_size or "1", self.contract_digits)

    @cached_property
    def tick(self) -> float:
        """The tick as a float, for placing the price process on the grid."""
        return float(self.tick_size)

    @cached_property
    def step_value(self) -> float:
        """What one step of quantity is worth at the price the process starts from, in quote currency."""
        worth = float(self.step_size) * float(self.contract_size or "1")
        return worth if self.inverse else worth * self.base_ticks * self.tick

    @cached_property
    def base_ticks(self) -> int:
        """The price the process starts from, in ticks."""
        return round(self.asset.base_price * self.multiplier / self.tick)


def digits_of(text: str) -> int:
    """Return how many digits a decimal has after its point."""
    return len(text.partition(".")[2])


def units_of(text: str, digits: int) -> int:
    """Return a decimal in units of 10^-digits; it must not be finer."""
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


def events_per_s(total: float, count: int, rank: int, share: float) -> float:
    """Return one instrument's part of `total` events a second over `count` assets, by the asset's rank from 0 on.

    `share` is the part of the exchange's events that this kind of instrument has, all assets together. A few assets
    have most of the activity. Nothing is slower than 0.3 events a second: with very many instruments and a very small
    rate the sum is therefore above `total`.
    """
    weights = _weights(count)
    return max(_SLOWEST_EVENTS_PER_S, total * share * weights[rank] / sum(weights))


def _weights(count: int) -> list[float]:
    return [1.0 / (rank + 3.0) + 0.3 / (count + 3.0) for rank in range(count)]


def _all_assets(seed: int, count: int) -> tuple[Asset, ...]:
    found = [Asset(name, price, moves) for name, price, moves in _KNOWN[:count]]
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


def plausible_contract(price: float) -> str:
    """Return a contract size in base currency, a power of ten that is worth some dollars at a price."""
    power = next(power for power in range(-12, 12) if price * 10.0**-power <= _CONTRACT_VALUE)
    return f"0.{'1':0>{power}}" if power > 0 else "1" + "0" * -power


def plausible_tick(price: float) -> str:
    """Return a tick of about one basis point of a price."""
    digits = next(d for d in range(12) if price * 10**d >= 4_000.0)
    return "1" if digits == 0 else "0." + "0" * (digits - 1) + "1"
