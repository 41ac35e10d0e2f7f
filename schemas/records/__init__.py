"""Every record that tapeline publishes on a subject and stores in a table, declared once.

One record is one JSON object on its subject and one row in its table; the field names are the same in both. The types
below say what a field is: from them `schemas.tables` derives the ClickHouse columns and `schemas.json_schema` the JSON
Schemas, so nothing is typed twice.

* `Micros`: integer microseconds since the epoch, UTC.
* `Number`: a plain decimal string with the exchange's own digits; at most 20 digits before the point and 18 after.
* `Levels`: book levels, best first, each `[price, quantity]` or, on contract markets, `[price, quantity, contracts]`.
  On the wire of a live record they may still be the exchange's own bytes (`msgspec.Raw`), already checked.

A field that the exchange did not give is absent from the JSON object and NULL in the table.
"""

from __future__ import annotations

import msgspec

from schemas.records.base import Levels, Micros, Number, Record, Sequenced, Side, Source, TimestampSource, Token
from schemas.records.market import (
    BookChange,
    Candle,
    CandleUpdate,
    Fill,
    FundingRate,
    IndexPrice,
    Instrument,
    Liquidation,
    LongShortRatio,
    LsrAllAccount,
    LsrTopPosition,
    OpenInterest,
    OrderBook,
    Quote,
    Ticker,
    Trade,
    VolatilityIndex,
)
from schemas.records.recording import BookAudit, ClockOffset, Connection, Coverage, DeadLetter, Gap
from schemas.records.signals import ArbitrageOpportunity, ArbitrageSpread

__all__ = [
    "ALL_RECORDS",
    "BY_KIND",
    "MARKET_RECORDS",
    "SIGNAL_RECORDS",
    "ArbitrageOpportunity",
    "ArbitrageSpread",
    "BookAudit",
    "BookChange",
    "Candle",
    "CandleUpdate",
    "ClockOffset",
    "Connection",
    "Coverage",
    "DeadLetter",
    "Fill",
    "FundingRate",
    "Gap",
    "IndexPrice",
    "Instrument",
    "Levels",
    "Liquidation",
    "LongShortRatio",
    "LsrAllAccount",
    "LsrTopPosition",
    "Micros",
    "Number",
    "OpenInterest",
    "OrderBook",
    "Quote",
    "Record",
    "Sequenced",
    "Side",
    "Source",
    "Ticker",
    "TimestampSource",
    "Token",
    "Trade",
    "VolatilityIndex",
    "encode",
]

MARKET_RECORDS: tuple[type[Record], ...] = (
    Trade,
    Fill,
    OrderBook,
    BookChange,
    Quote,
    Ticker,
    Candle,
    CandleUpdate,
    FundingRate,
    OpenInterest,
    IndexPrice,
    Liquidation,
    LsrTopPosition,
    LsrAllAccount,
    VolatilityIndex,
    Instrument,
    Connection,
    BookAudit,
    ClockOffset,
    Coverage,
)
"""Records published on `md.<kind>.>`."""

SIGNAL_RECORDS: tuple[type[Record], ...] = (ArbitrageOpportunity, ArbitrageSpread)
"""Records published on `signal.<kind>.>`."""

ALL_RECORDS: tuple[type[Record], ...] = (*MARKET_RECORDS, *SIGNAL_RECORDS, Gap, DeadLetter)
BY_KIND: dict[str, type[Record]] = {record.KIND: record for record in ALL_RECORDS}

_encode = msgspec.json.Encoder().encode


def encode(record: Record) -> bytes:
    """One record as its JSON object, UTF-8; fields the exchange did not give are left out."""
    return _encode(record)
