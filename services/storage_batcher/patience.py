"""The same again until it succeeds: capped exponential backoff with jitter, visible while it lasts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from schemas.errors import Busy
from services.storage_batcher import metrics

T = TypeVar("T")


class Patience:
    """Repeats what raises Busy. Ends by success, by another error, or by being cancelled."""

    def __init__(self, first_s: float, most_s: float, log: structlog.stdlib.BoundLogger) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._log = log
        self._random = random.Random()

    def pause_s(self, attempt: int) -> float:
        """Return the pause after the n-th failed attempt, n from 1, in seconds."""
        longest = min(self._most_s, self._first_s * 2.0 ** min(attempt - 1, 30))
        return longest * self._random.uniform(0.5, 1)

    async def keep(
        self,
        stage: str,
        call: Callable[[], Awaitable[T]],
        between: Callable[[Busy], Awaitable[None]] | None = None,
        **fields: object,
    ) -> T:
        """Return what `call` returns in the end; `between` runs after each pause."""
        attempt = 0
        while True:
            try:
                result = await call()
            except Busy as error:
                attempt += 1
                metrics.RETRIES.labels(stage, str(error.fields.get("name", "NATS"))).inc()
                if attempt == 1 or attempt % 10 == 0:
                    self._log.warning("retrying", stage=stage, attempt=attempt, error=str(error), **fields)
                await asyncio.sleep(self.pause_s(attempt))
                if between is not None:
                    await between(error)
            else:
                if attempt:
                    self._log.info("retry_succeeded", stage=stage, attempt=attempt, **fields)
                return result
