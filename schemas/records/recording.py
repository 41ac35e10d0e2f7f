"""What tapeline says of its own recording: connections, clocks, coverage, audits, gaps, refusals."""

from __future__ import annotations

from typing import ClassVar, Literal

from schemas.records.base import Micros, Record, Sequenced, Token


class Connection(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What happened to a collector's WebSocket connection. `symbol` is `_all`: a connection carries many."""

    KIND: ClassVar[str] = "connection"

    collector: Token
    connection: str
    event: Literal["opened", "subscribed", "silent", "dropped", "unsubscribed", "closed"]
    url: str
    streams: int
    frames: int
    reason: str | None = None


class ClockOffset(Sequenced, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """How far an exchange's clock is from a collector's own, in microseconds; positive where the exchange is ahead.

    One record per answer to "what time is it". `offset_us` is that of the answer with the least `round_trip_us` among
    the `samples` recent ones, heard at `measured_at`: it is wrong by half its round trip at most. `server_time` is what
    this answer said. `symbol` is `_all`.
    """

    KIND: ClassVar[str] = "clock_offset"

    collector: Token
    offset_us: int
    round_trip_us: int
    measured_at: Micros
    samples: int
    server_time: Micros


class Coverage(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What came of one kind in one minute of our receive clock, which `timestamp` begins: records of a minute add up.

    `frames` of the kind's channels were read from the raw stream, `records` were made (`received_at` in the minute; of
    an `_all` stream those of each instrument). `first_id` and `last_id` are those of the first and the last record that
    went out, where the kind is numbered.
    """

    KIND: ClassVar[str] = "coverage"

    kind: Token
    frames: int
    records: int
    first_id: int | None = None
    last_id: int | None = None


class BookAudit(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The local book compared with a fresh snapshot by REST, level by level; the snapshot's receive time files it.

    `sequence` is the snapshot's update id, `book_sequence` that of the last change in the book compared with it: less
    where no change ended right there. `levels` were compared, `mismatches` of them differ in price or size; `reason`
    names the first, or says why nothing was compared.
    """

    KIND: ClassVar[str] = "book_audit"

    verdict: Literal["equal", "different", "not_compared"]
    sequence: int
    book_sequence: int | None = None
    levels: int = 0
    mismatches: int = 0
    reason: str | None = None


class Gap(Sequenced, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Something the exchange said, or may have said, that we do not have; one row per change of its state.

    `timestamp` is the last moment before the gap on the exchange's clock (ours where nothing came before it);
    `received_at` is when this state was recorded, `detection_time` when the gap was found. The times `after_timestamp`
    and `before_timestamp` are exclusive: the last thing we have before the gap and the first after it on the exchange's
    clock, absent while not known; `lost_from` and `lost_to` are the same on our clock. `first_missing` and
    `last_missing` are inclusive ids or sequence numbers.
    """

    KIND: ClassVar[str] = "gap"

    gap_id: str
    kind: Token
    gap_type: Literal["sequence", "disconnect", "dropped", "unsynced", "ring", "missing", "downtime", "asked"]
    status: Literal["open", "filling", "filled", "partly_filled", "unavailable", "merged"]
    """`merged`: it is part of another gap, which its evidence names; the log of gaps leaves it out."""
    evidence: str
    interval: Token | None = None
    priority: Literal["urgent", "recent", "historical"] | None = None
    first_missing: int | None = None
    last_missing: int | None = None
    after_timestamp: Micros | None = None
    before_timestamp: Micros | None = None
    lost_from: Micros | None = None
    lost_to: Micros | None = None
    attempts: int = 0
    records_filled: int = 0
    detection_time: Micros


class DeadLetter(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A message that was refused, with the reason and its bytes in base64."""

    KIND: ClassVar[str] = "dead_letter"

    service: Token
    reason: str
    subject: str
    stream_sequence: int
    body: str
    connection: str | None = None
    frame: int | None = None
