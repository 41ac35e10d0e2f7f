"""One service process: logs, signals, health, and an exit status that says how it ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
import uvloop

from schemas.errors import PipelineError, SettingsError
from services.shared.runtime import flags, logs
from services.shared.runtime.health import Health, serve_health
from services.shared.runtime.settings import Settings

EXIT_BROKEN = 1
EXIT_SETTINGS = 2

PARENT_VARIABLE = "TAPELINE_SUPERVISOR_PID"
"""Set by the supervisor: a service whose supervisor is gone drains and ends, so that a killed one leaves no orphans."""

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, slots=True)
class Context:
    """What a running service is given. `stop` is set once by SIGTERM or SIGINT: drain, then return."""

    stop: asyncio.Event
    health: Health
    log: structlog.stdlib.BoundLogger


def run(service: str, settings_class: type[S], serve: Callable[[S, Context], Awaitable[None]]) -> int:
    """Run a service until it is told to stop; return the exit status.

    0: drained. 1: broken (the reason is the last log line). 2: a setting is wrong.
    """
    try:
        given = flags.parse(settings_class, f"tapeline {service}", sys.argv[1:])
        settings = settings_class.load(**given)
    except SettingsError as error:
        sys.stderr.write(f"tapeline {service}: {error}\n")
        return EXIT_SETTINGS
    log = logs.configure(settings, service)
    try:
        uvloop.run(_serve(service, settings, serve, log))
    except SettingsError as error:
        log.error("setting_refused", error=str(error))
        return EXIT_SETTINGS
    except PipelineError as error:
        log.error("service_broken", error=str(error), **error.fields)
        return EXIT_BROKEN
    except OSError as error:
        log.error("service_broken", error=str(error))
        return EXIT_BROKEN
    return 0


async def _serve(
    service: str,
    settings: S,
    serve: Callable[[S, Context], Awaitable[None]],
    log: structlog.stdlib.BoundLogger,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    health = Health(service)
    context = Context(stop, health, log)
    watcher = asyncio.create_task(_watch_parent(stop))
    try:
        async with serve_health(settings, health, log):
            log.info("service_started", pid=os.getpid())
            await serve(settings, context)
            log.info("service_stopped")
    finally:
        watcher.cancel()


async def _watch_parent(stop: asyncio.Event) -> None:
    text = os.environ.get(PARENT_VARIABLE)
    if text is None:
        return
    while os.getppid() == int(text):  # noqa: ASYNC110 - a parent's end gives no event that could be awaited
        await asyncio.sleep(1)
    stop.set()
