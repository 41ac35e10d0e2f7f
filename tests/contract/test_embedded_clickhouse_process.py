"""The service as a process: start, stop, what stops it from starting, and its data at rest."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from schemas.errors import Broken
from services.embedded_clickhouse.at_rest import query_at_rest
from services.embedded_clickhouse.errors import QueryError
from tests.clickhouse_server import REPOSITORY, clickhouse_environment, run_clickhouse, start_clickhouse


def start_and_end(data_dir: Path, port: int = 0, **environment: str) -> tuple[int, str]:
    """Return the exit status of a service that cannot start, and the error it told."""
    ended = subprocess.run(
        [sys.executable, "-m", "services.embedded_clickhouse"],
        cwd=REPOSITORY,
        env=clickhouse_environment(data_dir, port, environment),
        capture_output=True,
        text=True,
        timeout=60,
    )
    last = ended.stderr.strip().splitlines()[-1]
    return ended.returncode, json.loads(last)["error"] if last.startswith("{") else last


def listens(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=60):
        return True
    return False


def test_tables_are_there_after_a_restart_and_the_port_file_tells_the_port(tmp_path: Path) -> None:
    with run_clickhouse(tmp_path) as server:
        server.query("CREATE DATABASE tapeline")
        for name in ("t", "tapeline.t"):
            server.query(f"CREATE TABLE {name} (a UInt32) ENGINE = MergeTree ORDER BY a")
            server.query(f"INSERT INTO {name} VALUES (7)")
        assert (tmp_path / "clickhouse" / "port").read_text() == f"{server.port}\n"
        assert server.stop() == 0
    assert not (tmp_path / "clickhouse" / "port").exists()
    with run_clickhouse(tmp_path) as server:
        assert server.query("SELECT a FROM t UNION ALL SELECT a FROM tapeline.t") == "7\n7"


def test_a_running_insert_is_finished_before_the_end(tmp_path: Path) -> None:
    server = start_clickhouse(tmp_path)
    server.query("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    body = b"".join(b"%d\n" % number for number in range(100_000))
    head = f"POST /?query=INSERT+INTO+t+FORMAT+CSV HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head.encode() + body[:-1000])
        assert server.query("SELECT 1") == "1"  # the loop has turned: the insert is known to the service
        server.process.send_signal(signal.SIGTERM)
        while listens(server.port):
            time.sleep(0.01)
        connection.sendall(body[-1000:])
        assert connection.recv(12) == b"HTTP/1.1 200"
    assert server.stop() == 0
    assert query_at_rest(tmp_path, "SELECT count(), sum(a) FROM t") == b"100000\t4999950000\n"


def test_a_data_directory_in_use(tmp_path: Path) -> None:
    with run_clickhouse(tmp_path):
        status, error = start_and_end(tmp_path)
        assert (status, error) == (1, f"the data directory {tmp_path / 'clickhouse'} is in use by another process")
        with pytest.raises(Broken, match="in use by another process"):
            query_at_rest(tmp_path, "SELECT 1")


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, error = start_and_end(tmp_path, port)
    assert status == 1
    assert f"127.0.0.1:{port}" in error
    assert "TAPELINE_EMBEDDED_CLICKHOUSE_PORT" in error


def test_a_data_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    status, error = start_and_end(tmp_path / "file")
    assert status == 1
    assert f"the data directory {tmp_path / 'file' / 'clickhouse'} cannot be written" in error


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"TAPELINE_HOST": "0.0.0.0"}, "user 'default' has no password"),
        ({"TAPELINE_EMBEDDED_CLICKHOUSE_USERS": '{"a": {"password_env": "NOT_SET"}}'}, "NOT_SET"),
        ({"TAPELINE_EMBEDDED_CLICKHOUSE_THREADS": "0"}, "TAPELINE_EMBEDDED_CLICKHOUSE_THREADS"),
    ],
)
def test_wrong_settings(tmp_path: Path, environment: dict[str, str], told: str) -> None:
    status, error = start_and_end(tmp_path, **environment)
    assert status != 0
    assert told in error


def test_the_services_own_user_has_the_services_password(tmp_path: Path) -> None:
    with run_clickhouse(tmp_path, TAPELINE_CLICKHOUSE_PASSWORD="s3cret") as server:
        with pytest.raises(urllib.error.HTTPError) as refused:
            server.query("SELECT 1")
        assert refused.value.headers["X-ClickHouse-Exception-Code"] == "516"
        with urllib.request.urlopen(f"{server.url}/?password=s3cret&query=SELECT+1", timeout=60) as answer:
            assert answer.read() == b"1\n"


def test_data_at_rest_answers_and_does_not_change(tmp_path: Path) -> None:
    with run_clickhouse(tmp_path) as server:
        server.query("CREATE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
        server.query("INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    assert query_at_rest(tmp_path, "SELECT * FROM t ORDER BY a") == b"1\tx\n2\ty\n"
    assert query_at_rest(tmp_path, "SELECT a FROM t ORDER BY a", "JSONEachRow") == b'{"a":1}\n{"a":2}\n'
    for statement in ("INSERT INTO t VALUES (3, 'z')", "INSERT INTO t SELECT 3, 'z'", "DROP TABLE t"):
        with pytest.raises(QueryError) as refused:
            query_at_rest(tmp_path, statement)
        assert refused.value.code == 164
    with pytest.raises(QueryError) as unknown:
        query_at_rest(tmp_path, "SELECT * FROM nowhere")
    assert unknown.value.code == 60
    assert query_at_rest(tmp_path, "SELECT count() FROM t") == b"2\n"


def test_no_data_at_rest(tmp_path: Path) -> None:
    with pytest.raises(Broken, match="holds no ClickHouse data"):
        query_at_rest(tmp_path, "SELECT 1")
    assert list(tmp_path.iterdir()) == []
