"""The best levels of one instrument's book, kept from snapshots and the changes between them.

A snapshot shows the best levels of a book and nothing of what lies behind: only prices up to its worst one are known
(`bound`), so changes behind it are passed over and a walk that would go there has no answer. Each second's snapshot
widens the view again.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from services.arbitrage_signal.inputs import Pairs

NOTHING = -(1 << 512)
"""A bound before every price: nothing is known."""


class BadLevel(ValueError):
    """A level that no book can hold."""


class Side:
    """One side. A key is the price for asks and minus the price for bids: the best one is the lowest."""

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[int] = []
        self.quantities: dict[int, int] = {}
        self.bound = NOTHING

    def clear(self) -> None:
        """Know nothing."""
        self.keys = []
        self.quantities = {}
        self.bound = NOTHING

    def replace(self, levels: list[tuple[int, int]]) -> None:
        """Take a snapshot's levels (price, quantity). Raises BadLevel for one without quantity."""
        sign = self.sign
        found: dict[int, int] = {}
        for price, quantity in levels:
            if quantity <= 0:
                raise BadLevel("a level of a snapshot has no quantity")
            found[sign * price] = quantity
        self.quantities = found
        self.keys = sorted(found)
        self.bound = self.keys[-1] if self.keys else NOTHING

    def change(self, levels: list[tuple[int, int]]) -> None:
        """Take levels with their new quantity; 0 removes."""
        sign, bound, keys, quantities = self.sign, self.bound, self.keys, self.quantities
        for price, quantity in levels:
            key = sign * price
            if key > bound:
                continue
            if quantity:
                if key not in quantities:
                    insort(keys, key)
                quantities[key] = quantity
            elif quantities.pop(key, None) is not None:
                del keys[bisect_left(keys, key)]


class Book:
    """Both sides. Prices and quantities are per unit of the asset, whole numbers of 10^-30."""

    def __init__(self) -> None:
        self.bids = Side(-1)
        self.asks = Side(1)
        self.sequence = 0

    def snapshot(self, sequence: int, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> None:
        """Begin anew. Raises BadLevel."""
        self.bids.replace(bids)
        self.asks.replace(asks)
        self.sequence = sequence

    def change(self, sequence: int, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> None:
        """Take the next change."""
        self.bids.change(bids)
        self.asks.change(asks)
        self.sequence = sequence

    def clear(self) -> None:
        """Know nothing."""
        self.bids.clear()
        self.asks.clear()


def levels(pairs: Pairs, price_factors: tuple[int, ...], quantity_factors: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return levels as whole numbers; `..._factors[n]` is what a number with n decimals is multiplied by.

    Raises BadLevel for a price that is not above zero, a quantity below it, or a number that is none.
    """
    found = []
    try:
        for price, quantity, *_ in pairs:
            units, _, fraction = price.partition(".")
            key = int(units + fraction) * price_factors[len(fraction)]
            units, _, fraction = quantity.partition(".")
            amount = int(units + fraction) * quantity_factors[len(fraction)]
            if key <= 0 or amount < 0:
                raise BadLevel(f"level {price} x {quantity} is not allowed")
            found.append((key, amount))
    except (ValueError, IndexError) as error:
        raise BadLevel(str(error)) from None
    return found
