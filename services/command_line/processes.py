"""Child processes under supervision: started, watched, started again with backoff, and ended in order."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from schemas.errors import Broken
from services.shared.runtime.run import EXIT_SETTINGS, PARENT_VARIABLE

BACKOFF_BASE_S = 0.5
BACKOFF_CAP_S = 15.0
STEADY_S = 60.0
"""A process that lived this long is taken to be well again: its next restart waits the base time."""

_PR_SET_PDEATHSIG = 1


class Supervised:
    """One child process that should be running until `end`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: structlog.stdlib.BoundLogger,
        output: Path | None = None,
    ) -> None:
        self.name = name
        self.restarts = 0
        self._command = list(command)
        self._environment = {**os.environ, **environment, PARENT_VARIABLE: str(os.getpid())}
        self._log = log
        self._output = output
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._ending = False
        self.failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Set with a reason when starting it again cannot help: it says that its settings are wrong."""

    @property
    def pid(self) -> int | None:
        """The process id now, or None between two lives."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start it, and from now on start it again whenever it ends."""
        await self._spawn()
        self._watcher = asyncio.create_task(self._watch())

    async def _spawn(self) -> None:
        output = self._output.open("ab") if self._output else None
        try:
            # A session of its own: Ctrl-C in the terminal reaches the supervisor alone, which ends the others in order.
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        finally:
            if output:
                output.close()
        self._log.info("process_started", name=self.name, pid=self._process.pid)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        pause = BACKOFF_BASE_S
        while True:
            process = self._process
            assert process is not None
            began = loop.time()
            status = await process.wait()
            if self._ending:
                return
            if status == EXIT_SETTINGS:
                self._fail(f"{self.name} refuses its settings (the reason is above)")
                return
            if loop.time() - began > STEADY_S:
                pause = BACKOFF_BASE_S
            self.restarts += 1
            self._log.warning(
                "process_ended", name=self.name, status=_describe(status), attempt=self.restarts, elapsed_s=pause
            )
            await asyncio.sleep(pause)
            pause = min(pause * 2, BACKOFF_CAP_S)
            if self._ending:
                return
            await self._spawn()

    def _fail(self, reason: str) -> None:
        if not self.failed.done():
            self.failed.set_result(reason)

    async def start_again(self, timeout_s: float) -> None:
        """End it as `end` does, and let it be started again."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), timeout_s)
        except TimeoutError:
            process.kill()

    async def end(self, timeout_s: float) -> bool:
        """SIGTERM, then SIGKILL after `timeout_s`. Return whether it ended by itself."""
        self._ending = True
        process = self._process
        clean = True
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), timeout_s)
            except TimeoutError:
                clean = False
                self._log.warning("process_killed", name=self.name, pid=process.pid, elapsed_s=timeout_s)
                process.kill()
                await process.wait()
        if self._watcher is not None:
            self._watcher.cancel()
        return clean


def _die_with_parent() -> None:
    """Let the kernel end this child when its supervisor is killed, so that no server is left holding a port."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _describe(status: int) -> str:
    return f"exit status {status}" if status >= 0 else signal.Signals(-status).name


class Ports:
    """Chooses ports for servers that are about to start: a context, all of whose ports stay taken until it ends.

    A probe that is closed before the next one is opened may be given the same port twice.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._probes: list[socket.socket] = []

    def __enter__(self) -> Ports:
        return self

    def __exit__(self, *_: object) -> None:
        for probe in self._probes:
            probe.close()

    def take(self, wanted: int, setting: str) -> int:
        """Return `wanted` if it can be opened, or a free port when it is 0. Raises Broken naming the setting."""
        probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._probes.append(probe)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((self._host, wanted))
        except OSError as error:
            raise Broken(
                f"port {wanted} on {self._host} cannot be opened ({error.strerror}); end what uses it, or set "
                f"{setting} to another port (0: any free one)"
            ) from None
        port: int = probe.getsockname()[1]
        return port
