"""The arbitrage signal: from the later quote's receipt to the published signal, and the cost of a hundred assets.

One hundred assets on six exchanges, spot and perpetual: 1,200 instruments, 6,600 pairs. The core alone first, so that
its cost is not mixed with reading; then the service as it runs, with MD filled at 10,000 events a second.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import structlog
from nats.aio.msg import Msg

from schemas import streams, subjects
from services.arbitrage_signal.core import ArbitrageCore
from services.arbitrage_signal.settings import ArbitrageSignalSettings
from services.shared.runtime.bus import Bus, connect
from services.shared.runtime.clock import now_us
from services.shared.runtime.migrations import migrate
from services.shared.runtime.provision import provision
from services.shared.runtime.settings import Settings
from services.shared.runtime.warehouse import Warehouse
from tests.clickhouse_server import REPOSITORY, run_clickhouse
from tests.nats_server import run_nats

EXCHANGES = ("binance", "okx", "gateio", "mexc", "bybit", "deribit")
ASSETS = 100
RATE = 10_000
SECONDS = 12
CORE_EVENTS = 200_000
OFF_EVERY = 997
"""One quote in so many is off by a percent: a signal opens, and closes with the instrument's next quote."""

FEES = {f"{exchange}.{market}": {"regular": "0.0005"} for exchange in EXCHANGES for market in ("spot", "perp")}


def instruments() -> list[tuple[str, str, str, str]]:
    """(exchange, market, symbol, asset) of all."""
    return [
        (exchange, market, f"A{number}-USDT{'-PERP' if market == 'perp' else ''}", f"A{number}")
        for number in range(ASSETS)
        for exchange in EXCHANGES
        for market in ("spot", "perp")
    ]


def listings(at: int) -> Iterator[tuple[str, bytes]]:
    """Every instrument's terms."""
    for exchange, market, symbol, asset in instruments():
        record = {**_common(exchange, market, symbol, at), "asset": asset, "multiplier": "1", "quote": "USDT"}
        rest = {"status": "trading", "exchange_symbol": symbol, "base": asset, "quantity_step": "0.001"}
        yield subjects.md("instrument", exchange, market, symbol), orjson.dumps({**record, **rest})


def _common(exchange: str, market: str, symbol: str, at: int) -> dict[str, object]:
    return {
        "exchange": exchange,
        "market": market,
        "symbol": symbol,
        "timestamp": at,
        "timestamp_source": "push",
        "received_at": at,
        "source": "live",
    }


class Market:
    """Quotes and book changes of all instruments, half and half, in an order that is drawn once."""

    def __init__(self) -> None:
        self._rng = random.Random(1)
        self._instruments = instruments()
        self._sequence = 0
        self._told = 0

    def books(self, at: int) -> Iterator[tuple[str, bytes]]:
        """A book of twenty levels a side of every instrument."""
        for exchange, market, symbol, _ in self._instruments:
            bids = [[f"{100 - 0.01 * level:.2f}", "20"] for level in range(1, 21)]
            asks = [[f"{100 + 0.01 * level:.2f}", "20"] for level in range(1, 21)]
            record = {**_common(exchange, market, symbol, at), "sequence": 1, "bids": bids, "asks": asks}
            yield subjects.md("orderbook", exchange, market, symbol), orjson.dumps(record)

    def next(self, at: int) -> tuple[str, bytes]:
        """The next event, received at `at`."""
        rng = self._rng
        exchange, market, symbol, _ = rng.choice(self._instruments)
        self._told += 1
        record = _common(exchange, market, symbol, at)
        if self._told % 2:
            off = 1.0 if self._told % OFF_EVERY == 0 else 0.0
            middle = 100 + off + rng.randint(-3, 3) / 100
            record |= {
                "bid_price": f"{middle - 0.01:.2f}",
                "bid_quantity": "30",
                "ask_price": f"{middle + 0.01:.2f}",
                "ask_quantity": "30",
            }
            return subjects.md("quote", exchange, market, symbol), orjson.dumps(record)
        self._sequence += 1
        levels = [[f"{100 - rng.randint(2, 20) / 100:.2f}", str(rng.randint(1, 50))] for _ in range(6)]
        asks = [[f"{100 + rng.randint(2, 20) / 100:.2f}", str(rng.randint(1, 50))] for _ in range(6)]
        record |= {"first_sequence": 2, "last_sequence": self._sequence + 1, "in_step": True}
        record |= {"bids": levels, "asks": asks}
        return subjects.md("book_change", exchange, market, symbol), orjson.dumps(record)


def run() -> list[str]:
    """Return the benchmark's lines of Markdown."""
    core_us, told = _core()
    live = _live()
    return [
        "## Arbitrage signal: 100 assets on six exchanges, 1,200 instruments, 6,600 pairs",
        "",
        f"Half quotes, half book changes of 12 levels. The core alone: {core_us:.1f} us an event, "
        f"{told / CORE_EVENTS:.2f} records told an event, spreads among them.",
        "",
        "| events/s | share of a core | resident MiB | signals | receipt to published: median ms | 99th percentile |",
        "|---|---|---|---|---|---|",
        live,
    ]


def _core() -> tuple[float, int]:
    core = ArbitrageCore(ArbitrageSignalSettings.load(fees=FEES).terms())
    market = Market()
    at = now_us()
    events = [*listings(at), *market.books(at)]
    for number, (subject, body) in enumerate(events, 1):
        core.process(number, subject, body)
    timed = [market.next(at + number * 1_000_000 // RATE) for number in range(CORE_EVENTS)]
    told = 0
    began = time.process_time()
    for number, (subject, body) in enumerate(timed, len(events) + 1):
        told += len(core.process(number, subject, body))
    return (time.process_time() - began) / CORE_EVENTS * 1e6, told


def _live() -> str:
    with (
        tempfile.TemporaryDirectory() as folder,
        run_nats(Path(folder) / "nats") as nats,
        run_clickhouse(Path(folder) / "data") as clickhouse,
    ):
        asyncio.run(_prepare(nats.url, clickhouse.url))
        environment = {
            **os.environ,
            "TAPELINE_NATS_URL": nats.url,
            "TAPELINE_CLICKHOUSE_URL": clickhouse.url,
            "TAPELINE_LOG_LEVEL": "warning",
            "TAPELINE_ARBITRAGE_SIGNAL_FEES": orjson.dumps(FEES).decode(),
        }
        command = [sys.executable, "-m", "services.arbitrage_signal"]
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment)
        try:
            rate, share, latencies = asyncio.run(_measure(nats.url, process.pid))
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        finally:
            process.terminate()
            process.wait(30)
    latencies.sort()
    median, late = latencies[len(latencies) // 2] / 1000, latencies[len(latencies) * 99 // 100] / 1000
    resident = pages * os.sysconf("SC_PAGE_SIZE") / 1024**2
    return f"| {rate:,.0f} | {share:.0%} | {resident:,.0f} | {len(latencies):,} | {median:.1f} | {late:.1f} |"


async def _prepare(nats_url: str, clickhouse_url: str) -> None:
    async with Warehouse(clickhouse_url) as warehouse:
        await migrate(warehouse)
    bus = await _connected(nats_url)
    await provision(bus)
    await bus.close()


async def _connected(nats_url: str) -> Bus:
    return await connect(Settings.load(nats_url=nats_url), "benchmark", structlog.get_logger(), asyncio.Event())


async def _measure(nats_url: str, pid: int) -> tuple[float, float, list[int]]:
    """Fill MD at the rate; return events a second, the service's share of a core, and each signal's latency in us."""
    bus = await _connected(nats_url)
    while await bus.last_of(streams.MD, subjects.arbitrage_checkpoint()) is None:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.05)
    latencies: list[int] = []

    async def heard(message: Msg) -> None:
        record = orjson.loads(message.data)
        if record["event"] == "open":
            latencies.append(now_us() - record["received_at"])

    await bus.client.subscribe(subjects.signal_filter(subjects.ARBITRAGE), cb=heard)
    market = Market()
    for subject, body in (*listings(now_us()), *market.books(now_us())):
        await bus.client.publish(subject, body)
    await asyncio.sleep(1)
    latencies.clear()
    before, began = _cpu(pid), time.perf_counter()
    sent = 0
    while (passed := time.perf_counter() - began) < SECONDS:
        while sent < int(passed * RATE):
            await bus.client.publish(*market.next(now_us()))
            sent += 1
        await asyncio.sleep(0.001)
    used, took = _cpu(pid) - before, time.perf_counter() - began
    await asyncio.sleep(1)
    await bus.close()
    return sent / took, used / took, latencies


def _cpu(pid: int) -> float:
    """Processor seconds of a process so far, from Linux's /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    print("\n".join(run()))
