"""`python -m benchmarks fuzz [--count N] [--seed N]`: random and mutated frames through every parser and the core.

A million by default. It ends with an error at the first frame of which something else than a refusal comes, and names
seed and frame; it prints what became of each market's frames, and the peak of its memory.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from tests.conftest import recordings_folder
from tests.fuzz.corpus import corpora
from tests.fuzz.run import Escaped, Fuzz, peak_bytes

MIB = 1024**2
CHECKS = 10
"""How often memory is looked at: it must not grow with the number of frames."""


def main(arguments: Sequence[str]) -> int:
    """Fire and report; return the exit status: 1 when something escaped, 2 without recordings."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="frames, over all markets")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    folder = recordings_folder()
    if folder is None:
        print("no recordings: set TAPELINE_RECORDINGS")
        return 2
    fired = [Fuzz(corpus, given.seed) for corpus in corpora(folder)]
    peaks = [peak_bytes()]
    began = time.process_time()
    try:
        for share in range(CHECKS):
            for number in range(given.count * share // CHECKS, given.count * (share + 1) // CHECKS):
                fired[number % len(fired)].step()
            peaks.append(peak_bytes())
    except Escaped as error:
        print(f"seed {given.seed}: {error}")
        return 1
    print(f"seed {given.seed}, {given.count:,} frames, {time.process_time() - began:,.0f} s of processor time\n")
    print("| market | frames | parsed | refused | records | dead letters | saved, KiB |")
    print("|---|---|---|---|---|---|---|")
    for fuzz in fired:
        tally = fuzz.tally
        print(
            f"| {fuzz.market.exchange} {fuzz.market.market} | {tally.channels.total():,} | {tally.parsed:,} | "
            f"{tally.refused:,} | {tally.records:,} | {tally.dead:,} | {fuzz.saved_bytes() / 1024:,.0f} |"
        )
    print(f"\nPeak memory at the start and after each tenth, MiB: {', '.join(f'{peak / MIB:.0f}' for peak in peaks)}.")
    return 0
