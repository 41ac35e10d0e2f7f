"""The request budgets of one collector: kept here for each exchange, or asked of the collector that keeps them.

An exchange counts by address, so where several collectors of one exchange share an address, one of them keeps its
budget (`budget: own`, the default) and the others ask it (`budget: ask`), as gap-backfill does.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Mapping

import msgspec
import nats.errors
import structlog

from schemas import control, subjects
from schemas.control import BudgetReport, BudgetRequest, Priority
from schemas.errors import Busy
from services.collector.budget import Ask
from services.collector.budget_counter import BudgetCounter
from services.collector.budget_keeper import Keeper, Leave, keepers
from services.collector.settings import CollectorSettings
from services.shared.exchanges.declaration import Market
from services.shared.runtime.bus import Bus
from services.shared.runtime.clock import monotonic_us

ANSWER_WITHIN_S = control.DEFAULT_WAIT_S + 5.0
ASK_AGAIN_S = 1.0


class Budgets:
    """Where the requests of each of `markets` get leave."""

    def __init__(
        self, markets: Iterable[Market], settings: CollectorSettings, log: structlog.stdlib.BoundLogger
    ) -> None:
        markets = list(markets)
        exchanges = dict.fromkeys(market.exchange for market in markets)
        self._leave: Mapping[tuple[str, str], Leave]
        self._counters: list[BudgetCounter] = []
        self._borrowers: dict[str, Borrower] = {}
        if settings.budget == "ask":
            self._borrowers = {exchange: Borrower(exchange, log) for exchange in exchanges}
            self._leave = {(market.exchange, market.market): self._borrowers[market.exchange] for market in markets}
            return
        kept = keepers(markets, settings.request_share)
        self._leave = kept
        for exchange in exchanges:
            own = {market: keeper for (name, market), keeper in kept.items() if name == exchange}
            self._counters.append(BudgetCounter(exchange, own, settings.name, log))

    def of(self, market: Market) -> Leave:
        """Return where a market's requests get leave."""
        return self._leave[market.exchange, market.market]

    def status(self) -> dict[str, dict[str, float]]:
        """Return how many wait for leave, and the share of each limit that is used, by exchange and pool."""
        now = monotonic_us()
        found: dict[str, dict[str, float]] = {}
        for (exchange, _), leave in self._leave.items():
            if isinstance(leave, Keeper):
                used = {name: round(share, 3) for name, share in leave.pool.used(now).items()}
                found[f"{exchange}.{leave.pool.rules.pool}"] = {"waiting": leave.pool.waiting, **used}
        return found

    async def open(self, bus: Bus) -> None:
        """Answer those who ask, or ask from now on. Raises Busy."""
        for borrower in self._borrowers.values():
            borrower.connected(bus)
        for counter in self._counters:
            await counter.open(bus)
        await asyncio.gather(*(counter.look_around(bus) for counter in self._counters))


class Borrower:
    """Asks the collector that keeps an exchange's budget, for as long as it takes. Without NATS nobody gets leave."""

    def __init__(self, exchange: str, log: structlog.stdlib.BoundLogger) -> None:
        self._exchange = exchange
        self._log = log.bind(exchange=exchange)
        self._orders = itertools.count()
        self._bus: Bus | None = None
        self._there = asyncio.Event()
        self._failures = 0
        self._reports: set[asyncio.Task[None]] = set()

    def connected(self, bus: Bus) -> None:
        """NATS is there."""
        self._bus = bus
        self._there.set()

    def next_order(self) -> int:
        """Return the place in the queue of a request that is made now; the keeper goes by when it was asked."""
        return next(self._orders)

    async def leave(self, priority: Priority, market: str, endpoint: str, weight: int, order: int) -> Ask:
        """Wait until a request may be sent. Raises ValueError when it never may."""
        await self._there.wait()
        assert self._bus is not None
        wanted = control.encode(BudgetRequest(market, endpoint, weight, priority))
        subject = subjects.budget(self._exchange)
        while True:
            try:
                answer = await self._bus.client.request(subject, wanted, timeout=ANSWER_WITHIN_S)
                grant = control.decode_grant(answer.data)
            except (nats.errors.Error, OSError, msgspec.DecodeError) as error:
                self._complain(f"{type(error).__name__}: {error}")
                await asyncio.sleep(ASK_AGAIN_S)
                continue
            self._failures = 0
            if grant.granted:
                return Ask(priority, endpoint, weight, order, lambda: None, "granted")
            if not grant.again:
                raise ValueError(grant.error or "refused without a reason")

    def over(self, ask: Ask, market: str, status: int, said: Mapping[str, str], pause_s: float | None) -> None:
        """Tell the keeper how the request went."""
        told = BudgetReport(market, ask.endpoint, status, ask.weight, dict(said), pause_s)
        task = asyncio.ensure_future(self._report(control.encode(told)))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    def told(self, units: Mapping[str, int]) -> dict[str, int]:
        """Nothing is news here: the keeper reads the exchange's limits itself."""
        return {}

    async def _report(self, body: bytes) -> None:
        assert self._bus is not None
        try:
            await self._bus.say(subjects.budget_report(self._exchange), body)
        except Busy as error:
            self._log.warning("budget_report_failed", error=str(error))

    def _complain(self, error: str) -> None:
        """Log the first, second, fourth, eighth ... failure in a row."""
        self._failures += 1
        if self._failures & (self._failures - 1) == 0:
            self._log.warning("budget_keeper_away", error=error, count=self._failures)
