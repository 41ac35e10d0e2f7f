"""Bybit's `instruments-info` to instruments."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from schemas.frames import RawFrame
from schemas.records import Instrument
from services.shared.exchanges import bybit_wire as wire
from services.shared.exchanges.bybit import US, answer_reader
from services.shared.exchanges.declaration import Parser
from services.shared.exchanges.names import asset_of, is_token
from services.shared.exchanges.numbers import check
from services.shared.exchanges.shared_answers import UNREADABLE, read_once

_PERPETUAL = "LinearPerpetual"
"""The only contract type taken: `LinearFutures` are dated."""
_TRADITIONAL = {"stock", "commodity", "forex"}
"""Symbol types that are no crypto assets: left out, as on Binance."""
_decode_page = msgspec.json.Decoder(wire.PagedAnswer).decode
_read = answer_reader(wire.Rows[wire.InstrumentInfo])
_multiplied_behind = re.compile(r"([A-Z]+)(1000+)").fullmatch


def _asset_of(base: str) -> tuple[str, str]:
    """Return (asset, multiplier); the factor may also stand behind: SHIB1000 is 1000 SHIB."""
    behind = _multiplied_behind(base)
    return (behind[1], behind[2]) if behind else asset_of(base)


def _make(row: wire.InstrumentInfo, symbol: str, frame: RawFrame, *, contract: bool) -> Instrument:
    asset, multiplier = _asset_of(row.baseCoin)
    tick_size = row.priceFilter.tickSize
    lot = row.lotSizeFilter
    quantity_step = lot.qtyStep if contract else lot.basePrecision
    check(tickSize=tick_size, quantity_step=quantity_step)
    return Instrument(
        exchange=frame.exchange,
        market=frame.market,
        symbol=symbol,
        timestamp=frame.received_at,
        timestamp_source="received",
        received_at=frame.received_at,
        source="live",
        exchange_symbol=row.symbol,
        base=row.baseCoin,
        quote=row.quoteCoin,
        asset=asset,
        multiplier=multiplier,
        status=row.status.lower(),
        settle=row.settleCoin if contract else None,
        tick_size=tick_size,
        quantity_step=quantity_step,
        contract_size="1" if contract else None,
        contract_kind="linear" if contract else None,
        listed_at=_moment(row.launchTime),
        delisted_at=_moment(row.deliveryTime),
    )


def _moment(text: str) -> int | None:
    """Return microseconds; an empty text or 0 is no time."""
    return int(text) * US or None if text else None


def _spot(frame: RawFrame) -> tuple[Instrument, ...]:
    rows, _ = _read(frame)
    named = ((row, f"{row.baseCoin}-{row.quoteCoin}") for row in rows.rows)
    return tuple(_make(row, name, frame, contract=False) for row, name in named if is_token(name))


def _perp(frame: RawFrame) -> tuple[Instrument, ...]:
    rows, _ = _read(frame)
    named = (
        (row, f"{row.baseCoin}-{row.quoteCoin}-PERP")
        for row in rows.rows
        if row.contractType == _PERPETUAL and row.symbolType not in _TRADITIONAL
    )
    return tuple(_make(row, name, frame, contract=True) for row, name in named if is_token(name))


def next_page_of(path: str) -> Callable[[bytes], str | None]:
    """Return what finds in a page of a list that is asked for at `path` where the page after it is asked for.

    The cursor goes back as it came: the exchange has escaped it already (`first%3D...`).
    """

    def next_page(body: bytes) -> str | None:
        try:
            cursor = _decode_page(body).result.nextPageCursor
        except UNREADABLE:
            return None
        return f"{path}&cursor={cursor}" if cursor else None

    return next_page


parse_spot: Parser = read_once(_spot)
parse_perp: Parser = read_once(_perp)
