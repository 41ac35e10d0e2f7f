"""Reading a JetStream stream in order, from an exact sequence, for as long as it takes.

A reader keeps its own place: it asks an ephemeral consumer for messages (pull requests answered to one subscription),
checks that each follows the one before, and makes a new consumer behind the last message it handed out whenever the old
one is gone, skipped something or fell silent. Acknowledgements are not needed: what was done with a message is recorded
by whoever did it (a checkpoint, a batch's bounds), and reading starts from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import nats.errors
import orjson
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import api

from schemas import streams
from schemas.errors import Busy
from services.shared.runtime.bus import Bus

HEARTBEAT_S = 1.0
EXPIRES_S = 30.0


class Incoming(NamedTuple):
    """A message read: its stream sequence, subject, headers and body."""

    sequence: int
    subject: str
    headers: dict[str, str] | None
    body: bytes


class Reader:
    """Reads the messages of `stream` that match `filters`, in order, after sequence `after`; without filters all.

    Once it lags, a reader with several filters costs the server 25 us a message, one without 11 (nats-server 2.15).
    `window` is how many messages may be on their way: it bounds memory, and is the largest batch `read` returns.
    """

    def __init__(
        self, bus: Bus, stream: streams.Stream, filters: Sequence[str], after: int, window: int = 2_000
    ) -> None:
        self._bus = bus
        self._stream = stream
        self._filters = list(filters)
        self._window = window
        self.last = after
        """Stream sequence of the last message handed out by `read`."""
        self._received = after
        self.pending = 0
        """Messages that matched behind the last one received, as the server counted then."""
        self._arrived: list[Incoming] = []
        self._wake = asyncio.Event()
        self._subscription: Subscription | None = None
        self._consumer = ""
        self._outstanding = 0
        self._next_consumer_seq = 1
        self._heard_at = 0.0
        self._broken = True
        self._next_subject = ""
        self._inbox = ""

    async def read(self, most: int, timeout_s: float) -> list[Incoming]:
        """Return the next messages in order, at most `most`; an empty list when none came within `timeout_s`.

        Raises Busy when the server cannot be reached; reading goes on with the next call.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while not self._arrived:
            if self._broken or loop.time() - self._heard_at > 3 * HEARTBEAT_S:
                await self._open()
            await self._ask()
            self._wake.clear()
            remaining = deadline - loop.time()
            if remaining <= 0:
                return []
            try:
                await asyncio.wait_for(self._wake.wait(), min(remaining, HEARTBEAT_S))
            except TimeoutError:
                continue
        if len(self._arrived) <= most:
            batch, self._arrived = self._arrived, []
        else:
            batch, self._arrived = self._arrived[:most], self._arrived[most:]
        self.last = batch[-1].sequence
        if not self._broken:
            await self._ask()
        return batch

    async def caught_up_to(self) -> int | None:
        """Return a stream sequence up to which every matching message was handed out, or None while some are not.

        The stream's end is asked for first: what is published later is not covered by the answer.
        """
        if self._broken or self._arrived:
            return None
        _, end = await self._bus.bounds(self._stream)
        try:
            info = await self._bus.js.consumer_info(self._stream.name, self._consumer)
        except (nats.errors.Error, OSError):
            return None
        # The loop ran while the answer came: whatever had arrived before it is in `_arrived` or was handed out.
        delivered = info.delivered.consumer_seq if info.delivered else 0
        if info.num_pending or self._arrived or self._broken or (delivered or 0) != self._next_consumer_seq - 1:
            return None
        return max(end, self.last)

    async def close(self) -> None:
        """Stop reading and let the server forget the consumer."""
        await self._drop()

    async def _drop(self) -> None:
        self._broken = True
        subscription, self._subscription = self._subscription, None
        consumer, self._consumer = self._consumer, ""
        try:
            if subscription is not None:
                await subscription.unsubscribe()
            if consumer and self._bus.connected:
                await self._bus.js.delete_consumer(self._stream.name, consumer)
        except (nats.errors.Error, OSError) as error:
            self._bus.log.debug("reader_close_failed", error=str(error))

    async def _open(self) -> None:
        """Make a consumer that starts behind the last message received."""
        if not self._bus.connected:
            raise Busy("NATS is away")
        await self._drop()
        config = api.ConsumerConfig(
            deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._received + 1,
            ack_policy=api.AckPolicy.NONE,
            filter_subjects=self._filters if len(self._filters) > 1 else None,
            filter_subject=self._filters[0] if len(self._filters) == 1 else None,
            inactive_threshold=60.0,
            mem_storage=True,
            num_replicas=1,
        )
        try:
            info = await self._bus.js.add_consumer(self._stream.name, config)
            self._inbox = self._bus.client.new_inbox()
            self._subscription = await self._bus.client.subscribe(
                self._inbox, cb=partial(self._on_message, self._inbox), pending_msgs_limit=-1, pending_bytes_limit=-1
            )
        except (nats.errors.Error, OSError) as error:
            raise Busy(f"NATS did not open stream {self._stream.name}: {type(error).__name__} {error}") from error
        self._consumer = info.name
        self._next_subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream.name}.{info.name}"
        self.pending = info.num_pending or 0
        self._outstanding = 0
        self._next_consumer_seq = 1
        self._heard_at = asyncio.get_running_loop().time()
        self._broken = False

    async def _ask(self) -> None:
        """Keep the server busy: ask again when half of the window has come."""
        if self._broken or self._outstanding + len(self._arrived) > self._window // 2:
            return
        want = self._window - self._outstanding - len(self._arrived)
        request = {
            "batch": want,
            "expires": int(EXPIRES_S * 1e9),
            "idle_heartbeat": int(HEARTBEAT_S * 1e9),
        }
        self._outstanding += want
        try:
            await self._bus.client.publish(self._next_subject, orjson.dumps(request), reply=self._inbox)
        except (nats.errors.Error, OSError) as error:
            self._broken = True
            raise Busy(f"NATS did not take a request: {error}") from error

    async def _on_message(self, inbox: str, message: Msg) -> None:
        if inbox != self._inbox or self._broken:
            return  # of a consumer that was given up
        if message.subject == inbox:
            self._on_status(message)
            return
        tokens = message.reply.split(".")
        consumer_seq = int(tokens[-3])
        if consumer_seq != self._next_consumer_seq:
            self._broken = True
            self._wake.set()
            return
        self._next_consumer_seq += 1
        self._outstanding -= 1
        sequence = int(tokens[-4])
        self._received = sequence
        self.pending = int(tokens[-1])
        self._heard_at = asyncio.get_running_loop().time()
        self._arrived.append(Incoming(sequence, message.subject, message.headers, message.data))
        self._wake.set()

    def _on_status(self, message: Msg) -> None:
        headers = message.headers or {}
        status = headers.get(api.Header.STATUS.value, "")
        self._heard_at = asyncio.get_running_loop().time()
        if status == "100":
            return
        if status in ("404", "408"):
            # The request has expired; the server says how many of its messages it still owed.
            owed = int(headers.get("Nats-Pending-Messages", self._outstanding))
            self._outstanding = max(0, self._outstanding - owed)
        else:
            self._broken = True
        self._wake.set()
