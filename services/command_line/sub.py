"""`tapeline sub`: the messages of a subject as they are stored."""

from __future__ import annotations

import asyncio
import signal
import sys

import structlog
from rich.console import Console

from schemas import streams
from schemas.errors import Broken, Busy
from services.shared.runtime.bus import Bus, connect
from services.shared.runtime.reader import Reader
from services.shared.runtime.settings import Settings


def stream_of(subject: str) -> streams.Stream:
    """Return the stream that keeps a subject or filter. Raises Broken naming what there is."""
    first = subject.split(".", 1)[0]
    for stream in streams.STREAMS:
        if any(kept.split(".", 1)[0] == first for kept in stream.subjects):
            return stream
    known = ", ".join(kept for stream in streams.STREAMS for kept in stream.subjects)
    raise Broken(f"no stream keeps {subject!r}; there are {known}")


async def follow(settings: Settings, subject: str, count: int | None, log: structlog.stdlib.BoundLogger) -> None:
    """Write each new message of `subject` to standard output, one a line, until Ctrl-C or `count` messages.

    Read from the stream, not overheard on the subject: a message is shown once it is stored, and exactly once.
    """
    stream = stream_of(subject)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        bus = await asyncio.wait_for(connect(settings, "sub", log, stop), 5)
    except (TimeoutError, Busy):
        raise Broken(f"NATS at {settings.nats_url} does not answer: is the pipeline running?") from None
    try:
        await _follow(bus, stream, subject, count, stop)
    finally:
        await bus.close()


async def _follow(bus: Bus, stream: streams.Stream, subject: str, count: int | None, stop: asyncio.Event) -> None:
    console = Console(highlight=False, soft_wrap=True)
    _, last = await bus.bounds(stream)
    reader = Reader(bus, stream, [subject], last)
    shown = 0
    while not stop.is_set() and (count is None or shown < count):
        try:
            messages = await reader.read(500, 0.25)
        except Busy:
            await asyncio.sleep(0.25)
            continue
        for message in messages[: None if count is None else count - shown]:
            text = message.body.decode(errors="replace")
            if console.is_terminal:
                console.print(f"{message.subject} {text}", markup=False, style=None)
            else:
                sys.stdout.write(f"{text}\n")
            shown += 1
        sys.stdout.flush()
    await reader.close()
