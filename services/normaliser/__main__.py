"""`tapeline normaliser`: frames to records, one owner per RAW partition."""

from __future__ import annotations

import asyncio
import sys

from schemas import streams
from services.normaliser.owner import Owner
from services.normaliser.publisher import Publisher
from services.normaliser.settings import NormaliserSettings
from services.shared.runtime.bus import connect
from services.shared.runtime.ring import Ring, oldest_unstored_of_md
from services.shared.runtime.run import Context, run


async def serve(settings: NormaliserSettings, context: Context) -> None:
    """Own the partitions of the settings until told to stop."""
    bus = await connect(settings, "normaliser", context.log, context.stop)
    ring = Ring(bus, streams.MD, oldest_unstored_of_md, settings.ring_check_s, context.log)
    publisher = Publisher(bus, ring, settings.gather_s, context.stop)
    owners = [Owner(part, bus, publisher, ring, settings, context.log, context.stop) for part in settings.partitions]

    def status() -> dict[str, object]:
        context.health.set_ready(all(owner.reading for owner in owners))
        return {
            "paused": ring.near_tail,
            "pending_messages": sum(owner.pending for owner in owners),
            "partitions": {f"{owner.part:02d}": owner.status() for owner in owners},
        }

    context.health.status = status
    storing = asyncio.create_task(publisher.run())
    try:
        async with asyncio.TaskGroup() as group:
            for owner in owners:
                group.create_task(owner.work())
    finally:
        storing.cancel()
        await bus.close()


if __name__ == "__main__":
    sys.exit(run("normaliser", NormaliserSettings, serve))
