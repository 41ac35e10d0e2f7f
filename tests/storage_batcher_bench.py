"""The storage batcher between a real nats-server and the real engine, each a process that tests kill at will."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import structlog

from schemas import records, streams, subjects
from services.shared.runtime.bus import Bus, Outgoing, connect
from services.shared.runtime.migrations import migrate
from services.shared.runtime.provision import provision
from services.shared.runtime.reader import Reader
from services.shared.runtime.settings import Settings
from services.shared.runtime.warehouse import Warehouse
from tests.clickhouse_server import REPOSITORY, ClickhouseServer, start_clickhouse
from tests.nats_server import NatsServer, run_nats

decode_letter = msgspec.json.Decoder(records.DeadLetter).decode

PATIENCE_S = 60.0
"""How long a test waits for something that must happen; running into it is a failure, not a measurement."""


@dataclass
class BatcherProcess:
    """A storage batcher in a process of its own."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int = 0

    @property
    def pid(self) -> int:
        return self.process.pid

    def status(self) -> dict[str, Any]:
        """Return what /status says; empty while it does not answer. Fails when the process has ended."""
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        if not self.port:
            for line in self.log.read_text().splitlines():
                if '"health_listening"' in line:
                    self.port = json.loads(line)["port"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status", timeout=5) as answer:
                return dict(json.loads(answer.read()))
        except (OSError, urllib.error.URLError):
            return {}

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal and wait until the process is gone; return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=PATIENCE_S)

    def events(self) -> list[dict[str, object]]:
        """Return its log lines."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


@dataclass
class Bench:
    """Both servers, a connection to each, and the batchers that were started."""

    nats: NatsServer
    clickhouse: ClickhouseServer
    bus: Bus
    warehouse: Warehouse
    directory: Path
    engines: list[ClickhouseServer]
    batchers: list[BatcherProcess] = field(default_factory=list)

    def environment(self, **settings: object) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TAPELINE_")}
        own = {f"TAPELINE_STORAGE_BATCHER_{name}".upper(): str(value) for name, value in settings.items()}
        return inherited | {
            "TAPELINE_DATA_DIR": str(self.directory),
            "TAPELINE_NATS_URL": self.nats.url,
            "TAPELINE_CLICKHOUSE_URL": self.clickhouse.url,
            "TAPELINE_LOG_FORMAT": "json",
            "TAPELINE_STORAGE_BATCHER_HEALTH_PORT": "0",
            **own,
        }

    def start(self, **settings: object) -> BatcherProcess:
        """Start a batcher."""
        log = self.directory / f"batcher-{len(self.batchers)}.log"
        environment = self.environment(**settings)
        environment["TAPELINE_HEALTH_PORT"] = environment.pop("TAPELINE_STORAGE_BATCHER_HEALTH_PORT")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "services.storage_batcher"],
                cwd=REPOSITORY,
                env=environment,
                stdout=output,
                stderr=output,
            )
        batcher = BatcherProcess(process, log)
        self.batchers.append(batcher)
        return batcher

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> int:
        """Publish bodies on subjects, in order, each exactly once; return the sequence of the last."""
        last = 0
        for at in range(0, len(messages), 500):
            last = await self.bus.publish_batch([Outgoing(subject, body) for subject, body in messages[at : at + 500]])
        return last

    async def stored(self, batcher: BatcherProcess, sequence: int) -> dict[str, Any]:
        """Wait until the batcher says that everything up to `sequence` is in the tables; return its status."""
        deadline = time.monotonic() + PATIENCE_S
        status: dict[str, Any] = {}
        while time.monotonic() < deadline:
            status = await asyncio.to_thread(batcher.status)
            if status.get("position", 0) >= sequence and status["pending_messages"] == status["pending_rows"] == 0:
                return status
            await asyncio.sleep(0.02)
        raise TimeoutError(f"{sequence} not reached: {status}\n{batcher.log.read_text()[-3000:]}")

    async def restart_clickhouse(self) -> None:
        """Start the engine again, on the port and the folder that it had."""
        engine = await asyncio.to_thread(start_clickhouse, self.clickhouse.data_dir, port=self.clickhouse.port)
        self.clickhouse = engine
        self.engines.append(engine)

    async def until(self, what: Callable[..., Awaitable[bool]], *args: object, **wanted: object) -> None:
        """Wait until `what`, asked with these arguments, is true."""
        deadline = time.monotonic() + PATIENCE_S
        while not await what(*args, **wanted):
            assert time.monotonic() < deadline, "it did not happen"
            await asyncio.sleep(0.02)

    async def says(self, batcher: BatcherProcess, **wanted: object) -> bool:
        """Tell whether /status shows these values."""
        status = await asyncio.to_thread(batcher.status)
        return all(status.get(name) == value for name, value in wanted.items())

    async def dead_letters(self) -> list[records.DeadLetter]:
        """Return every dead letter in the stream, in order."""
        reader = Reader(self.bus, streams.MD, [subjects.DEAD_ALL], 0)
        found: list[records.DeadLetter] = []
        while await reader.caught_up_to() is None:
            found += [decode_letter(one.body) for one in await reader.read(1_000, 0.1)]
        await reader.close()
        return found

    async def rows(self, sql: str) -> list[list[object]]:
        """Return the rows of a question."""
        answer = await self.warehouse.query(f"{sql} FORMAT JSONCompactEachRow")
        return [json.loads(line) for line in answer.splitlines()]


@contextlib.contextmanager
def _stopped() -> Iterator[list[ClickhouseServer]]:
    running: list[ClickhouseServer] = []
    try:
        yield running
    finally:
        for engine in running:
            engine.stop()


@contextlib.contextmanager
def _ended(batchers: list[BatcherProcess]) -> Iterator[None]:
    try:
        yield
    finally:
        for batcher in batchers:
            if batcher.process.poll() is None:
                batcher.send(signal.SIGCONT)
            batcher.end()


@contextlib.asynccontextmanager
async def run_bench(directory: Path) -> AsyncIterator[Bench]:
    """Run both servers, provisioned and migrated, for as long as the context is open; batchers end with it."""
    with run_nats(directory / "nats") as nats, _stopped() as running:
        clickhouse = start_clickhouse(directory / "engine")
        running.append(clickhouse)
        settings = Settings.load(nats_url=nats.url, clickhouse_url=clickhouse.url, data_dir=directory)
        bus = await connect(settings, "test", structlog.stdlib.get_logger(), asyncio.Event())
        async with Warehouse.of(settings) as warehouse:
            await provision(bus, {streams.RAW.name: 64 * 1024**2, streams.MD.name: 1024**3})
            await migrate(warehouse, retention=False)
            bench = Bench(nats, clickhouse, bus, warehouse, directory, running)
            with _ended(bench.batchers):
                yield bench
        await bus.close()


def trade(number: int, *, symbol: str = "BTC-USDT-PERP", timestamp: int | None = None) -> records.Trade:
    """Return a trade whose every value follows from its number."""
    return records.Trade(
        exchange="binance",
        market="perp",
        symbol=symbol,
        timestamp=1_700_000_000_000_000 + number * 1_000 if timestamp is None else timestamp,
        timestamp_source="match",
        received_at=1_700_000_000_500_000 + number * 1_000,
        source="live",
        price=f"{60_000 + number % 1_000}.{number % 100:02d}",
        quantity=f"0.{number % 1_000 + 1:03d}",
        side="buy" if number % 2 else "sell",
        trade_id=str(number),
        sequence=number,
        first_trade_id=number * 2,
        last_trade_id=number * 2 + 1,
        trade_count=2,
        sent_at=1_700_000_000_100_000 + number * 1_000,
    )


def message(record: records.Record) -> tuple[str, bytes]:
    """Return a record's subject and body."""
    return subjects.md(record.KIND, record.exchange, record.market, record.symbol), records.encode(record)


_TRADE_VALUES = (
    "SELECT sequence, toUnixTimestamp64Micro(timestamp), toUnixTimestamp64Micro(received_at), toString(price), "
    "toString(quantity), side, trade_id, first_trade_id, last_trade_id, trade_count, toUnixTimestamp64Micro(sent_at), "
    "exchange, market, symbol, timestamp_source, source FROM tapeline.trades ORDER BY symbol, sequence"
)


async def trade_rows(bench: Bench) -> list[list[object]]:
    """Return the stored trades by symbol and number, as `trade_values` describes them."""
    return await bench.rows(_TRADE_VALUES)


def trade_values(record: records.Trade) -> list[object]:
    """Return the values that must be stored of a trade."""
    return [
        record.sequence,
        record.timestamp,
        record.received_at,
        _shortest(record.price),
        _shortest(record.quantity),
        record.side,
        record.trade_id,
        record.first_trade_id,
        record.last_trade_id,
        record.trade_count,
        record.sent_at,
        record.exchange,
        record.market,
        record.symbol,
        record.timestamp_source,
        record.source,
    ]


def _shortest(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number
