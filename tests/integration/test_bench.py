"""`tapeline bench pipeline` says what it measured, and whether the tables equal what was sent."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from services.command_line.bench_pipeline import MOST_AGE_MS, Measured, Worked
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


def measured(ages: list[float], events: int = 1_000) -> Measured:
    """Return a measurement of 10 s at 100 events/s, whose backlog took 5 s more."""
    used, drained = {"collector": Used(1.0, 60.0)}, Worked(1_500, 15.0, {"collector": Used(1.03, 60.0)})
    by_share = {50: 1.0, 99: 2.0}
    return Measured(100.0, 10.0, events, used, used, used, ages, by_share, by_share, drained)


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
    assert measured(ages).sustained is sustained


@pytest.mark.parametrize(("events", "sustained"), [(970, True), (969, False)])
def test_a_rate_is_sustained_when_it_was_sent(events: int, sustained: bool) -> None:
    assert measured([900.0] * 30, events).sustained is sustained


def test_processor_time_is_of_all_that_was_sent_and_stored() -> None:
    assert measured([900.0] * 30).cpu_us("collector") == pytest.approx(20.0)
    assert measured([900.0] * 30).as_dict()["stored_per_s"] == 100
