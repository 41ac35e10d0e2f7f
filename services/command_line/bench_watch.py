"""What is read from a running pipeline while it is measured: processor time, memory, and how late rows and records are.

* Frame to row: the newest row of a few busy instruments is asked for several times a second. What was received between
  two answers was visible at the second one, so the figures are too high rather than too low, by up to `POLL_S`.
* Frame to subject: a subscriber of a tenth of the instruments takes its own time of arrival less `received_at`.
"""

from __future__ import annotations

import asyncio
import os
import time
from array import array
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg

from schemas import subjects, tables
from schemas.errors import Busy
from services.command_line.machine import Machine

POLL_S = 0.2
SHARES: Mapping[str, tuple[str, float]] = {
    "book_deltas": ("book_change", 0.50),
    "quotes": ("quote", 0.40),
    "trades": ("trade", 0.06),
    "candle_updates": ("candle_update", 0.04),
}
"""Tables that are watched: their kind of record, and its share of the events."""

_RECEIVED = b'"received_at":'
_POINTS = 20
"""How many moments stand for the rows between two answers."""


class Used(NamedTuple):
    """Processor seconds so far and resident MiB now, of one process."""

    processor_s: float
    resident_mib: float


def used(pid: int) -> Used:
    """Read a process's use from Linux's /proc. Raises OSError when it is gone."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    ticks = int(fields[11]) + int(fields[12])
    return Used(ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / 1024**2)


def use_of(machine: Machine) -> dict[str, Used]:
    """Return what each process of a pipeline uses, and this one (`bench`)."""
    pids = {name: child.pid for name, child in machine.children.items()}
    return {name: used(pid) for name, pid in {**pids, "bench": os.getpid()}.items() if pid is not None}


class Rows:
    """How late rows are in their tables."""

    def __init__(self, machine: Machine, symbols: Sequence[str]) -> None:
        """Look at these instruments of Binance's perpetuals."""
        self._machine = machine
        names = ", ".join(f"'{symbol}'" for symbol in symbols)
        self._question = (
            " UNION ALL ".join(
                f"SELECT '{table}', toUnixTimestamp64Micro(max(received_at)) FROM {tables.DATABASE}.{table} "
                f"WHERE exchange = 'binance' AND market = 'perp' AND symbol IN ({names})"
                for table in SHARES
            )
            + " FORMAT TSV"
        )
        self._seen: dict[str, list[tuple[int, int]]] = {table: [] for table in SHARES}
        """Per table: when we asked, and the receive time of its newest row then. Microseconds."""

    async def watch(self) -> None:
        """Look until cancelled."""
        assert self._machine.warehouse is not None
        while True:
            try:
                answer = await self._machine.warehouse.query(self._question)
            except Busy:
                answer = b""
            now = time.time_ns() // 1000
            for line in answer.decode().splitlines():
                table, newest = line.split("\t")
                self._seen[table].append((now, int(newest)))
            await asyncio.sleep(POLL_S)

    def ages(self) -> list[float]:
        """Return the age of the newest row at each look, of the table that was worst, in milliseconds."""
        looks = zip(*self._seen.values(), strict=False)
        return [max(now - newest for now, newest in look) / 1000 for look in looks]

    def latencies(self) -> list[tuple[float, float]]:
        """Return (milliseconds from frame to row, weight) for moments spread over all that was received."""
        found: list[tuple[float, float]] = []
        for table, looks in self._seen.items():
            share = SHARES[table][1]
            for (_, before), (now, newest) in pairwise(looks):
                step = (newest - before) / _POINTS
                found += [((now - newest + step * (n + 0.5)) / 1000, step * share) for n in range(_POINTS) if step > 0]
        return found


class Subjects:
    """How late records are on their subjects."""

    def __init__(self) -> None:
        self._late: array[float] = array("d")
        self._client = Client()

    async def open(self, url: str, symbols: Sequence[str]) -> None:
        """Subscribe to every watched kind of these instruments."""
        await self._client.connect(url, name="tapeline-bench")
        for symbol in symbols:
            for kind, _ in SHARES.values():
                await self._client.subscribe(subjects.md(kind, "binance", "perp", symbol), cb=self._take)

    async def _take(self, message: Msg) -> None:
        data = message.data
        start = data.index(_RECEIVED) + len(_RECEIVED)
        self._late.append(time.time_ns() // 1000 - int(data[start : start + 16]))

    def begin(self) -> None:
        """Forget what came before the measurement."""
        self._late = array("d")

    async def close(self) -> None:
        """Hear no more."""
        await self._client.close()

    def latencies(self) -> list[tuple[float, float]]:
        """Return (milliseconds from frame to subject, weight 1) of each record heard."""
        return [(late / 1000, 1.0) for late in self._late]


def percentile(values: Sequence[tuple[float, float]], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the weight lies; NaN of nothing."""
    ordered = sorted(values)
    wanted = share * sum(weight for _, weight in ordered)
    reached = 0.0
    for value, weight in ordered:
        reached += weight
        if reached >= wanted:
            return value
    return float("nan")
