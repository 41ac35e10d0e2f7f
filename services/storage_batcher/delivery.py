"""One batch's way into its table: bounds fixed, rows inserted, refused rows isolated."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
import structlog

from schemas.errors import BadRecord, Broken, Busy
from services.shared.runtime.warehouse import Warehouse
from services.storage_batcher import metrics
from services.storage_batcher.core import Batch, Message, Slice
from services.storage_batcher.entry import Entry
from services.storage_batcher.isolation import Isolation, suspicious, unfit
from services.storage_batcher.ledger import Ledger
from services.storage_batcher.letters import Letters
from services.storage_batcher.mending import Mending
from services.storage_batcher.patience import Patience


class Delivery:
    """Writes the batches of one slice, one at a time."""

    def __init__(
        self,
        target: Slice,
        ledger: Ledger,
        letters: Letters,
        warehouse: Warehouse,
        patience: Patience,
        refused_run: int,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._slice = target
        self._table = target.table
        self._mending = Mending(target.table)
        self._looks_wrong = suspicious(target.table)
        self._ledger = ledger
        self._letters = letters
        self._warehouse = warehouse
        self._patience = patience
        self._most_refused = refused_run
        self._refused_run = 0
        self._log = log.bind(table=target.table.name)
        self.stored_rows = 0
        self.refused_rows = 0
        self.lost_rows = 0
        self.clickhouse_error: str | None = None
        """Why the insert on its way does not succeed; None while all is well."""

    async def deliver(self, batch: Batch, last: Entry) -> Entry:
        """Store a batch behind the entry `last`; return the batch's own entry.

        Returns when every row is in the table or published as a dead letter. Raises Overtaken, Broken.
        """
        if batch.repeats is not None:
            entry = batch.repeats  # claimed when the slice was taken over
            if len(batch.rows) < entry.rows:
                missing = entry.rows - len(batch.rows)
                self.lost_rows += missing
                metrics.LOST.inc(missing)
                self._log.error("batch_incomplete", stream_seq=entry.first, rows=len(batch.rows), missing=missing)
        else:
            entry = msgspec.structs.replace(
                last, state="writing", first=batch.first, last=batch.last, rows=len(batch.rows), suspects=None
            )
            await self._patience.keep("fix", lambda: self._ledger.write(entry), table=self._table.name)
        rows = await self._fit(batch.rows, entry, repeated=batch.repeats is not None)
        if not rows:
            return entry
        if entry.suspects is None:
            try:
                await self._insert(rows, entry, entry.token, repeated=batch.repeats is not None)
            except BadRecord as error:
                entry = await self._suspect(rows, entry, error)
            else:
                return entry
        await self._isolate(rows, entry, repeated=batch.repeats is not None)
        return entry

    async def _fit(self, rows: Sequence[Message], entry: Entry, *, repeated: bool) -> Sequence[Message]:
        """Refuse what is not one line of JSON; return the rest."""
        reasons = [unfit(row.body) for row in rows]
        if not any(reasons):
            return rows
        if repeated:
            await self._recall(entry)
        for row, reason in zip(rows, reasons, strict=True):
            if reason is not None:
                await self._refuse(row, reason)
        return [row for row, reason in zip(rows, reasons, strict=True) if reason is None]

    async def _insert(self, rows: Sequence[Message], entry: Entry, token: str, *, repeated: bool) -> None:
        """Insert until it is known that every row is in: an answer is believed when nothing was tried before it."""
        body = b"\n".join([_stamped(row) for row in rows] if self._table.keeps_sequence else [row.body for row in rows])
        statement = self._table.insert_statement
        certain = await self._answered(statement, body, token, entry, len(rows)) and not repeated
        while not certain:
            statement, token = self._mending.next(body, entry.token)
            certain = await self._answered(statement, body, token, entry, len(rows))
        self._refused_run = 0
        self.stored_rows += len(rows)
        metrics.ROWS.labels(self._table.name).inc(len(rows))
        metrics.BATCHES.labels(self._table.name).inc()
        metrics.BYTES.labels(self._table.name).inc(len(body))

    async def _answered(self, statement: str, body: bytes, token: str, entry: Entry, count: int) -> bool:
        """Repeat one insert until it is answered; return whether the first attempt was."""
        failures = 0

        async def attempt() -> None:
            begun = time.perf_counter()
            try:
                await self._warehouse.insert(statement, body, token)
            except Busy as error:
                self.clickhouse_error = str(error)
                metrics.CLICKHOUSE_UP.set(0)
                raise
            self.clickhouse_error = None
            metrics.CLICKHOUSE_UP.set(1)
            metrics.INSERT_SECONDS.labels(self._table.name).observe(time.perf_counter() - begun)

        async def still_ours(_: Busy) -> None:
            nonlocal failures
            failures += 1
            # A paused process must not insert behind its successor's back, long after the token is forgotten.
            await self._patience.keep("renew", lambda: self._ledger.write(entry), table=self._table.name)

        await self._patience.keep("insert", attempt, still_ours, table=self._table.name, rows=count)
        return failures == 0

    async def _suspect(self, rows: Sequence[Message], entry: Entry, error: BadRecord) -> Entry:
        """Write down which rows will be tried alone, before any part of the batch is stored."""
        suspects = tuple(row.sequence for row in rows if self._looks_wrong(row.body))
        metrics.ISOLATIONS.labels(self._table.name).inc()
        self._log.warning("batch_refused", rows=len(rows), count=len(suspects), error=str(error)[:300])
        entry = msgspec.structs.replace(entry, suspects=suspects)
        await self._patience.keep("suspect", lambda: self._ledger.write(entry), table=self._table.name)
        return entry

    async def _isolate(self, rows: Sequence[Message], entry: Entry, *, repeated: bool) -> None:
        if repeated:
            await self._recall(entry)
        search = Isolation(rows, frozenset(entry.suspects or ()))
        while (part := search.next()) is not None:
            try:
                await self._insert(part.rows, entry, part.token(entry.token), repeated=repeated)
            except BadRecord as error:
                row = search.refused()
                if row is not None:
                    await self._refuse(row, str(error))
            else:
                search.stored()

    async def _recall(self, entry: Entry) -> None:
        await self._patience.keep("recall", lambda: self._letters.recall(entry.last), table=self._table.name)

    async def _refuse(self, row: Message, reason: str) -> None:
        if self._refused_run >= self._most_refused:
            raise Broken(
                f"table {self._table.name} refused {self._refused_run} rows running, the last one because: {reason}; "
                "the table or the producer is wrong, and the stream is left as it is",
                table=self._table.name,
            )
        await self._patience.keep("refuse", lambda: self._letters.publish(row, reason), table=self._table.name)
        self._refused_run += 1
        self.refused_rows += 1
        metrics.REFUSED.labels(self._table.name).inc()
        self._log.warning("row_refused", subject=row.subject, stream_seq=row.sequence, reason=reason[:300])


def _stamped(row: Message) -> bytes:
    """Return a message's JSON object with its place in the stream, which the message itself cannot know."""
    return b'%b,"stream_sequence":%d}' % (row.body.rstrip()[:-1], row.sequence)
