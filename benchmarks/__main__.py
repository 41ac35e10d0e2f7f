"""`make bench`: run every benchmark, print its table, and keep it in benchmarks/results.md with date and machine.

`python -m benchmarks symbols` runs one that takes long, and prints its table only.
"""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import arbitrage, fuzz, normaliser, road, symbols

RESULTS = Path(__file__).parent / "results.md"

LONG = {"fuzz": fuzz.main, "symbols": symbols.main}
"""Benchmarks that take too long to be run with the others, by name."""


def processor() -> str:
    """Return the processor's name and how many cores this process may use."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = lines[0] if lines else name
    return f"{name}, {os.cpu_count()} cores"


def main() -> int:
    """Run all, print all, write all; or the one that is named."""
    if len(sys.argv) > 1:
        if sys.argv[1] not in LONG:
            raise SystemExit(f"{sys.argv[1]!r} is no benchmark of its own; there are {', '.join(LONG)}")
        return LONG[sys.argv[1]](sys.argv[2:])
    text = [
        "# Benchmarks",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {processor()}, Python {platform.python_version()}. Command: `make bench`.",
        "Ratios are measured in one run, so that they hold on other machines; rates are this machine's.",
    ]
    for benchmark in (normaliser, road, arbitrage):
        print(f"running {benchmark.__name__} ...", file=sys.stderr, flush=True)
        lines = benchmark.run()
        print("\n".join(lines), flush=True)
        text += ["", *lines]
    RESULTS.write_text("\n".join(text) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
