"""The bodies of a request to refill by hand, a core request of NATS on `subjects.backfill()`: JSON.

Whoever asks is told at once which gaps there are; how they come along is on `gap.>` and in the view
`gap_detection_log`, under their ids.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

Micros = Annotated[int, msgspec.Meta(ge=0, le=10**16)]


class BackfillRequest(msgspec.Struct, frozen=True):
    """Look what is missing of an instrument's rows from `first` until before `last` (microseconds UTC); refill it.

    Without `market` every market that has the symbol is meant, without `interval` every series of the kind.
    """

    exchange: str
    symbol: str
    kind: str
    first: Micros
    last: Micros
    market: str | None = None
    interval: str | None = None


class BackfillAnswer(msgspec.Struct, frozen=True):
    """The gaps that were found, those known before among them, and how many rows they lack.

    `error` says why nothing was looked for: a kind, a symbol or a window that cannot be.
    """

    gaps: tuple[str, ...] = ()
    missing: int = 0
    error: str | None = None


encode = msgspec.json.Encoder().encode
decode_request = msgspec.json.Decoder(BackfillRequest).decode
decode_answer = msgspec.json.Decoder(BackfillAnswer).decode
