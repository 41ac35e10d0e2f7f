"""Reading what is told of gaps."""

from __future__ import annotations

import msgspec
import structlog

from schemas.records import Gap
from services.shared.runtime.reader import Incoming

_decode = msgspec.json.Decoder(Gap).decode


def decode_gap(message: Incoming, log: structlog.stdlib.BoundLogger) -> Gap | None:
    """Return a gap's state, or None for a message that is none: its table refuses it too, and keeps it."""
    try:
        return _decode(message.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("gap_unreadable", subject=message.subject, stream_seq=message.sequence, error=str(error))
        return None
