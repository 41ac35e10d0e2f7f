"""REST requests of one market within the exchange's budget: the most urgent first, retried with patience."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import structlog

from schemas.control import Priority
from schemas.errors import Busy
from services.collector import metrics
from services.collector.budget_keeper import Leave
from services.collector.pacing import Backoff
from services.shared.exchanges.declaration import Market
from services.shared.exchanges.rest_rules import Outcome
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
    sending: Callable[[], None] | None = None
    """Called each time right before it is sent: it may have waited long for leave."""
    attempts: int = 0
    """How often it was sent."""


class Then(Enum):
    """What is done with a request that failed."""

    QUEUE = "queue"
    """Asked again as soon as there is leave: the exchange wants a pause, and leave waits for its end."""
    BACK_OFF = "back off"
    GIVE_UP = "give up"


class Failure(NamedTuple):
    """Why there is no answer."""

    error: str
    then: Then


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
        self._tasks: dict[asyncio.Task[None], Priority] = {}
        self._ended = False
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._complained: dict[str, int] = {}

    @property
    def pending(self) -> int:
        """Requests that have neither an answer nor been given up."""
        return len(self._tasks)

    @property
    def snapshots_pending(self) -> int:
        """How many of these are asked for because a stream is not whole without them; polls come again and again."""
        return sum(priority.rank < Priority.POLL.rank for priority in self._tasks.values())

    def add(
        self,
        priority: Priority,
        path: str,
        weight: int,
        name: str,
        done: Callable[[Answer | None], None],
        retry: bool = True,
        sending: Callable[[], None] | None = None,
    ) -> Request:
        """Queue a request of the market's poll `name`; one not to be retried is given up when it fails in passing."""
        request = Request(priority, path, weight, name, done, retry, self._budget.next_order(), sending)
        if self._ended:
            return request  # nothing more is asked for on the way out
        task = asyncio.ensure_future(self._work(request))
        self._tasks[task] = priority
        task.add_done_callback(self._finished)
        return request

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
            self._failed.set_exception(error)

    def told(self, body: bytes) -> None:
        """Take the limits that the exchange tells along with its instruments, where it does."""
        read = self._market.rest.told
        if read is not None:
            for name, units in self._budget.told(read(body)).items():
                self._log.warning("limit_told", name=name, value=units)

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
            found = await self._ask(request)
            if isinstance(found, Answer):
                self._complained.pop(request.name, None)
                request.done(found)
                return
            self._complain(request, found.error)
            if not request.retry or found.then is Then.GIVE_UP:
                request.done(None)
                return
            if found.then is Then.BACK_OFF:
                await asyncio.sleep(backoff.next_s())

    async def _ask(self, request: Request) -> Answer | Failure:
        """Ask once, when there is leave."""
        market, name = self._market, request.name
        endpoint = market.polls[name].endpoint
        ask = await self._budget.leave(request.priority, market.market, endpoint, request.weight, request.order)
        metrics.REQUESTS_SENT.labels(market.exchange, market.market, name).inc()
        request.attempts += 1
        if request.sending is not None:
            request.sending()
        status, said, outcome = 0, dict[str, str](), Outcome()
        try:
            answer = await self._http.get(self._base + request.path, market.headers)
            status, said = answer.status, market.rest.said(answer.headers.items())
            outcome = market.rest.judge(status, said, answer.body, now_us() / SECOND_US)
        except Busy as failure:
            return Failure(str(failure), Then.BACK_OFF)
        finally:
            self._budget.over(ask, market.market, status, said, outcome.pause_s)
        if outcome.error is None:
            return answer
        if outcome.pause_s is not None:
            self._log.warning(
                "requests_paused", name=name, status=status, elapsed_s=outcome.pause_s, error=outcome.error
            )
            return Failure(outcome.error, Then.QUEUE)
        return Failure(outcome.error, Then.BACK_OFF if outcome.again else Then.GIVE_UP)

    def _complain(self, request: Request, error: str) -> None:
        """Count a failure, and log the first, second, fourth, eighth ... of a kind in a row."""
        name = request.name
        metrics.REQUESTS_FAILED.labels(self._market.exchange, self._market.market, name).inc()
        count = self._complained[name] = self._complained.get(name, 0) + 1
        if count & (count - 1) == 0:
            self._log.warning("request_failed", name=name, path=request.path, error=error, count=count)
