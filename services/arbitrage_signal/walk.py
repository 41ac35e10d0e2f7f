"""What a trade of a given size costs and brings, walked through both books."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from typing import NamedTuple

from services.arbitrage_signal.exact import DIGITS, RATE, RATE_DIGITS, percent, text
from services.arbitrage_signal.leg import Depth, Leg

MONEY = 2 * DIGITS
FINE_MONEY = MONEY + RATE_DIGITS


class Offer(NamedTuple):
    """One trade size through both books. Money in whole numbers of 10^-60, fees and net of 10^-69."""

    size: int
    quantity: int
    cost: int
    proceeds: int
    gross: int
    fees: int
    net: int

    @property
    def slippage(self) -> int:
        """What walking the books took from the spread of the best prices."""
        return self.gross - (self.proceeds - self.cost)

    @property
    def net_percent(self) -> str:
        """The net spread in percent of the cost."""
        return percent(self.net, self.cost * RATE)

    def row(self) -> tuple[str, ...]:
        """Return the offer as it stands in a record's `sizes`."""
        return (
            text(self.size, MONEY),
            text(self.quantity, DIGITS),
            text(self.cost, MONEY),
            text(self.proceeds, MONEY),
            text(self.fees, FINE_MONEY),
            text(self.slippage, MONEY),
            text(self.net, FINE_MONEY),
            self.net_percent,
        )


def common_step(buy: Leg, sell: Leg) -> int:
    """Return the smallest quantity that is a whole number of both instruments' steps."""
    return math.lcm(buy.step, sell.step)


def offers(buy: Leg, sell: Leg, sizes: tuple[int, ...], step: int) -> list[Offer]:
    """Return an offer for each size (money, rising) that both books fill.

    Bought is the largest whole number of `step` whose cost before fees is at most the size, and just that is sold. A
    size has no offer when the asks known do not reach it, when the bids known do not take it, or when it is less than
    a step.
    """
    asks, bids = buy.asks(), sell.bids()
    found = []
    for size in sizes:
        quantity = _affordable(asks, size)
        if quantity is None:
            break
        quantity -= quantity % step
        if not quantity:
            continue
        if quantity > bids.quantities[-1]:
            break
        cost, proceeds = _amount(asks, quantity), _amount(bids, quantity)
        fees = cost * (buy.buying - RATE) + proceeds * (RATE - sell.selling)
        found.append(
            Offer(
                size,
                quantity,
                cost,
                proceeds,
                quantity * (bids.prices[0] - asks.prices[0]),
                fees,
                (proceeds - cost) * RATE - fees,
            )
        )
    return found


def _affordable(asks: Depth, size: int) -> int | None:
    """Return how much can be bought for `size`, or None when what is known does not reach so far."""
    amounts = asks.amounts
    place = bisect_right(amounts, size)
    if place == len(amounts):
        return asks.quantities[-1] if amounts and amounts[-1] == size else None
    before = amounts[place - 1] if place else 0
    had = asks.quantities[place - 1] if place else 0
    return had + (size - before) // asks.prices[place]


def _amount(depth: Depth, quantity: int) -> int:
    """Return the money for `quantity`, which the depth holds."""
    place = bisect_left(depth.quantities, quantity)
    before = depth.amounts[place - 1] if place else 0
    had = depth.quantities[place - 1] if place else 0
    return before + (quantity - had) * depth.prices[place]
