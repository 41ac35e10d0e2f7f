"""Runs the collector: `python -m services.collector`."""

from __future__ import annotations

import sys

from services.collector.service import Collector
from services.collector.settings import CollectorSettings
from services.shared.exchanges.registry import MARKETS
from services.shared.runtime.run import Context, run


async def serve(settings: CollectorSettings, context: Context) -> None:
    """Collect until stopped."""
    await Collector(settings, context, MARKETS).run()


def main() -> int:
    """Run the service; return its exit status."""
    return run("collector", CollectorSettings, serve)


if __name__ == "__main__":
    sys.exit(main())
