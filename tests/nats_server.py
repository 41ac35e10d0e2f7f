"""A real nats-server for tests: own process, free port, own directory; killed and started again at will."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


class NatsServer:
    """A nats-server with JetStream. After the first start it keeps its port, so that clients find it again.

    `config` is a configuration file beside the flags, `environment` what it refers to.
    """

    def __init__(
        self, directory: Path, config: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self.directory = directory
        self._config = ["-c", str(config)] if config is not None else []
        self._environment = {**os.environ, **(environment or {})}
        self.port = -1
        self.monitor_port = -1
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start and wait until it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for stale in self.directory.glob("nats-server_*.ports"):
            stale.unlink()
        with (self.directory / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(Path(sys.executable).with_name("nats-server")),
                    *self._config,
                    *("-a", "127.0.0.1", "-p", str(self.port), "-m", str(self.monitor_port), "-js"),
                    *("-sd", str(self.directory), "--ports_file_dir", str(self.directory)),
                ],
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        ports = self.directory / f"nats-server_{self._process.pid}.ports"
        while True:  # bounded by the process's own life: a server that cannot start ends
            if self._process.poll() is not None:
                raise RuntimeError((self.directory / "nats.log").read_text()[-2000:])
            try:
                found = json.loads(ports.read_text())
                self.port = int(found["nats"][0].rsplit(":", 1)[1])
                self.monitor_port = int(found["monitoring"][0].rsplit(":", 1)[1])
                with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor_port}/healthz", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except (OSError, ValueError, KeyError):
                continue

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait until it is gone."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None


@contextmanager
def run_nats(
    directory: Path, config: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[NatsServer]:
    """Run a server for as long as the context is open."""
    server = NatsServer(directory, config, environment)
    server.start()
    try:
        yield server
    finally:
        server.kill()
