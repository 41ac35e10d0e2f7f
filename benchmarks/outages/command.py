"""`python -m benchmarks outages`: outages of 1, 10 and 90 minutes on all six exchanges, then 200 symbols at once.

Ends with 1 when anything is lost, doubled or otherwise than the market, a gap on record is not as it must be, or more
was asked of the exchanges than it takes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from benchmarks.keeping import keep
from benchmarks.outages.crowd import RANKS, Crowd, Outcome
from benchmarks.outages.judge import Verdict, judge
from benchmarks.outages.run import Outage
from benchmarks.outages.truth import Count

EXCHANGES = ("binance", "okx", "deribit", "gateio", "mexc", "bybit")
SHOWN = 20


def main(arguments: list[str]) -> int:
    """Run, compare, print; 0 when everything is as it must be."""
    parser = argparse.ArgumentParser("python -m benchmarks outages", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--minutes", default="1,10,90", help="lengths of the outages (default: %(default)s)")
    parser.add_argument("--exchanges", default=",".join(EXCHANGES), help="which (default: %(default)s)")
    parser.add_argument("--crowd", type=int, default=200, help="symbols at once; 0: none (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=600, help="their events a second (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="keep the runs' data here")
    given = parser.parse_args(arguments)
    wrong: list[str] = []
    lines: list[str] = []

    def show(found: list[str]) -> None:
        print("\n".join(found), flush=True)
        lines.extend(found)

    with tempfile.TemporaryDirectory() as folder:
        for minutes in (int(text) for text in given.minutes.split(",") if text):
            outage = Outage(given.data or Path(folder), minutes, tuple(given.exchanges.split(",")))
            print(f"an outage of {minutes} minutes ...", file=sys.stderr, flush=True)
            outage.play()
            verdict = judge(outage)
            show(table(minutes, verdict))
            wrong += verdict.wrong
        if given.crowd:
            print(f"{given.crowd} symbols ...", file=sys.stderr, flush=True)
            outcome = Crowd(given.data or Path(folder), given.crowd, given.rate).play()
            show(table_of_crowd(outcome))
            wrong += outcome.wrong
    for text in wrong[:SHOWN]:
        print(f"WRONG: {text[:600]}")
    print(f"{len(wrong)} differences")
    if not arguments:
        keep("outages", [*lines, f"{len(wrong)} differences"])
    return 1 if wrong else 0


def table(minutes: int, verdict: Verdict) -> list[str]:
    """Return an outage's table."""
    sums: dict[tuple[str, str, str], Count] = defaultdict(Count)
    for (exchange, market, _, kind, _), count in verdict.counts.items():
        into = sums[exchange, market, kind]
        for name in ("due", "live", "refilled", "doubled", "lost", "wrong"):
            setattr(into, name, getattr(into, name) + getattr(count, name))
    lines = [
        f"An outage of {minutes} minutes, NATS cut during the refill: {verdict.calls} calls for trades and candles, "
        f"{verdict.fewest} at least; {verdict.gaps} gaps on record.",
        "",
        "| exchange | market | kind | due | live | refilled | lost | doubled | otherwise |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (exchange, market, kind), count in sums.items():
        numbers = (count.due, count.live, count.refilled, len(count.lost), count.doubled, len(count.wrong))
        lines.append(f"| {exchange} | {market} | {kind} | {' | '.join(f'{number:,}' for number in numbers)} |")
    return [*lines, ""]


def table_of_crowd(outcome: Outcome) -> list[str]:
    """Return the table of many symbols at once."""
    lost = sum(len(count.lost) for count in outcome.counts.values())
    doubled = sum(count.doubled for count in outcome.counts.values())
    otherwise = sum(len(count.wrong) for count in outcome.counts.values())
    deleted = sum(len(keys) for stretches in outcome.deleted.values() for keys in stretches.values())
    lines = [
        f"{outcome.symbols} symbols, {deleted:,} rows deleted in stretches of all three priorities, gap-backfill "
        f"killed midway: {outcome.calls:,} calls, {outcome.fewest:,} at least; {outcome.over_the_limit} refused as too "
        f"many; lost {lost}, doubled {doubled}, otherwise {otherwise}.",
        "",
        "| priority | gaps filled | last one asked for, s after the deletion |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {outcome.gaps[name]:,} | {outcome.last_s[name]:,.0f} |" for name in RANKS]
    return [*lines, ""]
