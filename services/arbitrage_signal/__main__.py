"""`tapeline arbitrage-signal`: quotes and books of every exchange to opportunities."""

from __future__ import annotations

import sys

from services.arbitrage_signal.live import Live
from services.arbitrage_signal.settings import ArbitrageSignalSettings
from services.shared.runtime.bus import connect
from services.shared.runtime.run import Context, run
from services.shared.runtime.warehouse import Warehouse


async def serve(settings: ArbitrageSignalSettings, context: Context) -> None:
    """Signal until told to stop."""
    bus = await connect(settings, "arbitrage-signal", context.log, context.stop)
    async with Warehouse.of(settings) as warehouse:
        live = Live(bus, warehouse, settings, context.log, context.stop)

        def status() -> dict[str, object]:
            context.health.set_ready(live.reading)
            return live.status()

        context.health.status = status
        try:
            await live.work()
        finally:
            await bus.close()


if __name__ == "__main__":
    sys.exit(run("arbitrage-signal", ArbitrageSignalSettings, serve))
