"""The supervisor itself killed: nothing is left running, nothing stored is lost, and it can be started again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.pipeline import Pipeline, run_pipeline, until

CHILDREN = ("nats-server", "clickhouse", "exchange-simulator", "storage-batcher", "normaliser", "collector")


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def trades(pipeline: Pipeline) -> int:
    return int(pipeline.sql("SELECT count() AS n FROM tapeline.trades")[0]["n"])


def test_killed_it_leaves_nothing_behind_and_starts_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with run_pipeline(data, "--simulate", "--exchanges", "binance") as pipeline:
        pipeline.addresses()
        stored = until(lambda: trades(pipeline), "trades are stored")
        pids = [pipeline.starts(name)[-1] for name in CHILDREN]
        assert all(lives(pid) for pid in pids)
        os.kill(pipeline.process.pid, signal.SIGKILL)
        pipeline.process.wait()
        until(lambda: not any(lives(pid) for pid in pids), "every child has ended")
    with run_pipeline(data, "--simulate", "--exchanges", "binance") as again:
        again.addresses()
        assert trades(again) >= stored
        until(lambda: trades(again) > stored, "the tables grow again")
        assert again.interrupt() == 0, again.log()[-4000:]


def test_a_service_that_dies_again_and_again_is_started_again_with_backoff(tmp_path: Path) -> None:
    with run_pipeline(tmp_path / "data", "--simulate", "--exchanges", "binance") as pipeline:
        pipeline.addresses()
        for _ in range(3):
            pipeline.kill("storage-batcher")
        waits = [
            line.split('"elapsed_s": ')[1].split(",")[0]
            for line in pipeline.log().splitlines()
            if '"process_ended"' in line and '"storage-batcher"' in line
        ]
        assert [float(wait) for wait in waits] == [0.5, 1.0, 2.0]
        until(lambda: trades(pipeline), "trades are stored all the same")
        assert pipeline.interrupt() == 0, pipeline.log()[-4000:]
