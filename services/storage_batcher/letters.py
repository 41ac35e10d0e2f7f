"""Dead letters: a refused row, alone, with ClickHouse's reason and its bytes."""

from __future__ import annotations

import base64
import time

import msgspec
from nats.js import api

from schemas import records, streams, subjects
from services.shared.runtime.bus import Bus, Outgoing
from services.shared.runtime.reader import Reader
from services.storage_batcher.core import Message

SERVICE = "storage-batcher"

LONGEST_BODY = 600_000
"""Bytes of a refused message that are kept: in base64 they must fit into a message of 1 MiB."""

_SUBJECT = subjects.dead(SERVICE)
_decode = msgspec.json.Decoder(records.DeadLetter).decode


def letter(message: Message, reason: str, now_us: int) -> records.DeadLetter:
    """Return the dead letter of a refused row; exchange, market and symbol are its subject's, where it names them."""
    parts = message.subject.split(".")
    named = {("md", 5): parts[2:], ("gap", 4): parts[1:]}.get((parts[0], len(parts)), [subjects.ALL] * 3)
    body = message.body
    if len(body) > LONGEST_BODY:
        reason = f"{reason} (the first {LONGEST_BODY} of {len(body)} bytes are kept)"
    return records.DeadLetter(
        exchange=named[0],
        market=named[1],
        symbol=named[2],
        timestamp=now_us,
        timestamp_source="received",
        received_at=now_us,
        source="live",
        service=SERVICE,
        reason=reason,
        subject=message.subject,
        stream_sequence=message.sequence,
        body=base64.b64encode(body[:LONGEST_BODY]).decode(),
    )


class Letters:
    """Publishes each refused row once, also when its batch is repeated."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._sent: set[int] = set()

    async def publish(self, message: Message, reason: str) -> None:
        """Publish a row's dead letter, acknowledged. Raises Busy or Broken.

        The message id covers a repeat within the server's window (two minutes by default), `recall` a later one.
        """
        if message.sequence in self._sent:
            return
        body = records.encode(letter(message, reason, time.time_ns() // 1_000))
        headers = {api.Header.MSG_ID.value: f"{SERVICE}/{message.sequence}"}
        await self._bus.publish_batch([Outgoing(_SUBJECT, body, headers)])

    async def recall(self, after: int) -> None:
        """Find the dead letters published behind MD sequence `after`, so that none of them is published again.

        A batch's dead letters lie behind its last message. Raises Busy.
        """
        reader = Reader(self._bus, streams.MD, [_SUBJECT], after)
        try:
            while True:
                for found in await reader.read(1_000, 0.1):
                    self._sent.add(_decode(found.body).stream_sequence)
                if await reader.caught_up_to() is not None:
                    return
        finally:
            await reader.close()
