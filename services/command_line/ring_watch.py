"""A nats-server that could not write once never tries again: it is started anew when there is room.

Seen with nats-server 2.15: after `no space left on device` a stream takes nothing more, however much room there is
since, and `/healthz` answers 503 `write error` until the server is restarted. Collectors spool meanwhile.
"""

from __future__ import annotations

import asyncio
import shutil

import aiohttp
import structlog

from services.command_line.machine import Machine

LOOK_EVERY_S = 5.0
ROOM_BYTES = 64 * 1024**2
"""Free on the disk before a restart can help; below, the server would fail again with what is spooled."""
_END_WITHIN_S = 10.0
_SYMPTOM = "write error"


async def watch_rings(machine: Machine, log: structlog.stdlib.BoundLogger) -> None:
    """Look at nats-server's health again and again, and start it anew when that is what helps."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        reason = await _unwell(machine)
        if _SYMPTOM not in reason:
            continue
        free = shutil.disk_usage(machine.settings.data_dir).free
        log.error("ring_not_written", reason=reason, bytes=free, path=str(machine.settings.data_dir))
        if free >= ROOM_BYTES:
            await machine.children["nats-server"].start_again(_END_WITHIN_S)


async def _unwell(machine: Machine) -> str:
    """Return what nats-server says is wrong with it; nothing when it is well, or away."""
    assert machine.http is not None
    try:
        async with machine.http.get(machine.nats_health_url) as answer:
            return await answer.text() if answer.status == 503 else ""
    except (aiohttp.ClientError, OSError, TimeoutError):
        return ""
