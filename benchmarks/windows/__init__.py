"""Known windows of mispricing through everything that is real but the exchanges: what is found must be what is true.

`python -m benchmarks windows` plans windows (`plan.py`), runs them through `tapeline up --simulate` (`drive.py`), and
judges the stored signals by the plan and by the simulator's own books (`known.py`, `verdict.py`). Then a backtest over
what is stored must tell the same as the live run, one for one. Exit status 1 when anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import books
from benchmarks.keeping import keep
from benchmarks.windows.drive import SECOND_US, drive, market_settings, signal_environment
from benchmarks.windows.known import instruments, lateness_s
from benchmarks.windows.plan import EXCHANGES, Plan, plan
from benchmarks.windows.verdict import Verdict, judge, table
from services.exchange_simulator.generator.names import assets
from tests.clickhouse_server import ClickhouseServer, run_clickhouse
from tests.pipeline import TAPELINE

SHOWN = 20
FORMAT = (
    "FORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers=0, output_format_json_quote_decimals=1, "
    "output_format_json_named_tuples_as_objects=0"
)
_TOLD = """
SELECT '{kind}' AS kind, exchange, market, symbol, assumeNotNull(stream_sequence) AS at,
    assumeNotNull({sequence}) AS sequence, toUnixTimestamp64Micro(timestamp) AS timestamp,
    toUnixTimestamp64Micro(received_at) AS received_at, timestamp_source
FROM tapeline.{table} WHERE source = 'live' {where}
"""
TOLD = " UNION ALL ".join(
    _TOLD.format(kind=kind, table=table_, sequence=sequence, where=where)
    for kind, table_, sequence, where in (
        ("quote", "quotes", "sequence", ""),
        ("book", "orderbooks", "sequence", ""),
        ("book", "book_deltas", "last_sequence", "AND in_step"),
    )
)


def main(arguments: list[str]) -> int:
    """Plan, run, compare, print; 0 when everything is as it must be."""
    parser = argparse.ArgumentParser("python -m benchmarks windows", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--exchanges", default=",".join(EXCHANGES), help="two or more (default: %(default)s)")
    parser.add_argument("--assets", type=int, default=12, help="how many (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="of some 45 s each (default: %(default)s)")
    parser.add_argument(
        "--age-limit", type=int, default=2, help="s; a machine that is late itself needs more (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the plan (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="keep the run's data here; a run that is there is judged again")
    given = parser.parse_args(arguments)
    planned = plan(
        given.exchanges.split(","),
        [asset.name for asset in assets(1, given.assets)],
        given.rounds,
        given.seed,
        given.age_limit,
    )
    with tempfile.TemporaryDirectory() as folder:
        data = given.data or Path(folder) / "data"
        begun = data / "windows.json"
        if begun.exists():
            start_us = int(json.loads(begun.read_text())["start_us"])
        else:
            start_us = int(time.time()) * SECOND_US
            drive(planned, data, start_us)
            begun.write_text(json.dumps({"start_us": start_us}))
        with run_clickhouse(data) as server:
            verdict = _judge(planned, data, start_us, server)
            compared = _hindsight(planned, start_us, data, server)
    wrong = verdict.wrong + compared
    lines = table(verdict)
    print("\n".join(lines))
    print("\n".join(wrong[:SHOWN]), file=sys.stderr)
    print(f"\n{'As it must be.' if not wrong else f'{len(wrong)} things are not as they must be.'}")
    if not arguments and not wrong:
        keep("windows", lines)
    return 1 if wrong else 0


def _judge(planned: Plan, data: Path, start_us: int, server: ClickhouseServer) -> Verdict:
    known = instruments(books.markets(data, **market_settings(planned, start_us)), _rows(server, TOLD))
    records = _rows(
        server,
        "SELECT * EXCEPT (sizes), "
        "toUInt64(splitByChar('-', splitByChar('.', opportunity_id)[2])[1]) AS opened_sequence, "
        "arrayMap(row -> arrayMap(number -> toString(number), row), sizes) AS sizes "
        "FROM tapeline.arbitrage_opportunities ORDER BY timestamp, input_sequence ",
    )
    late_s = lateness_s(known.values())
    print(f"Books came up to {late_s:.2f} s late; the age limit is {planned.age_limit_s} s.", flush=True)
    return judge(planned, start_us, known, records)


def _rows(server: ClickhouseServer, statement: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.query(statement + FORMAT).splitlines()]


def _hindsight(planned: Plan, start_us: int, data: Path, server: ClickhouseServer) -> list[str]:
    """Run the backtest as its user does; return what it tells otherwise than the live run did."""
    out = data / "backtest.json"
    begin, end = start_us // SECOND_US - 60, int(time.time()) + 1
    span = ["--from", _moment(begin), "--to", _moment(end)]
    done = subprocess.run(
        [TAPELINE, "arbitrage", "backtest", *span, "--data", str(data), "--out", str(out)],
        env={**os.environ, **signal_environment(planned), "TAPELINE_CLICKHOUSE_URL": server.url},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return [f"the backtest ended with {done.returncode}: {done.stderr}"]
    print(done.stdout)
    compared = json.loads(out.read_bytes())["compared"]
    if not compared["same"]:
        return ["the backtest has nothing to compare"]
    return [
        f"{where}: {record['opportunity_id']} {record['event']}"
        for where in ("only_live", "only_hindsight")
        for record in compared[where]
    ]


def _moment(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
