"""The ledger: what the simulator handed out, as Parquet, one row per event and connection.

Rows come from market events, never from encoded frames: a mistake in the encoding shows as a difference between ledger
and tables. Column names and meanings are those of the records (`schemas.records`), plus `connection`, the number of the
connection the event was handed to, `handed_out_at`, the wall clock then, and `fault`: what a fault on order did to its
frame (null: nothing). Where an exchange gives a time on the wire for nothing, `timestamp` here is the market's. Book
levels stand in the order of the frame.

Faults on order that came to pass are rows of kind `fault`: what, when (`timestamp`, wall clock), on which connection
behind how many data frames (`frame`), and of a frame its stream, kind of record, symbol and ids.

Each kind of a market has files `<exchange>.<market>.<kind>-<n>.parquet`. A file is complete whenever it is there: it is
written beside and renamed. The last one is written again with more rows every `FLUSH_EVERY_US` until it is full, so a
killed simulator leaves out at most that much.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from services.exchange_simulator.faults import Note
from services.exchange_simulator.generator.dialect import Row, Rows
from services.exchange_simulator.generator.events import Event
from services.exchange_simulator.generator.ledger_rows import (
    FAULT_SCHEMA,
    LEVELS,
    NUMBER,
    Scales,
    digits_needed,
    schema_of,
)
from services.exchange_simulator.generator.names import Listing

Written = tuple[str, Row]
"""A row that was added, and its kind."""

FAULTS = "fault"
"""The kind of the rows about faults."""

FLUSH_EVERY_US = 700_000
_FULL_ROWS = 5_000
_FULL_AGE_US = 60_000_000


class Ledger:
    """The ledger of one exchange market. With no directory it keeps nothing."""

    def __init__(
        self, directory: Path | None, listings: Sequence[Listing], rows: Mapping[type[Event], Sequence[Rows]]
    ) -> None:
        """Write below `directory`, going on with the file numbers found there. Raises OSError if it cannot be made."""
        digits = max((digits_needed(listing) for listing in listings), default=0)
        self._files: dict[str, _File] = {}
        self._scales = {listing: Scales(listing, digits) for listing in listings}
        self._flush_due_us: int | None = None
        self._rows: Mapping[type[Event], Sequence[Rows]] = {}
        if directory is None or not listings:
            return
        directory.mkdir(parents=True, exist_ok=True)
        self._rows = rows
        self._exchange, self._market = listings[0].exchange, listings[0].market
        self._symbol_of = {listing.wire_symbol: listing.symbol for listing in listings}
        prefix = f"{self._exchange}.{self._market}"
        self._files[FAULTS] = _File(directory, f"{prefix}.{FAULTS}", FAULT_SCHEMA, digits)
        for kind in dict.fromkeys(one.kind for made in rows.values() for one in made):
            self._files[kind] = _File(directory, f"{prefix}.{kind}", schema_of(kind), digits)

    def write(self, event: Event, connection: int, now_us: int) -> list[Written]:
        """Add the rows of an event handed to a connection at `now_us` (wall clock), and return them.

        A row may be added to until the ledger is next flushed.
        """
        added: list[Written] = []
        for kind, row_of in self._rows.get(type(event), ()):
            scales = self._scales[event.listing]
            row = row_of(event, scales)
            if row is not None:
                row |= {**scales.head, "connection": connection, "handed_out_at": now_us}
                self._files[kind].rows.append(row)
                added.append((kind, row))
        if added:
            self._held_since(now_us)
        return added

    def note(self, note: Note) -> None:
        """Add a fault that came to pass."""
        file = self._files.get(FAULTS)
        if file is None:
            return
        about = note.about
        symbol = about.symbol or self._symbol_of.get(note.symbol)
        file.rows.append(
            {
                "exchange": self._exchange,
                "market": self._market,
                "symbol": symbol,
                "fault": note.fault,
                "timestamp": note.at_us,
                "connection": note.connection,
                "frame": note.frame,
                "stream": about.stream or None,
                "kind": about.kind,
                "first_id": about.first_id,
                "last_id": about.last_id,
                "detail": note.detail or None,
            }
        )
        self._held_since(note.at_us)

    def _held_since(self, now_us: int) -> None:
        if self._flush_due_us is None:
            self._flush_due_us = now_us + FLUSH_EVERY_US

    def flush_due_us(self) -> int | None:
        """When the rows held must be on disk, or None while there are none."""
        return self._flush_due_us

    def flush(self, now_us: int) -> None:
        """Put every row held on disk."""
        for file in self._files.values():
            file.flush(now_us)
        self._flush_due_us = None


class _File:
    """The Parquet files of one kind: full ones, and one that grows by being replaced."""

    def __init__(self, directory: Path, prefix: str, schema: pa.Schema, digits: int) -> None:
        self.rows: list[Row] = []
        self._digits = digits
        self._directory = directory
        self._prefix = prefix
        self._schema = schema
        self._texts = [field.name for field in schema if field.type == pa.string()]
        numbers = [int(path.stem.rpartition("-")[2]) for path in directory.glob(f"{prefix}-*.parquet")]
        self._number = max(numbers, default=0) + 1
        self._growing: list[pa.RecordBatch] = []
        self._began_us = 0

    def flush(self, now_us: int) -> None:
        """Write the rows held to the growing file; begin a new one when it is full or old."""
        if not self.rows:
            return
        if not self._growing:
            self._began_us = now_us
        arrays = [
            _array([row.get(field.name) for row in self.rows], field.type, self._digits) for field in self._schema
        ]
        self.rows = []
        self._growing.append(pa.record_batch(arrays, schema=self._schema))
        table = pa.Table.from_batches(self._growing)
        path = self._directory / f"{self._prefix}-{self._number:06d}.parquet"
        beside = path.with_suffix(".part")
        pq.write_table(table, beside, use_dictionary=self._texts, write_statistics=False)
        beside.replace(path)
        if table.num_rows >= _FULL_ROWS or now_us - self._began_us >= _FULL_AGE_US:
            self._number += 1
            self._growing = []


def _array(values: Sequence[Any], kind: pa.DataType, digits: int) -> pa.Array:
    if kind == NUMBER:
        return _numbers(values, digits)
    if kind != LEVELS:
        return pa.array(values, kind)
    levels = [level for row in values for level in row]
    numbers = _numbers([number for level in levels for number in level], digits)
    inner = pa.ListArray.from_arrays(_ends(levels), numbers, type=LEVELS.value_type)
    return pa.ListArray.from_arrays(_ends(values), inner, type=LEVELS)


def _ends(lists: Sequence[Sequence[Any]]) -> pa.Array:
    """Return where each list ends, and the first begins, as Arrow has them."""
    return pa.array(list(accumulate((len(one) for one in lists), initial=0)), pa.int32())


def _numbers(values: Sequence[int | None], digits: int) -> pa.Array:
    """Build a decimal column from whole numbers of 10^-digits: 16-byte little-endian integers, as Arrow has them."""
    mask = None
    if None in values:
        mask = pa.array([value is not None for value in values], pa.bool_()).buffers()[1]
    filled = [value or 0 for value in values]
    try:
        data = array("q", bytes(16 * len(filled)))
        data[0::2] = array("q", filled)
        data[1::2] = array("q", [value >> 63 for value in filled])
        buffer = pa.py_buffer(data)
    except OverflowError:
        buffer = pa.py_buffer(b"".join([value.to_bytes(16, "little", signed=True) for value in filled]))
    return pa.Array.from_buffers(pa.decimal128(38, digits), len(filled), [mask, buffer]).cast(NUMBER)
