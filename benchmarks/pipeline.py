"""The whole road by `tapeline bench pipeline`: at rising rates, and as symbols and processes are added.

`python -m benchmarks pipeline [--rates 3000,10000,25000] [--seconds 60]`, and
`python -m benchmarks growth [--rate 5000] [--seconds 30] [--symbols 10,100,1000] [--shares 1,2,4]`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tests.pipeline import TAPELINE

NAMES = ("exchange-simulator", "nats-server", "collector", "normaliser", "storage-batcher", "clickhouse")
_UNEQUAL = 4

HEAD = [
    f"| events/s | symbols | normalisers, batchers | kept up | {' | '.join(NAMES)} | pipeline us/event | "
    "frame to subject p50, p99 ms | frame to row p50, p99 ms | MiB |",
    f"|{'---|' * (len(NAMES) + 8)}",
]


def main(arguments: list[str]) -> int:
    """Measure at rising rates and print the table."""
    parser = argparse.ArgumentParser("python -m benchmarks pipeline", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rates", default="3000,10000,25000", help="events a second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="of each measurement (default: %(default)s)")
    given = parser.parse_args(arguments)
    print("\n".join(run([float(rate) for rate in given.rates.split(",")], given.seconds)), flush=True)
    return 0


def growth(arguments: list[str]) -> int:
    """Measure with more symbols and more processes, and print the table."""
    parser = argparse.ArgumentParser("python -m benchmarks growth", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rate", type=float, default=5_000, help="events a second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30, help="of each measurement (default: %(default)s)")
    parser.add_argument("--symbols", default="10,100,1000", help="instruments, one run each (default: %(default)s)")
    parser.add_argument("--shares", default="1,2,4", help="normalisers and batchers (default: %(default)s)")
    given = parser.parse_args(arguments)
    print("\n".join(HEAD), flush=True)
    for symbols in given.symbols.split(","):
        print(line(given.rate, given.seconds, int(symbols)), flush=True)
    for shares in given.shares.split(","):
        print(line(given.rate, given.seconds, 100, int(shares)), flush=True)
    return 0


def run(rates: Sequence[float] = (3_000, 10_000, 25_000), seconds: float = 60) -> list[str]:
    """Return the benchmark's lines of Markdown."""
    return [
        "## The whole road: a futures market from WebSocket to table",
        "",
        f"`tapeline bench pipeline --seconds {seconds:g}`: an event is one exchange frame, 50% book changes, 40% "
        "quotes, 6% trades, 4% candles; processor time in us an event by process, the simulator's on the same cores "
        "but not in the sum. Tables equal the ledger afterwards, or the run fails.",
        "",
        *HEAD,
        *(line(rate, seconds) for rate in rates),
    ]


def line(rate: float, seconds: float, symbols: int = 100, shares: int = 1) -> str:
    """Measure once; return the table's line. Ends the program where the tables differ from the ledger."""
    command = [TAPELINE, "bench", "pipeline", "--json", "--rate", f"{rate:g}", "--seconds", f"{seconds:g}"]
    command += ["--symbols", str(symbols), "--normalisers", str(shares), "--batchers", str(shares)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode == _UNEQUAL or not done.stdout:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stdout.decode()}")
    found: dict[str, Any] = json.loads(done.stdout)
    services = found["services"]
    cells = [
        f"{found['events_per_s']:,}",
        f"{symbols:,}",
        f"{shares}, {shares}",
        "yes" if found["sustained"] else "no",
        *(f"{sum(one['cpu_us_per_event'] for key, one in services.items() if key.startswith(n)):.1f}" for n in NAMES),
        f"{found['cpu_us_per_event']:.1f}",
        f"{found['subject_p50_ms']:.0f}, {found['subject_p99_ms']:.0f}",
        f"{found['lag_p50_ms']:.0f}, {found['lag_p99_ms']:.0f}",
        f"{found['rss_mb']:,}",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
