"""The simulator's ledger beside the tables: each event is stored once and equal, or lies in one gap that is allowed.

Events and rows are compared as digests of all that the ledger knows of them, so that half a million fit into memory.
What the exchange's history brought back (`source` backfill) has no send time; it counts by everything else.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from schemas import subjects, tables
from tests.ledger import OF_A_CONNECTION, OWN_COLUMNS, TABLE_OF, UNREADABLE, plain, value_of
from tests.pipeline import at_rest

BY_SEND_TIME = frozenset({"trade", "quote", "book_change"})
"""Kinds whose gaps are bounded by their own time; those of the others by when the exchange sent them."""
LIVE_ONLY = ("sent_at", "quantity_without_rpi")
"""Columns that the exchange's history does not tell."""
NEAR_US = 1_000_000
"""A stream without times has gaps on our clock, read in another process: so far it may be off."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Instrument = tuple[str, str, str]
"""Exchange, market, symbol."""


class Event(NamedTuple):
    """One event as the ledger has it. Times are microseconds UTC, ids as book changes and trades have them."""

    symbol: str
    interval: str | None
    at_us: int | None
    handed_us: int
    first_id: int | None
    last_id: int | None
    live: bytes
    refilled: bytes


class Gap(NamedTuple):
    """A recorded gap, its latest state; bounds in ids are inclusive, in times exclusive."""

    gap_type: str
    first_missing: int | None
    last_missing: int | None
    after_us: int | None
    before_us: int | None
    lost_from_us: int
    lost_to_us: int | None
    evidence: str

    def holds(self, event: Event) -> bool:
        """Whether an event lies in it: by ids where it has bounds in ids, else by time."""
        if event.last_id is not None and self.first_missing is not None:
            first = event.last_id if event.first_id is None else event.first_id
            # By time as well: numbers that the exchange made a leap over may have come after all, later.
            near = event.at_us is None or self._within(event.at_us, NEAR_US)
            ahead = self.last_missing is None or first <= self.last_missing
            return near and ahead and event.last_id >= self.first_missing
        if event.at_us is None:
            return self._within(event.handed_us, NEAR_US)
        return self._within(event.at_us, 0)

    def distance_us(self, at_us: int) -> int:
        """How far a moment of our clock is from the time in which it was open; 0 within."""
        behind = 0 if self.lost_to_us is None else at_us - self.lost_to_us
        return max(self.lost_from_us - at_us, behind, 0)

    def _within(self, at_us: int, near_us: int) -> bool:
        after, before = self.after_us, self.before_us
        return (after is None or at_us > after - near_us) and (before is None or at_us < before + near_us)


@dataclass
class Line:
    """What became of one market's events of one kind."""

    sent: int = 0
    stored: int = 0
    refilled: int = 0
    """Of the events sent, those that only the exchange's history brought."""
    in_gaps: int = 0
    early: int = 0
    """Handed out before everything was subscribed for the first time, and not stored."""
    more_than_sent: int = 0
    """Rows that equal no event, or one that is stored already."""
    faults: list[str] = field(default_factory=list)
    """Events that are nowhere, or in a gap that should not be, in words."""


def account(
    data: Path, allowed: Callable[[str, str, Gap], bool], began_us: int = 0, only: Collection[str] = TABLE_OF
) -> dict[tuple[str, str, str], Line]:
    """Return what became of everything, or of `only` some kinds, by exchange, market and kind.

    `allowed` says of a gap of an exchange's market whether anything may be missing in it. What was handed out before
    `began_us`, to a connection that was not subscribed yet, may have been heard by nobody.
    """
    gaps = recorded_gaps(data)
    files = sorted(_files(data).items())
    return {key: _line(data, key, paths, gaps, allowed, began_us) for key, paths in files if key[2] in only}


def _files(data: Path) -> dict[tuple[str, str, str], list[Path]]:
    found = defaultdict(list)
    for path in sorted((data / "ledger").glob("*.parquet")):
        exchange, market, kind = path.name.split("-")[0].split(".")
        if kind in TABLE_OF:
            found[exchange, market, kind].append(path)
    return found


def _line(
    data: Path,
    key: tuple[str, str, str],
    files: Sequence[Path],
    gaps: Mapping[tuple[Instrument, str, str | None], Sequence[Gap]],
    allowed: Callable[[str, str, Gap], bool],
    began_us: int,
) -> Line:
    exchange, market, kind = key
    line = Line()
    columns = _columns(key, files)
    rows = _rows(data, key, columns)
    events: Counter[bytes] = Counter()
    for event in _events(kind, files, columns):
        line.sent += 1
        events[event.refilled] += 1
        if rows.live[event.live] > 0:
            rows.live[event.live] -= 1
            line.stored += 1
        elif rows.refilled[event.refilled] >= events[event.refilled]:
            line.refilled += 1
        elif event.handed_us < began_us:
            line.early += 1
        else:
            # A stream about a whole market has its gaps under `_all`.
            whose = ((exchange, market, symbol) for symbol in (event.symbol, subjects.ALL))
            found = [gap for one in whose for gap in gaps.get((one, kind, event.interval), ())]
            # Two channels may tell of one kind (OKX's mark and index prices): each records the gap.
            within = list({(gap.gap_type, gap.lost_from_us): gap for gap in found if gap.holds(event)}.values())
            if len(within) > 1:  # candles' updates without a send time share their candle's open: by our clock
                nearest = min(gap.distance_us(event.handed_us) for gap in within)
                within = [gap for gap in within if gap.distance_us(event.handed_us) == nearest]
            if _one(within) and all(allowed(exchange, market, gap) for gap in within):
                line.in_gaps += 1
            else:
                line.faults.append(f"{exchange} {market} {kind} {event._replace(live=b'', refilled=b'')} in {within}")
    doubles = (rows.all[digest] - max(1, events[digest]) for digest in rows.refilled)
    line.more_than_sent = sum(rows.live.values()) + sum(count for count in doubles if count > 0)
    return line


def _one(gaps: Sequence[Gap]) -> bool:
    """Whether it is one gap, or two with a single moment between them, in which the event that is looked for lies."""
    if len(gaps) != 2:
        return len(gaps) == 1
    earlier, later = sorted(gaps, key=lambda gap: gap.lost_from_us)
    return earlier.before_us is not None and later.after_us is not None and earlier.before_us >= later.after_us


def _columns(key: tuple[str, str, str], files: Sequence[Path]) -> list[str]:
    names = [name for name in pq.read_schema(files[0]).names if name not in OWN_COLUMNS]
    if key == ("binance", "spot", "quote"):  # has no time on the wire: it is filed under our receive time
        names = [name for name in names if name not in ("timestamp", "sent_at")]
    return names


def _events(kind: str, files: Sequence[Path], columns: Sequence[str]) -> Iterator[Event]:
    """Yield what could be read by somebody; what was said on several connections once, if it is known by itself."""
    heard: dict[bytes, Counter[int]] = defaultdict(Counter)
    for path in files:
        for row in pq.read_table(path).to_pylist():
            if row["fault"] in UNREADABLE:
                continue
            live, refilled = _digests([(name, plain(row[name])) for name in columns])
            if kind not in OF_A_CONNECTION or row["sent_at"] is None:
                known = heard[live]
                most = max(known.values(), default=0)
                if kind not in OF_A_CONNECTION or not most:  # OKX's candles have no send time: equal ones are one
                    known[row["connection"]] += 1
                if known[row["connection"]] <= most:
                    continue
            time = row.get("timestamp") if kind in BY_SEND_TIME else row.get("sent_at") or row.get("timestamp")
            yield Event(
                row["symbol"],
                row.get("interval"),
                None if "timestamp" not in columns or time is None else _micros(time),
                _micros(row["handed_out_at"]),
                row.get("first_sequence"),
                row.get("last_sequence", row.get("sequence")) if kind != "quote" else None,
                live,
                refilled,
            )


class Rows(NamedTuple):
    """How often each row is stored, by digest: live ones, and by what history tells: refilled ones, and all."""

    live: Counter[bytes]
    refilled: Counter[bytes]
    all: Counter[bytes]


def _rows(data: Path, key: tuple[str, str, str], columns: Sequence[str]) -> Rows:
    exchange, market, kind = key
    table = tables.BY_NAME[TABLE_OF[kind]]
    types = {column.name: column.type for column in table.columns}
    # Settled rates come by REST, on request: the ledger has what was sent unasked.
    streamed = " AND rate_kind = 'estimated'" if kind == "funding_rate" else ""
    found = Rows(Counter(), Counter(), Counter())
    for row in at_rest(
        data,
        f"SELECT source, {', '.join(columns)} FROM tapeline.{table.name} WHERE exchange = '{exchange}' AND "
        f"market = '{market}'{streamed} SETTINGS output_format_json_quote_decimals = 1",
    ):
        live, refilled = _digests([(name, value_of(row[name], types[name])) for name in columns])
        found.all[refilled] += 1
        if row["source"] == "live":
            found.live[live] += 1
        else:
            found.refilled[refilled] += 1
    return found


def _digests(values: Sequence[tuple[str, Any]]) -> tuple[bytes, bytes]:
    """Return a digest of all values, and one of those that history tells too."""
    return tuple(  # type: ignore[return-value]
        hashlib.blake2b(repr(chosen).encode(), digest_size=12).digest()
        for chosen in (values, [pair for pair in values if pair[0] not in LIVE_ONLY])
    )


def recorded_gaps(data: Path) -> dict[tuple[Instrument, str, str | None], list[Gap]]:
    """Return the latest state of each gap, by instrument, kind and interval."""
    found = defaultdict(list)
    micros = ", ".join(
        f"toUnixTimestamp64Micro({name}) AS {name}"
        for name in ("after_timestamp", "before_timestamp", "lost_from", "lost_to")
    )
    for row in at_rest(
        data,
        f"SELECT exchange, market, symbol, kind, interval, gap_type, first_missing, last_missing, evidence, {micros} "
        "FROM tapeline.gap_detection_log SETTINGS output_format_json_quote_64bit_integers = 0",
    ):
        found[(row["exchange"], row["market"], row["symbol"]), row["kind"], row["interval"]].append(
            Gap(
                row["gap_type"],
                row["first_missing"],
                row["last_missing"],
                row["after_timestamp"],
                row["before_timestamp"],
                row["lost_from"],
                row["lost_to"],
                row["evidence"],
            )
        )
    return found


def _micros(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)
