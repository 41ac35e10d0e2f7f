"""A short chaos: all that is behind the collector is killed, paused and away; every event is stored once, and no gap.

The long one, in which collectors die too and the disk fills, is `make chaos`.
"""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from benchmarks.chaos.account import account
from benchmarks.chaos.run import Run
from benchmarks.chaos.verdict import allowed_gaps, refusals, table
from tests.pipeline import at_rest

SEED, EVENTS, RATE, KILLS = 4, 5_400, 300, 6


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run, played to its end."""
    run = Run(tmp_path_factory.mktemp("chaos"), SEED, EVENTS, RATE, KILLS, loses=False, full_disk=False, lengths=0.05)
    run.play(print)
    return run


def test_every_event_is_stored_once_whichever_server_or_service_dies(run: Run) -> None:
    lines = account(run.data, allowed_gaps(run.data, run.done), run.began_us)
    assert len(run.done) == len(run.plan) and run.failed == []
    assert [fault for line in lines.values() for fault in line.faults] == []
    whole = (line.sent == line.stored + line.early and not line.more_than_sent for line in lines.values())
    assert all(whole), table(lines)
    assert sum(line.sent for line in lines.values()) > EVENTS // 2
    assert at_rest(run.data, "SELECT * FROM tapeline.gap_detection_log") == []
    assert refusals(run.data, run.poison) == []


def test_the_account_finds_a_row_too_few_and_one_too_many(run: Run) -> None:
    """Held against a ledger in which one trade is another."""
    path = sorted((run.data / "ledger").glob("binance.perp.trade-*.parquet"))[-1]
    rows = pq.read_table(path)
    *others, last = rows.to_pylist()
    other = {**last, "sequence": last["sequence"] + 10**9}
    pq.write_table(type(rows).from_pylist([*others, other], schema=rows.schema), path)
    lines = account(run.data, allowed_gaps(run.data, run.done), run.began_us, only={"trade"})
    pq.write_table(rows, path)
    found = lines["binance", "perp", "trade"]
    assert (found.stored, found.more_than_sent) == (found.sent - found.early - 1, 1)
    (fault,) = found.faults
    assert f"last_id={other['sequence']}" in fault and fault.endswith("in []")
