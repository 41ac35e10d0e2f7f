"""When the exchange said something, and whether it is the same once more."""

from __future__ import annotations

import msgspec

from schemas import records


def sent(record: records.Record) -> int:
    """Return when a record was sent, the exchange's clock, as far as it says so."""
    at: int | None = getattr(record, "sent_at", None)
    return record.timestamp if at is None else at


def same(record: records.Record, last: records.Record) -> bool:
    """Whether two records are equal in all that the exchange said."""
    if record.timestamp_source == "received":
        last = msgspec.structs.replace(last, timestamp=record.timestamp)
    return record == msgspec.structs.replace(last, received_at=record.received_at)
