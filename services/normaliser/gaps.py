"""Gaps: what the exchange said, or may have said, that we do not have.

A gap is published as soon as it is known. What was missed is often known exactly only with the first record behind it,
so a gap stays in hand as a `Hole` until then, and is published once more, under the same id, with its upper bounds.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from schemas import records
from schemas.spans import Pair

GapType = Literal["sequence", "disconnect", "dropped", "unsynced", "ring"]
Status = Literal["open", "filled"]


class Place(msgspec.Struct, frozen=True):
    """Whose gap it is."""

    exchange: str
    market: str
    symbol: str
    kind: str
    interval: str | None = None
    channel: str = ""
    """Two channels of an instrument may tell of one kind, each with gaps of its own."""


class Hole(msgspec.Struct, kw_only=True):
    """A gap whose far side is still unknown. Times are microseconds; `after` is the exchange's clock, the rest ours."""

    gap_type: GapType
    evidence: str
    detected: int
    lost_from: int
    lost_to: int | None = None
    after: int | None = None
    last_sequence: int | None = None
    """The last number we have before the hole, where the kind is numbered without holes."""


class Skip(msgspec.Struct):
    """Numbers that were jumped over on a connection that goes on: they may still come, out of order."""

    hole: Hole | None
    """None where numbers have holes of their own, and to jump over some tells of no gap."""
    before: int
    """Upper bound of the gap, exclusive, the exchange's clock in microseconds."""
    missing: tuple[Pair, ...]
    """Runs of numbers that have not come."""


def gap_of(
    place: Place,
    hole: Hole,
    *,
    received_at: int,
    before: int | None = None,
    last_missing: int | None = None,
    status: Status = "open",
    evidence: str | None = None,
) -> records.Gap:
    """Return the record of a hole as it is known at `received_at`.

    Its id is made of whose it is and where it begins, so that every state of one gap carries the same one, whichever
    process worked it out.
    """
    start = hole.lost_from if hole.last_sequence is None else hole.last_sequence
    where = f"{place.exchange} {place.market} {place.symbol} {place.channel} {place.kind} {place.interval}"
    name = f"{where} {hole.gap_type} {start}"
    return records.Gap(
        exchange=place.exchange,
        market=place.market,
        symbol=place.symbol,
        timestamp=hole.lost_from if hole.after is None else hole.after,
        timestamp_source="received" if hole.after is None else "match",
        received_at=received_at,
        source="live",
        gap_id=hashlib.blake2b(f"{name} {hole.detected}".encode(), digest_size=12).hexdigest(),
        kind=place.kind,
        gap_type=hole.gap_type,
        status=status,
        evidence=evidence or hole.evidence,
        interval=place.interval,
        first_missing=None if hole.last_sequence is None or status == "filled" else hole.last_sequence + 1,
        last_missing=last_missing,
        after_timestamp=hole.after,
        before_timestamp=before,
        lost_from=hole.lost_from,
        lost_to=received_at if hole.lost_to is None and before is not None else hole.lost_to,
        detection_time=hole.detected,
    )
