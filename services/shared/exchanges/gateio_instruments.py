"""Gate.io's instrument lists: `spot/currency_pairs` and `futures/usdt/contracts`."""

from __future__ import annotations

from schemas.frames import RawFrame
from schemas.records import Instrument
from services.shared.exchanges import gateio_wire as wire
from services.shared.exchanges.declaration import Parser
from services.shared.exchanges.gateio import answer_reader
from services.shared.exchanges.gateio_numbers import number
from services.shared.exchanges.names import asset_of, is_token
from services.shared.exchanges.shared_answers import read_once

_SECOND = 1_000_000
_MOST_PLACES = 18
_TRADABLE = "tradable"
_read_pairs = answer_reader(list[wire.CurrencyPair])
_read_contracts = answer_reader(list[wire.Contract])


def _pairs(frame: RawFrame) -> tuple[Instrument, ...]:
    made = (_pair(row, frame) for row in _read_pairs(frame))
    return tuple(item for item in made if item is not None)


def _contracts(frame: RawFrame) -> tuple[Instrument, ...]:
    made = (_contract(row, frame) for row in _read_contracts(frame))
    return tuple(item for item in made if item is not None)


parse_pairs: Parser = read_once(_pairs)
"""Parse the list of spot pairs; our receive time files it. `sellable` and `buyable` are statuses of their own."""

parse_contracts: Parser = read_once(_contracts)
"""Parse the list of USDT perpetuals; our receive time files it."""


def _pair(row: wire.CurrencyPair, frame: RawFrame) -> Instrument | None:
    name = f"{row.base}-{row.quote}"
    if not is_token(name):
        return None
    asset, multiplier = asset_of(row.base)
    return Instrument(
        exchange=frame.exchange,
        market=frame.market,
        symbol=name,
        timestamp=frame.received_at,
        timestamp_source="received",
        received_at=frame.received_at,
        source="live",
        exchange_symbol=row.id,
        base=row.base,
        quote=row.quote,
        asset=asset,
        multiplier=multiplier,
        status="trading" if row.trade_status == _TRADABLE else row.trade_status.lower(),
        tick_size=_step(row.precision),
        quantity_step=_step(row.amount_precision),
        delisted_at=row.delisting_time * _SECOND or None,
    )


def _step(places: int) -> str | None:
    """Return the smallest step with so many decimal places: 4 is `0.0001`; None when no number of ours has as many."""
    if not 0 <= places <= _MOST_PLACES:
        return None
    return f"0.{'1':0>{places}}" if places else "1"


def _contract(row: wire.Contract, frame: RawFrame) -> Instrument | None:
    """Return a perpetual; None for one with multiplier 0, which is inverse and not settled in USDT.

    `order_size_min` is no step. Sizes are whole contracts, unless the contract allows fractions, of unknown fineness.
    """
    base, _, quote = row.name.rpartition("_")
    name = f"{base}-{quote}-PERP"
    contract_size = number(row.quanto_multiplier, "quanto_multiplier")
    if not base or not is_token(name) or not contract_size.strip("0."):
        return None
    asset, multiplier = asset_of(base)
    return Instrument(
        exchange=frame.exchange,
        market=frame.market,
        symbol=name,
        timestamp=frame.received_at,
        timestamp_source="received",
        received_at=frame.received_at,
        source="live",
        exchange_symbol=row.name,
        base=base,
        quote=quote,
        asset=asset,
        multiplier=multiplier,
        status="delisting" if row.in_delisting else row.status.lower(),
        settle=quote,
        tick_size=number(row.order_price_round, "order_price_round"),
        quantity_step=None if row.enable_decimal else contract_size,
        contract_size=contract_size,
        contract_kind="linear",
        listed_at=row.launch_time * _SECOND or None,
    )
