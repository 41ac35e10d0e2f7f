"""Where results are kept, and the line that says when, where and how they were measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def keep(name: str, lines: Sequence[str]) -> None:
    """Write a benchmark's result, as `python -m benchmarks <name>` printed it."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text("\n".join([*lines, "", stamp(f"python -m benchmarks {name}")]) + "\n")


def processor() -> str:
    """Return the processor's name and how many cores this process may use."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = lines[0] if lines else name
    return f"{name}, {os.cpu_count()} cores"


def stamp(command: str) -> str:
    """Return the line that says when, where and how a result was measured."""
    return f"{datetime.now(UTC):%Y-%m-%d}, {processor()}, Python {platform.python_version()}. Command: `{command}`."
