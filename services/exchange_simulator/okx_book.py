"""OKX's order book in OKX's own words: levels of four texts, its checksum, and the frames that hold a whole book."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

Level = list[str]
"""`[price, size, "0", number of orders]` as the exchange wrote them."""

_IN_CHECKSUM = 25
_DEPTH = 400


def checksum(bids: Sequence[Level], asks: Sequence[Level]) -> int:
    """Return the signed CRC-32 of the best 25 levels, bids and asks by turns, `price:size` joined by colons."""
    parts: list[str] = []
    for index in range(_IN_CHECKSUM):
        for side in (bids, asks):
            if index < len(side):
                parts += side[index][:2]
    value = zlib.crc32(":".join(parts).encode())
    return value - 2**32 if value >= 2**31 else value


class OkxBook:
    """One instrument's book, fed with the rows of `books` frames; a snapshot replaces it."""

    def __init__(self, instrument: str) -> None:
        self.instrument = instrument
        self.last: dict[str, Any] = {}
        """The last row: its time, and its ids where it has them."""
        self._bids: dict[Decimal, Level] = {}
        self._asks: dict[Decimal, Level] = {}

    def take(self, frame: dict[str, Any]) -> None:
        """Take a `books` frame. Raises KeyError, TypeError, ValueError or ArithmeticError for what is none."""
        for row in frame["data"]:
            if frame["action"] == "snapshot":
                self._bids.clear()
                self._asks.clear()
            for side, levels in ((self._bids, row["bids"]), (self._asks, row["asks"])):
                for level in levels:
                    if Decimal(level[1]):
                        side[Decimal(level[0])] = level
                    else:
                        side.pop(Decimal(level[0]), None)
            self.last = row

    def bids(self, limit: int = _DEPTH) -> list[Level]:
        """Return the best `limit` bids, highest price first."""
        return [self._bids[price] for price in sorted(self._bids, reverse=True)[:limit]]

    def asks(self, limit: int = _DEPTH) -> list[Level]:
        """Return the best `limit` asks, lowest price first."""
        return [self._asks[price] for price in sorted(self._asks)[:limit]]

    def snapshot(self) -> dict[str, Any]:
        """Return the frame with which `books` begins for whoever subscribes now."""
        bids, asks = self.bids(), self.asks()
        row: dict[str, Any] = {"asks": asks, "bids": bids, "ts": self.last["ts"], "checksum": checksum(bids, asks)}
        if "seqId" in self.last:
            row |= {"checksum": 0, "seqId": self.last["seqId"], "prevSeqId": -1}
        return {"arg": {"channel": "books", "instId": self.instrument}, "action": "snapshot", "data": [row]}
