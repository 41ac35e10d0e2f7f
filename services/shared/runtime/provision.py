"""Bring NATS up to what `schemas.streams` declares. Safe to repeat; never deletes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import nats.errors
import nats.js.errors
from nats.js import api

from schemas import streams
from schemas.errors import Broken, Busy
from services.shared.runtime.bus import Bus

_BOT_WINDOW = 10_000
"""Messages that a bot may have in hand."""

_BOT_ACK_WAIT_S = 30.0


async def provision(
    bus: Bus,
    ring_bytes: dict[str, int] | None = None,
    replicas: int = 1,
    bots: Mapping[str, Sequence[str]] | None = None,
) -> list[str]:
    """Create or update every stream, bucket and bot's consumer; return one line per change made.

    `ring_bytes` overrides the declared size of a stream by its name. `bots` maps the name of a bot to the subjects that
    its consumer hands out. Raises Broken when the server refuses a stream as declared, Busy when it cannot be reached.
    """
    done: list[str] = []
    try:
        for stream in streams.STREAMS:
            done += await _stream(bus, stream, (ring_bytes or {}).get(stream.name, stream.max_bytes), replicas)
        for bucket in streams.BUCKETS:
            done += await _bucket(bus, bucket, replicas)
        for name, subjects in (bots or {}).items():
            done += await _consumer(bus, name, list(subjects))
    except nats.js.errors.APIError as error:
        raise Broken(f"NATS refuses what is declared: {error.description}") from error
    except (nats.errors.Error, OSError) as error:
        raise Busy(f"NATS did not answer: {type(error).__name__} {error}") from error
    return done


def stream_config(stream: streams.Stream, max_bytes: int, replicas: int = 1) -> api.StreamConfig:
    """Return the server's configuration of a declared stream: a ring on file that takes atomic batches."""
    return api.StreamConfig(
        name=stream.name,
        description=stream.description,
        subjects=list(stream.subjects),
        retention=api.RetentionPolicy.LIMITS,
        discard=api.DiscardPolicy.OLD,
        storage=api.StorageType.FILE,
        max_bytes=max_bytes,
        num_replicas=replicas,
        allow_direct=True,
        allow_atomic=True,
        duplicate_window=0,
    )


async def _stream(bus: Bus, stream: streams.Stream, max_bytes: int, replicas: int) -> list[str]:
    wanted = stream_config(stream, max_bytes, replicas)
    try:
        found = (await bus.js.stream_info(stream.name)).config
    except nats.js.errors.NotFoundError:
        await bus.js.add_stream(wanted)
        return [f"stream {stream.name} created"]
    same = (
        sorted(found.subjects or []) == sorted(wanted.subjects or [])
        and found.max_bytes == wanted.max_bytes
        and found.num_replicas == wanted.num_replicas
        and bool(found.allow_atomic)
        and found.description == wanted.description
    )
    if same:
        return []
    await bus.js.update_stream(wanted)
    return [f"stream {stream.name} updated"]


async def _bucket(bus: Bus, bucket: streams.Bucket, replicas: int) -> list[str]:
    try:
        await bus.js.key_value(bucket.name)
    except nats.js.errors.NotFoundError:
        await bus.js.create_key_value(
            bucket=bucket.name,
            description=bucket.description,
            history=1,
            max_bytes=bucket.max_bytes,
            storage=api.StorageType.FILE,
            replicas=replicas,
            direct=True,
        )
        return [f"bucket {bucket.name} created"]
    return []


async def _consumer(bus: Bus, bot: str, subjects: list[str]) -> list[str]:
    """Make a bot's durable consumer on MD; it begins with what is published from then on.

    What is not acknowledged is handed out again, for ever; a bot that acknowledges nothing gets `_BOT_WINDOW` messages
    and then no more, and holds up nobody else: MD keeps its size whoever has read what.
    """
    try:
        found = (await bus.js.consumer_info(streams.MD.name, bot)).config
    except nats.js.errors.NotFoundError:
        found = None
    heard = [found.filter_subject] if found and found.filter_subject else list((found and found.filter_subjects) or ())
    if found is not None and sorted(heard) == sorted(subjects):
        return []
    several = len(subjects) > 1
    await bus.js.add_consumer(
        streams.MD.name,
        api.ConsumerConfig(
            durable_name=bot,
            deliver_policy=found.deliver_policy if found else api.DeliverPolicy.NEW,
            ack_policy=api.AckPolicy.EXPLICIT,
            ack_wait=_BOT_ACK_WAIT_S,
            max_deliver=-1,
            max_ack_pending=_BOT_WINDOW,
            filter_subject=None if several else subjects[0],
            filter_subjects=subjects if several else None,
        ),
    )
    return [f"consumer {bot} {'updated' if found else 'created'}"]
