"""Records that are about frames instead of in them: what happened to a connection, and what could not be read."""

from __future__ import annotations

import base64

from schemas import records, subjects
from schemas.errors import BadFrame
from schemas.frames import RawFrame, SessionEvent

SERVICE = "normaliser"


def connection_record(frame: RawFrame, event: SessionEvent) -> records.Connection | None:
    """Return the record of a session event; None of one that is only a sign among the services."""
    if event.event == "alive" or event.event == "counted" or event.event == "auditing":
        return None
    return records.Connection(
        exchange=frame.exchange,
        market=frame.market,
        symbol=subjects.ALL,
        timestamp=frame.received_at,
        timestamp_source="received",
        received_at=frame.received_at,
        source="live",
        collector=frame.collector,
        connection=frame.connection,
        event=event.event,
        url=event.url,
        streams=event.streams,
        frames=event.frames,
        reason=event.reason,
    )


def dead_letter(
    error: BadFrame, subject: str, raw_sequence: int, body: bytes, frame: RawFrame | None, now: int
) -> records.DeadLetter:
    """Return the record of a message that cannot be read, with the reason and its bytes; `now` is our clock."""
    return records.DeadLetter(
        exchange=frame.exchange if frame else "",
        market=frame.market if frame else "",
        symbol=frame.symbol if frame else "",
        timestamp=now,
        timestamp_source="received",
        received_at=now,
        source="live",
        service=SERVICE,
        reason=str(error),
        subject=subject,
        stream_sequence=raw_sequence,
        body=base64.b64encode(body).decode(),
        connection=frame.connection if frame else None,
        frame=frame.number if frame else None,
    )
