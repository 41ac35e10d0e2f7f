"""A market that this collector does not collect, whose list it must know: which assets do other exchanges list?"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Mapping

import structlog

from services.collector.budget_keeper import Leave
from services.collector.instruments import Instruments
from services.collector.rest import Rest
from services.collector.settings import CollectorSettings
from services.collector.tasks import together
from services.collector.universe import COMPARED
from services.shared.exchanges.declaration import Market
from services.shared.runtime.http import Http


class Consulted:
    """Reads one market's instrument list, within that exchange's budget, and nothing else."""

    def __init__(
        self,
        market: Market,
        settings: CollectorSettings,
        http: Http,
        budget: Leave,
        log: structlog.stdlib.BoundLogger,
        on_list: Callable[[Consulted], None],
    ) -> None:
        self.market = market
        log = log.bind(exchange=market.exchange, market=market.market)
        url = settings.rest_urls.get(f"{market.exchange}.{market.market}", market.rest_url)
        self._rest = Rest(market, url, http, budget, log)
        self.instruments = Instruments(
            market, self._rest, None, settings.instruments_every_s, log, lambda: on_list(self)
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop` is set."""
        source = random.Random()
        reading = asyncio.ensure_future(together(self._rest.run(source), self.instruments.run(source)))
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({reading, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
        finally:
            for task in (reading, stopped):
                task.cancel()
            await asyncio.gather(reading, stopped, return_exceptions=True)


def consulted(
    settings: CollectorSettings, markets: Mapping[tuple[str, str], Market], picked: Collection[Market]
) -> list[Market]:
    """Return the markets whose lists are to be known besides those of what is collected."""
    if settings.universe != "arbitrage" or settings.symbols:
        return []
    exchanges = {*settings.exchanges, *settings.compare}
    return [
        market
        for (exchange, name), market in markets.items()
        if exchange in exchanges and name in COMPARED and market not in picked
    ]
