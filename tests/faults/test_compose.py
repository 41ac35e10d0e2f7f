"""docker compose with simulated exchanges: it comes up healthy, heals, and loses nothing.

Needs a container engine, docker-compose, and the images that docker-compose.yml pulls under their names; where a
registry is out of reach, stand-ins will do (deploy/embedded-clickhouse.Dockerfile is the one for ClickHouse). Grafana
is left out.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.command_line import dotenv
from tests.pipeline import until

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
BASE_IMAGE = "python:3.11-slim-bookworm"
PROJECT = f"tapeline-test-{os.getpid()}"
LEFT_OUT = ("grafana",)
ONE_SHOT = "provision"
PORTS = ("NATS", "NATS_MONITOR", "CLICKHOUSE", "COLLECTOR", "NORMALISER", "STORAGE_BATCHER", "GAP_BACKFILL")
PORTS += ("ARBITRAGE_SIGNAL", "ALERTMANAGER", "PROMETHEUS", "GRAFANA")
SERVICES = [
    name
    for name, service in COMPOSE["services"].items()
    if "demo" in service.get("profiles", ["demo"]) and name not in LEFT_OUT
]
COUNTED = ("trades", "quotes", "book_deltas")


def run(*command: str, stderr_too: bool = False) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr if stderr_too else done.stdout


def missing() -> str | None:
    """Why this cannot run here, or None."""
    if shutil.which("docker") is None or shutil.which("docker-compose") is None:
        return "docker or docker-compose is not installed"
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        return "no container engine answers"
    pulled = {service["image"] for name, service in COMPOSE["services"].items() if name not in LEFT_OUT}
    for image in sorted({BASE_IMAGE, *(image for image in pulled if not image.startswith("tapeline:"))}):
        if subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode:
            return f"image {image} is not here"
    return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Stack:
    """The containers of one project."""

    def __init__(self, folder: Path) -> None:
        present = {f"{name}_PORT": str(free_port()) for name in PORTS}
        text, _ = dotenv.filled((ROOT / ".env.example").read_text(), {**present, "COMPOSE_PROFILES": "demo"})
        self.env_file = folder / ".env"
        self.env_file.write_text(text)
        self.variables = dotenv.variables(text)
        override = folder / "override.yml"
        override.write_text(yaml.safe_dump({"services": {name: {"profiles": ["left-out"]} for name in LEFT_OUT}}))
        self._command = ["docker-compose", "-p", PROJECT, "--env-file", str(self.env_file)]
        self._command += ["-f", "docker-compose.yml", "-f", str(override), "--profile", "demo"]

    def compose(self, *arguments: str) -> str:
        return run(*self._command, *arguments)

    def down(self) -> None:
        """Stop and remove every container; volumes stay.

        An engine may keep an endpoint of a container that is gone, and then its network too: that is no fault of ours,
        and the next `up` uses the network again.
        """
        command = [*self._command, "down", "--timeout", "60"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        left = run("docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={PROJECT}").split()
        assert not left, done.stderr[-2000:]
        assert done.returncode == 0 or "has active endpoints" in done.stderr, done.stderr[-2000:]

    def remove(self) -> None:
        """Leave nothing behind."""
        self.down()
        volumes = run("docker", "volume", "ls", "-q", "--filter", f"label=com.docker.compose.project={PROJECT}").split()
        if volumes:
            run("docker", "volume", "rm", *volumes)

    def container(self, service: str) -> dict[str, Any] | None:
        names = run("docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={PROJECT}",
                    "--filter", f"label=com.docker.compose.service={service}").split()  # fmt: skip
        found: list[dict[str, Any]] = json.loads(run("docker", "inspect", *names)) if names else []
        return found[0] if found else None

    def state(self, service: str) -> str:
        """`healthy`, or what it is instead; `done` for a step that ended well."""
        found = self.container(service)
        if found is None:
            return "absent"
        state = found["State"]
        if service == ONE_SHOT:
            return "done" if state["Status"] == "exited" and state["ExitCode"] == 0 else str(state["Status"])
        return str(state.get("Health", {}).get("Status", "without a health check") if state["Running"] else "stopped")

    def all_well(self) -> bool:
        return all(self.state(service) in ("healthy", "done") for service in SERVICES)

    def sql(self, statement: str) -> str:
        query = urllib.parse.urlencode({"user": "reader", "password": self.variables["CLICKHOUSE_READER_PASSWORD"]})
        url = f"http://127.0.0.1:{self.variables['CLICKHOUSE_PORT']}/?{query}"
        with urllib.request.urlopen(url, data=statement.encode(), timeout=30) as answer:
            return str(answer.read().decode()).strip()

    def rows(self) -> int:
        counts = " + ".join(f"(SELECT count() FROM tapeline.{table})" for table in COUNTED)
        try:
            return int(self.sql(f"SELECT {counts}"))
        except OSError:
            return -1

    def doubled(self) -> str:
        """Trades that are there more than once, by instrument."""
        return self.sql(
            "SELECT exchange, market, symbol, count() - uniqExact(trade_id) AS doubled FROM tapeline.trades "
            "GROUP BY ALL HAVING doubled > 0"
        )

    def lost(self) -> str:
        """Trade ids between an instrument's first and last that are neither in the table nor within a recorded gap."""
        return self.sql(
            "WITH holes AS (SELECT exchange, market, symbol, sequence, "
            "lagInFrame(sequence, 1, sequence - 1) OVER (PARTITION BY exchange, market, symbol ORDER BY sequence "
            "ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before FROM tapeline.trades), "
            "known AS (SELECT exchange, market, symbol, groupArray((first_missing, last_missing)) AS gaps "
            "FROM tapeline.gap_detection_log WHERE kind = 'trade' AND first_missing IS NOT NULL GROUP BY ALL) "
            "SELECT exchange, market, symbol, before + 1, sequence - 1 FROM holes LEFT JOIN known "
            "USING (exchange, market, symbol) WHERE sequence > before + 1 "
            "AND NOT arrayExists(gap -> gap.1 <= before + 1 AND gap.2 >= sequence - 1, gaps)"
        )


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    run("docker", "build", "--network", "host", "-q", "-f", "deploy/Dockerfile", "-t", "tapeline:local", ".")
    made = Stack(tmp_path_factory.mktemp("compose"))
    try:
        made.compose("up", "-d")
        until(made.all_well, "every health check is green")
        yield made
    finally:
        made.remove()


def grows(stack: Stack, what: str) -> None:
    before = stack.rows()
    until(lambda: stack.rows() > max(before, 0), f"rows arrive {what}")


def test_rows_arrive_and_prometheus_sees_every_service(stack: Stack) -> None:
    grows(stack, "after the start")
    address = f"http://127.0.0.1:{stack.variables['PROMETHEUS_PORT']}/api/v1/targets"

    def seen() -> bool:
        with urllib.request.urlopen(address, timeout=10) as answer:
            targets = json.loads(answer.read())["data"]["activeTargets"]
        return bool(targets) and all(target["health"] == "up" for target in targets)

    until(seen, "Prometheus reaches every service")


def test_a_stopped_service_is_told_in_the_log_and_so_is_its_return(stack: Stack) -> None:
    def told(event: str) -> bool:
        found = stack.container("alert-log")
        assert found is not None
        lines = run("docker", "logs", found["Id"], stderr_too=True).splitlines()
        return any(f'"event": "{event}"' in line and '"name": "ProcessDown"' in line for line in lines)

    stack.compose("stop", "arbitrage-signal")
    until(lambda: told("alert_firing"), "Alertmanager tells alert-log that a service is down")
    stack.compose("start", "arbitrage-signal")
    until(lambda: told("alert_resolved"), "and that it is back")
    until(stack.all_well, "every health check is green")


def test_ports_are_on_this_machine_alone_and_nothing_runs_as_root(stack: Stack) -> None:
    for service in SERVICES:
        container = stack.container(service)
        assert container is not None
        for bindings in (container["NetworkSettings"]["Ports"] or {}).values():
            assert {binding["HostIp"] for binding in bindings or ()} <= {"127.0.0.1"}, service
        assert container["HostConfig"]["Memory"] > 0, service
        if str(container["Config"]["Image"]).startswith("tapeline:"):
            assert container["Config"]["User"] == "tapeline", service


def test_a_killed_main_process_heals(stack: Stack) -> None:
    for service in SERVICES:
        if service == ONE_SHOT:
            continue
        before = stack.container(service)
        assert before is not None
        os.kill(before["State"]["Pid"], signal.SIGKILL)

        def healed(service: str = service, restarts: int = before["RestartCount"]) -> bool:
            now = stack.container(service)
            return now is not None and now["RestartCount"] > restarts and stack.state(service) == "healthy"

        until(healed, f"{service} is healthy again")
    grows(stack, "after every process was killed")
    assert (stack.doubled(), stack.lost()) == ("", "")


@pytest.mark.parametrize(
    "end",
    [lambda stack: stack.compose("kill"), lambda stack: stack.down()],
    ids=["kill", "down"],
)
def test_what_was_ended_comes_back_with_everything(stack: Stack, end: Callable[[Stack], object]) -> None:
    before = stack.rows()
    end(stack)
    stack.compose("up", "-d")
    until(stack.all_well, "every health check is green again")
    grows(stack, "after a new start")
    assert stack.rows() > before
    assert (stack.doubled(), stack.lost()) == ("", "")
