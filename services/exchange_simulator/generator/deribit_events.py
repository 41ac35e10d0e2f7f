"""What only Deribit says: trades that liquidated somebody, told once a second, and the volatility indices."""

from __future__ import annotations

from typing import ClassVar

from services.exchange_simulator.generator.events import Event
from services.exchange_simulator.generator.market import Market, Trade

_LIQUIDATION_SLOT_US = 10_000_000
_FLAGS = ("T", "T", "T", "M", "M", "MT")
_MOST_EQUAL = 1_000


class FlaggedTradeEvent(Event, gc=False):
    """A trade on the streams that are read for liquidations, with its flag: see `flag_of`."""

    KIND: ClassVar[str] = "liquidation"

    trade: Trade
    flag: str


class VolatilityEvent(Event, gc=False):
    """The volatility index of a currency, per cent a year, in units of 10^-2. `listing` is its inverse perpetual."""

    KIND: ClassVar[str] = "volatility_index"

    index: str
    units: int


def flag_of(market: Market, trade: Trade) -> str:
    """Return whom a trade liquidated: its taker (`T`), maker (`M`), both (`MT`); empty: nobody.

    It is the first trade of every ten seconds that liquidates somebody.
    """
    before = market.trade(trade.aggregate_id - 1)
    if before.time_us // _LIQUIDATION_SLOT_US == trade.time_us // _LIQUIDATION_SLOT_US:
        return ""
    return _FLAGS[trade.aggregate_id % len(_FLAGS)]


def tick_direction(market: Market, trade: Trade) -> int:
    """Return 0 for a price above the one before and 2 for one below; with equal ones it goes on as 1 or 3."""
    for back in range(1, _MOST_EQUAL):
        before = market.trade(trade.aggregate_id - back)
        if before.ticks != trade.ticks:
            return 2 * (trade.ticks < before.ticks) + (back > 1)
    return 1
