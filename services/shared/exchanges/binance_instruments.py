"""Binance's `exchangeInfo` to instruments."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from schemas import subjects
from schemas.frames import RawFrame
from schemas.records import Instrument
from services.shared.exchanges import binance_wire as wire
from services.shared.exchanges.binance import answer_reader
from services.shared.exchanges.declaration import Listing, Parser
from services.shared.exchanges.numbers import check

_read = answer_reader(wire.ExchangeInfo)
_MULTIPLIED = re.compile(r"(1000+|1M)([A-Z].*)")
_MULTIPLIERS = {"1M": "1000000"}

PERPETUAL = "PERPETUAL"
"""The only contract type taken on futures. TRADIFI_PERPETUAL (stocks, metals), CURRENT_QUARTER and NEXT_QUARTER (dated
contracts, with `_YYMMDD` in their name) are left out."""


def asset_of(base: str) -> tuple[str, str]:
    """Return the asset behind a base currency and how many of it one unit is: 1000PEPE is 1000 PEPE, 1INCH is 1INCH."""
    match = _MULTIPLIED.fullmatch(base)
    if match is None:
        return base, "1"
    return match[2], _MULTIPLIERS.get(match[1], match[1])


def instruments_parser(make: Callable[[wire.SymbolInfo, RawFrame], Instrument | None]) -> Parser:
    """Return the parser of `exchangeInfo`; `make` turns one symbol into an instrument, or into None to leave it out.

    The collector publishes one answer into every partition, and one process may read them all: the last answer's
    instruments are shared instead of being made sixteen times.
    """

    @lru_cache(maxsize=1)
    def parse_body(frame: _ByContent) -> tuple[Instrument, ...]:
        info = _read(frame.frame)
        made = (make(symbol, frame.frame) for symbol in info.symbols)
        return tuple(instrument for instrument in made if instrument is not None)

    def parse(frame: RawFrame, listing: Listing) -> tuple[Instrument, ...]:
        """Parse the instrument list. Its `serverTime` is stale on futures, so our receive time files it."""
        return parse_body(_ByContent(frame))

    return parse


class _ByContent:
    """A frame as a cache key: the same answer, received at the same moment."""

    __slots__ = ("_key", "frame")

    def __init__(self, frame: RawFrame) -> None:
        self.frame = frame
        self._key = (frame.exchange, frame.market, frame.received_at, frame.body)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByContent) and self._key == other._key


def is_token(symbol: str) -> bool:
    """Whether a symbol can be part of a subject; one that cannot is left out."""
    try:
        subjects.token(symbol)
    except ValueError:
        return False
    return True


def steps(symbol: wire.SymbolInfo) -> tuple[str | None, str | None]:
    """Return (tick size, quantity step) from the filters, digits as sent; `pricePrecision` is not the tick."""
    found = {item.filterType: item for item in symbol.filters}
    price, lot = found.get("PRICE_FILTER"), found.get("LOT_SIZE")
    tick_size = price.tickSize if price else None
    quantity_step = lot.stepSize if lot else None
    check(tickSize=tick_size, stepSize=quantity_step)
    return tick_size, quantity_step
