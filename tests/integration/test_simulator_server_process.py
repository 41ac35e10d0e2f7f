"""The simulator as a process: settings from the environment, the port file, a clean end, clear refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT

PREFIX = "TAPELINE_EXCHANGE_SIMULATOR_"


@contextmanager
def simulator(data_dir: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    variables = {f"{PREFIX}{name.upper()}": value for name, value in settings.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "services.exchange_simulator"],
        cwd=ROOT,
        env={**os.environ, "TAPELINE_DATA_DIR": str(data_dir), **variables},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for_port(process: subprocess.Popen[str], data_dir: Path) -> int:
    file = data_dir / "simulator" / "port"
    for _ in range(2000):
        if file.exists():
            return int(file.read_text())
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    raise AssertionError("no port file after 20 s")


def fetch(port: int, path: str) -> dict:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return json.load(answer)


def test_a_replay_says_where_it_listens_and_what_it_left_out(recordings: Path, tmp_path: Path) -> None:
    with simulator(tmp_path, replay=str(recordings), pace="0", exchanges="binance") as process:
        port = wait_for_port(process, tmp_path)
        status = fetch(port, "/simulator/status")
        assert [market["market"] for market in status["markets"]] == ["spot", "perp"]
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
        assert process.returncode == 0
    events = {event["event"]: event for event in map(json.loads, log.splitlines())}
    assert events["simulator_listening"]["port"] == port
    assert events["sessions_left_out"]["name"] == "BYBIT, DERIBIT, GATEIO, GATEIO_FUTURES, OKX"
    assert not (tmp_path / "simulator" / "port").exists()


def test_without_a_replay_markets_are_generated(tmp_path: Path) -> None:
    with simulator(tmp_path, exchanges="binance", symbols="BTC,ETH", ledger="false") as process:
        status = fetch(wait_for_port(process, tmp_path), "/simulator/status")
    assert {market["market"]: market["symbols"] for market in status["markets"]} == {
        "spot": ["BTCUSDT", "ETHUSDT"],
        "perp": ["BTCUSDT", "ETHUSDT"],
    }


@pytest.mark.parametrize(
    ("settings", "status", "complaint"),
    [
        ({"replay": "/nowhere"}, 1, "no recorded session in /nowhere"),
        ({"pace": "-1"}, 2, "TAPELINE_EXCHANGE_SIMULATOR_PACE is '-1'"),
        ({"port": "70000"}, 2, "TAPELINE_EXCHANGE_SIMULATOR_PORT is '70000'"),
    ],
)
def test_what_cannot_be_served_ends_with_a_clear_message(tmp_path, settings, status, complaint) -> None:
    with simulator(tmp_path, **settings) as process:
        _, log = process.communicate(timeout=20)
    assert process.returncode == status
    assert complaint in log


def test_a_taken_port_is_named(tmp_path: Path, recordings: Path) -> None:
    with simulator(tmp_path / "one", replay=str(recordings)) as one:
        port = wait_for_port(one, tmp_path / "one")
        with simulator(tmp_path / "two", replay=str(recordings), port=str(port)) as two:
            _, log = two.communicate(timeout=20)
        assert two.returncode == 1
        assert f"port {port} on 127.0.0.1 cannot be opened" in log
