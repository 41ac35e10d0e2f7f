"""Two runs over one data directory with an outage between them, and NATS cut as soon as the refill is under way."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from tests.pipeline import Pipeline, run_pipeline, until

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
MARKETS = ("spot", "perp")
SYMBOLS = ("BTC",)
EVENTS_PER_S = 30.0
"""Of each exchange."""
BEFORE_S, AFTER_S = 30, 30
"""How long the market is heard before and after."""
DRAIN_S = 1_800.0
_ENDED_WELL = (0, 4)
"""Nothing lost, and something lost for good: books and quotes are."""


def settings_of(exchanges: tuple[str, ...]) -> dict[str, Any]:
    """Return the settings of the simulator, but for when a run begins."""
    return {
        "exchanges": exchanges,
        "markets": MARKETS,
        "symbols": SYMBOLS,
        "events_per_s": EVENTS_PER_S * len(exchanges),
    }


class Outage:
    """An outage of so many minutes of market time, in a folder of its own."""

    def __init__(self, folder: Path, minutes: int, exchanges: tuple[str, ...]) -> None:
        self.data = folder / f"outage-{minutes}"
        self.minutes = minutes
        self.exchanges = exchanges
        self.asked: Counter[tuple[str, str, str]] = Counter()
        """GETs that the simulator answered, by exchange, market and path."""
        self.over_the_limit = 0
        """Of these, refused since too much was asked."""
        self.cut_us = 0
        """Market time at which the first run ended, at the latest."""
        self.back_us = 0
        """When the second began."""

    def play(self) -> None:
        """Run to the end. Raises AssertionError when the pipeline ends otherwise than it must."""
        settings = settings_of(self.exchanges)
        prefix = "TAPELINE_EXCHANGE_SIMULATOR_"
        environment = {
            f"{prefix}MARKETS": ",".join(MARKETS),
            f"{prefix}EVENTS_PER_S": str(settings["events_per_s"]),
            "TAPELINE_COLLECTOR_MARKETS": ",".join(MARKETS),
        }
        named = ("--exchanges", ",".join(self.exchanges), "--symbols", ",".join(SYMBOLS))
        arguments = ("--simulate", "--until-drained", *named)

        now = time.time_ns() // 1_000
        start = (now - self.minutes * MINUTE_US) // MINUTE_US * MINUTE_US - 20 * SECOND_US
        self.cut_us = start + BEFORE_S * SECOND_US
        past = {f"{prefix}START_US": str(start), f"{prefix}DURATION_S": str(BEFORE_S)}
        with run_pipeline(self.data, *arguments, **environment, **past) as pipeline:
            status = pipeline.process.wait(DRAIN_S)
            assert status in _ENDED_WELL, f"the first run ended with {status}:\n{pipeline.log()[-6_000:]}"
        self.back_us = time.time_ns() // 1_000
        with run_pipeline(self.data, *arguments, **environment, **{f"{prefix}DURATION_S": str(AFTER_S)}) as pipeline:
            until(lambda: (pipeline.status("gap-backfill") or {}).get("rows_brought"), "the refill is under way")
            pipeline.kill("nats-server")
            status = self._wait(pipeline)
            assert status in _ENDED_WELL, f"the second run ended with {status}:\n{pipeline.log()[-6_000:]}"

    def _wait(self, pipeline: Pipeline) -> int:
        """Wait for the end, and keep what the simulator counted last."""
        deadline = time.monotonic() + DRAIN_S
        while time.monotonic() < deadline:
            status = pipeline.process.poll()
            if status is not None:
                return status
            counted = simulator_status(pipeline.data_dir)
            if counted is not None:
                self.asked = asked(counted)
                self.over_the_limit = sum(market["over_the_limit"] for market in counted["markets"])
            time.sleep(0.1)
        raise AssertionError(f"not drained after {DRAIN_S:.0f} s:\n{pipeline.log()[-6_000:]}")


def simulator_status(data: Path) -> dict[str, Any] | None:
    """Return what the simulator says of itself, or None when it does not answer."""
    try:
        port = int((data / "simulator" / "port").read_text())
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/simulator/status", timeout=10) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found
    except (OSError, ValueError):
        return None


def asked(status: dict[str, Any]) -> Counter[tuple[str, str, str]]:
    """Return how often each path was asked for, by exchange, market and path."""
    found: Counter[tuple[str, str, str]] = Counter()
    for market in status["markets"]:
        for path, count in market["asked"].items():
            found[market["exchange"], market["market"], path] += count
    return found
