"""A recorded order book rolled forward by recorded changes, in the exchange's own digits."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

Level = list[str]
"""`[price, quantity]` as the exchange wrote them."""


class Book:
    """Both sides of one book. Equal prices are equal as numbers; what is given back is the latest writing."""

    def __init__(self, bids: Sequence[Level], asks: Sequence[Level]) -> None:
        """Start from a snapshot's levels, in any order."""
        self._bids: dict[Decimal, Level] = {}
        self._asks: dict[Decimal, Level] = {}
        self.apply(bids, asks)

    def apply(self, bids: Sequence[Level], asks: Sequence[Level]) -> None:
        """Set levels to absolute quantities; a quantity of zero removes, also where there was nothing."""
        for side, levels in ((self._bids, bids), (self._asks, asks)):
            for price, quantity in levels:
                if Decimal(quantity):
                    side[Decimal(price)] = [price, quantity]
                else:
                    side.pop(Decimal(price), None)

    def bids(self, limit: int) -> list[Level]:
        """Return the best `limit` bids, highest price first."""
        return [self._bids[price] for price in sorted(self._bids, reverse=True)[:limit]]

    def asks(self, limit: int) -> list[Level]:
        """Return the best `limit` asks, lowest price first."""
        return [self._asks[price] for price in sorted(self._asks)[:limit]]
