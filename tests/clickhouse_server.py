"""The embedded ClickHouse service as tests use it: a real process on a free port, stopped by its pid."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
_READY_WITHIN_S = 60.0


@dataclass(frozen=True)
class ClickhouseServer:
    """A running service; `port` is free again after `stop` or `kill`."""

    process: subprocess.Popen[bytes]
    port: int
    data_dir: Path
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def query(self, sql: str) -> str:
        """Return the answer as text, without the last line end. Raises urllib.error.HTTPError."""
        with urllib.request.urlopen(f"{self.url}/", data=sql.encode(), timeout=60) as answer:
            return str(answer.read().decode()).removesuffix("\n")

    def kill(self) -> None:
        """End the process as a power cut would (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Stop the process in order (SIGTERM); return its exit status."""
        self._end(signal.SIGTERM)
        return self.process.returncode

    def _end(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(timeout=60)


def start_clickhouse(data_dir: Path, *, port: int = 0, **environment: str) -> ClickhouseServer:
    """Start the service and return it when it answers; `environment` adds or overrides `TAPELINE_...` variables."""
    log = data_dir / "clickhouse.log"
    data_dir.mkdir(parents=True, exist_ok=True)
    port_file = data_dir / "clickhouse" / "port"
    port_file.unlink(missing_ok=True)  # a killed process leaves its own
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.embedded_clickhouse"],
            cwd=REPOSITORY,
            env=clickhouse_environment(data_dir, port, environment),
            stdout=output,
            stderr=output,
        )
    deadline = time.monotonic() + _READY_WITHIN_S
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"the service ended with status {process.returncode}:\n{log.read_text()}")
        with contextlib.suppress(FileNotFoundError, ValueError, urllib.error.URLError):
            server = ClickhouseServer(process, int(port_file.read_text()), data_dir, log)
            with urllib.request.urlopen(f"{server.url}/ping", timeout=5) as answer:
                if answer.read() == b"Ok.\n":
                    return server
        if time.monotonic() > deadline:
            process.kill()
            raise TimeoutError(f"the service did not answer within {_READY_WITHIN_S} s:\n{log.read_text()}")
        time.sleep(0.02)


def clickhouse_environment(data_dir: Path, port: int, more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a service process; a developer's own `TAPELINE_...` settings stay out of it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TAPELINE_")}
    return inherited | {
        "TAPELINE_DATA_DIR": str(data_dir),
        "TAPELINE_LOG_FORMAT": "json",
        "TAPELINE_EMBEDDED_CLICKHOUSE_PORT": str(port),
        **more,
    }


@contextlib.contextmanager
def run_clickhouse(data_dir: Path, *, port: int = 0, **environment: str) -> Iterator[ClickhouseServer]:
    """Run the service over `data_dir` for the length of the block; it is stopped at the end, however that comes."""
    server = start_clickhouse(data_dir, port=port, **environment)
    try:
        yield server
    finally:
        server.stop()
