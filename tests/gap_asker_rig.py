"""One exchange asked over real sockets by a real asker: scripted answers, a budget's keeper, one gap to be filled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from nats.aio.msg import Msg

from schemas import control, streams, subjects
from schemas.frames import unpack
from schemas.records import Gap, Instrument
from schemas.spans import Spans
from services.gap_backfill.asker import Asker, Origin
from services.gap_backfill.core import BackfillCore
from services.gap_backfill.patience import Patience
from services.gap_backfill.series import Series
from services.gap_backfill.settings import GapBackfillSettings
from services.gap_backfill.stock import Listings
from services.shared.exchanges.declaration import Listing
from services.shared.exchanges.known_history import history_of
from services.shared.exchanges.registry import MARKETS
from services.shared.runtime import logs
from services.shared.runtime.bus import Bus
from services.shared.runtime.clock import now_us
from services.shared.runtime.http import Http
from services.shared.runtime.reader import Reader
from services.shared.runtime.ring import Ring, oldest_unread_of_raw

SYMBOL = "BTC-USDT-PERP"
BINANCE_TRADES = Series("binance", "perp", SYMBOL, "trade", None)
EXCHANGE_SYMBOLS = {"okx": "BTC-USDT-SWAP", "deribit": "BTC_USDT-PERPETUAL", "gateio": "BTC_USDT", "mexc": "BTC_USDT"}
"""What an exchange calls the symbol; the others: BTCUSDT."""

IDS = {"first_missing": 5, "last_missing": 7}


@dataclass
class Exchange:
    """Answers in turn; the last answer again and again. An answer is a status and a body."""

    answers: list[tuple[int, str]]
    asked: list[str] = field(default_factory=list)
    url: str = ""
    retry_after: str = "0"
    """What a 429 says, seconds."""

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request, and remember it."""
        self.asked.append(request.path_qs)
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        headers = {"Retry-After": self.retry_after} if status == 429 else {}
        return web.Response(status=status, text=body, headers=headers)


@asynccontextmanager
async def serving(answers: list[tuple[int, str]]) -> AsyncIterator[Exchange]:
    """Serve an exchange on a free port."""
    exchange = Exchange(answers)
    app = web.Application()
    app.router.add_get("/{path:.*}", exchange.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        exchange.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield exchange
    finally:
        await runner.cleanup()


@dataclass
class Rig:
    """An asker with one gap, `g`, and what it did."""

    core: BackfillCore
    task: asyncio.Task[None]
    requests: list[control.BudgetRequest]
    reports: list[control.BudgetReport]
    bus: Bus

    async def until(self, happened: Callable[[], object]) -> None:
        """Let the asker work, with an empty table, until something has happened."""
        async with asyncio.timeout(60):
            while not happened():
                assert not self.task.done(), self.task
                for filling in self.core.lookups(now_us()):
                    self.core.looked(filling, Spans(), now_us())
                await asyncio.sleep(0.005)

    async def frames(self) -> list[Any]:
        """Return everything that was published on RAW."""
        _, end = await self.bus.bounds(streams.RAW)
        reader = Reader(self.bus, streams.RAW, [subjects.RAW_ALL], 0)
        found = []
        while reader.last < end:
            found += [
                frame for item in await reader.read(100, 5) for frame in unpack(item.subject, item.headers, item.body)
            ]
        await reader.close()
        return found


def instrument(series: Series) -> Instrument:
    """Return the terms of a series' instrument: contracts of one unit."""
    return Instrument(
        exchange=series.exchange,
        market=series.market,
        symbol=series.symbol,
        timestamp=1,
        timestamp_source="received",
        received_at=1,
        source="live",
        exchange_symbol=EXCHANGE_SYMBOLS.get(series.exchange, "BTCUSDT"),
        status="trading",
        base="BTC",
        quote="USDT",
        asset="BTC",
        multiplier="1",
        contract_size="1",
        contract_kind="linear",
    )


def gap(series: Series, bounds: dict[str, int]) -> Gap:
    """Return a gap that the normaliser tells now."""
    now = now_us()
    told: dict[str, Any] = {"before_timestamp": now, **bounds}
    return Gap(
        **series._asdict(),
        timestamp=now,
        timestamp_source="match",
        received_at=now,
        source="live",
        gap_id="g",
        gap_type="sequence",
        status="open",
        evidence="id 8 follows 4",
        detection_time=now,
        **told,
    )


@asynccontextmanager
async def asking(
    bus: Bus,
    exchange: Exchange,
    series: Series = BINANCE_TRADES,
    bounds: dict[str, int] | None = None,
    *,
    keeper: bool = True,
    **patience: int,
) -> AsyncIterator[Rig]:
    """Run an asker of a series' exchange with one gap, of ids 5 to 7 unless `bounds` say otherwise."""
    market = series[:2]
    settings = GapBackfillSettings.load(rest_urls={".".join(market): exchange.url}, call_pause_s=0.0)
    fast = {"first_us": 1_000, "most_us": 2_000, **patience}
    core = BackfillCore(history_of, patience=Patience(**fast))
    listings = Listings(None)  # type: ignore[arg-type]  # no table is asked: the instrument is known
    listings.by_market = {market: Listing([instrument(series)])}
    log = logs.configure(settings, "test")
    ring = Ring(bus, streams.RAW, oldest_unread_of_raw, 5.0, log)
    origin = Origin("gap-backfill", now_us())
    requests: list[control.BudgetRequest] = []
    reports: list[control.BudgetReport] = []

    async def grant(message: Msg) -> None:
        requests.append(control.decode_request(message.data))
        await message.respond(control.encode(control.BudgetGrant(True)))

    async def hear(message: Msg) -> None:
        reports.append(control.decode_report(message.data))

    async with Http(5) as http:
        markets = {series.market: MARKETS[market]}
        asker = Asker(series.exchange, markets, core, bus, ring, http, settings, origin, listings, log)
        if keeper:
            await bus.respond(subjects.budget(series.exchange), grant)
        await bus.respond(subjects.budget_report(series.exchange), hear)
        found = gap(series, bounds or IDS)
        now = now_us()
        core.take(found, now)
        for filling in core.lookups(now):
            core.resume(filling, Spans(), 0)
            core.looked(filling, Spans(), now)
        task = asyncio.create_task(asker.run())
        try:
            yield Rig(core, task, requests, reports, bus)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
