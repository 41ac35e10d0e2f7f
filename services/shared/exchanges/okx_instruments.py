"""OKX's `instruments` to ours, one instrument type a market."""

from __future__ import annotations

from collections.abc import Callable

from schemas.errors import BadFrame
from schemas.frames import RawFrame
from schemas.records import Instrument
from services.shared.exchanges import okx_wire as wire
from services.shared.exchanges.declaration import Poll
from services.shared.exchanges.names import asset_of, is_token
from services.shared.exchanges.numbers import check, product
from services.shared.exchanges.okx import US, answer_reader
from services.shared.exchanges.shared_answers import read_once

_read = answer_reader(wire.Instrument)
_STATUS = {"live": "trading"}
"""OKX's state -> ours. The others keep their names: preopen, suspend, post_only, rebase, expired, test."""


def instruments_poll(kind: str, symbol_of: Callable[[str], str]) -> Poll:
    """Return the poll of the instrument list of one type (`SPOT`, `SWAP`, `FUTURES`).

    `symbol_of` makes our symbol of the exchange's. Left out are rows of another type, contracts whose terms are not
    given yet (before they open), and those whose symbol cannot be part of a subject.
    """

    def make(frame: RawFrame) -> tuple[Instrument, ...]:
        rows = (row for row in _read(frame) if row.instType == kind and _has_terms(row))
        named = ((symbol_of(row.instId), row) for row in rows)
        return tuple(_instrument(symbol, row, frame) for symbol, row in named if is_token(symbol))

    path = f"/api/v5/public/instruments?instType={kind}"
    return Poll("instruments", ("instrument",), path, weight=1, parse=read_once(make), every_s=300)


def _has_terms(row: wire.Instrument) -> bool:
    return row.instType == "SPOT" or bool(row.uly and row.ctVal and row.ctType)


def _instrument(symbol: str, row: wire.Instrument, frame: RawFrame) -> Instrument:
    base, quote = (row.baseCcy, row.quoteCcy) if row.instType == "SPOT" else _underlying(row)
    asset, multiplier = asset_of(base)
    tick_size, step = row.tickSz or None, row.lotSz or None
    check(tickSz=tick_size, lotSz=step)
    size = kind = None
    if row.instType != "SPOT":
        check(ctVal=row.ctVal, ctMult=row.ctMult or "1")
        size = product(row.ctVal, row.ctMult or "1")
        if row.ctType not in ("linear", "inverse"):
            raise BadFrame(f"{row.instId}: ctType is {row.ctType!r}; allowed are linear and inverse")
        kind = row.ctType
        # In base currency, as quantities are; the step of an inverse contract is no fixed amount of it.
        step = product(step, size) if step is not None and kind == "linear" else None
    return Instrument(
        exchange=frame.exchange,
        market=frame.market,
        symbol=symbol,
        timestamp=frame.received_at,
        timestamp_source="received",
        received_at=frame.received_at,
        source="live",
        exchange_symbol=row.instId,
        base=base,
        quote=quote,
        asset=asset,
        multiplier=multiplier,
        status=_STATUS.get(row.state, row.state.lower()),
        settle=row.settleCcy or None,
        tick_size=tick_size,
        quantity_step=step,
        contract_size=size,
        contract_kind=kind,  # type: ignore[arg-type]  # one of the two, by the check above
        listed_at=_time(row.listTime, "listTime"),
        expires_at=_time(row.expTime, "expTime"),
    )


def _underlying(row: wire.Instrument) -> tuple[str, str]:
    """Return base and quote of a contract, which only the name of its index tells (`BTC-USD`)."""
    base, dash, quote = row.uly.partition("-")
    if not base or not dash or not quote:
        raise BadFrame(f"{row.instId}: uly is {row.uly!r}; allowed is BASE-QUOTE")
    return base, quote


def _time(text: str, name: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 13):
        raise BadFrame(f"{name} is {text!r}; allowed are milliseconds")
    return int(text) * US
