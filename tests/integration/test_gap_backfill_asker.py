"""One exchange asked over real sockets: a budget to wait for, and answers of every bad kind before the good one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from nats.aio.msg import Msg

from schemas import control, streams, subjects
from schemas.frames import unpack
from schemas.records import Gap, Instrument
from schemas.spans import Spans
from services.gap_backfill.asker import Asker, Origin
from services.gap_backfill.core import BackfillCore
from services.gap_backfill.patience import Patience
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

MARKET = ("binance", "perp")
SYMBOL = "BTC-USDT-PERP"


def rows(*numbers: int) -> str:
    return json.dumps(
        [{"a": n, "p": "100.5", "q": "0.25", "f": n, "l": n, "T": 1_790_000_000_000 + n, "m": False} for n in numbers]
    )


@dataclass
class Exchange:
    """Answers in turn; the last answer again and again."""

    answers: list[tuple[int, str]]
    asked: list[str] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request.path_qs)
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        headers = {"Retry-After": "0"} if status == 429 else {}
        return web.Response(status=status, text=body, headers=headers)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[list[tuple[int, str]]], Any]]:
    runners: list[web.AppRunner] = []

    async def start(answers: list[tuple[int, str]]) -> Exchange:
        exchange = Exchange(answers)
        app = web.Application()
        app.router.add_get("/{path:.*}", exchange.handle)
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        exchange.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return exchange

    yield start
    for runner in runners:
        await runner.cleanup()


@dataclass
class Rig:
    """An asker with one gap, ids 5 to 7, and what it did."""

    core: BackfillCore
    task: asyncio.Task[None]
    requests: list[control.BudgetRequest]
    reports: list[control.BudgetReport]
    bus: Bus

    async def until(self, happened: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not happened():
                assert not self.task.done(), self.task
                for filling in self.core.lookups(now_us()):
                    self.core.looked(filling, Spans(), now_us())
                await asyncio.sleep(0.005)

    async def frames(self) -> list[Any]:
        _, end = await self.bus.bounds(streams.RAW)
        reader = Reader(self.bus, streams.RAW, [subjects.RAW_ALL], 0)
        found = []
        while reader.last < end:
            found += [
                frame for item in await reader.read(100, 5) for frame in unpack(item.subject, item.headers, item.body)
            ]
        await reader.close()
        return found


@pytest.fixture
async def rig(bus: Bus) -> AsyncIterator[Callable[..., Any]]:
    tasks: list[asyncio.Task[None]] = []
    https: list[Http] = []

    async def make(exchange: Exchange, *, keeper: bool = True, **patience: int) -> Rig:
        settings = GapBackfillSettings.load(rest_urls={"binance.perp": exchange.url}, call_pause_s=0.0)
        fast = {"first_us": 1_000, "most_us": 2_000, **patience}
        core = BackfillCore(history_of, patience=Patience(**fast))
        listings = Listings(None)  # type: ignore[arg-type]  # no table is asked: the instrument is known
        item = Instrument(
            exchange="binance",
            market="perp",
            symbol=SYMBOL,
            timestamp=1,
            timestamp_source="received",
            received_at=1,
            source="live",
            exchange_symbol="BTCUSDT",
            status="trading",
            base="BTC",
            quote="USDT",
            asset="BTC",
            multiplier="1",
        )
        listings.by_market = {MARKET: Listing([item])}
        http = Http(5)
        await http.__aenter__()
        https.append(http)
        log = logs.configure(settings, "test")
        ring = Ring(bus, streams.RAW, oldest_unread_of_raw, 5.0, log)
        origin = Origin("gap-backfill", now_us())
        markets = {"perp": MARKETS[MARKET]}
        asker = Asker("binance", markets, core, bus, ring, http, settings, origin, listings, log)
        requests: list[control.BudgetRequest] = []
        reports: list[control.BudgetReport] = []

        async def grant(message: Msg) -> None:
            requests.append(control.decode_request(message.data))
            await message.respond(control.encode(control.BudgetGrant(True)))

        async def hear(message: Msg) -> None:
            reports.append(control.decode_report(message.data))

        if keeper:
            await bus.respond(subjects.budget("binance"), grant)
        await bus.respond(subjects.budget_report("binance"), hear)
        now = now_us()
        core.take(
            Gap(
                exchange="binance",
                market="perp",
                symbol=SYMBOL,
                timestamp=now,
                timestamp_source="match",
                received_at=now,
                source="live",
                gap_id="g",
                kind="trade",
                gap_type="sequence",
                status="open",
                evidence="id 8 follows 4",
                first_missing=5,
                last_missing=7,
                before_timestamp=now,
                detection_time=now,
            ),
            now,
        )
        for filling in core.lookups(now):
            core.resume(filling, Spans(), 0)
            core.looked(filling, Spans(), now)
        task = asyncio.create_task(asker.run())
        tasks.append(task)
        return Rig(core, task, requests, reports, bus)

    yield make
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for http in https:
        await http.__aexit__(None, None, None)


async def test_every_bad_answer_is_passed_over_and_the_good_one_is_published_as_it_came(serve: Any, rig: Any) -> None:
    good = rows(5, 6, 7)
    exchange = await serve(
        [
            (429, '{"code":-1003,"msg":"Too many requests"}'),
            (503, "<html>maintenance</html>"),
            (200, "<html>maintenance</html>"),
            (200, '{"code":-1000,"msg":"unknown"}'),
            (200, rows(3, 4)),
            (200, '[{"a":5,"p":"NaN","q":"1","f":1,"l":1,"T":1,"m":true}]'),
            (200, rows(5, 5)),
            (200, good),
        ]
    )
    made = await rig(exchange, bad_tries=20)
    await made.until(lambda: made.core.brought == 3)
    assert set(exchange.asked) == {"/fapi/v1/aggTrades?symbol=BTCUSDT&fromId=5&limit=3"}
    frames = await made.frames()
    assert [(f.body.decode(), f.wanted, f.origin, f.channel) for f in frames] == [
        (good, "5-7", "backfill", "trades_history")
    ]
    assert frames[0].request == exchange.asked[0] and frames[0].requested_at <= frames[0].received_at
    asked_for = {(one.market, one.endpoint, one.weight, one.priority) for one in made.requests}
    assert asked_for == {("perp", "/fapi/v1/aggTrades", 20, control.Priority.URGENT)}
    await made.until(lambda: len(made.reports) == len(exchange.asked))
    assert [one.status for one in made.reports] == [429, 503, 200, 200, 200, 200, 200, 200]
    assert len(made.requests) == len(exchange.asked)


@pytest.mark.parametrize(
    ("answer", "tries", "said"),
    [
        ("[]", 3, "the exchange does not serve it"),
        ('[{"a":"x"}]', 6, "not an answer of trades_history"),
        (rows(1, 2, 3), 6, "the answer begins at 1, before 5"),
    ],
)
async def test_answers_that_stay_bad_end_in_a_clear_status_and_no_row(
    serve: Any, rig: Any, answer: str, tries: int, said: str
) -> None:
    exchange = await serve([(200, answer)])
    made = await rig(exchange)
    await made.until(lambda: made.core.states["g"].status == "unavailable")
    assert said in made.core.states["g"].evidence and "lost for good: 5-7 (3)" in made.core.states["g"].evidence
    assert len(exchange.asked) == tries and await made.frames() == []


async def test_without_a_keeper_of_the_budget_nothing_is_asked(serve: Any, rig: Any, bus: Bus) -> None:
    exchange = await serve([(200, rows(5, 6, 7))])
    made = await rig(exchange, keeper=False)
    refused = []

    async def refuse(message: Msg) -> None:
        refused.append(message)
        granted = len(refused) > 1
        assert not exchange.asked
        await message.respond(control.encode(control.BudgetGrant(granted, None if granted else "the time is over")))

    await bus.respond(subjects.budget("binance"), refuse)
    await made.until(lambda: made.core.brought == 3)
    assert len(refused) == 2 and len(exchange.asked) == 1


async def test_what_another_process_has_published_is_not_published_again(serve: Any, rig: Any, bus: Bus) -> None:
    exchange = await serve([(200, rows(5, 6, 7))])
    made = await rig(exchange, keeper=False)
    subject = subjects.raw("binance", "perp", "trades_history", SYMBOL)
    await bus.js.publish(subject, b"theirs", headers={"Tape-Wanted": "5-7"})

    async def grant(message: Msg) -> None:
        await message.respond(control.encode(control.BudgetGrant(True)))

    await bus.respond(subjects.budget("binance"), grant)
    filling = next(iter(made.core.fillings.values()))
    await made.until(lambda: not filling.resumed)
    assert len(exchange.asked) == 1 and (await bus.bounds(streams.RAW))[1] == 1
