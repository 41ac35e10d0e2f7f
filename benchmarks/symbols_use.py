"""Processor time and memory of each process of a running pipeline, looked at every few seconds."""

from __future__ import annotations

import time

from services.command_line.bench_watch import Used, used
from tests.pipeline import Pipeline

OTHERS = ("nats-server", "clickhouse")
"""What runs beside the services."""


class Watch:
    """What each process used from the first look to the last."""

    def __init__(self) -> None:
        self._pids: dict[str, int] = {}
        self._first: dict[str, tuple[float, Used]] = {}
        self._last: dict[str, tuple[float, Used]] = {}
        self._most: dict[str, float] = {}
        self._names: tuple[str, ...] = ()

    def look(self, pipeline: Pipeline) -> None:
        """Read every process that is there. Raises SystemExit when one was started again: its use would be lost."""
        self._names = self._names or (*pipeline.addresses()["health"], *OTHERS)
        for name in self._names:
            pids = pipeline.starts(name)
            if not pids:
                continue
            if self._pids.setdefault(name, pids[-1]) != pids[-1]:
                raise SystemExit(f"{name} was started again: process {self._pids[name]} became {pids[-1]}")
            try:
                now = used(pids[-1])
            except OSError:
                continue  # it has ended, as all do at the end
            seen = (time.monotonic(), now)
            self._first.setdefault(name, seen)
            self._last[name] = seen
            self._most[name] = max(self._most.get(name, 0.0), now.resident_mib)

    def table(self) -> list[str]:
        """Return the lines of a table: cores on average, and memory at most."""
        lines = ["", "| process | cores | most resident MiB |", "|---|---|---|"]
        total = 0.0
        for name, (began, first) in self._first.items():
            ended, last = self._last[name]
            cores = (last.processor_s - first.processor_s) / max(ended - began, 1e-9)
            total += cores
            lines.append(f"| {name} | {cores:.2f} | {self._most[name]:,.0f} |")
        return [*lines, f"| all | {total:.2f} | {sum(self._most.values()):,.0f} |"]
