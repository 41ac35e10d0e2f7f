"""Streams handed from connection to connection while symbols come and go: the real normaliser finds nothing missing."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from schemas import subjects
from schemas.frames import SessionEvent, decode_session, unpack
from services.collector import feed, feeds
from services.collector.budget_keeper import keepers
from services.collector.market import MarketCollector
from services.collector.outbox import Outbox
from services.collector.pacing import Budget
from services.collector.service import universe_of
from services.collector.settings import CollectorSettings
from services.normaliser.core import CoreOptions, PartitionCore
from services.shared.exchanges.binance_perp import BINANCE_PERP
from services.shared.exchanges.registry import MARKETS
from services.shared.runtime import logs
from services.shared.runtime.http import Http
from tests.moving_exchange import MovingExchange, book_at, run_moving_exchange

MOST = 4
"""Streams that the exchange takes on a connection."""


PATIENCE_S = 60
"""How long a test waits for something that must happen before it says that it did not."""


class Rig:
    """A collector of one market, and sixteen normaliser cores that read what it publishes as it does."""

    def __init__(self, exchange: MovingExchange, market: MarketCollector, outbox: Outbox) -> None:
        self.exchange = exchange
        self.market = market
        self.events: list[SessionEvent] = []
        self.out: list[tuple[str, dict[str, Any]]] = []
        self._outbox = outbox
        options = CoreOptions(book_interval_us=100_000, quiet_us=100_000)
        self._cores = [PartitionCore(part, MARKETS, options) for part in range(subjects.PARTITIONS)]
        self._sequence = 0

    def read(self) -> None:
        self._outbox.pack()
        batch = self._outbox.peek(10**6, 10**9)
        self._outbox.pop(len(batch))
        for packed in batch:
            self._sequence += 1
            message = packed.message
            core = self._cores[subjects.parse_raw(message.subject).partition]
            for output in core.process(self._sequence, *message):
                self.out.append((output.subject, json.loads(output.body)))
            self.events += [
                decode_session(frame.body) for frame in unpack(*message) if frame.channel == subjects.SESSION
            ]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.read()
                await asyncio.sleep(0.01)
        self.read()

    async def heard(self, *bases: str, more: int = 30) -> None:
        """Wait until so many more trades of each were told."""
        until = {base: len(self.numbers(base)) + more for base in bases}
        await self.until(lambda: all(len(self.numbers(base)) >= count for base, count in until.items()))

    async def carried(self, connections: int, *bases: str) -> None:
        """Wait until these symbols, and no others, are on so many connections a route, and no stream is moving."""
        wanted = Counter(f"{base.lower()}usdt@{topic}" for base in bases for topic in ("aggTrade", "depth@100ms"))

        def settled() -> bool:
            carried = Counter(name for client in self.exchange.open_clients for name in client.streams)
            return carried == wanted and len(self.exchange.open_clients) == 2 * connections

        await self.until(lambda: settled() and self.market.ready and not self.market.feeds.moving)

    def records(self, kind: str, base: str = "") -> list[dict[str, Any]]:
        name = f".{base}-USDT-PERP" if base else ""
        return [body for subject, body in self.out if subject.startswith(kind) and subject.endswith(name)]

    def numbers(self, base: str) -> list[int]:
        return [int(body["trade_id"]) for body in self.records("md.trade.", base)]


@asynccontextmanager
async def collecting(data_dir: Path, lifetime_s: float = 86_400, **values: Any) -> AsyncIterator[Rig]:
    limits = replace(BINANCE_PERP.limits, streams_per_connection=MOST, messages_per_s=1_000, lifetime_s=lifetime_s)
    declared = replace(BINANCE_PERP, limits=limits)
    async with run_moving_exchange() as exchange, Http(5) as http:
        settings = CollectorSettings.load(
            data_dir=data_dir,
            universe="all-usdt-perpetuals",
            channels=("depth", "trades"),
            ws_urls={"binance.perp": f"ws://{exchange.base}"},
            rest_urls={"binance.perp": f"http://{exchange.base}"},
            polls=False,
            clock_every_s=0,
            **{"instruments_every_s": 0.1, "backoff_base_s": 0.01, "overlap_s": 0.5, "alive_every_s": 0.1, **values},
        )
        outbox, universe, stop = Outbox(10**9, lambda: None), universe_of(settings), asyncio.Event()

        def listed(reader: MarketCollector) -> None:
            universe.learn(("binance", "perp"), reader.instruments.listing)
            reader.plan()

        log = logs.configure(settings, "test")
        market = MarketCollector(
            declared,
            settings,
            outbox,
            http,
            log,
            Budget(10_000, 10**9),
            keepers([declared], 1.0)["binance", "perp"],
            lambda: None,
            universe,
            listed,
        )
        rig = Rig(exchange, market, outbox)
        exchange.list("A", "B", "C", "D", "E", "F", "G", "H")
        running = asyncio.create_task(market.run(stop))
        try:
            yield rig
        finally:
            stop.set()
            await running


def assert_nothing_missing(rig: Rig, *bases: str) -> None:
    assert rig.records("gap.") == []
    assert rig.records("dead.") == []
    for base in bases:
        numbers = rig.numbers(base)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), f"trades of {base}"
        changes = [body for body in rig.records("md.book_change.", base) if body["in_step"]]
        assert len(changes) > 10
        for before, after in pairwise(changes):
            assert before["last_sequence"] < after["last_sequence"]
            assert after["first_sequence"] <= before["last_sequence"] + 1, "changes of two connections are not mixed"
        books = rig.records("md.orderbook.", base)
        assert books
        for book in books:
            for side, levels in book_at(book["sequence"]).items():
                shown = [[Decimal(digits) for digits in entry[:2]] for entry in book[side]]
                assert shown == [[Decimal(digits) for digits in entry] for entry in levels]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on its way arrives within a tenth of a second on this exchange."""
    monkeypatch.setattr(feed, "SETTLE_S", 0.1)
    monkeypatch.setattr(feeds, "SETTLE_S", 0.1)


async def test_connections_grow_and_shrink_with_what_is_listed_and_nothing_is_missed(tmp_path: Path) -> None:
    async with collecting(tmp_path) as rig:
        await rig.carried(2, *"ABCDEFGH")
        await rig.heard(*"ABCDEFGH")
        first = {client.index for client in rig.exchange.open_clients}

        rig.exchange.list(*"ABCDEFGHI")  # both are full: one connection more
        await rig.carried(3, *"ABCDEFGHI")
        await rig.heard("A", "I")
        rig.exchange.list(*"ABCDEFGHIJ")  # it has room
        await rig.carried(3, *"ABCDEFGHIJ")
        assert first < {client.index for client in rig.exchange.open_clients}
        assert {client.most for client in rig.exchange.clients} == {2, MOST}

        rig.exchange.list(*"ABCDEF")  # 6 need two connections, and two carry them with no room to spare: none is moved
        await rig.carried(2, *"ABCDEF")
        await rig.heard("A", "E")
        # What is on a connection that is given up is on the other one before.
        rig.exchange.list("A", "E", "F")
        await rig.carried(1, "A", "E", "F")
        await rig.heard("A", "E", "F")
        still = {client.index for client in rig.exchange.open_clients}
        assert still < first
        # Listed again: another life, no gap between.
        rig.exchange.list("A", "E", "F", "B")
        await rig.carried(1, "A", "E", "F", "B")
        await rig.heard("B")
        assert rig.records("gap.") == []
    rig.read()
    assert_nothing_missing(rig, "A", "E", "F", "C", "I")
    assert max(client.most for client in rig.exchange.clients) == MOST
    given_up = {symbol for event in rig.events if event.event == "unsubscribed" for symbol in event.channels}
    assert {f"{base}-USDT-PERP" for base in "BCDGHIJ"} <= given_up


async def test_a_planned_replacement_while_symbols_come_and_go_misses_nothing(tmp_path: Path) -> None:
    async with collecting(tmp_path, lifetime_s=1.0) as rig:
        await rig.heard(*"ABCDEFGH")
        for listed in ("ABCDEFGHI", "ABCEFG", "AEF", "ABEF"):
            rig.exchange.list(*listed)
            await rig.heard(*listed, more=60)
    rig.read()
    everywhere = [event for event in rig.events if event.event == "closed" and event.reason == "replaced"]
    assert len(everywhere) > 3 * 5, "each of four connections or more, in several partitions"
    assert_nothing_missing(rig, "A", "E", "F")
    assert max(client.most for client in rig.exchange.clients) <= MOST


async def test_connections_that_die_while_symbols_come_and_go_leave_no_hole_untold(tmp_path: Path) -> None:
    source = random.Random(5)
    always = ("A", "B")
    async with collecting(tmp_path) as rig:
        await rig.carried(2, *"ABCDEFGH")
        await rig.heard(*"ABCDEFGH")
        for _ in range(12):
            listed = (*always, *(base for base in "CDEFGHIJK" if source.random() < 0.5))
            rig.exchange.list(*listed)
            for client in source.sample(rig.exchange.open_clients, min(2, len(rig.exchange.open_clients))):
                client.abort()
            await rig.heard(*always, more=20)
        rig.exchange.list(*"ABC")
        await rig.carried(1, *"ABC")
        await rig.heard(*"ABC")
    rig.read()
    assert rig.records("dead.") == []
    assert max(client.most for client in rig.exchange.clients) <= MOST
    for base in always:
        numbers = rig.numbers(base)
        assert numbers == sorted(set(numbers)), "none twice"
        gaps = [body for body in rig.records("gap.", base) if body["kind"] == "trade" and "last_missing" in body]
        told = {number for body in gaps for number in range(int(body["first_missing"]), int(body["last_missing"]) + 1)}
        assert set(range(numbers[0], numbers[-1] + 1)) - set(numbers) == told
        assert told, "the connections did die"
