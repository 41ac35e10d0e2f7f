"""An order book kept in the exchange's own digits.

Prices are compared as whole numbers of the finest decimal place seen, so `0.10` and `0.1` are one level and no digit is
lost. A level is kept as the piece of JSON it is published in (`7.6040","813`, on contract markets with the contracts
behind it), beside its key: two sorted lists a side, and nothing else. 2 x 1,000 levels take about 220 kB.

Changes are gathered and worked in when somebody looks: what is overwritten before that costs next to nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from operator import lt

import msgspec

_pairs = re.compile(rb'"([0-9.]++)","([0-9.]++(?:","[0-9.]++)?+)"').findall

Pair = tuple[bytes, bytes]
"""A price, and what stands behind it: the quantity, and on contract markets `","` and the contracts."""

_NOTHING = b'0.",'
"""A quantity (and contracts) of which nothing is left without these is zero."""


class Side:
    """One side of a book, best level last. `sign` is 1 for bids and -1 for asks: keys grow towards the best."""

    __slots__ = ("bound", "keys", "pieces", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[int] = []
        self.pieces: list[bytes] = []
        self.bound: int | None = None
        """The key of the worst level that is known for sure; what lies beyond it is unknown. None: all is known."""

    def set(self, key: int, piece: bytes | None) -> None:
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
    decimals: int
    bids: bytes
    asks: bytes
    bids_bound: int | None
    asks_bound: int | None


class Book:
    """Both sides. `sequence` is the number of the last change put in."""

    __slots__ = ("_asks", "_bids", "_decimals", "_gathered", "_most", "sequence")

    def __init__(self, sequence: int, bids: bytes | msgspec.Raw, asks: bytes | msgspec.Raw, limit: int) -> None:
        """Load a whole book from checked JSON levels. A side of `limit` levels was cut there."""
        self.sequence = sequence
        self._most = max(limit, 1_000)
        self._decimals = 0
        self._bids, self._asks = Side(1), Side(-1)
        for side, levels in ((self._bids, bids), (self._asks, asks)):
            pairs = _pairs(levels)
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
        self._work_in(self._bids, _pairs(b"".join([bids for bids, _ in gathered])))
        self._work_in(self._asks, _pairs(b"".join([asks for _, asks in gathered])))
        gathered.clear()
        self._bids.trim(self._most)
        self._asks.trim(self._most)

    def copy(self) -> Book:
        """Return a book of its own that stands where this one does."""
        self.settle()
        other = Book(self.sequence, b"", b"", self._most)
        other._decimals = self._decimals
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
            self._decimals,
            bytes(bids.top(len(bids.keys))),
            bytes(asks.top(len(asks.keys))),
            bids.bound,
            asks.bound,
        )

    @classmethod
    def load(cls, saved: SavedBook) -> Book:
        """Return the book of a saved state."""
        book = cls(saved.sequence, saved.bids, saved.asks, saved.most)
        book._refine(saved.decimals)
        book._bids.bound, book._asks.bound = saved.bids_bound, saved.asks_bound
        return book

    def __len__(self) -> int:
        return len(self._bids.keys) + len(self._asks.keys)

    def _fill(self, side: Side, pairs: list[Pair]) -> None:
        """Put levels into an empty side; they come best first, as a rule."""
        forms = {len(price.partition(b".")[2]) for price, _ in pairs}
        self._refine(max(forms, default=0))
        keys = [side.sign * int(price.replace(b".", b"")) for price, _ in reversed(pairs)]
        sorted_once = all(map(lt, keys, keys[1:])) and all(quantity.strip(_NOTHING) for _, quantity in pairs)
        if forms == {self._decimals} and sorted_once:
            side.keys = keys
            side.pieces = [price + b'","' + quantity for price, quantity in reversed(pairs)]
        else:
            self._apply_in_order(side, pairs)

    def _work_in(self, side: Side, pairs: list[Pair]) -> None:
        """Put changes into a side; of several for one price, the last."""
        decimals, sign, bound = self._decimals, side.sign, side.bound
        keys, pieces = side.keys, side.pieces
        for price, quantity in dict(pairs).items():
            whole, _, fraction = price.partition(b".")
            if len(fraction) != decimals:
                # One price may be written in two ways: which came last is then known from the order alone.
                self._apply_in_order(side, pairs)
                return
            key = sign * int(whole + fraction)
            if bound is not None and key < bound:
                continue
            at = bisect_left(keys, key)
            if at < len(keys) and keys[at] == key:
                if quantity.strip(_NOTHING):
                    pieces[at] = price + b'","' + quantity
                else:
                    del keys[at], pieces[at]
            elif quantity.strip(_NOTHING):
                keys.insert(at, key)
                pieces.insert(at, price + b'","' + quantity)

    def _apply_in_order(self, side: Side, pairs: list[Pair]) -> None:
        self._refine(max((_decimals(price) for price, _ in pairs), default=0))
        for price, quantity in pairs:
            key = side.sign * int(price.replace(b".", b"")) * 10 ** (self._decimals - _decimals(price))
            side.set(key, price + b'","' + quantity if quantity.strip(_NOTHING) else None)

    def _refine(self, decimals: int) -> None:
        """Count in steps of so many decimal places from now on, if these are finer."""
        if decimals <= self._decimals:
            return
        factor = 10 ** (decimals - self._decimals)
        self._decimals = decimals
        for side in (self._bids, self._asks):
            side.keys = [key * factor for key in side.keys]
            if side.bound is not None:
                side.bound *= factor


def _decimals(price: bytes) -> int:
    point = price.find(b".")
    return 0 if point < 0 else len(price) - point - 1
