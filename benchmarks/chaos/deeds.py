"""Doing what the plan says to a running pipeline, and noting when it was done."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import NamedTuple

import nats
from benchmarks.chaos.plan import Deed
from schemas import subjects
from tests.pipeline import Pipeline

POLL_S = 0.02
_CHUNK, _PAGE = 1 << 20, 4096
_GARBAGE = ("{garbage", '{"stream":"nothing@trade","data":{}}', "[[[[", '{"e":', "nil", "\x01")


class Done(NamedTuple):
    """A deed and when it began and ended, wall clock, microseconds UTC."""

    deed: Deed
    began_us: int
    ended_us: int


class Doer:
    """Does deeds to a pipeline, each in a thread of its own."""

    def __init__(self, pipeline: Pipeline, say: Callable[[str], None]) -> None:
        self._pipeline = pipeline
        self._say = say
        self._lock = threading.Lock()
        self.done: list[Done] = []
        self.poison: list[bytes] = []
        """The bodies of everything that must be refused."""
        self.failed: list[str] = []
        self._doing: Mapping[str, Callable[[Deed], None]] = {
            "kill": self._kill,
            "pause": self._pause,
            "away": self._away,
            "full": self._full,
            "cut": self._cut,
            "poison": self._poison,
        }

    def run(self, plan: list[Deed]) -> None:
        """Do everything in its time, measured from now; return when all is done and undone."""
        began = time.monotonic()
        threads = []
        for deed in plan:
            wait = deed.at_s - (time.monotonic() - began)
            if wait > 0:
                time.sleep(wait)
            self._pipeline.check()
            thread = threading.Thread(target=self._do, args=(deed,))
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()

    def _do(self, deed: Deed) -> None:
        self._say(str(deed))
        began = _now_us()
        try:
            self._doing[deed.what](deed)
        except (OSError, AssertionError, nats.errors.Error) as error:
            with self._lock:
                self.failed.append(f"{deed}: {error!r}")
        with self._lock:
            self.done.append(Done(deed, began, _now_us()))

    def _signal(self, name: str, number: int) -> int | None:
        """Signal the process that bears the name now; return its id, None between two lives."""
        pid = self._pipeline.starts(name)[-1]
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return None
        return pid

    def _kill(self, deed: Deed) -> None:
        while self._signal(deed.whom, signal.SIGKILL) is None:
            time.sleep(POLL_S)

    def _pause(self, deed: Deed) -> None:
        while (pid := self._signal(deed.whom, signal.SIGSTOP)) is None:
            time.sleep(POLL_S)
        time.sleep(deed.seconds)
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass  # killed meanwhile

    def _away(self, deed: Deed) -> None:
        """Kill it, and whatever is started in its place, until the time is over."""
        until = time.monotonic() + deed.seconds
        while time.monotonic() < until:
            self._signal(deed.whom, signal.SIGKILL)
            time.sleep(POLL_S * 5)

    def _full(self, deed: Deed) -> None:
        """Take all room that the data directory's disk has, and keep taking it until the time is over."""
        until = time.monotonic() + deed.seconds
        ballast = self._pipeline.data_dir / "ballast"
        size, chunk = 0, _CHUNK
        with ballast.open("wb", buffering=0) as file:
            while time.monotonic() < until:
                try:
                    os.posix_fallocate(file.fileno(), size, chunk)
                    size += chunk
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    if chunk == _PAGE:
                        time.sleep(POLL_S)
                    chunk = _PAGE
        ballast.unlink()

    def _cut(self, deed: Deed) -> None:
        exchange, market = deed.whom.split(".")
        self._order({"fault": "close", "exchange": exchange, "market": market, "abort": True, "count": 1})

    def _poison(self, deed: Deed) -> None:
        """One frame that no parser can read, and one record that no table can hold."""
        exchange, market = deed.whom.split(".")
        with self._lock:
            number = len(self.poison)
            frame = f"{_GARBAGE[number % len(_GARBAGE)]} {number}"
            record = f'{{"poison":{number}}}'
            self.poison += [frame.encode(), record.encode()]
        order = {"fault": "insert", "frame_base64": base64.b64encode(frame.encode()).decode()}
        self._order({**order, "exchange": exchange, "market": market})
        asyncio.run(self._publish(subjects.md("trade", exchange, market, "BTC-USDT"), record.encode()))

    async def _publish(self, subject: str, body: bytes) -> None:
        """Publish a record until the stream has it: NATS may be away."""
        client = await nats.connect(
            self._pipeline.addresses()["nats_url"],
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            error_cb=_unsaid,
        )
        try:
            stream = client.jetstream()
            for _ in range(600):
                try:
                    await stream.publish(subject, body, headers={"Nats-Msg-Id": body.decode()})
                    return
                except (TimeoutError, nats.errors.Error, OSError):
                    await asyncio.sleep(1)
            raise AssertionError("NATS did not take the record")
        finally:
            await client.close()

    def _order(self, fault: dict[str, object]) -> None:
        port = int((self._pipeline.data_dir / "simulator" / "port").read_text())
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/simulator/fault", data=json.dumps(fault).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()


async def _unsaid(_: Exception) -> None:
    """NATS is away because it is meant to be."""


def _now_us() -> int:
    return time.time_ns() // 1000
