"""`tapeline bench pipeline` says what it measured, and whether the tables equal what was sent."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from services.command_line.bench_pipeline import MOST_AGE_MS, Measured
from services.command_line.bench_watch import Used, percentile
from tests.pipeline import TAPELINE

COMMAND = (
    "bench",
    "pipeline",
    "--events-per-s",
    "200",
    "--seconds",
    "4",
    "--symbols",
    "2",
    "--batchers",
    "2",
    "--json",
)


def test_a_short_run_measures_every_process_and_finds_the_tables_equal() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TAPELINE_")}
    done = subprocess.run([TAPELINE, *COMMAND], capture_output=True, env=environment, check=False, timeout=300)
    found = json.loads(done.stdout)
    # How fast this machine is decides between 0 and 1; 4 would be a difference.
    assert done.returncode == (0 if found["sustained"] else 1), done.stderr.decode()[-2000:]
    assert {"events_per_s", "lag_p99_ms", "subject_p99_ms", "cpu_us_per_event", "rss_mb"} <= found.keys()
    assert found["lag_p99_ms"] > 0 and found["subject_p99_ms"] > 0
    names = {"nats-server", "clickhouse", "collector", "normaliser", "storage-batcher", "storage-batcher-2"}
    assert names <= found["services"].keys()
    assert all(found["services"][name]["rss_mb"] > 0 for name in names)
    ledger = found["ledger"]
    assert {"book_change", "quote", "trade", "candle_update"} == ledger.keys()
    assert all(one["equal"] and one["sent"] == one["stored"] > 0 for one in ledger.values())


def test_a_percentile_goes_by_weight() -> None:
    assert percentile([(5.0, 1.0), (1.0, 98.0), (9.0, 1.0)], 0.5) == 1.0
    assert percentile([(5.0, 1.0), (1.0, 98.0), (9.0, 1.0)], 0.99) == 5.0


@pytest.mark.parametrize(
    ("ages", "sustained"),
    [
        ([900.0, 1_100.0] * 15, True),
        ([900.0] * 29 + [MOST_AGE_MS], False),
        ([300.0 + 50 * n for n in range(30)], False),
    ],
)
def test_a_rate_is_sustained_when_the_newest_row_stays_young_and_does_not_age(
    ages: list[float], sustained: bool
) -> None:
    used = {"collector": Used(1.0, 60.0)}
    measured = Measured(10.0, 1_000, used, used, used, ages, {50: 1.0, 99: 2.0}, {50: 1.0, 99: 2.0})
    assert measured.sustained is sustained
