"""Single losses at every hop of a running pipeline, then `prove` of every symbol and kind beside what was lost.

`python -m benchmarks proofs` runs `tapeline up --simulate` and loses things on purpose, `--losses` in all: frames that
the simulator swallows, messages deleted from RAW before the normaliser read them, records deleted from MD before the
storage-batcher did, and rows deleted from tables. gap-backfill is paused all the while, so that what is lost stays
lost. Then every series is proved: none of the losses may lie in what is called complete or silent, and nothing else may
be called missing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.proofs.losses import HOPS, Judged, judge, judge_candles
from benchmarks.proofs.plants import Planter
from services.command_line.proof import MINUTE_US
from services.command_line.prove import LATE_US, Proved, Prover
from services.shared.runtime.clock import now_us
from tests.pipeline import Pipeline, run_pipeline, until

KINDS = (
    *("trade", "candle", "quote", "book_change", "orderbook", "ticker", "candle_update", "index_price"),
    "liquidation",
)
EVENTS_PER_S = 300.0
GATHER_S = 6.0
"""How long a reader is paused, so that there are messages it has not read."""
ROUNDS_PER_MIN = 2
SHOWN = 20


def main(arguments: list[str]) -> int:
    """Run, prove, judge, print; 0 when the proof was right about everything."""
    parser = argparse.ArgumentParser("python -m benchmarks proofs", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--losses", type=int, default=1_000, help="how many (default: %(default)s)")
    parser.add_argument("--minutes", type=int, default=8, help="of market, at least (default: %(default)s)")
    parser.add_argument("--symbols", default="3", help="how many assets, or which (default: %(default)s)")
    parser.add_argument("--exchanges", help="which (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="of what is lost (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="keep the run's data here")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        return _run(given.data or Path(folder) / "data", given)


def _run(data: Path, given: argparse.Namespace) -> int:
    environment = {"TAPELINE_EXCHANGE_SIMULATOR_EVENTS_PER_S": str(EVENTS_PER_S)}
    which = ("--exchanges", given.exchanges) if given.exchanges else ()
    with run_pipeline(data, "--simulate", *which, "--symbols", given.symbols, **environment) as pipeline:
        pipeline.addresses()
        os.kill(pipeline.starts("gap-backfill")[-1], signal.SIGSTOP)
        _subscribed(pipeline)
        first = -(-now_us() // MINUTE_US) * MINUTE_US
        _wait_until(first)
        planter = Planter(pipeline, given.seed)
        asyncio.run(_plant(planter, given.losses // len(HOPS), max(1, ROUNDS_PER_MIN * given.minutes)))
        last = max(first + given.minutes * MINUTE_US, -(-now_us() // MINUTE_US) * MINUTE_US)
        _wait_until(last + GATHER_S * 1_000_000)
        planter.read_ledger(first)
        planter.delete_rows(given.losses - sum(planter.planted.values()), first, last)
        _say("waiting until the last minute is counted")
        _wait_until(last + MINUTE_US + LATE_US + GATHER_S * 1_000_000)
        until(lambda: _counted(pipeline, last), "the last minute is counted")
        planter.read_resyncs()
        _say("proving")
        status = _report(planter, _proved(pipeline, first, last), first, last)
        os.kill(pipeline.starts("gap-backfill")[-1], signal.SIGCONT)
        pipeline.interrupt()
    return status


async def _plant(planter: Planter, per_hop: int, rounds: int) -> None:
    """Lose so many things at each of the first three hops, a little at each by turns."""
    left = {"simulator": per_hop, "raw": per_hop, "md": per_hop}
    share = -(-per_hop // rounds)
    while any(left.values()):
        for hop, delete in (("raw", planter.delete_raw), ("md", planter.delete_md)):
            if left[hop]:
                before = planter.planted[hop]
                await delete(min(share, left[hop]), GATHER_S)
                left[hop] -= planter.planted[hop] - before
        drops = min(share, left["simulator"])
        planter.drop(drops, GATHER_S / 2 / max(1, drops))
        left["simulator"] -= drops
        _say(f"to be lost: {left}")


def _counted(pipeline: Pipeline, last: int) -> bool:
    """Whether every market has told what it made in a minute behind the last one."""
    told = "SELECT exchange, market, toUnixTimestamp64Micro(max(timestamp)) >= {0} AS told FROM {1} GROUP BY ALL"
    rows = pipeline.sql(told.format(last, "tapeline.coverage_counts"))
    return all(row["told"] for row in rows)


def _subscribed(pipeline: Pipeline) -> None:
    """Wait until every market delivers."""
    wanted = "SELECT uniqExact(exchange, market) AS n FROM tapeline.instruments"
    have = "SELECT uniqExact(exchange, market) AS n FROM tapeline.quotes"
    until(lambda: (n := pipeline.sql(wanted)[0]["n"]) and n == pipeline.sql(have)[0]["n"], "every market delivers")


def _proved(pipeline: Pipeline, first: int, last: int) -> list[Proved]:
    symbols = [row["symbol"] for row in pipeline.sql("SELECT DISTINCT symbol FROM tapeline.quotes ORDER BY symbol")]
    return [one for symbol in symbols for one in Prover(pipeline.data_dir, symbol, first, last).prove(None, KINDS)]


def _report(planter: Planter, proved: list[Proved], first: int, last: int) -> int:
    judged = judge(proved, planter.losses, first, last)
    candles = judge_candles(proved, planter.candles)
    wrong = [
        *(f"PASSED OVER {text}" for text in (*judged.passed_over, *candles.passed_over)),
        *(f"FALSE ALARM {text}" for text in judged.false_alarms),
    ]
    print("\n".join(_table(planter, judged, candles)))
    for text in wrong[:SHOWN]:
        print(text)
    print(f"{len(proved)} series, {sum(planter.planted.values())} losses, {len(wrong)} differences")
    return 1 if wrong or not all(planter.planted.values()) else 0


def _table(planter: Planter, judged: Judged, candles: Judged) -> list[str]:
    lines = ["| lost at | losses | series and moments of them that are not called complete |", "|---|---|---|"]
    for hop in HOPS:
        lines.append(f"| {hop} | {planter.planted[hop]:,} | {judged.found[hop] + candles.found[hop]:,} |")
    said = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(judged.minutes.items()))
    late = f"When a frame deleted from RAW was said is known to {planter.lag / 1_000_000:.1f} s."
    return [*lines, "", f"Minutes of a series: {said}. {late}"]


def _wait_until(at: float) -> None:
    time.sleep(max(0.0, (at - now_us()) / 1_000_000))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
