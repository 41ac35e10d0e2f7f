"""Binance's `exchangeInfo` to instruments."""

from __future__ import annotations

from collections.abc import Callable

from schemas.frames import RawFrame
from schemas.records import Instrument
from services.shared.exchanges import binance_wire as wire
from services.shared.exchanges.binance import answer_reader
from services.shared.exchanges.declaration import Parser
from services.shared.exchanges.numbers import check
from services.shared.exchanges.shared_answers import read_once

_read = answer_reader(wire.ExchangeInfo)

PERPETUAL = "PERPETUAL"
"""The only contract type taken on futures. TRADIFI_PERPETUAL (stocks, metals), CURRENT_QUARTER and NEXT_QUARTER (dated
contracts, with `_YYMMDD` in their name) are left out."""


def instruments_parser(make: Callable[[wire.SymbolInfo, RawFrame], Instrument | None]) -> Parser:
    """Return the parser of `exchangeInfo`; `make` turns one symbol into an instrument, or into None to leave it out.

    Its `serverTime` is stale on futures, so our receive time files it.
    """

    def read(frame: RawFrame) -> tuple[Instrument, ...]:
        made = (make(symbol, frame) for symbol in _read(frame).symbols)
        return tuple(instrument for instrument in made if instrument is not None)

    return read_once(read)


def steps(symbol: wire.SymbolInfo) -> tuple[str | None, str | None]:
    """Return (tick size, quantity step) from the filters, digits as sent; `pricePrecision` is not the tick."""
    found = {item.filterType: item for item in symbol.filters}
    price, lot = found.get("PRICE_FILTER"), found.get("LOT_SIZE")
    tick_size = price.tickSize if price else None
    quantity_step = lot.stepSize if lot else None
    check(tickSize=tick_size, stepSize=quantity_step)
    return tick_size, quantity_step
