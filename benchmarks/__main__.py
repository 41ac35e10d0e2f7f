"""`make bench`: run every benchmark, print its table, and keep each in benchmarks/results/ with date and machine.

`python -m benchmarks storage` runs one of those by name and keeps it too; arguments behind the name (`--help` lists
them) make it shorter or longer, and then its table is printed only. `symbols`, `growth`, `alerts`, `faults` and `fuzz`
take long and are run by name only.
"""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import alerts, arbitrage, faults, fuzz, normaliser, pipeline, storage, symbols

RESULTS = Path(__file__).parent / "results"

KEPT = {"pipeline": pipeline.run, "normaliser": normaliser.run, "arbitrage": arbitrage.run, "storage": storage.run}
"""What `make bench` runs, by name."""

WITH_ARGUMENTS = {
    "alerts": alerts.main,
    "faults": faults.main,
    "fuzz": fuzz.main,
    "growth": pipeline.growth,
    "pipeline": pipeline.main,
    "storage": storage.main,
    "symbols": symbols.main,
}
"""What can be run by itself with arguments of its own."""


def processor() -> str:
    """Return the processor's name and how many cores this process may use."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = lines[0] if lines else name
    return f"{name}, {os.cpu_count()} cores"


def main() -> int:
    """Run all and keep all; or the one that is named, kept when it is as `make bench` runs it."""
    name, *arguments = sys.argv[1:] or [""]
    if name in WITH_ARGUMENTS and (arguments or name not in KEPT):
        return WITH_ARGUMENTS[name](arguments)
    if name and name not in KEPT:
        raise SystemExit(f"{name!r} is no benchmark; there are {', '.join(sorted({*KEPT, *WITH_ARGUMENTS}))}")
    for one in [name] if name else KEPT:
        print(f"running {one} ...", file=sys.stderr, flush=True)
        lines = KEPT[one]()
        print("\n".join(lines), flush=True)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{one}.md").write_text("\n".join([*lines, "", stamp(f"python -m benchmarks {one}")]) + "\n")
    return 0


def stamp(command: str) -> str:
    """Return the line that says when, where and how a result was measured."""
    return f"{datetime.now(UTC):%Y-%m-%d}, {processor()}, Python {platform.python_version()}. Command: `{command}`."


if __name__ == "__main__":
    sys.exit(main())
