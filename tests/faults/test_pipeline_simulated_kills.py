"""A generated market while everything but the collector is killed in turn: every event stored once, and no gap."""

from __future__ import annotations

from pathlib import Path

from tests.ledger import compare
from tests.pipeline import Pipeline, at_rest, run_pipeline, until

KILLS = ("normaliser", "nats-server", "storage-batcher", "clickhouse", "normaliser", "nats-server", "clickhouse")


def trades(pipeline: Pipeline) -> int:
    """Rows of trades, 0 while ClickHouse is away."""
    try:
        return int(pipeline.sql("SELECT count() AS n FROM tapeline.trades")[0]["n"])
    except OSError:
        return 0


def test_every_event_is_stored_once_whichever_server_or_service_dies(tmp_path: Path) -> None:
    environment = {
        "TAPELINE_EXCHANGE_SIMULATOR_DURATION_S": "40",
        "TAPELINE_EXCHANGE_SIMULATOR_EVENTS_PER_S": "400",
    }
    with run_pipeline(tmp_path / "data", "--simulate", "--until-drained", **environment) as pipeline:
        pipeline.addresses()
        for name in KILLS:
            before = trades(pipeline)
            until(lambda before=before: trades(pipeline) > before + 20, "trades are stored")
            pipeline.kill(name)
        assert pipeline.wait() == 0, pipeline.log()[-8000:]
    compared = compare(tmp_path / "data")
    assert {kind: (lost, other) for kind, (_, lost, other) in compared.items() if lost or other} == {}
    assert sum(events for events, _, _ in compared.values()) > 10_000
    assert at_rest(tmp_path / "data", "SELECT * FROM tapeline.gap_detection_log") == []
    assert at_rest(tmp_path / "data", "SELECT * FROM tapeline.dead_letters") == []
