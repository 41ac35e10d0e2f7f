"""`tapeline gap-backfill`: know what is missing, and fetch just that."""

from __future__ import annotations

import sys
from typing import Any

from services.gap_backfill.runner import Runner
from services.gap_backfill.settings import GapBackfillSettings
from services.gap_backfill.stock import Stock
from services.shared.runtime.bus import connect
from services.shared.runtime.http import Http
from services.shared.runtime.run import Context, run
from services.shared.runtime.warehouse import Warehouse


async def serve(settings: GapBackfillSettings, context: Context) -> None:
    """Fill gaps until told to stop."""
    bus = await connect(settings, "gap-backfill", context.log, context.stop)
    try:
        async with (
            Warehouse.of(settings) as warehouse,
            Http(settings.request_timeout_s, settings.exchange_ca_file) as http,
        ):
            runner = Runner(settings, bus, Stock(warehouse), http, context.log, context.stop)

            def status() -> dict[str, Any]:
                context.health.set_ready(runner.ready and bus.connected)
                return runner.status()

            context.health.status = status
            await runner.run()
    finally:
        await bus.close()


if __name__ == "__main__":
    sys.exit(run("gap-backfill", GapBackfillSettings, serve))
