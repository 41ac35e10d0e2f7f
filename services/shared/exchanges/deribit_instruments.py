"""Deribit's instrument lists, and its names in ours.

`BTC-PERPETUAL` is BTC-USD-PERP, `BTC_USDC-PERPETUAL` BTC-USDC-PERP, `BTC-25DEC26` BTC-USD-261225,
`XRP_USDC-30JUN26-0d625-C` XRP-USDC-260630-0d625-C. What has another name (combos, `BTC-FS-25DEC26_PERP`) is left out.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Literal, NamedTuple

import msgspec

from schemas.errors import BadFrame
from schemas.frames import RawFrame
from schemas.records import Instrument
from services.shared.exchanges import deribit_wire as wire
from services.shared.exchanges.deribit_numbers import plain
from services.shared.exchanges.names import asset_of
from services.shared.exchanges.shared_answers import read_once

US = 1_000
"""Deribit's times are milliseconds; ours are microseconds."""

_NAME = re.compile(
    r"(?P<base>[A-Za-z0-9]+)(?:_(?P<quote>[A-Z0-9]+))?-"
    r"(?:(?P<perpetual>PERPETUAL)|(?P<day>[0-9]{1,2})(?P<month>[A-Z]{3})(?P<year>[0-9]{2})"
    r"(?:-(?P<strike>[0-9]+(?:d[0-9]+)?)-(?P<right>[CP]))?)"
)
_MONTHS = {
    name: f"{number:02d}"
    for number, name in enumerate("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(), start=1)
}
_KINDS = {"perp": "future", "future": "future", "option": "option"}
_OPEN = "open"

_decode = msgspec.json.Decoder(wire.Answer[wire.InstrumentInfo | list[wire.InstrumentInfo]]).decode


class Name(NamedTuple):
    """An instrument's name taken apart: its market and symbol in our words, its base and quote currency."""

    market: str
    symbol: str
    base: str
    quote: str
    contract_kind: Literal["linear", "inverse"]


def name_of(text: str) -> Name | None:
    """Take the exchange's name of an instrument apart; None when it is none of a perpetual, future or option.

    An inverse contract names no quote currency: its strike and, but for options, its price are in US dollars.
    """
    match = _NAME.fullmatch(text)
    if match is None:
        return None
    base, quote = match["base"], match["quote"] or "USD"
    kind: Literal["linear", "inverse"] = "linear" if match["quote"] else "inverse"
    pair = f"{base}-{quote}"
    if match["perpetual"]:
        return Name("perp", f"{pair}-PERP", base, quote, kind)
    month = _MONTHS.get(match["month"])
    if month is None:
        return None
    dated = f"{pair}-{match['year']}{month}{int(match['day']):02d}"
    if match["strike"] is None:
        return Name("future", dated, base, quote, kind)
    return Name("option", f"{dated}-{match['strike']}-{match['right']}", base, quote, kind)


def _instrument(info: wire.InstrumentInfo, frame: RawFrame) -> Instrument | None:
    name = name_of(info.instrument_name)
    if name is None or name.market != frame.market or info.kind != _KINDS[frame.market]:
        return None
    asset, multiplier = asset_of(name.base)
    contract_size = plain(info.contract_size, "contract_size")
    if not Decimal(contract_size):
        raise BadFrame(f"contract_size of {info.instrument_name} is {contract_size}")
    state = "inactive" if not info.is_active and info.state in (None, _OPEN) else info.state or _OPEN
    # A step in US dollars is none of base currency.
    dollars = name.contract_kind == "inverse" and name.market != "option"
    return Instrument(
        exchange=frame.exchange,
        market=frame.market,
        symbol=name.symbol,
        timestamp=frame.received_at,
        timestamp_source="received",
        received_at=frame.received_at,
        source="live",
        exchange_symbol=info.instrument_name,
        base=name.base,
        quote=name.quote,
        asset=asset,
        multiplier=multiplier,
        status="trading" if state == _OPEN else state.lower(),
        settle=info.settlement_currency or (name.base if name.contract_kind == "inverse" else name.quote),
        tick_size=plain(info.tick_size, "tick_size"),
        quantity_step=None if dollars else plain(info.min_trade_amount, "min_trade_amount"),
        contract_size=contract_size,
        contract_kind=name.contract_kind,
        listed_at=info.creation_timestamp * US,
        expires_at=None if name.market == "perp" else info.expiration_timestamp * US,
    )


def _read(frame: RawFrame) -> tuple[Instrument, ...]:
    try:
        result = _decode(frame.body).result
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"not an answer of {frame.channel}: {error}") from None
    made = (_instrument(info, frame) for info in (result if isinstance(result, list) else [result]))
    return tuple(instrument for instrument in made if instrument is not None)


parse_instruments = read_once(_read)
"""The parser of `get_instruments` and `get_instrument`: the instruments of the frame's own market."""
