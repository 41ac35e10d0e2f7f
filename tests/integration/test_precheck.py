"""`tapeline precheck` against the simulated exchange: what is read, what is silent, what is not read and why."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.shared.exchanges.registry import MARKETS
from tests.pipeline import TAPELINE, until


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[str]:
    """The base address of a simulator of Binance's markets, busy enough that no channel is silent for long."""
    prefix = "TAPELINE_EXCHANGE_SIMULATOR_"
    environment = {**os.environ, "TAPELINE_DATA_DIR": str(tmp_path / "data")}
    environment |= {f"{prefix}EXCHANGES": "binance", f"{prefix}EVENTS_PER_S": "1000"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([TAPELINE, "exchange-simulator"], stdout=log, stderr=log, env=environment)
    try:
        port_file = tmp_path / "data" / "simulator" / "port"
        port = until(lambda: port_file.exists() and port_file.read_text().strip(), "the simulator listens")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def precheck(simulator: str, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    urls = [
        f"--url=binance.{market}={scheme}://{simulator}/binance/{market}"
        for market in ("spot", "perp")
        for scheme in ("ws", "http")
    ]
    done = subprocess.run(
        [TAPELINE, "precheck", "--exchanges", "binance", "--json", *urls, *arguments],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_every_channel_and_endpoint_is_asked_and_read(simulator: str) -> None:
    status, found = precheck(simulator, "--wait", "8")
    assert status == 0, [item for item in found if not item["ok"]]
    for (exchange, name), market in MARKETS.items():
        if exchange != "binance":
            continue
        mine = {item["name"]: item for item in found if item["market"] == name}
        asked = {channel.name for channel in market.channels.values() if channel.default} | set(market.polls)
        assert asked | {"instruments", "depth_snapshot"} <= set(mine)
        for channel in ("trades", "quotes", "depth", "instruments", "depth_snapshot"):
            assert mine[channel]["verdict"].startswith("parsed"), mine[channel]
        clock = mine["time"]  # of this machine, told in milliseconds
        assert abs(clock["offset_ms"]) <= clock["round_trip_ms"] / 2 + 1


def test_a_frame_that_is_not_read_is_shown_and_decides_the_exit_status(simulator: str) -> None:
    fault = {"fault": "truncate", "match": "btcusdt@bookTicker", "count": 100, "market": "spot"}
    request = urllib.request.Request(
        f"http://{simulator}/simulator/fault", data=json.dumps(fault).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
    status, found = precheck(simulator, "--wait", "4")
    assert status == 1
    bad = [item for item in found if not item["ok"]]
    assert [(item["market"], item["name"]) for item in bad] == [("spot", "quotes")]
    assert bad[0]["verdict"].startswith("not parsed")
    assert "btcusdt@bookTicker" in bad[0]["first"]


def test_what_does_not_exist_is_named() -> None:
    done = subprocess.run([TAPELINE, "precheck", "--exchanges", "nope"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "--exchanges names 'nope'; there are binance" in done.stderr
    wrong = subprocess.run([TAPELINE, "precheck", "--url", "x"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "<exchange>.<market>=<address>" in wrong.stderr
