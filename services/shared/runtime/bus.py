"""NATS JetStream as tapeline uses it: atomic batches out, ordered reading in, small values by compare-and-set.

A message counts only when an acknowledgement covers it. `publish_batch` therefore stores all of its messages or none,
and `Reader` hands out a stream's messages in order from an exact sequence, whatever happens to the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api
from nats.js.kv import KeyValue
from nats.nuid import NUID

from schemas import streams
from schemas.accounts import inbox
from schemas.errors import Broken, Busy, Overtaken
from services.shared.runtime.settings import Settings
from services.shared.runtime.wire import encode_batch

MAX_BATCH = 1_000
"""Messages in one atomic batch: the server's own limit."""

WRONG_LAST_SEQUENCE = 10071
"""JetStream's error code for a failed `Nats-Expected-Last-Subject-Sequence`."""

INCOMPLETE_BATCH = 10176
"""JetStream's error code for a batch of which the server lacks a message: it has lost some, on a full disk for one."""

EXPECTED_SUBJECT_SEQUENCE = api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value

ACK_TIMEOUT_S = 5.0


class Outgoing(NamedTuple):
    """A message to be published."""

    subject: str
    body: bytes
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored message, read back by its subject."""

    sequence: int
    body: bytes
    headers: Mapping[str, str] | None = None


class _PubError(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _PubAck(msgspec.Struct):
    error: _PubError | None = None
    stream: str = ""
    seq: int = 0
    count: int = 0


_decode_ack = msgspec.json.Decoder(_PubAck).decode


class _Client(Client):
    """nats-py's client, which reads headers letter by letter: 2 us a message read, here 1."""

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        """Return the headers of a message: a line each, what they are not made of is not looked for."""
        pairs = (line.partition(":") for line in raw.decode("utf-8", "replace").split("\r\n"))
        return {name.strip(): value.strip() for name, colon, value in pairs if colon}


class Bus:
    """One connection to NATS. Made by `connect`; everything else takes it."""

    def __init__(self, client: Client, log: structlog.stdlib.BoundLogger, closing: asyncio.Event) -> None:
        self.client = client
        self.closing = closing
        self.log = log
        self.js: JetStreamContext = client.jetstream(timeout=ACK_TIMEOUT_S)
        self._names = NUID()
        self._buckets: dict[str, KeyValue] = {}

    @property
    def connected(self) -> bool:
        """Whether the server can be reached now."""
        return self.client.is_connected

    async def publish_batch(self, messages: Sequence[Outgoing]) -> int:
        """Store all messages in order, or none of them; return the stream sequence of the last.

        At most `MAX_BATCH` messages, all of one stream. Raises Overtaken when an expected sequence was not met (nothing
        is stored then), Busy when no answer came (the batch may or may not be stored), Broken when it can never be.
        """
        if not self.client.is_connected:
            raise Busy("NATS is away")
        batch_id = self._names.next().decode()
        last = len(messages)
        try:
            if last == 1:
                only = messages[0]
                answer = await self.client.request(
                    only.subject,
                    only.body,
                    timeout=ACK_TIMEOUT_S,
                    headers=dict(only.headers) if only.headers else None,
                )
            else:
                # Appends to what the client is about to send; the request behind it sees to the sending.
                await self.client._send_command(encode_batch(messages, batch_id))
                message = messages[-1]
                headers = {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(last), "Nats-Batch-Commit": "1"}
                if message.headers:
                    headers.update(message.headers)
                answer = await self.client.request(
                    message.subject, message.body, timeout=ACK_TIMEOUT_S, headers=headers
                )
        except (nats.errors.Error, OSError) as error:
            raise Busy(f"NATS did not take a batch of {last} messages: {type(error).__name__} {error}") from error
        return _sequence_of(answer.data)

    async def publish_each(self, messages: Sequence[Outgoing]) -> None:
        """Store messages side by side, each by itself; in no order, and after an error perhaps only some of them.

        An atomic batch costs the server about 1.5 ms however small it is, a message by itself 0.05 ms: for a few
        messages whose order does not matter this is cheaper by far. Raises as `publish_batch`.
        """
        await asyncio.gather(*(self.publish_batch([message]) for message in messages))

    async def last_of(self, stream: streams.Stream, subject: str) -> Stored | None:
        """Return the newest stored message of a subject, or None."""
        try:
            found = await self.js.get_last_msg(stream.name, subject)
        except nats.js.errors.NotFoundError:
            return None
        except (nats.errors.Error, OSError) as error:
            raise Busy(f"NATS did not answer for {subject}: {error}") from error
        return Stored(found.seq or 0, found.data or b"", found.headers)

    async def next_of(self, stream: streams.Stream, subject_filter: str, sequence: int) -> int | None:
        """Return the sequence of the first message of a subject at or behind `sequence`, or None."""
        try:
            found = await self.js.get_msg(stream.name, seq=sequence, subject=subject_filter, next=True)
        except nats.js.errors.NotFoundError:
            return None
        except (nats.errors.Error, OSError) as error:
            raise Busy(f"NATS did not answer for {subject_filter}: {error}") from error
        return found.seq

    async def bounds(self, stream: streams.Stream) -> tuple[int, int]:
        """Return the first and last sequence that a stream holds; (n + 1, n) when it is empty."""
        state = (await self._stream_info(stream)).state
        return state.first_seq, state.last_seq

    async def fill(self, stream: streams.Stream) -> tuple[api.StreamState, int]:
        """Return what a stream holds now, and how many bytes it may hold."""
        info = await self._stream_info(stream)
        return info.state, info.config.max_bytes or 0

    async def subject_counts(self, stream: streams.Stream, subject_filter: str) -> dict[str, int]:
        """Return how many messages of each subject a stream holds now."""
        try:
            info = await self.js.stream_info(stream.name, subjects_filter=subject_filter)
        except (nats.errors.Error, OSError) as error:
            raise Busy(f"NATS did not count stream {stream.name}: {error}") from error
        return dict(info.state.subjects or {})

    async def _stream_info(self, stream: streams.Stream) -> api.StreamInfo:
        try:
            return await self.js.stream_info(stream.name)
        except nats.js.errors.NotFoundError:
            raise Broken(f"stream {stream.name} does not exist: run `tapeline streams` first") from None
        except (nats.errors.Error, OSError) as error:
            raise Busy(f"NATS did not answer for stream {stream.name}: {error}") from error

    async def bucket(self, bucket: streams.Bucket) -> KeyValue:
        """Return a key-value bucket. Raises Broken when it does not exist."""
        try:
            if bucket.name not in self._buckets:
                self._buckets[bucket.name] = await self.js.key_value(bucket.name)
            return self._buckets[bucket.name]
        except nats.js.errors.NotFoundError:
            raise Broken(f"bucket {bucket.name} does not exist: run `tapeline streams` first") from None
        except (nats.errors.Error, OSError) as error:
            raise Busy(f"NATS did not answer for bucket {bucket.name}: {error}") from error

    async def saved(self, bucket: streams.Bucket, prefix: str) -> dict[str, bytes]:
        """Return the latest value of every key `<prefix>.<rest>` of a bucket, by its rest."""
        found = await self._watched(bucket, f"{prefix}.>")
        return {key.removeprefix(f"{prefix}."): value for key, value in found.items()}

    async def values(self, bucket: streams.Bucket) -> dict[str, bytes]:
        """Return the latest value of every key of a bucket."""
        return await self._watched(bucket, ">")

    async def _watched(self, bucket: streams.Bucket, keys: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        store = await self.bucket(bucket)
        try:
            watcher = await store.watch(keys, ignore_deletes=True)
            async for entry in watcher:
                if entry is None:  # the server has told everything that is there
                    break
                found[entry.key] = entry.value or b""
            await watcher.stop()  # type: ignore[no-untyped-call]
        except (nats.errors.Error, OSError) as error:
            raise Busy(f"NATS did not hand out bucket {bucket.name}: {error}") from error
        return found

    async def save(self, bucket: streams.Bucket, key: str, value: bytes) -> None:
        """Store the value of a key, whatever was there."""
        store = await self.bucket(bucket)
        try:
            await store.put(key, value)
        except (nats.errors.Error, OSError) as error:
            raise Busy(f"NATS did not take {key} for bucket {bucket.name}: {error}") from error

    async def respond(self, subject: str, handler: Callable[[Msg], Awaitable[None]]) -> None:
        """Answer core requests on a subject for as long as the connection lives."""
        await self.client.subscribe(subject, cb=handler)

    async def say(self, subject: str, body: bytes) -> None:
        """Publish a core message that nobody may be listening to."""
        try:
            await self.client.publish(subject, body)
        except (nats.errors.Error, OSError) as error:
            raise Busy(f"NATS did not take a message on {subject}: {error}") from error

    async def close(self) -> None:
        """Flush and close."""
        self.closing.set()
        try:
            await self.client.drain()
        except (nats.errors.Error, OSError) as error:
            self.log.warning("bus_close_failed", error=str(error))


def _sequence_of(data: bytes) -> int:
    try:
        ack = _decode_ack(data)
    except msgspec.DecodeError as error:
        raise Busy(f"an acknowledgement that is none: {data[:200]!r}") from error
    if ack.error is None:
        return ack.seq
    if ack.error.err_code == WRONG_LAST_SEQUENCE:
        raise Overtaken(f"another owner published first: {ack.error.description}")
    text = f"NATS refused a batch: {ack.error.description} (error {ack.error.err_code})"
    # 4xx is about the request itself and would be refused again; 5xx and the rest are the server's condition.
    if ack.error.code == 400 and ack.error.err_code != INCOMPLETE_BATCH:
        raise Broken(text)
    raise Busy(text)


async def connect(settings: Settings, name: str, log: structlog.stdlib.BoundLogger, stop: asyncio.Event) -> Bus:
    """Connect, waiting for the server as long as it takes. Raises Busy when `stop` is set first."""
    client = _Client()
    password = settings.nats_password.get_secret_value() if settings.nats_password else None

    closing = asyncio.Event()

    async def away() -> None:
        if not closing.is_set():
            log.warning("nats_away", url=settings.nats_url)

    async def back() -> None:
        log.info("nats_back", url=settings.nats_url)

    async def failed(error: Exception) -> None:
        log.debug("nats_error", error=f"{type(error).__name__}: {error}")

    attempt = 0
    while not stop.is_set():
        try:
            await client.connect(
                servers=[server.strip() for server in settings.nats_url.split(",")],
                name=f"tapeline-{name}",
                user=settings.nats_user,
                password=password,
                # A user with permissions hears its own inbox only.
                inbox_prefix=inbox(settings.nats_user) if settings.nats_user else "_INBOX",
                max_reconnect_attempts=-1 if attempt else 1,
                reconnect_time_wait=0.25,  # type: ignore[arg-type]  # annotated int, used as seconds
                ping_interval=5,
                max_outstanding_pings=2,
                connect_timeout=2,
                pending_size=64 * 1024**2,
                disconnected_cb=away,
                reconnected_cb=back,
                error_cb=failed,
            )
        except (nats.errors.Error, OSError) as error:
            if isinstance(error, nats.errors.AuthorizationError):
                raise Broken(f"NATS at {settings.nats_url} refuses these credentials") from None
            attempt += 1
            if attempt == 1 or attempt % 20 == 0:
                log.warning("nats_waiting", url=settings.nats_url, attempt=attempt, error=str(error))
            try:
                await asyncio.wait_for(stop.wait(), 0.25)
            except TimeoutError:
                client = _Client()
                continue
        else:
            client.options["max_reconnect_attempts"] = -1
            return Bus(client, log, closing)
    raise Busy(f"told to stop before NATS at {settings.nats_url} answered")
