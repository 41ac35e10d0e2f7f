"""What every record is made of: the types that say what a field is, and what all records carry."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

Micros = Annotated[int, "micros"]
Number = Annotated[str, "number"]
Levels = Annotated[msgspec.Raw | list[tuple[str, ...]], "levels"]
Token = Annotated[str, "token"]  # one of few values: stored as LowCardinality(String)

Side = Literal["buy", "sell"]
Source = Literal["live", "backfill"]
TimestampSource = Literal["match", "push", "received", "open", "stamp"]
"""Where `timestamp` comes from: the match, the exchange's push time, our receive time, a candle's open time, or the
exchange's own stamp on a polled statistic."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What every record carries: whose it is, when it happened, when we received it, and how."""

    KIND: ClassVar[str]

    exchange: Token
    market: Token
    symbol: Token
    timestamp: Micros
    timestamp_source: TimestampSource
    received_at: Micros
    source: Source


class Sequenced(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A record whose row keeps its place in the MD stream, so that what was heard can be replayed in its order.

    `stream_sequence` is absent on the wire, where the message's own sequence says it; the storage-batcher fills it in.
    """

    stream_sequence: int | None = None
