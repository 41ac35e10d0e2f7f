"""`make bench`: run every benchmark, print its table, and keep each in benchmarks/results/ with date and machine.

`python -m benchmarks storage` runs one of those by name and keeps it too; arguments behind the name (`--help` lists
them) make it shorter or longer, and then its table is printed only. What is not in `KEPT` takes long and is run
by name only.
"""

from __future__ import annotations

import sys

from benchmarks import (
    alerts,
    arbitrage,
    faults,
    fuzz,
    kinds,
    normaliser,
    outages,
    pipeline,
    proofs,
    storage,
    symbols,
    windows,
)
from benchmarks import symbols_complete as complete
from benchmarks.keeping import keep

KEPT = {"pipeline": pipeline.run, "normaliser": normaliser.run, "arbitrage": arbitrage.run, "storage": storage.run}
"""What `make bench` runs, by name."""

WITH_ARGUMENTS = {
    "alerts": alerts.main,
    "complete": complete.main,
    "faults": faults.main,
    "fuzz": fuzz.main,
    "growth": pipeline.growth,
    "kinds": kinds.main,
    "outages": outages.main,
    "pipeline": pipeline.main,
    "proofs": proofs.main,
    "storage": storage.main,
    "symbols": symbols.main,
    "windows": windows.main,
}
"""What can be run by itself with arguments of its own."""


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
        keep(one, lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
