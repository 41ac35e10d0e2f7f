"""The faults: what is done to a running pipeline, which alerts must fire on it, and which may as a consequence.

A fault is a context: entered it is under way, and goes on until it is left.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

import nats
from schemas import subjects
from tests.pipeline import Pipeline

BACKLOG = 150_000
"""Messages that are put behind those that wait: the alerts on lag fire at 100,000."""
CHUNK = 2_000
RUNS_S, STANDS_S = 0.1, 0.4
"""A process that is slowed runs for so long, then stands for so long, and so on."""
RECONNECTS = 14
SPOT = {"exchange": "binance", "market": "spot"}
PERP = {"exchange": "binance", "market": "perp"}
SHARE_OF_DISK = 0.85


class Fault(NamedTuple):
    """One fault. An alert is named with a part of its labels, as alert-log writes them: `service=collector`."""

    name: str
    does: Callable[[Pipeline], AbstractContextManager[None]]
    fires: tuple[tuple[str, str], ...]
    consequences: frozenset[str] = frozenset()


def _pid(pipeline: Pipeline, name: str) -> int:
    return pipeline.starts(name)[-1]


@contextmanager
def paused(pipeline: Pipeline, *names: str) -> Iterator[None]:
    """Stop processes, as a machine does that is frozen; let them go on afterwards."""
    pids = [_pid(pipeline, name) for name in names]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def _meanwhile(step: Callable[[threading.Event], None]) -> Iterator[None]:
    """Repeat a step in a thread of its own; what it raises comes out at the end."""
    over = threading.Event()
    failed: list[Exception] = []

    def work() -> None:
        try:
            while not over.is_set():
                step(over)
        except (OSError, nats.errors.Error, AssertionError) as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if failed:
        raise failed[0]


@contextmanager
def slowed(pipeline: Pipeline, name: str) -> Iterator[None]:
    """Let a process run only now and then."""
    pid = _pid(pipeline, name)

    def step(over: threading.Event) -> None:
        os.kill(pid, signal.SIGSTOP)
        try:
            over.wait(STANDS_S)
        finally:
            os.kill(pid, signal.SIGCONT)
        over.wait(RUNS_S)

    with _meanwhile(step):
        yield


def _order(pipeline: Pipeline, **fault: object) -> None:
    port = int((pipeline.data_dir / "simulator" / "port").read_text())
    request = urllib.request.Request(f"http://127.0.0.1:{port}/simulator/fault", data=json.dumps(fault).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


@contextmanager
def ordered(pipeline: Pipeline, *faults: Mapping[str, object]) -> Iterator[None]:
    """Let the simulator commit faults; whatever of them is still to come is taken back afterwards."""
    for fault in faults:
        _order(pipeline, **fault)
    try:
        yield
    finally:
        _order(pipeline, fault="clear")


@contextmanager
def stalled(pipeline: Pipeline) -> Iterator[None]:
    """One exchange market sends nothing, though its connections live."""
    _order(pipeline, fault="stall", seconds=3600, **PERP)
    try:
        yield
    finally:
        _order(pipeline, fault="stall", seconds=0, **PERP)


@contextmanager
def refused(pipeline: Pipeline) -> Iterator[None]:
    """One frame that no parser can read, and one record that no table can hold."""
    frame = base64.b64encode(b"{garbage").decode()
    _order(pipeline, fault="insert", frame_base64=frame, **PERP)
    subject = subjects.md("trade", "binance", "perp", "BTC-USDT-PERP")
    asyncio.run(_publish(pipeline, subject, b'{"poison":1}'))
    yield


@contextmanager
def reconnecting(pipeline: Pipeline) -> Iterator[None]:
    """Connections of one market are cut, one after the other."""

    cut = 0

    def step(over: threading.Event) -> None:
        nonlocal cut
        if cut < RECONNECTS:
            _order(pipeline, fault="close", count=1, abort=True, **SPOT)
            cut += 1
        over.wait(1)

    with _meanwhile(step):
        yield


@contextmanager
def full(pipeline: Pipeline) -> Iterator[None]:
    """Something else fills the disk of the data directory."""
    ballast = pipeline.data_dir / "ballast"
    found = os.statvfs(pipeline.data_dir)
    with ballast.open("wb") as file:
        more = SHARE_OF_DISK * found.f_blocks - (found.f_blocks - found.f_bfree)
        os.posix_fallocate(file.fileno(), 0, max(1, int(more)) * found.f_frsize)
    try:
        yield
    finally:
        ballast.unlink()


async def _publish(pipeline: Pipeline, subject: str, body: bytes) -> None:
    client = await nats.connect(pipeline.addresses()["nats_url"])
    try:
        await client.jetstream().publish(subject, body)
    finally:
        await client.close()


async def _copies(pipeline: Pipeline, stream: str, filter_subject: str, count: int) -> None:
    """Publish the last message of a subject again, so often."""
    client = await nats.connect(pipeline.addresses()["nats_url"])
    try:
        bus = client.jetstream()
        last = await bus.get_last_msg(stream, filter_subject)
        headers = {name: value for name, value in (last.headers or {}).items() if not name.startswith("Nats-")}
        for _ in range(count // CHUNK):
            copies = (bus.publish(str(last.subject), last.data or b"", headers=headers) for _ in range(CHUNK))
            await asyncio.gather(*copies)
    finally:
        await client.close()


@contextmanager
def behind(pipeline: Pipeline, service: str, stream: str, filter_subject: str, held: str) -> Iterator[None]:
    """A service is slow, or (`held`) a server is that it needs, while more is published than it can take."""

    def step(over: threading.Event) -> None:
        waiting = int((pipeline.status(service) or {}).get("pending_messages", BACKLOG))
        if waiting < BACKLOG:
            asyncio.run(_copies(pipeline, stream, filter_subject, BACKLOG - waiting + CHUNK))
        over.wait(0.5)

    with slowed(pipeline, held), _meanwhile(step):
        yield


SERVICES = ("collector", "normaliser", "storage-batcher", "gap-backfill", "arbitrage-signal")
_QUIET = frozenset({"DataStale", "RateDropped", "RowsStale"})
"""What follows where something stood."""

FAULTS = (
    Fault(
        "every service stands",
        lambda pipeline: paused(pipeline, *SERVICES),
        tuple(("ProcessDown", f"service={name}") for name in SERVICES),
        _QUIET | {"GapLeftOpen", "WriteErrors", "BusErrors"},
    ),
    Fault(
        "an exchange market sends nothing",
        stalled,
        (("DataStale", "exchange=binance market=perp"),),
        frozenset({"RateDropped"}),
    ),
    Fault(
        "an exchange market sends only a part",
        lambda pipeline: ordered(
            pipeline,
            *(
                {"fault": "drop", "exchange": "okx", "market": "perp", "kind": kind, "count": 1_000_000}
                for kind in ("quote", "index_price", "candle_update")
            ),
        ),
        (("RateDropped", "exchange=okx market=perp"),),
        frozenset({"GapLeftOpen"}),
    ),
    Fault(
        "a frame and a record that nothing can read",
        refused,
        (("DataRefused", "service=normaliser"), ("DataRefused", "service=storage-batcher")),
    ),
    Fault(
        "trades are missing, and their exchange does not tell them again",
        lambda pipeline: ordered(
            pipeline,
            {"fault": "page", "path": "aggTrades", "count": 1_000_000, **SPOT},
            {"fault": "drop", "match": "btcusdt@aggTrade", "count": 2, **SPOT},
        ),
        (("GapLeftOpen", "priority=urgent"),),
    ),
    Fault("NATS is slow", lambda pipeline: slowed(pipeline, "nats-server"), (("LatencyHigh", ""),)),
    Fault(
        "ClickHouse stands",
        lambda pipeline: paused(pipeline, "clickhouse"),
        (("WriteErrors", ""), *(("RowsStale", f"table={table}") for table in ("trades", "quotes", "book_deltas"))),
        frozenset({"GapLeftOpen"}),
    ),
    Fault(
        "NATS stands, and the spool is small",
        lambda pipeline: paused(pipeline, "nats-server"),
        (("BusErrors", "service=collector"), ("DataLost", "service=collector")),
        _QUIET | {"WriteErrors", "GapLeftOpen"},
    ),
    Fault(
        "more records than ClickHouse takes",
        lambda pipeline: behind(pipeline, "storage-batcher", "MD", "md.trade.binance.perp.>", "clickhouse"),
        (("BatcherLag", "service=storage-batcher"),),
        frozenset({"RowsStale", "WriteErrors"}),
    ),
    Fault(
        "more frames than the normaliser takes",
        lambda pipeline: behind(pipeline, "normaliser", "RAW", "raw.binance.perp.quotes.>", "normaliser"),
        (("NormaliserLag", "service=normaliser"),),
        _QUIET | {"ProcessDown"},
    ),
    Fault("the disk fills", full, (("DiskFull", "service=collector"),)),
    Fault(
        "connections are cut again and again",
        reconnecting,
        (("ReconnectsMany", "exchange=binance market=spot"),),
        frozenset({"GapLeftOpen"}),
    ),
)
