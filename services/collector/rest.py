"""REST requests of one market within the exchange's budget: the most urgent first, retried with patience."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial

import structlog

from schemas.errors import Busy
from services.collector import metrics
from services.collector.pacing import Backoff, Budget
from services.collector.tasks import together
from services.shared.exchanges.declaration import Market
from services.shared.runtime.clock import monotonic_us
from services.shared.runtime.http import Answer, Http

MINUTE_US = 60_000_000
SECOND_US = 1_000_000
IN_FLIGHT = 4
"""Requests of one exchange and address under way at the same time."""

_DEFAULT_PAUSE_S = 60
_LIMITED = (429, 418)


class Priority(IntEnum):
    """Which request goes first."""

    RESYNC = 0
    SNAPSHOT = 1
    URGENT = 2
    POLL = 3


@dataclass(order=True, slots=True)
class Request:
    """A GET of `path` (percent-encoded, with its query). `done` gets the answer, or None when there will be none."""

    priority: Priority
    order: int
    path: str = field(compare=False)
    weight: int = field(compare=False)
    name: str = field(compare=False)
    done: Callable[[Answer | None], None] = field(compare=False)
    retry: bool = field(compare=False, default=True)
    attempts: int = field(compare=False, default=0)


class Requests:
    """The waiting requests of one exchange and address, and what they may cost. Pure: times come in."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._heap: list[Request] = []
        self._orders = itertools.count()

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._heap)

    def add(
        self,
        priority: Priority,
        path: str,
        weight: int,
        name: str,
        done: Callable[[Answer | None], None],
        retry: bool = True,
    ) -> Request:
        """Queue a request behind those of its own priority."""
        request = Request(priority, next(self._orders), path, weight, name, done, retry)
        heapq.heappush(self._heap, request)
        return request

    def again(self, request: Request) -> None:
        """Queue a request once more, in its old place."""
        heapq.heappush(self._heap, request)

    def take(self, now: int) -> Request | int | None:
        """Return the next request (its weight is spent), the microseconds until there is one, or None if none waits.

        A heavy request at the front is waited for: lighter ones behind it would keep it waiting for ever.
        """
        if not self._heap:
            return None
        wait = self.budget.wait_us(self._heap[0].weight, now)
        if wait:
            return wait
        request = heapq.heappop(self._heap)
        self.budget.spend(request.weight, now)
        return request


class Rest:
    """Works the requests of one exchange and address off."""

    def __init__(
        self, market: Market, base_url: str, http: Http, share: float, log: structlog.stdlib.BoundLogger
    ) -> None:
        self.requests = Requests(Budget(market.limits.weight_per_min * share, MINUTE_US))
        self.pending = 0
        """Requests that have neither an answer nor been given up."""
        self._market = market
        self._base = base_url.rstrip("/")
        self._http = http
        self._log = log
        self._more = asyncio.Event()
        self._complained: dict[str, int] = {}

    def add(
        self,
        priority: Priority,
        path: str,
        weight: int,
        name: str,
        done: Callable[[Answer | None], None],
        retry: bool = True,
    ) -> Request:
        """Queue a request; one that is not to be retried is given up when it fails for a passing reason."""
        self.pending += 1
        request = self.requests.add(priority, path, weight, name, partial(self._done, done), retry)
        self._more.set()
        return request

    def _done(self, done: Callable[[Answer | None], None], answer: Answer | None) -> None:
        self.pending -= 1
        done(answer)

    async def run(self, source: random.Random) -> None:
        """Work until cancelled."""
        await together(*(self._work(source) for _ in range(IN_FLIGHT)))

    async def _work(self, source: random.Random) -> None:
        while True:
            found = self.requests.take(monotonic_us())
            if isinstance(found, Request):
                await self._ask(found, source)
                continue
            self._more.clear()
            try:
                await asyncio.wait_for(self._more.wait(), None if found is None else found / SECOND_US)
            except TimeoutError:
                continue

    async def _ask(self, request: Request, source: random.Random) -> None:
        market = self._market
        metrics.REQUESTS_SENT.labels(market.exchange, market.market, request.name).inc()
        request.attempts += 1
        try:
            answer = await self._http.get(self._base + request.path, self._market.headers)
        except Busy as error:
            await self._failed(request, str(error), source)
            return
        used = answer.headers.get(market.used_weight_header, "")
        if used.isdigit():
            self.requests.budget.correct(int(used), monotonic_us())
        if answer.status == 200 and answer.body.lstrip()[:1] in (b"{", b"["):
            self._complained.pop(request.name, None)
            request.done(answer)
        elif answer.status in _LIMITED:
            text = answer.headers.get("Retry-After", "")
            seconds = int(text) if text.isdigit() else _DEFAULT_PAUSE_S
            self.requests.budget.pause(monotonic_us() + seconds * SECOND_US)
            self._log.warning("requests_paused", status=answer.status, elapsed_s=seconds, error=_start(answer.body))
            self._count_failure(request)
            if request.retry:
                self.requests.again(request)
            else:
                request.done(None)
        elif answer.status >= 500 or answer.status == 200:
            await self._failed(request, f"status {answer.status}: {_start(answer.body)}", source)
        else:
            self._complain(request, f"status {answer.status}: {_start(answer.body)}")
            request.done(None)

    async def _failed(self, request: Request, error: str, source: random.Random) -> None:
        self._complain(request, error)
        if not request.retry:
            request.done(None)
            return
        backoff = Backoff(0.5, 30.0, source)
        backoff.failures = request.attempts - 1
        await asyncio.sleep(backoff.next_s())
        self.requests.again(request)
        self._more.set()

    def _count_failure(self, request: Request) -> None:
        metrics.REQUESTS_FAILED.labels(self._market.exchange, self._market.market, request.name).inc()

    def _complain(self, request: Request, error: str) -> None:
        """Count a failure, and log the first, second, fourth, eighth ... of a kind in a row."""
        self._count_failure(request)
        count = self._complained[request.name] = self._complained.get(request.name, 0) + 1
        if count & (count - 1) == 0:
            self._log.warning("request_failed", name=request.name, path=request.path, error=error, count=count)


def _start(body: bytes) -> str:
    return body[:200].decode(errors="replace")
