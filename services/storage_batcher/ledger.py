"""The entries of all slices in the key-value bucket, written by compare-and-set only."""

from __future__ import annotations

import nats.errors
import nats.js.errors
from nats.js.kv import KeyValue

from schemas import streams
from schemas.errors import Busy, Overtaken
from services.shared.runtime.bus import EXPECTED_SUBJECT_SEQUENCE, Bus, Outgoing
from services.storage_batcher import entry as entries
from services.storage_batcher.entry import Entry


class Ledger:
    """Reads and writes entries; remembers the revision that each write must find."""

    def __init__(self, bus: Bus, bucket: KeyValue) -> None:
        self._bus = bus
        self._bucket = bucket
        self._revisions: dict[str, int] = {}

    async def read(self, table: str, slice_name: str) -> tuple[Entry | None, int]:
        """Return a slice's entry and revision; None and 0 where there is none. Raises Busy or Broken."""
        key = entries.key(table, slice_name)
        try:
            found = await self._bucket.get(key)
        except nats.js.errors.KeyNotFoundError as error:
            # A deleted key keeps a revision, which the next write has to name.
            return None, (error.entry.revision or 0) if error.entry else 0
        except (nats.errors.Error, OSError) as error:
            raise Busy(f"NATS did not answer for {key}: {type(error).__name__} {error}") from error
        return entries.decode(key, found.value or b""), found.revision or 0

    async def claim(self, entry: Entry, revision: int) -> None:
        """Make a slice this process's own, if it still stands at `revision`. Raises Overtaken or Busy."""
        self._revisions[entries.key(entry.table, entry.slice)] = revision
        await self.write(entry)

    async def write(self, entry: Entry) -> None:
        """Replace the entry that this process wrote last. Raises Overtaken if another process has written since, Busy.

        After Busy it is not known whether the entry was written; writing the same one again is right in both cases.
        """
        key = entries.key(entry.table, entry.slice)
        headers = {EXPECTED_SUBJECT_SEQUENCE: str(self._revisions[key])}
        message = Outgoing(f"$KV.{streams.BATCHES.name}.{key}", entries.encode(entry), headers)
        try:
            self._revisions[key] = await self._bus.publish_batch([message])
        except Overtaken:
            found, revision = await self.read(entry.table, entry.slice)
            if found != entry:
                raise
            self._revisions[key] = revision  # our own write, whose answer was lost
