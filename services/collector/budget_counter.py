"""Gives leave to other processes' requests: the counter at which the budgets kept here are asked for over NATS."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from contextlib import suppress

import msgspec
import nats.errors
import structlog
from nats.aio.msg import Msg

from schemas import control, subjects
from schemas.control import BudgetGrant
from services.collector.budget import Ask
from services.collector.budget_keeper import Keeper
from services.shared.runtime.bus import Bus

GRANT_KEPT_S = 60.0
"""A grant whose report does not come counts as under way for so long, and as sent from then on."""
ASK_AROUND_S = 1.0

Granted = tuple[str, str, int]
"""Market, endpoint and weight: what a report names."""


class BudgetCounter:
    """Answers for one exchange. `keepers` are those of its markets, by market."""

    def __init__(
        self, exchange: str, keepers: Mapping[str, Keeper], name: str, log: structlog.stdlib.BoundLogger
    ) -> None:
        self._exchange = exchange
        self._keepers = keepers
        self._name = name.encode()
        self._log = log.bind(exchange=exchange)
        self._granted: dict[Granted, deque[tuple[Ask, asyncio.TimerHandle]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, bus: Bus) -> None:
        """Answer for as long as the connection lives."""
        await bus.respond(subjects.budget(self._exchange), self._requested)
        await bus.respond(subjects.budget_report(self._exchange), self._reported)
        await bus.respond(subjects.budget_keeper(self._exchange), self._who)

    async def look_around(self, bus: Bus) -> list[str]:
        """Return the names of others that answer for the same exchange: there should be none. Logs each."""
        subject, others = subjects.budget_keeper(self._exchange), []
        try:
            inbox = bus.client.new_inbox()
            answers = await bus.client.subscribe(inbox)
            await bus.client.publish(subject, b"", reply=inbox)
            with suppress(TimeoutError):
                while True:
                    found = (await answers.next_msg(ASK_AROUND_S)).data
                    if found not in (self._name, b""):
                        others.append(found.decode(errors="replace"))
            await answers.unsubscribe()
        except (nats.errors.Error, OSError) as error:
            self._log.warning("budget_look_failed", error=f"{type(error).__name__}: {error}")
        for name in others:
            self._log.error("budget_kept_twice", name=name)
        return others

    async def _who(self, message: Msg) -> None:
        await message.respond(self._name)

    async def _requested(self, message: Msg) -> None:
        """Queue a request; it is answered when its turn comes, or its time is over."""
        try:
            wanted = control.decode_request(message.data)
        except msgspec.DecodeError as error:
            await self._answer(message, f"not a request: {error}")
            return
        keeper = self._keepers.get(wanted.market)
        if keeper is None:
            known = ", ".join(sorted(self._keepers))
            await self._answer(message, f"market {wanted.market!r} is not kept here; there are {known}")
            return

        def granted() -> None:
            late.cancel()
            self._remember((wanted.market, wanted.endpoint, wanted.weight), keeper, ask)
            self._soon(message, None)

        def too_late() -> None:
            keeper.end(ask)
            self._soon(message, f"no room within {wanted.wait_s:g} s", again=True)

        try:
            ask = keeper.pool.add(wanted.priority, wanted.endpoint, wanted.weight, granted)
        except ValueError as error:
            await self._answer(message, str(error))
            return
        late = asyncio.get_running_loop().call_later(wanted.wait_s, too_late)
        keeper.look()

    def _soon(self, message: Msg, error: str | None, *, again: bool = False) -> None:
        task = asyncio.ensure_future(self._answer(message, error, again=again))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: Msg, error: str | None, *, again: bool = False) -> None:
        try:
            await message.respond(control.encode(BudgetGrant(granted=error is None, error=error, again=again)))
        except (nats.errors.Error, OSError) as failure:
            self._log.warning("budget_answer_failed", error=f"{type(failure).__name__}: {failure}")

    def _remember(self, name: Granted, keeper: Keeper, ask: Ask) -> None:
        timer = asyncio.get_running_loop().call_later(GRANT_KEPT_S, self._lapsed, name, keeper)
        self._granted.setdefault(name, deque()).append((ask, timer))

    def _oldest(self, name: Granted) -> Ask | None:
        waiting = self._granted.get(name)
        if not waiting:
            return None
        ask, timer = waiting.popleft()
        timer.cancel()
        if not waiting:
            del self._granted[name]
        return ask

    def _lapsed(self, name: Granted, keeper: Keeper) -> None:
        ask = self._oldest(name)
        if ask is not None:
            keeper.end(ask)

    async def _reported(self, message: Msg) -> None:
        """Take how a granted request went; one that comes too late still says what the exchange counts."""
        try:
            report = control.decode_report(message.data)
        except msgspec.DecodeError as error:
            self._log.warning("budget_report_refused", error=str(error))
            return
        keeper = self._keepers.get(report.market)
        if keeper is None:
            self._log.warning("budget_report_refused", error=f"market {report.market!r} is not kept here")
            return
        if report.retry_after_s is not None:
            self._log.warning(
                "requests_paused", status=report.status, elapsed_s=report.retry_after_s, path=report.endpoint
            )
        ask = self._oldest((report.market, report.endpoint, report.weight))
        keeper.heard(report.endpoint, report.headers, report.retry_after_s)
        if ask is not None:
            keeper.end(ask)
