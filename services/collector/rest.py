"""REST requests of one market within the exchange's budget: the most urgent first, retried with patience."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from schemas.control import Priority
from schemas.errors import Busy
from services.collector import metrics
from services.collector.budget_keeper import Leave
from services.collector.pacing import Backoff
from services.shared.exchanges.declaration import Market
from services.shared.runtime.clock import now_us
from services.shared.runtime.http import Answer, Http

SECOND_US = 1_000_000


@dataclass(slots=True, eq=False)
class Request:
    """A GET of `path` (percent-encoded, with its query), which is one of the poll `name`.

    `done` gets the answer, or None when there will be none.
    """

    priority: Priority
    path: str
    weight: int
    name: str
    done: Callable[[Answer | None], None]
    retry: bool
    order: int
    attempts: int = 0
    """How often it was sent."""


class Rest:
    """Works the requests of one market off, as the budget gives leave."""

    def __init__(
        self, market: Market, base_url: str, http: Http, budget: Leave, log: structlog.stdlib.BoundLogger
    ) -> None:
        self._market = market
        self._base = base_url.rstrip("/")
        self._http = http
        self._budget = budget
        self._log = log
        self._source = random.Random()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = False
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._complained: dict[str, int] = {}

    @property
    def pending(self) -> int:
        """Requests that have neither an answer nor been given up."""
        return len(self._tasks)

    def add(
        self,
        priority: Priority,
        path: str,
        weight: int,
        name: str,
        done: Callable[[Answer | None], None],
        retry: bool = True,
    ) -> Request:
        """Queue a request of the market's poll `name`; one not to be retried is given up when it fails in passing."""
        request = Request(priority, path, weight, name, done, retry, self._budget.next_order())
        if self._ended:
            return request  # nothing more is asked for on the way out
        task = asyncio.ensure_future(self._work(request))
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return request

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def run(self, source: random.Random) -> None:
        """Work until cancelled; raises what a request failed with that none should."""
        self._source = source
        try:
            await self._failed
        finally:
            self._ended = True
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, request: Request) -> None:
        """Ask until there is an answer or none is to be had; the request keeps its place in the queue."""
        backoff = Backoff(0.5, 30.0, self._source)
        while True:
            error, answer, patience = await self._ask(request)
            if answer is not None:
                self._complained.pop(request.name, None)
                request.done(answer)
                return
            self._complain(request, error)
            if not (request.retry and patience):
                request.done(None)
                return
            if patience == _BACKOFF:
                await asyncio.sleep(backoff.next_s())

    async def _ask(self, request: Request) -> tuple[str, Answer | None, str]:
        """Ask once; return the error, the answer if it is one, and what to wait for before it is asked again."""
        market, name = self._market, request.name
        poll = market.polls.get(name, market.instruments)
        ask = await self._budget.leave(request.priority, market.market, poll.endpoint, request.weight, request.order)
        metrics.REQUESTS_SENT.labels(market.exchange, market.market, name).inc()
        request.attempts += 1
        status, pause_s = 0, None
        said: Mapping[str, str] = {}
        try:
            answer = await self._http.get(self._base + request.path, market.headers)
            status, said = answer.status, market.rest.said(answer.headers.items())
            error, pause_s, again = market.rest.judge(status, said, answer.body, now_us() / SECOND_US)
        except Busy as failure:
            return str(failure), None, _BACKOFF
        finally:
            self._budget.over(ask, market.market, status, said, pause_s)
        if error is None:
            return "", answer, ""
        if pause_s is not None:
            self._log.warning("requests_paused", name=name, status=status, elapsed_s=pause_s, error=error)
            return error, None, _LEAVE
        return error, None, _BACKOFF if again else ""

    def _complain(self, request: Request, error: str) -> None:
        """Count a failure, and log the first, second, fourth, eighth ... of a kind in a row."""
        name = request.name
        metrics.REQUESTS_FAILED.labels(self._market.exchange, self._market.market, name).inc()
        count = self._complained[name] = self._complained.get(name, 0) + 1
        if count & (count - 1) == 0:
            self._log.warning("request_failed", name=name, path=request.path, error=error, count=count)


_BACKOFF = "backoff"
_LEAVE = "leave"
