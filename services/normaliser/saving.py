"""A partition's state in units small enough for a key-value store, and back."""

from __future__ import annotations

import re
import zlib
from collections import deque
from functools import lru_cache

import msgspec

from schemas import records
from schemas.spans import Pair, Spans
from services.normaliser.audit import Audit
from services.normaliser.backfill import SavedBackfill
from services.normaliser.book import Book, SavedBook
from services.normaliser.book_lane import BookLane
from services.normaliser.candle_lane import CandleLane
from services.normaliser.change_lane import LastChange
from services.normaliser.clock_lane import ClockLane
from services.normaliser.counts_told import CountsTold
from services.normaliser.gaps import Hole, Skip
from services.normaliser.lane import Lane
from services.normaliser.link import Link
from services.normaliser.listings import SavedListings
from services.normaliser.merging_lane import MergingLane
from services.normaliser.numbered_lanes import NumberedLane
from services.normaliser.poll_lane import PollLane
from services.normaliser.stream_book_lane import BookStart
from services.normaliser.tally import SavedTally
from services.normaliser.value_lane import Key, ValueLane
from services.shared.exchanges.declaration import BookSnapshot
from services.shared.exchanges.server_time import Sample


class SavedLink(msgspec.Struct):
    """A `Link`; records kept aside are (kind, JSON)."""

    name: str
    since: int
    number: int
    heard: int
    aside: list[tuple[str, bytes]]
    frames: int = 0
    counts: CountsTold = msgspec.field(default_factory=CountsTold)


class SavedAudit(msgspec.Struct):
    """An `Audit`; changes are JSON, and so are the snapshot's sides: (sequence, bids, asks, limit)."""

    book: SavedBook
    begun_at: int
    changes: list[bytes]
    snapshot: tuple[int, bytes, bytes, int] | None
    snapshot_at: int


class SavedBookLane(msgspec.Struct):
    """What a `BookLane` has beyond a `Lane`; changes are JSON."""

    tail: LastChange | None
    applied: LastChange | None
    held: list[bytes]
    since: list[bytes]
    asked_at: int | None
    in_step: bool
    fresh: bool
    book: SavedBook | None
    audit: SavedAudit | None = None


class SavedValueLane(msgspec.Struct):
    """What a `ValueLane` has beyond a `Lane`."""

    told: list[tuple[Key, int]]
    counts: dict[str, list[tuple[Key, int]]]
    forgotten: int


class SavedCandleLane(msgspec.Struct):
    """What a `CandleLane` has beyond a `Lane`; open windows are JSON."""

    intact: bool
    seen_until: int
    windows: dict[str, bytes]


class SavedLane(msgspec.Struct):
    """A `Lane`; the last record of each kind is JSON."""

    links: list[SavedLink]
    leader: str | None
    ended: dict[str, int]
    down_since: int | None
    down_why: str
    holes: dict[str, Hole]
    last: dict[str, bytes]
    overlap: bool
    delisted: bool = False
    given_up: str = ""
    presumed: list[str] = []
    covered: int = 0
    gap_told_at: int = 0
    whole: dict[str, bytes] = {}
    """Of a `MergingLane`."""
    skips: list[Skip] = []
    """Of a `NumberedLane`, as `late` is."""
    late: tuple[Pair, ...] = ()
    first: int | None = None
    """Of a `NumberedLane`."""
    books: SavedBookLane | None = None
    values: SavedValueLane | None = None
    candles: SavedCandleLane | None = None


class SavedPoll(msgspec.Struct):
    """A `PollLane`."""

    numbers: dict[str, int]
    last: dict[str, int]
    clocks: dict[str, list[Sample]] = {}
    """What a `ClockLane` has beyond it."""


class SavedUnit(msgspec.Struct):
    """All of one instrument, as of a RAW sequence."""

    raw_sequence: int
    exchange: str
    market: str
    symbol: str
    lanes: dict[str, SavedLane]
    polls: dict[str, SavedPoll]
    backfills: dict[str, SavedBackfill] = {}
    tally: SavedTally | None = None


class SavedPartition(msgspec.Struct):
    """What belongs to no single instrument, as of a RAW sequence."""

    raw_sequence: int
    unsaved: dict[str, int]
    """Units that had not been saved themselves, and the RAW sequence of their first frame."""
    now: int
    numbers: dict[str, int]
    listing: bytes


_NOT_IN_KEYS = re.compile(rb"[^-_a-zA-Z0-9]")
_decoders = {kind: msgspec.json.Decoder(record).decode for kind, record in records.BY_KIND.items()}
_decode_change = msgspec.json.Decoder(records.BookChange).decode
_decode_candle = msgspec.json.Decoder(records.Candle).decode
_decode_start = msgspec.json.Decoder(BookStart).decode
_encode_json = msgspec.json.Encoder().encode
_encode = msgspec.msgpack.Encoder().encode
_decode_unit = msgspec.msgpack.Decoder(SavedUnit).decode
_decode_partition = msgspec.msgpack.Decoder(SavedPartition).decode
_decode_listing = msgspec.json.Decoder(SavedListings).decode


@lru_cache(maxsize=65_536)
def unit_key(exchange: str, market: str, symbol: str) -> str:
    """Return the key of an instrument's unit; what a key cannot hold is written `=XX`, its bytes in hexadecimal."""
    safe = _NOT_IN_KEYS.sub(lambda match: b"=%02X" % match[0][0], symbol.encode()).decode()
    return f"{exchange}/{market}/{safe}"


def pack_unit(unit: SavedUnit | SavedPartition) -> bytes:
    """Return a unit's bytes."""
    return zlib.compress(_encode(unit), 1)


def unpack_unit(value: bytes) -> SavedUnit:
    """Return an instrument's unit."""
    return _decode_unit(zlib.decompress(value))


def unpack_partition(value: bytes) -> SavedPartition:
    """Return the unit of the partition itself."""
    return _decode_partition(zlib.decompress(value))


def pack_listing(listing: SavedListings) -> bytes:
    """Return listings as JSON."""
    return _encode_json(listing)


def unpack_listing(listing: bytes) -> SavedListings:
    """Return listings from their JSON."""
    return _decode_listing(listing)


def dump_poll(lane: PollLane) -> SavedPoll:
    """Return a polled lane's state."""
    clocks = dict(lane.recent) if isinstance(lane, ClockLane) else {}
    return SavedPoll(dict(lane.numbers), dict(lane.last), clocks)


def load_poll(lane: PollLane, saved: SavedPoll) -> None:
    """Give a new polled lane its saved state."""
    lane.numbers, lane.last = saved.numbers, saved.last
    if isinstance(lane, ClockLane):
        lane.recent = saved.clocks


def dump_lane(lane: Lane) -> SavedLane:
    """Return a lane's state."""
    links = [
        SavedLink(
            link.name,
            link.since,
            link.number,
            lane.heard_of(link.name),
            [(item.KIND, records.encode(item)) for item in link.aside],
            link.frames,
            msgspec.structs.replace(link.counts),
        )
        for link in lane.links.values()
    ]
    return SavedLane(
        links=links,
        leader=lane.leader.name if lane.leader else None,
        ended=dict(lane.ended),
        down_since=lane.down_since,
        down_why=lane.down_why,
        holes=dict(lane.holes),
        last={kind: records.encode(record) for kind, record in lane.last.items()},
        overlap=lane.overlap,
        delisted=lane.delisted,
        given_up=lane.given_up,
        presumed=sorted(lane.presumed),
        covered=lane.covered,
        gap_told_at=lane.gap_told_at,
        whole=dict(lane.whole) if isinstance(lane, MergingLane) else {},
        skips=lane.skips if isinstance(lane, NumberedLane) else [],
        late=lane.late.pairs if isinstance(lane, NumberedLane) else (),
        first=lane.first if isinstance(lane, NumberedLane) else None,
        books=_dump_books(lane) if isinstance(lane, BookLane) else None,
        values=_dump_values(lane) if isinstance(lane, ValueLane) else None,
        candles=_dump_candles(lane) if isinstance(lane, CandleLane) else None,
    )


def load_lane(lane: Lane, saved: SavedLane) -> None:
    """Give a new lane its saved state."""
    for item in saved.links:
        link = Link(item.name, item.since, item.number)
        link.aside = [_record(kind, body) for kind, body in item.aside]
        link.frames, link.counts = item.frames, item.counts
        lane.links[item.name] = link
        lane.heard[item.name] = item.heard
    lane.leader = lane.links[saved.leader] if saved.leader is not None else None
    lane.ended = saved.ended
    lane.down_since, lane.down_why = saved.down_since, saved.down_why
    lane.holes = saved.holes
    lane.last = {kind: _record(kind, body) for kind, body in saved.last.items()}
    lane.overlap = saved.overlap
    lane.delisted, lane.given_up = saved.delisted, saved.given_up
    lane.presumed, lane.covered, lane.gap_told_at = set(saved.presumed), saved.covered, saved.gap_told_at
    if isinstance(lane, MergingLane):
        lane.whole = saved.whole
    if isinstance(lane, NumberedLane):
        lane.skips, lane.late, lane.first = saved.skips, Spans(saved.late), saved.first
    if isinstance(lane, BookLane) and saved.books is not None:
        _load_books(lane, saved.books)
    if isinstance(lane, ValueLane) and saved.values is not None:
        lane.told, lane.forgotten = dict(saved.values.told), saved.values.forgotten
        lane.counts = {name: dict(counts) for name, counts in saved.values.counts.items()}
    if isinstance(lane, CandleLane) and saved.candles is not None:
        lane.intact, lane.windows.seen_until = saved.candles.intact, saved.candles.seen_until
        lane.windows.open = {name: _decode_candle(body) for name, body in saved.candles.windows.items()}
    lane.wake()


def _dump_values(lane: ValueLane) -> SavedValueLane:
    counts = {name: list(said.items()) for name, said in lane.counts.items()}
    return SavedValueLane(list(lane.told.items()), counts, lane.forgotten)


def _dump_candles(lane: CandleLane) -> SavedCandleLane:
    windows = {name: records.encode(window) for name, window in lane.windows.open.items()}
    return SavedCandleLane(lane.intact, lane.windows.seen_until, windows)


def _dump_books(lane: BookLane) -> SavedBookLane:
    return SavedBookLane(
        tail=_last_change(lane.tail),
        applied=_last_change(lane.applied),
        held=[records.encode(change) for change in lane.held],
        since=[records.encode(change) for change in lane.since],
        asked_at=lane.asked_at,
        in_step=lane.in_step,
        fresh=lane.fresh,
        book=lane.book.dump() if lane.book else None,
        audit=_dump_audit(lane.audits.current) if lane.audits.current else None,
    )


def _last_change(change: LastChange | records.BookChange | None) -> LastChange | None:
    return None if change is None else msgspec.convert(change, LastChange, from_attributes=True)


def _dump_audit(audit: Audit) -> SavedAudit:
    found = audit.snapshot
    snapshot = None if found is None else (found.sequence, bytes(found.bids), bytes(found.asks), found.limit)
    changes = [records.encode(change) for change in audit.changes]
    return SavedAudit(audit.book.dump(), audit.begun_at, changes, snapshot, audit.snapshot_at)


def _load_audit(saved: SavedAudit, symbol: str) -> Audit:
    audit = Audit(Book.load(saved.book), saved.begun_at)
    audit.changes = [_change(body) for body in saved.changes]
    if saved.snapshot is not None:
        sequence, bids, asks, limit = saved.snapshot
        audit.snapshot = BookSnapshot(symbol, sequence, msgspec.Raw(bids), msgspec.Raw(asks), limit)
    audit.snapshot_at = saved.snapshot_at
    return audit


def _load_books(lane: BookLane, saved: SavedBookLane) -> None:
    lane.tail, lane.applied = saved.tail, saved.applied
    lane.held = deque(_change(body) for body in saved.held)
    lane.since = [_change(body) for body in saved.since]
    lane.asked_at = saved.asked_at
    lane.in_step, lane.fresh = saved.in_step, saved.fresh
    lane.book = Book.load(saved.book) if saved.book else None
    lane.audits.current = _load_audit(saved.audit, lane.symbol) if saved.audit else None
    lane.desk.counters.books_in_step += saved.in_step


def _record(kind: str, body: bytes) -> records.Record:
    if kind == records.BookChange.KIND:
        return _change(body)
    if kind == BookStart.KIND:
        return _with_raw_levels(_decode_start(body))
    record: records.Record = _decoders[kind](body)
    return record


def _change(body: bytes) -> records.BookChange:
    return _with_raw_levels(_decode_change(body))


def _with_raw_levels(change: records.BookChange) -> records.BookChange:
    """Return a change with its levels as the JSON they came in, for the book reads that."""
    return msgspec.structs.replace(
        change, bids=msgspec.Raw(_encode_json(change.bids)), asks=msgspec.Raw(_encode_json(change.asks))
    )
