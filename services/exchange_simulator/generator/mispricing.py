"""Windows of time in which one market's price of an asset is off by a known share: what an arbitrage signal must find.

A market draws its price anew at the beginning of each block of time, so a window takes hold at the first block that
begins within it and ends with the first that begins behind it. `Windows.write` puts these true times into the ledger's
folder, from the schedule and not from what was sent.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.exchange_simulator.generator.market import EPOCH_US, Market, Prices

SECOND_US = 1_000_000
FILE_NAME = "mispricings.json"


@dataclass(frozen=True, slots=True)
class Window:
    """An asset at an exchange market is off by `percent`, for `length_us` from `start_us` on (market time, UTC)."""

    asset: str
    exchange: str
    market: str
    percent: float
    start_us: int
    length_us: int


class Mispriced:
    """Prices that are off in windows."""

    def __init__(self, prices: Prices, windows: Sequence[Window]) -> None:
        self._prices = prices
        self._windows = windows

    def at(self, time_us: int) -> float:
        """Return the price of one unit, off where a window says so."""
        price = self._prices.at(time_us)
        for window in self._windows:
            if window.start_us <= time_us < window.start_us + window.length_us:
                price *= 1 + window.percent / 100
        return price

    def undisturbed(self, begin_us: int, end_us: int) -> Prices | None:
        """Return the prices without windows, where none is open in [begin_us, end_us); else None."""
        open_then = (one.start_us < end_us and begin_us < one.start_us + one.length_us for one in self._windows)
        return None if any(open_then) else self._prices

    def index_at(self, time_us: int) -> float:
        """Return the price of the asset itself, which no window changes."""
        return self._prices.index_at(time_us)


class Windows:
    """The schedule of a run. Raises ValueError naming what cannot be read."""

    def __init__(self, texts: Sequence[str], begin_us: int) -> None:
        """Read `ASSET:exchange.market:percent:start:length` each, seconds from `begin_us`."""
        self.windows = [_read(text, begin_us) for text in texts]

    def on(self, prices: Prices, asset: str, exchange: str, market: str) -> Prices:
        """Return the prices of an asset at an exchange market, off in its windows."""
        own = [one for one in self.windows if (one.asset, one.exchange, one.market) == (asset, exchange, market)]
        return Mispriced(prices, own) if own else prices

    def write(self, folder: Path, markets: Sequence[Market]) -> None:
        """Write what is true of each instrument: off by how much, from when, and until when."""
        if not self.windows:
            return
        folder.mkdir(parents=True, exist_ok=True)
        rows = [
            {
                "exchange": window.exchange,
                "market": window.market,
                "symbol": market.listing.symbol,
                "asset": window.asset,
                "percent": window.percent,
                "start_us": _next_block(window.start_us, market.shape.block_us),
                "end_us": _next_block(window.start_us + window.length_us, market.shape.block_us),
            }
            for window in self.windows
            for market in markets
            if (market.listing.asset.name, market.listing.exchange, market.listing.market)
            == (window.asset, window.exchange, window.market)
        ]
        (folder / FILE_NAME).write_text(json.dumps(rows, indent=2) + "\n")


def _read(text: str, begin_us: int) -> Window:
    parts = text.split(":")
    try:
        asset, place, percent, start, length = parts
        exchange, market = place.split(".")
        window = Window(
            asset,
            exchange,
            market,
            float(percent),
            begin_us + round(float(start) * SECOND_US),
            round(float(length) * SECOND_US),
        )
    except ValueError:
        raise ValueError(f"{text!r} is not ASSET:exchange.market:percent:start:length") from None
    if not -100 < window.percent < 1_000 or window.length_us <= 0:
        raise ValueError(f"{text!r}: allowed are a percent from -100 to 1000 and a length above 0")
    return window


def _next_block(time_us: int, block_us: int) -> int:
    """Return the beginning of the first block that begins at or after a time."""
    return EPOCH_US - (EPOCH_US - time_us) // block_us * block_us
