"""The whole pipeline as its user starts it: `tapeline up` in a process of its own, on free ports, in its own folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

URL_VARIABLE = "TAPELINE_CLICKHOUSE_URL"
"""As `tapeline sql` reads it."""
TAPELINE = str(Path(sys.executable).with_name("tapeline"))
PATIENCE_S = 300.0
"""How long a test waits for something that must happen before it says that it did not."""

ENVIRONMENT = {
    "TAPELINE_UP_NATS_PORT": "0",
    "TAPELINE_UP_NATS_MONITOR_PORT": "0",
    "TAPELINE_UP_CLICKHOUSE_PORT": "0",
    "TAPELINE_UP_HEALTH_BASE_PORT": "0",
    "TAPELINE_LOG_FORMAT": "json",
    # A table that gathers for 10 s would make every run end 10 s later.
    "TAPELINE_STORAGE_BATCHER_BATCH_AGE_S": "1",
}


def until(happened: Callable[[], Any], what: str) -> Any:
    """Ask again and again until the answer is true; fail the test naming `what` when it never is."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        answer = happened()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"in {PATIENCE_S:.0f} s this did not happen: {what}")


class Pipeline:
    """A started `tapeline up`."""

    def __init__(self, data_dir: Path, arguments: list[str], environment: dict[str, str]) -> None:
        self.data_dir = data_dir
        self.output = data_dir.parent / f"{data_dir.name}.log"
        with self.output.open("ab") as log:
            self.process = subprocess.Popen(
                [TAPELINE, "up", "--data", str(data_dir), *arguments],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **ENVIRONMENT, **environment},
                cwd=data_dir.parent,
            )

    def addresses(self) -> dict[str, Any]:
        """What `up` wrote about itself, once it runs."""

        def written() -> Any:
            self.check()
            try:
                found = json.loads((self.data_dir / "pipeline.json").read_text())
            except (OSError, ValueError):
                return None
            return found if found["pid"] == self.process.pid else None

        found: dict[str, Any] = until(written, f"the pipeline comes up; see {self.output}")
        return found

    def check(self) -> None:
        """Fail with the log when the pipeline has ended."""
        if self.process.poll() is not None:
            raise AssertionError(f"tapeline up ended with {self.process.returncode}:\n{self.log()[-4000:]}")

    def log(self) -> str:
        return self.output.read_text(errors="replace")

    def status(self, service: str) -> dict[str, Any] | None:
        """What a service says of itself, or None while it does not answer."""
        try:
            with urllib.request.urlopen(f"{self.addresses()['health'][service]}/status", timeout=5) as answer:
                found: dict[str, Any] = json.loads(answer.read())
                return found
        except (OSError, ValueError):
            return None

    def starts(self, name: str) -> list[int]:
        """The process ids a child has had so far, as the supervisor said them."""
        found: list[int] = []
        for line in self.log().splitlines():
            if '"process_started"' in line and f'"name": "{name}"' in line:
                found.append(int(line.split('"pid": ')[1].split(",")[0]))
        return found

    def kill(self, name: str) -> None:
        """SIGKILL a service or server, and wait until the supervisor has started it again."""
        before = self.starts(name)
        os.kill(before[-1], signal.SIGKILL)
        until(lambda: len(self.starts(name)) > len(before), f"{name} is started again")

    def sql(self, statement: str) -> list[dict[str, Any]]:
        """Ask the running pipeline's ClickHouse."""
        return asked(self.addresses()["clickhouse_url"], statement)

    def wait(self) -> int:
        """Wait for the end; return the exit status."""
        return self.process.wait(PATIENCE_S)

    def interrupt(self) -> int:
        """Ctrl-C; return the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.wait()


@contextmanager
def run_pipeline(data_dir: Path, *arguments: str, **environment: str) -> Iterator[Pipeline]:
    """Run `tapeline up` for as long as the context is open; whatever is left of it then is ended."""
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    pipeline = Pipeline(data_dir, list(arguments), environment)
    try:
        yield pipeline
    finally:
        if pipeline.process.poll() is None:
            pipeline.process.send_signal(signal.SIGTERM)
            try:
                pipeline.process.wait(60)
            except subprocess.TimeoutExpired:
                pipeline.process.kill()
                pipeline.process.wait()


def asked(url: str, statement: str) -> list[dict[str, Any]]:
    """Ask a ClickHouse by HTTP."""
    try:
        with urllib.request.urlopen(f"{url}/?default_format=JSONEachRow", statement.encode(), timeout=60) as answer:
            return [json.loads(line) for line in answer.read().splitlines()]
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()) from None


def at_rest(data_dir: Path, statement: str) -> list[dict[str, Any]]:
    """Ask a data directory at rest, as a user would; or the server that has it open, where the variable names one."""
    if (url := os.environ.get(URL_VARIABLE)) is not None:
        return asked(url, statement)
    done = subprocess.run(
        [TAPELINE, "sql", "--data", str(data_dir), "--format", "JSONEachRow", statement],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]
