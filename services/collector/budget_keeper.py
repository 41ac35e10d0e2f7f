"""Keeps the budgets of one process: gives leave to its own requests when there is room, in the order of priorities."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol

from schemas.control import Priority
from services.collector import metrics
from services.collector.budget import SECOND_US, Ask, Pool
from services.shared.exchanges.declaration import Market
from services.shared.exchanges.rest_rules import RestRules
from services.shared.runtime.clock import monotonic_us, now_us


class Leave(Protocol):
    """Where leave for requests is got: the budget kept here, or the one that another collector keeps."""

    def next_order(self) -> int:
        """Return the place in the queue of a request that is made now."""

    async def leave(self, priority: Priority, market: str, endpoint: str, weight: int, order: int) -> Ask:
        """Wait until a request may be sent. Raises ValueError when it never may."""

    def over(self, ask: Ask, market: str, status: int, said: Mapping[str, str], pause_s: float | None) -> None:
        """Tell how the request went; `status` is 0 when no answer came."""

    def told(self, units: Mapping[str, int]) -> dict[str, int]:
        """Take the limits that the exchange tells of itself, by name; return those that are news to who keeps count."""


class Keeper:
    """One pool's budget, its timers and who waits. Everything happens in one event loop."""

    def __init__(self, exchange: str, rules: RestRules, share: float) -> None:
        self.pool = Pool(rules, share)
        self._timer: asyncio.TimerHandle | None = None
        labels = (exchange, rules.pool)
        metrics.BUDGET_WAITING.labels(*labels).set_function(lambda: self.pool.waiting)
        for rate in rules.rates:
            used = metrics.BUDGET_USED.labels(*labels, rate.name)
            used.set_function(lambda name=rate.name: self.pool.used(monotonic_us())[name])  # type: ignore[misc]

    def next_order(self) -> int:
        """Return the place in the queue of a request that is made now."""
        return self.pool.next_order()

    async def leave(self, priority: Priority, market: str, endpoint: str, weight: int, order: int) -> Ask:
        """Wait until a request may be sent. Raises ValueError when it never may."""
        granted = asyncio.Event()
        ask = self.pool.add(priority, endpoint, weight, granted.set, order)
        self.look()
        try:
            await granted.wait()
        except asyncio.CancelledError:
            self.end(ask)
            raise
        return ask

    def over(self, ask: Ask, market: str, status: int, said: Mapping[str, str], pause_s: float | None) -> None:
        """Tell how a request went: it has been counted by now, and the exchange may have said more."""
        self.heard(ask.endpoint, said, pause_s)
        self.end(ask)

    def told(self, units: Mapping[str, int]) -> dict[str, int]:
        """Take the limits that the exchange tells of itself, by name; return those that are new."""
        new = self.pool.told(units)
        self.look()
        return new

    def heard(self, endpoint: str, said: Mapping[str, str], pause_s: float | None) -> None:
        """Take what the exchange says of the budget itself."""
        now = monotonic_us()
        self.pool.learn(endpoint, said, now, now_us() / SECOND_US)
        if pause_s is not None:
            self.pool.pause(now + round(pause_s * SECOND_US))

    def end(self, ask: Ask) -> None:
        """Nothing more comes of it: what waits is forgotten, what was granted counts from now on as sent."""
        self.pool.withdraw(ask)
        self.pool.done(ask, monotonic_us())
        self.look()

    def look(self) -> None:
        """Give leave to whoever may go now, and look again when the next one may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while isinstance(found := self.pool.take(monotonic_us()), Ask):
            found.granted()
        if found is not None:
            self._timer = asyncio.get_running_loop().call_later(found / SECOND_US, self.look)


def keepers(markets: Iterable[Market], share: float) -> dict[tuple[str, str], Keeper]:
    """Return the keeper of each market's budget, by exchange and market: one for all markets that share a pool."""
    pools: dict[tuple[str, str], Keeper] = {}
    found: dict[tuple[str, str], Keeper] = {}
    for market in markets:
        pool = (market.exchange, market.rest.pool)
        if pool not in pools:
            pools[pool] = Keeper(market.exchange, market.rest, share)
        found[market.exchange, market.market] = pools[pool]
    return found
