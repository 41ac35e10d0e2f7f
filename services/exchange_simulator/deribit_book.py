"""Deribit's order book in Deribit's own words: levels of `[action, price, amount]`, and every digit as it was sent."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from msgspec import Raw

Level = tuple[str, Raw, Raw]


class _Data(msgspec.Struct):
    type: str
    instrument_name: str
    timestamp: int
    change_id: int
    bids: list[Level]
    asks: list[Level]


class _Params(msgspec.Struct):
    channel: str
    data: _Data


class _Frame(msgspec.Struct):
    params: _Params


_decode = msgspec.json.Decoder(_Frame).decode
_encode = msgspec.json.Encoder().encode


class DeribitBook:
    """One instrument's book, fed with `book.*` frames; a snapshot replaces it."""

    def __init__(self) -> None:
        self.last: _Params | None = None
        self._bids: dict[Decimal, Level] = {}
        self._asks: dict[Decimal, Level] = {}

    def take(self, frame: bytes) -> None:
        """Take a frame. Raises msgspec.DecodeError, or ArithmeticError for a price that is no number."""
        params = _decode(frame).params
        data = params.data
        if data.type == "snapshot":
            self._bids.clear()
            self._asks.clear()
        for side, levels in ((self._bids, data.bids), (self._asks, data.asks)):
            for action, price, amount in levels:
                key = Decimal(bytes(price).decode())
                if action == "delete":
                    side.pop(key, None)
                else:
                    side[key] = ("new", price.copy(), amount.copy())
        self.last = params

    def bids(self) -> list[Level]:
        """Return the bids, highest price first."""
        return [self._bids[price] for price in sorted(self._bids, reverse=True)]

    def asks(self) -> list[Level]:
        """Return the asks, lowest price first."""
        return [self._asks[price] for price in sorted(self._asks)]

    def snapshot(self) -> bytes:
        """Return the frame that a subscription begins with, as of the last one taken. Raises ValueError before one."""
        if self.last is None:
            raise ValueError("no frame of this book has been taken yet")
        data = self.last.data
        told = {
            "timestamp": data.timestamp,
            "type": "snapshot",
            "change_id": data.change_id,
            "instrument_name": data.instrument_name,
            "bids": self.bids(),
            "asks": self.asks(),
        }
        params = {"channel": self.last.channel, "data": told}
        return _encode({"jsonrpc": "2.0", "method": "subscription", "params": params})
