"""Each command by itself, against servers that were started by somebody else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from schemas import streams, tables
from tests.clickhouse_server import ClickhouseServer, run_clickhouse
from tests.nats_server import NatsServer, run_nats
from tests.pipeline import TAPELINE, until

ROOT = Path(__file__).parents[2]


class Servers:
    """A NATS and a ClickHouse, and the environment that names them."""

    def __init__(self, nats: NatsServer, clickhouse: ClickhouseServer, folder: Path) -> None:
        self.nats = nats
        self.clickhouse = clickhouse
        self.environment = {
            **os.environ,
            "TAPELINE_NATS_URL": nats.url,
            "TAPELINE_CLICKHOUSE_URL": clickhouse.url,
            "TAPELINE_DATA_DIR": str(folder / "services"),
            "TAPELINE_LOG_FORMAT": "json",
            "TAPELINE_HEALTH_PORT": "0",
        }

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [TAPELINE, *arguments], capture_output=True, text=True, env=self.environment, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with run_nats(tmp_path / "nats") as nats, run_clickhouse(tmp_path / "clickhouse") as clickhouse:
        yield Servers(nats, clickhouse, tmp_path)


@contextmanager
def service(servers: Servers, log: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A service started as a container would start it; ended by SIGTERM, and it must end well."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [TAPELINE, *arguments], stdout=output, stderr=output, env={**servers.environment, **environment}
        )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_streams_and_tables_are_brought_up_to_date_and_then_left_alone(servers: Servers) -> None:
    first = servers.run("streams").splitlines()
    assert first == [
        *(f"stream {stream.name} created" for stream in streams.STREAMS),
        *(f"bucket {bucket.name} created" for bucket in streams.BUCKETS),
    ]
    assert servers.run("streams") == "streams are up to date\n"
    migrated = servers.run("migrate").splitlines()
    assert len(migrated) == len(list((ROOT / "clickhouse" / "migrations").glob("*.sql")))
    assert servers.run("migrate") == "tables are up to date\n"
    without = servers.run("migrate", "--no-retention").splitlines()
    assert "table trades: retention removed" in without
    assert len(without) == len([table for table in tables.TABLES if table.ttl])


def test_the_services_by_themselves_make_the_road(servers: Servers, tmp_path: Path) -> None:
    servers.run("streams")
    servers.run("migrate")
    with ExitStack() as stack:
        simulator = service(servers, tmp_path / "simulator.log", "exchange-simulator", "--exchanges", "binance")
        stack.enter_context(simulator)
        port_file = tmp_path / "services" / "simulator" / "port"
        port = int(until(lambda: port_file.exists() and port_file.read_text(), "the simulator listens"))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/simulator/status", timeout=10) as answer:
            markets: list[dict[str, Any]] = json.loads(answer.read())["markets"]
        urls = {f"{item['exchange']}.{item['market']}": item for item in markets}
        addresses = {
            "TAPELINE_COLLECTOR_WS_URLS": json.dumps({name: item["ws_url"] for name, item in urls.items()}),
            "TAPELINE_COLLECTOR_REST_URLS": json.dumps({name: item["rest_url"] for name, item in urls.items()}),
        }
        stack.enter_context(service(servers, tmp_path / "batcher.log", "storage-batcher"))
        stack.enter_context(service(servers, tmp_path / "normaliser.log", "normaliser", "--partitions", "0-7"))
        stack.enter_context(service(servers, tmp_path / "other.log", "normaliser", "--partitions", "8-15"))
        stack.enter_context(service(servers, tmp_path / "collector.log", "collector", **addresses))
        until(
            lambda: int(servers.run("sql", "SELECT uniqExact(symbol, market) FROM tapeline.trades")) == 10,
            "trades of the whole universe `starter` are stored",
        )
    assert int(servers.run("sql", "SELECT count() - uniqExact(market, symbol, trade_id) FROM tapeline.trades")) == 0
    assert servers.run("sql", "SELECT * FROM tapeline.dead_letters") == ""


@pytest.mark.parametrize("name", ["collector", "normaliser", "storage-batcher", "exchange-simulator"])
def test_a_service_explains_its_settings(name: str) -> None:
    done = subprocess.run([TAPELINE, name, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert f"usage: tapeline {name}" in done.stdout
    assert f"TAPELINE_{name.replace('-', '_').upper()}_" in done.stdout


def test_without_a_pipeline_the_commands_say_so(tmp_path: Path) -> None:
    def fails(*arguments: str) -> str:
        done = subprocess.run([TAPELINE, *arguments], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        return done.stderr

    nowhere = str(tmp_path / "nowhere")
    assert "no pipeline is running on" in fails("status", "--data", nowhere)
    assert nowhere in fails("sql", "--data", nowhere, "SELECT 1")
    assert "no stream keeps 'trades.>'" in fails("sub", "--data", nowhere, "trades.>")
    assert "--until-drained needs --replay or --simulate" in fails("up", "--until-drained", "--data", nowhere)
