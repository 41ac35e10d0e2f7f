"""An order book kept in the exchange's own digits.

Prices are compared as numbers, so `0.10` and `0.1` are one level. No digit is lost by that: a price of up to 15 digits
has a double of its own, and the doubles stand in the order of the prices. A book that sees a longer price compares
decimals from then on. A level is kept as the piece of JSON it is published in (`7.6040","813`, on contract markets with
the contracts behind it), beside its key: two sorted lists a side, and nothing else. 2 x 1,000 levels take about 220 kB.

Changes are gathered and worked in when somebody looks: what is overwritten before that costs next to nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from decimal import Decimal
from operator import lt

import msgspec

_levels = re.compile(rb'"([0-9.]++)","([0-9.]++(?:","[0-9.]++)?+)"').findall

Key = float | Decimal

_DOUBLE = 15
"""Characters of a price that is compared as a double: no more digits than a double surely tells apart."""

_NEAR = 64
"""Most changes are among so many best levels: they are looked for there first."""

_CLOSED = 4
"""Cut at quotation marks, JSON has the end of its first level there."""

Pair = tuple[bytes, bytes]
"""A price, and what stands behind it: the quantity, and on contract markets `","` and the contracts."""

_ZERO = ord("0")
_NOTHING = b'0.",'
"""A quantity (and contracts) of which nothing is left without these is zero."""


def _pairs(levels: bytes | msgspec.Raw) -> Iterable[Pair]:
    """Return the levels of checked JSON."""
    parts = bytes(levels).split(b'"')
    if len(parts) > _CLOSED and parts[_CLOSED] == b",":  # contracts follow
        return _levels(levels)
    return zip(parts[1::4], parts[3::4], strict=True)


class Side:
    """One side of a book, best level last. `sign` is 1 for bids and -1 for asks: keys grow towards the best."""

    __slots__ = ("bound", "keys", "pieces", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[Key] = []
        self.pieces: list[bytes] = []
        self.bound: Key | None = None
        """The key of the worst level that is known for sure; what lies beyond it is unknown. None: all is known."""

    def set(self, key: Key, piece: bytes | None) -> None:
        """Put a level, or take it away (None); beyond the bound nothing is kept."""
        if self.bound is not None and key < self.bound:
            return
        keys = self.keys
        at = bisect_left(keys, key)
        if at < len(keys) and keys[at] == key:
            if piece is None:
                del keys[at], self.pieces[at]
            else:
                self.pieces[at] = piece
        elif piece is not None:
            keys.insert(at, key)
            self.pieces.insert(at, piece)

    def trim(self, most: int) -> None:
        """Give up the worst levels when there are far more than `most`."""
        excess = len(self.keys) - most
        if excess > most // 4:
            del self.keys[:excess], self.pieces[:excess]
            self.bound = self.keys[0]

    def top(self, count: int) -> msgspec.Raw:
        """Return the best levels, best first, as JSON."""
        pieces = self.pieces[-count:] if count else []
        if not pieces:
            return msgspec.Raw(b"[]")
        pieces.reverse()
        return msgspec.Raw(b'[["' + b'"],["'.join(pieces) + b'"]]')

    def proves(self, count: int) -> bool:
        """Whether the best `count` levels are known for sure."""
        return self.bound is None or len(self.keys) >= count


class SavedBook(msgspec.Struct):
    """A book's state: whole sides as JSON, best first, and how far each is known."""

    sequence: int
    most: int
    exact: bool
    bids: bytes
    asks: bytes
    bids_bound: str | None
    asks_bound: str | None


class Book:
    """Both sides. `sequence` is the number of the last change put in."""

    __slots__ = ("_asks", "_bids", "_exact", "_gathered", "_most", "sequence")

    def __init__(self, sequence: int, bids: bytes | msgspec.Raw, asks: bytes | msgspec.Raw, limit: int) -> None:
        """Load a whole book from checked JSON levels. A side of `limit` levels was cut there."""
        self.sequence = sequence
        self._most = max(limit, 1_000)
        self._exact = False
        """Whether keys are decimals."""
        self._bids, self._asks = Side(1), Side(-1)
        for side, levels in ((self._bids, bids), (self._asks, asks)):
            pairs = list(_pairs(levels))
            self._fill(side, pairs)
            if len(pairs) >= limit and side.keys:
                side.bound = side.keys[0]
        self._gathered: list[tuple[bytes | msgspec.Raw, bytes | msgspec.Raw]] = []

    def change(self, sequence: int, bids: bytes | msgspec.Raw, asks: bytes | msgspec.Raw) -> None:
        """Put in a change: absolute quantities, zero removes."""
        self.sequence = sequence
        self._gathered.append((bids, asks))

    def top(self, count: int) -> tuple[msgspec.Raw, msgspec.Raw]:
        """Return the best `count` bids and asks, best first, as JSON."""
        self.settle()
        return self._bids.top(count), self._asks.top(count)

    def crossed(self) -> bool:
        """Whether the best bid is not below the best ask: such a book is wrong."""
        self.settle()
        bids, asks = self._bids.keys, self._asks.keys
        return bool(bids) and bool(asks) and bids[-1] >= -asks[-1]

    def proves(self, count: int) -> bool:
        """Whether the best `count` levels of both sides are known for sure."""
        self.settle()
        return self._bids.proves(count) and self._asks.proves(count)

    def settle(self) -> None:
        """Work in the gathered changes."""
        gathered = self._gathered
        if not gathered:
            return
        self._work_in(self._bids, b"".join([bids for bids, _ in gathered]))
        self._work_in(self._asks, b"".join([asks for _, asks in gathered]))
        gathered.clear()
        self._bids.trim(self._most)
        self._asks.trim(self._most)

    def copy(self) -> Book:
        """Return a book of its own that stands where this one does."""
        self.settle()
        other = Book(self.sequence, b"", b"", self._most)
        other._exact = self._exact
        for mine, its in ((self._bids, other._bids), (self._asks, other._asks)):
            its.keys, its.pieces, its.bound = mine.keys.copy(), mine.pieces.copy(), mine.bound
        return other

    def dump(self) -> SavedBook:
        """Return the book's state."""
        self.settle()
        bids, asks = self._bids, self._asks
        return SavedBook(
            self.sequence,
            self._most,
            self._exact,
            bytes(bids.top(len(bids.keys))),
            bytes(asks.top(len(asks.keys))),
            None if bids.bound is None else str(bids.bound),
            None if asks.bound is None else str(asks.bound),
        )

    @classmethod
    def load(cls, saved: SavedBook) -> Book:
        """Return the book of a saved state."""
        book = cls(saved.sequence, saved.bids, saved.asks, saved.most)
        if saved.exact:
            book._be_exact()
        number = Decimal if book._exact else float
        for side, bound in ((book._bids, saved.bids_bound), (book._asks, saved.asks_bound)):
            side.bound = None if bound is None else number(bound)
        return book

    def __len__(self) -> int:
        return len(self._bids.keys) + len(self._asks.keys)

    def _fill(self, side: Side, pairs: list[Pair]) -> None:
        """Put levels into an empty side; they come best first, as a rule."""
        pairs.reverse()
        keys = self._keys(side, [price for price, _ in pairs])
        if all(map(lt, keys, keys[1:])) and all(quantity.strip(_NOTHING) for _, quantity in pairs):
            side.keys = keys
            side.pieces = [price + b'","' + quantity for price, quantity in pairs]
        else:
            pairs.reverse()
            self._apply_in_order(side, pairs)

    def _work_in(self, side: Side, levels: bytes) -> None:
        """Put changes into a side; of several for one price, the last."""
        changes = dict(_pairs(levels))
        found = self._keys(side, list(changes))
        if len(set(found)) != len(found):
            # One price is written in two ways: which came last is then known from the order alone.
            self._apply_in_order(side, list(_pairs(levels)))
            return
        keys, pieces, bound = side.keys, side.pieces, side.bound
        near = max(0, len(keys) - _NEAR)
        edge = keys[near] if keys else None
        for key, (price, quantity) in zip(found, changes.items(), strict=True):
            above = edge is None or key >= edge
            if above:
                at = bisect_left(keys, key, near)
            elif bound is not None and key < bound:
                continue
            else:
                at = bisect_left(keys, key, 0, near)
            if quantity[0] == _ZERO and not quantity.strip(_NOTHING):
                if at < len(keys) and keys[at] == key:
                    del keys[at], pieces[at]
                    near -= not above
            elif at < len(keys) and keys[at] == key:
                pieces[at] = price + b'","' + quantity
            else:
                keys.insert(at, key)
                pieces.insert(at, price + b'","' + quantity)
                near += not above

    def _apply_in_order(self, side: Side, pairs: list[Pair]) -> None:
        for key, (price, quantity) in zip(self._keys(side, [price for price, _ in pairs]), pairs, strict=True):
            side.set(key, price + b'","' + quantity if quantity.strip(_NOTHING) else None)

    def _keys(self, side: Side, prices: list[bytes]) -> list[Key]:
        """Return what prices are sorted by."""
        if not self._exact and prices and max(map(len, prices)) > _DOUBLE:
            self._be_exact()
        keys: list[Key] = [Decimal(price.decode()) for price in prices] if self._exact else list(map(float, prices))
        return keys if side.sign > 0 else [-key for key in keys]

    def _be_exact(self) -> None:
        """Compare decimals from now on."""
        self._exact = True
        for side in (self._bids, self._asks):
            side.keys = self._keys(side, [piece[: piece.index(b'"')] for piece in side.pieces])
            if side.bound is not None:
                side.bound = Decimal(str(side.bound))
