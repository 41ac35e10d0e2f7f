"""Real processes for tests of the collector: the exchange simulator, the collector itself, and what RAW holds."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from schemas import streams
from schemas.errors import Busy
from schemas.frames import RawFrame, unpack
from schemas.subjects import parse_raw
from services.shared.runtime import logs
from services.shared.runtime.bus import Bus, connect
from services.shared.runtime.provision import provision
from services.shared.runtime.settings import Settings

ROOT = Path(__file__).parent.parent


class Process:
    """One service as a process; its log lines are read from a file."""

    def __init__(self, module: str, log: Path, env: dict[str, str]) -> None:
        self.log = log
        self._from = log.stat().st_size if log.exists() else 0
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                env={**os.environ, "TAPELINE_LOG_FORMAT": "json", "TAPELINE_CONFIG": "/dev/null", **env},
                cwd=ROOT,
                stdout=file,
                stderr=file,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def lines(self) -> list[dict[str, Any]]:
        """Every whole log line of this process so far."""
        text = self.log.read_bytes()[self._from :].decode()
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("}\n")]

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines()]

    def alive(self) -> bool:
        return self._process.poll() is None

    async def until_logged(self, event: str, times: int = 1) -> dict[str, Any]:
        """Wait for a log line; a process that ends first fails the test with its log."""
        while True:
            found = [line for line in self.lines() if line["event"] == event]
            if len(found) >= times:
                return found[times - 1]
            assert self.alive(), self.log.read_text()[-4000:]
            await asyncio.sleep(0.02)

    async def status(self) -> dict[str, Any]:
        port = (await self.until_logged("health_listening"))["port"]
        return await asyncio.to_thread(get_json, f"http://127.0.0.1:{port}/status")

    async def until_status(self, **wanted: Any) -> dict[str, Any]:
        """Wait until /status shows these values; a callable is asked."""
        while True:
            status = await self.status()
            known = wanted.keys() <= status.keys()  # it listens before it has anything to say
            if known and all(_fits(value, status[key]) for key, value in wanted.items()):
                return status
            assert self.alive(), self.log.read_text()[-4000:]
            await asyncio.sleep(0.02)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self._process.wait()


class Simulator(Process):
    """The exchange simulator; `base` is its address without scheme."""

    base = ""

    def fault(self, **fault: Any) -> None:
        request = urllib.request.Request(f"http://{self.base}/simulator/fault", json.dumps(fault).encode())
        with urllib.request.urlopen(request, timeout=5) as answer:
            assert answer.status == 200

    async def status_of(self, market: str) -> dict[str, Any]:
        """What the simulator says of one market of Binance."""
        status = await asyncio.to_thread(get_json, f"http://{self.base}/simulator/status")
        ours = ("binance", market)
        [found] = [entry for entry in status["markets"] if (entry["exchange"], entry["market"]) == ours]
        return dict(found)

    async def until_finished(self, market: str) -> dict[str, Any]:
        """Wait until every recorded frame of a market was handed out and confirmed by the client; return its status."""
        while True:
            found = await self.status_of(market)
            if found["finished"]:
                return found
            await asyncio.sleep(0.02)


def _fits(wanted: Any, value: Any) -> bool:
    return bool(wanted(value)) if callable(wanted) else bool(value == wanted)


def get_json(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        found: dict[str, Any] = json.loads(answer.read())
        return found


@contextmanager
def run_simulator(directory: Path, recordings: Path | None, **env: str) -> Iterator[Simulator]:
    """Replay the recordings, or generate markets, on a free port."""
    directory.mkdir(parents=True, exist_ok=True)
    replay = {} if recordings is None else {"TAPELINE_EXCHANGE_SIMULATOR_REPLAY": str(recordings)}
    settings = {"TAPELINE_DATA_DIR": str(directory), **replay, **env}
    simulator = Simulator("services.exchange_simulator", directory / "simulator.log", settings)
    port = directory / "simulator" / "port"
    try:
        while not port.exists():  # bounded by the process's own life
            assert simulator.alive(), simulator.log.read_text()
        simulator.base = f"127.0.0.1:{port.read_text().strip()}"
        yield simulator
    finally:
        simulator.kill()


def collector(directory: Path, nats_url: str, base: str, symbols: list[str], **env: str) -> Process:
    """Start a collector of the simulator at `base`."""
    directory.mkdir(parents=True, exist_ok=True)
    markets = ("binance.spot", "binance.perp")
    ws = {market: f"ws://{base}/{market.replace('.', '/')}" for market in markets}
    rest = {market: f"http://{base}/{market.replace('.', '/')}" for market in markets}
    settings = {
        "TAPELINE_DATA_DIR": str(directory),
        "TAPELINE_NATS_URL": nats_url,
        "TAPELINE_HEALTH_PORT": "0",
        "TAPELINE_COLLECTOR_EXCHANGES": "binance",
        "TAPELINE_COLLECTOR_SYMBOLS": ",".join(symbols),
        "TAPELINE_COLLECTOR_WS_URLS": json.dumps(ws),
        "TAPELINE_COLLECTOR_REST_URLS": json.dumps(rest),
        "TAPELINE_COLLECTOR_BACKOFF_BASE_S": "0.05",
        "TAPELINE_COLLECTOR_POLLS": "false",
        **env,
    }
    return Process("services.collector", directory / "collector.log", settings)


async def open_bus(url: str) -> Bus:
    settings = Settings.load(nats_url=url)
    bus = await connect(settings, "test", logs.configure(settings, "test"), asyncio.Event())
    await provision(bus)
    return bus


class Stored(RawFrame, frozen=True):
    """A frame on RAW with the partition it was filed under and the sequence of its message."""

    part: int = -1
    sequence: int = 0


async def read_raw(bus: Bus) -> list[Stored]:
    """Return every frame on RAW, in order."""
    frames: list[Stored] = []
    first, last = await bus.bounds(streams.RAW)
    for sequence in range(first, last + 1):
        try:
            message = await bus.js.get_msg(streams.RAW.name, sequence)
        except TimeoutError as error:
            raise Busy(str(error)) from error
        subject = message.subject or ""
        part = parse_raw(subject).partition
        for frame in unpack(subject, message.headers, message.data or b""):
            values = {name: getattr(frame, name) for name in RawFrame.__struct_fields__}
            frames.append(Stored(**values, part=part, sequence=sequence))
    return frames


def first_copies(frames: list[Stored]) -> list[Stored]:
    """Drop doubles as readers of RAW do: a number at or below the last of its connection in this partition."""
    last: dict[tuple[str, int], int] = {}
    kept: list[Stored] = []
    for frame in frames:
        key = (frame.connection, frame.part)
        if frame.number > last.get(key, 0):
            last[key] = frame.number
            kept.append(frame)
    return kept


def recorded_frames(recordings: Path, session: str) -> list[bytes]:
    """The payloads of a recorded Binance session, in order, read by hand."""
    lines = (recordings / "binance" / "cryptofeed" / session).read_text().split("\n")
    return [line.split(": ", 1)[1].encode() for line in lines if ": " in line and not line.startswith("wss://")]
