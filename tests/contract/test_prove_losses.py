"""Frames, messages and rows lost one by one on the road from a connection to the tables, and what `prove` says of them.

Collector, normaliser and prove are the real cores and the engine is the real one; what lies between them is a list. The
same through the running pipeline, by the thousand: `python -m benchmarks proofs`.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.proofs.losses import Loss, judge
from schemas import records, subjects, tables
from services.collector.core import Link, RestLink, Topic
from services.collector.outbox import Origin, Outbox
from services.command_line.proof import MINUTE_US
from services.command_line.prove import Proved, Prover
from services.command_line.sql import URL_VARIABLE
from services.normaliser.core import Output, PartitionCore
from services.shared.exchanges.registry import MARKETS
from services.shared.runtime.clock import now_us
from services.shared.runtime.migrations import migrate
from services.shared.runtime.warehouse import Warehouse
from tests.clickhouse_server import run_clickhouse
from tests.normaliser_rig import exchange_info
from tests.unit.test_collector_core import RULES

MARKET = ("binance", "perp")
BASES = ("BTC", "ETH")
STREAMS = {"trade": ("aggTrade", "trades"), "quote": ("bookTicker", "quotes"), "ticker": ("ticker", "ticker")}
MINUTES = 12
FIRST = now_us() // MINUTE_US * MINUTE_US - 60 * MINUTE_US
LAST = FIRST + MINUTES * MINUTE_US
PER_MINUTE = 5


class Road:
    """From frames to records; whatever is named in `lost` does not arrive."""

    def __init__(self) -> None:
        streams = {
            f"{base.lower()}usdt@{stream}": Topic(channel, f"{base}-USDT-PERP")
            for base in BASES
            for stream, channel in STREAMS.values()
        }
        self._outbox = Outbox(10**9, lambda: None)
        origin = Origin(*MARKET, "c1", "A", "wss://x")
        self.link = Link(MARKETS[MARKET], origin, streams, self._outbox, RULES)
        self._cores = {part: PartitionCore(part, MARKETS) for part in range(subjects.PARTITIONS)}
        self._sequence = 0
        self.made: list[Output] = []
        begin = FIRST - MINUTE_US
        RestLink(origin._replace(connection="R"), self._outbox).publish(
            "instruments", subjects.ALL, exchange_info(*BASES), "list", begin, begin, everywhere=True
        )
        self.link.opened(begin)
        self.link.subscribed(streams, begin)
        self.flow()

    def flow(self, *, lost: bool = False) -> list[Output]:
        """Let the normaliser read what the collector has; `lost`: the market's data is deleted before that."""
        self._outbox.pack()
        batch = self._outbox.peek(10**6, 10**9)
        self._outbox.pop(len(batch))
        found: list[Output] = []
        for packed in batch:
            self._sequence += 1
            name = subjects.parse_raw(packed.message.subject)
            if not lost or name.channel == subjects.SESSION:
                found += self._cores[name.partition].process(self._sequence, *packed.message)
        self.made += found
        return found


def frame(kind: str, base: str, number: int, at: int) -> bytes:
    """A frame of the exchange, said 5 ms before `at`."""
    said = (at - 5_000) // 1_000
    body: dict[str, Any] = {"E": said, "T": said, "s": f"{base}USDT"}
    if kind == "trade":
        body |= {"e": "aggTrade", "a": number, "p": "1.5", "q": "2", "f": number, "l": number, "m": False}
    elif kind == "quote":
        body |= {"e": "bookTicker", "u": 7 * number, "b": "1.4", "B": "1", "a": "1.6", "A": str(number)}
    else:
        body |= {
            "e": "24hrTicker",
            **dict.fromkeys("clohwpPQqv", "1"),
            "O": said,
            "C": said,
            "F": 1,
            "L": 2,
            "n": number,
        }
        del body["T"]
    return json.dumps({"stream": f"{base.lower()}usdt@{STREAMS[kind][0]}", "data": body}).encode()


def play(source: random.Random) -> tuple[Road, list[Loss]]:
    """Play the market; in every other minute of a series one thing is lost somewhere."""
    road, losses = Road(), []
    moments = [
        (MINUTE_US * place // PER_MINUTE, kind, base)
        for place in range(PER_MINUTE)
        for kind in STREAMS
        for base in BASES
    ]
    numbers: dict[tuple[str, str], int] = defaultdict(lambda: 100)
    for minute in range(-1, MINUTES + 1):
        cells = [(kind, base) for kind in STREAMS for base in BASES]
        chosen = {
            cell: source.randrange(PER_MINUTE) for cell in cells if 0 <= minute < MINUTES and source.random() < 0.5
        }
        for place, (offset, kind, base) in enumerate(moments):
            at = FIRST + minute * MINUTE_US + offset + 1_000 * place + 10_000
            numbers[kind, base] += 1
            body = frame(kind, base, numbers[kind, base], at)
            hop = None
            if chosen.get((kind, base)) == place // len(cells):
                hop = source.choice(("simulator", "raw", "md") if kind == "trade" else ("raw", "md"))
                moment = at - 5_000 - (at - 5_000) % 1_000 if kind == "trade" else at
                losses.append(Loss(hop, (*MARKET, f"{base}-USDT-PERP", kind), moment, moment))
            if hop == "simulator":
                continue
            road.flow()  # what the clock says before the frame
            road.link.look(at - 1)
            road.flow()
            road.link.received(body, at)
            found = road.flow(lost=hop == "raw")
            if hop == "md":
                gone = {id(item) for item in found if item.subject.startswith(f"md.{kind}.")}
                assert len(gone) == 1
                road.made = [item for item in road.made if id(item) not in gone]
    for second in range(180):
        road.link.answered(LAST + MINUTE_US + second * 1_000_000)
        road.link.look(LAST + MINUTE_US + second * 1_000_000)
        road.flow()
    return road, losses


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_clickhouse(tmp_path_factory.mktemp("engine")) as running:
        yield running.url


async def store(url: str, made: list[Output]) -> None:
    tables_of = {table.record.KIND: table for table in tables.TABLES}
    rows: dict[str, list[bytes]] = defaultdict(list)
    for output in made:
        kind = output.subject.split(".")[1] if output.subject.startswith("md.") else records.Gap.KIND
        rows[kind].append(output.body)
    async with Warehouse(url) as warehouse:
        await migrate(warehouse)
        for kind, bodies in rows.items():
            await warehouse.insert(tables_of[kind].insert_statement, b"\n".join(bodies), f"{kind}/1")


def prove(folder: Path) -> list[Proved]:
    symbols = (f"{base}-USDT-PERP" for base in BASES)
    return [one for symbol in symbols for one in Prover(folder, symbol, FIRST, LAST).prove(None, tuple(STREAMS))]


async def test_nothing_lost_is_passed_over_and_nothing_else_is_called_missing(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    road, losses = play(random.Random(5))
    await store(url, road.made)
    monkeypatch.setenv(URL_VARIABLE, url)
    proved = prove(tmp_path)
    judged = judge(proved, losses, FIRST, LAST)
    assert len(proved) == len(BASES) * len(STREAMS)
    assert judged.passed_over == [] and judged.false_alarms == []
    assert sum(judged.found.values()) == len(losses) > 24
    assert {loss.hop for loss in losses} == {"simulator", "raw", "md"}
    assert judged.minutes["missing"] >= 24 and judged.minutes["complete"] >= 24, judged.minutes
    # Held against other losses the same proof is wrong both ways.
    shifted = [loss._replace(first=loss.first + MINUTE_US, last=loss.last + MINUTE_US) for loss in losses]
    other = judge(proved, shifted, FIRST, LAST)
    assert other.passed_over and other.false_alarms
