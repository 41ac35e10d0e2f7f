"""Every service with the user of a deployment, and nothing more: they do their work, and no password is ever shown."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from schemas import accounts
from tests.clickhouse_server import run_clickhouse
from tests.pipeline import TAPELINE, until
from tests.secured import PASSWORDS, USERS, password, run_secured_nats

CLICKHOUSE_USERS = {
    "writer": {"password_env": "CLICKHOUSE_WRITER_PASSWORD", "ddl": False},
    "reader": {"password_env": "CLICKHOUSE_READER_PASSWORD", "readonly": True},
}
CLICKHOUSE_PASSWORDS = {f"CLICKHOUSE_{user.upper()}_PASSWORD": password(user) for user in ("writer", "reader")}
ADMIN = "tables-admin"
STORED_AS = {"storage-batcher": "writer", "gap-backfill": "reader", "arbitrage-signal": "reader"}
SERVICES = ("storage-batcher", "arbitrage-signal", "normaliser", "gap-backfill", "collector")


@contextmanager
def started(log: Path, *arguments: str, environment: dict[str, str]) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [TAPELINE, *arguments], stdout=output, stderr=output, env=environment, cwd=log.parent
        )
    try:
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()[-3000:]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("secured")


def test_every_service_works_with_its_own_user_alone(folder: Path) -> None:
    with ExitStack() as stack:
        nats = stack.enter_context(run_secured_nats(folder / "nats"))
        clickhouse = stack.enter_context(
            run_clickhouse(
                folder / "clickhouse",
                TAPELINE_CLICKHOUSE_USER=ADMIN,
                TAPELINE_CLICKHOUSE_PASSWORD=password(ADMIN),
                TAPELINE_EMBEDDED_CLICKHOUSE_USERS=json.dumps(CLICKHOUSE_USERS),
                **CLICKHOUSE_PASSWORDS,
            )
        )
        plain = {name: value for name, value in os.environ.items() if not name.startswith("TAPELINE_")} | {
            "TAPELINE_NATS_URL": nats.url,
            "TAPELINE_CLICKHOUSE_URL": clickhouse.url,
            "TAPELINE_DATA_DIR": str(folder / "data"),
            "TAPELINE_LOG_LEVEL": "debug",
            "TAPELINE_HEALTH_PORT": "0",
        }

        def with_users(nats_user: str, clickhouse_user: str | None = None) -> dict[str, str]:
            own = {"TAPELINE_NATS_USER": nats_user, "TAPELINE_NATS_PASSWORD": password(nats_user)}
            if clickhouse_user is not None:
                own["TAPELINE_CLICKHOUSE_USER"] = clickhouse_user
                own["TAPELINE_CLICKHOUSE_PASSWORD"] = password(clickhouse_user)
            return {**plain, **own}

        for command in ("streams", "migrate"):
            done = subprocess.run(
                [TAPELINE, command],
                env={**with_users(accounts.ADMIN, ADMIN), "TAPELINE_STREAMS_RAW_BYTES": "67108864"},
                capture_output=True,
                text=True,
                check=False,
                cwd=folder,
            )
            assert done.returncode == 0, done.stderr

        simulated = {"TAPELINE_EXCHANGE_SIMULATOR_EXCHANGES": "binance", "TAPELINE_EXCHANGE_SIMULATOR_SYMBOLS": "2"}
        log = folder / "exchange-simulator.log"
        stack.enter_context(started(log, "exchange-simulator", environment={**plain, **simulated}))
        port_file = folder / "data" / "simulator" / "port"
        port = until(lambda: port_file.exists() and port_file.read_text().strip(), "the simulator listens")
        address = {f"binance.{market}": f"127.0.0.1:{port}/binance/{market}" for market in ("spot", "perp")}
        rest = json.dumps({name: f"http://{where}" for name, where in address.items()})
        more = {
            "collector": {
                "TAPELINE_COLLECTOR_SYMBOLS": "BTC-USDT,BTC-USDT-PERP",
                "TAPELINE_COLLECTOR_WS_URLS": json.dumps({name: f"ws://{where}" for name, where in address.items()}),
                "TAPELINE_COLLECTOR_REST_URLS": rest,
            },
            "gap-backfill": {"TAPELINE_GAP_BACKFILL_REST_URLS": rest},
        }
        for service in SERVICES:
            environment = with_users(service, STORED_AS.get(service)) | more.get(service, {})
            stack.enter_context(started(folder / f"{service}.log", service, environment=environment))

        def rows() -> int:
            done = subprocess.run(
                [TAPELINE, "sql", "SELECT count() FROM tapeline.trades"],
                env=with_users(accounts.ADMIN, "reader"), capture_output=True, text=True, check=True,
            )  # fmt: skip
            return int(done.stdout)

        until(lambda: rows() > 0, "rows arrive")

    refused = [line for line in (folder / "nats" / "nats.log").read_text().splitlines() if "iolation" in line]
    assert refused == []
    secrets = [password(user) for user in (*USERS, ADMIN, "writer", "reader")]
    assert set(PASSWORDS.values()) < set(secrets)
    for path in folder.rglob("*.log"):
        text = path.read_text()
        assert text, path
        assert not [secret for secret in secrets if secret in text], path
        assert '"level": "error"' not in text, text
