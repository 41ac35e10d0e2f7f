"""`make chaos SEED=1 EVENTS=500000`: one run, its plan, and the table of what became of every event.

`--only-storing` kills and pauses nobody but normaliser, batcher, NATS and ClickHouse: then nothing may be missing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.chaos.account import account
from benchmarks.chaos.run import Run
from benchmarks.chaos.verdict import allowed_gaps, refusals, table

DISK_MIB = 4_096


def main() -> int:
    """Run and judge; 0 when every event is stored once or in a gap that is allowed."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="the same plan again")
    parser.add_argument("--events", type=int, default=500_000, help="about so many events are sent")
    parser.add_argument("--rate", type=int, default=2_000, help="events a second")
    parser.add_argument("--kills", type=int, default=20, help="SIGKILLs")
    parser.add_argument("--only-storing", action="store_true", help="leave collector, connections and disk alone")
    parser.add_argument(
        "--keep", type=Path, help="a new folder for data and log to be kept in; what is mounted there stays, too"
    )
    asked = parser.parse_args()
    seed = time.time_ns() % 1_000_000 if asked.seed is None else asked.seed
    with tempfile.TemporaryDirectory() as made:
        folder = asked.keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        with small_disk(folder / "data", DISK_MIB, keep=asked.keep is not None) as full_disk:
            run = Run(folder, seed, asked.events, asked.rate, asked.kills, not asked.only_storing, full_disk)
            say(f"SEED={seed} EVENTS={asked.events}: {asked.rate} events/s, {asked.kills} kills")
            if not full_disk:
                say("skipped: a full disk (this needs a file system of its own, which only root may mount)")
            run.play(say)
            lines = account(run.data, allowed_gaps(run.data, run.done), run.began_us)
            wrong = [*run.failed, *refusals(run.data, run.poison)]
    print("\n".join(["", f"Seed {seed}:", "", *table(lines)]))
    wrong += [fault for line in lines.values() for fault in line.faults]
    more = sum(line.more_than_sent for line in lines.values())
    if asked.only_storing and any(line.in_gaps or line.refilled for line in lines.values()):
        wrong.append("something is in a gap, although nobody died who may lose anything")
    for fault in wrong[:40]:
        print(f"WRONG: {fault}")
    print(f"{len(wrong)} wrong, {more} rows more than sent. Again: make chaos SEED={seed} EVENTS={asked.events}")
    return 1 if wrong or more else 0


def say(text: str) -> None:
    """Show progress."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def small_disk(folder: Path, mib: int, *, keep: bool) -> Iterator[bool]:
    """Make a folder, a file system of its own where we may mount one; yields whether it is. `keep` leaves it there."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tapeline-chaos", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted and not keep:
            subprocess.run(["umount", "-l", str(folder)], check=True)


if __name__ == "__main__":
    sys.exit(main())
