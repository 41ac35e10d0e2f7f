"""Requests against a server that counts them and shuts out whoever asks too much; leave for others over NATS."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from aiohttp import web

from schemas import control, subjects
from schemas.control import BudgetGrant, BudgetReport, BudgetRequest, Priority
from services.collector import budget_counter
from services.collector.budget_counter import BudgetCounter
from services.collector.budget_keeper import Keeper, keepers
from services.collector.budgets import Budgets
from services.collector.rest import Rest
from services.collector.settings import CollectorSettings
from services.shared.exchanges import binance_limits
from services.shared.exchanges.binance_perp import BINANCE_PERP
from services.shared.exchanges.declaration import Market, Poll
from services.shared.exchanges.registry import MARKETS
from services.shared.exchanges.rest_rules import Rate, RestRules
from services.shared.runtime import logs
from services.shared.runtime.bus import Bus
from services.shared.runtime.clock import monotonic_us
from services.shared.runtime.http import Answer, Http
from services.shared.runtime.settings import Settings
from tests.http_server import serving

WEIGHT = Rate("weight", 120, 0.4, but=("/statistics/",), used_header="x-used")
STATISTICS = Rate("statistics", 15, 0.2, paths=("/statistics/",), weighed=False)
RULES = RestRules((WEIGHT, STATISTICS), binance_limits.refusal, pool="shared", in_flight=8)


def poll(name: str, path: str, weight: int) -> Poll:
    return Poll(name, (), path, weight, lambda frame, listing: ())


POLLS = {
    item.name: item
    for item in (
        poll("snapshot", "/depth?symbol={symbol}", 2),
        poll("interest", "/interest?symbol={symbol}", 1),
        poll("ratio", "/statistics/ratio?symbol={symbol}", 1),
    )
}


class Exchange:
    """Counts what arrives in rolling windows of its own; above a limit it answers 418 from then on."""

    def __init__(self) -> None:
        self.arrived: list[tuple[int, str, int]] = []
        self.banned = False
        self.base = ""
        self.served: list[str] = []
        self.scripted: dict[str, list[web.Response]] = {}
        self._delays = random.Random(5)

    async def get(self, request: web.Request) -> web.Response:
        scripted = self.scripted.get(request.path)
        if scripted:
            return scripted.pop(0)
        await asyncio.sleep(self._delays.random() * 0.02)  # on its way: it is counted when it arrives
        now = monotonic_us()
        statistics = request.path.startswith("/statistics/")
        rate = STATISTICS if statistics else WEIGHT
        weight = 2 if request.path == "/depth" else 1
        self.arrived.append((now, rate.name, weight))
        used = sum(
            units for at, name, units in self.arrived if name == rate.name and at > now - rate.window_s * 1_000_000
        )
        self.banned = self.banned or used > rate.units
        if self.banned:
            return web.Response(status=418, text='{"code":-1003,"msg":"banned"}', headers={"Retry-After": "600"})
        self.served.append(request.raw_path)
        await asyncio.sleep(self._delays.random() * 0.02)
        return web.Response(text="[]", content_type="application/json", headers={"x-used": str(used)})


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    made = Exchange()
    async with serving([web.get("/{path:.*}", made.get)]) as address:
        made.base = f"http://{address}"
        yield made


def market(name: str, rules: RestRules = RULES, exchange: str = "binance") -> Market:
    return replace(BINANCE_PERP, exchange=exchange, market=name, polls=POLLS, rest=rules)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the condition is about what other tasks and the server do
        await asyncio.sleep(0.001)


@asynccontextmanager
async def resting(base: str, *markets: Market, share: float = 1.0) -> AsyncIterator[tuple[dict[str, Rest], Keeper]]:
    """A `Rest` for each market, by market, on the budgets that they share; and the first one's budget."""
    log = logs.configure(Settings.load(), "test")
    kept = keepers(markets, share)
    async with Http(5) as http:
        made = {item.market: Rest(item, base, http, kept[item.exchange, item.market], log) for item in markets}
        tasks = [asyncio.create_task(rest.run(random.Random(1))) for rest in made.values()]
        try:
            yield made, kept[markets[0].exchange, markets[0].market]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class Answers:
    """Which requests were answered, in order, and when all are."""

    def __init__(self, wanted: int) -> None:
        self.names: list[str] = []
        self.all = asyncio.Event()
        self._wanted = wanted

    def take(self, rest: Rest, priority: Priority, name: str, symbol: str, retry: bool = True) -> None:
        def done(answer: Answer | None) -> None:
            self.names.append(f"{name} {symbol}" if answer is not None else f"no {name} {symbol}")
            if len(self.names) == self._wanted:
                self.all.set()

        path = POLLS[name].filled(symbol, 0)
        rest.add(priority, path, POLLS[name].weight, name, done, retry)


async def test_300_snapshots_with_polls_and_resyncs_of_two_markets_never_exceed_what_they_share(
    exchange: Exchange,
) -> None:
    async with resting(exchange.base, market("spot"), market("perp")) as (rest, _):
        answers = Answers(300 + 60 + 40 + 10)
        for index in range(300):
            answers.take(rest["spot" if index % 2 else "perp"], Priority.STARTUP, "snapshot", f"S{index}")
        for index in range(60):
            answers.take(rest["perp"], Priority.POLL, "interest", f"S{index}")
        for index in range(40):
            answers.take(rest["perp"], Priority.POLL, "ratio", f"S{index}")
        await until(lambda: exchange.banned or len(exchange.served) >= 100)
        asked_at = len(exchange.served)
        for index in range(10):
            answers.take(rest["spot"], Priority.RESYNC, "snapshot", f"R{index}")
        await until(lambda: exchange.banned or answers.all.is_set())
    assert not exchange.banned
    assert Counter(name.split()[0] for name in answers.names) == {"snapshot": 310, "interest": 60, "ratio": 40}
    weighed = [path for path in exchange.served if not path.startswith("/statistics/")]
    resyncs = [place for place, path in enumerate(weighed) if "symbol=R" in path]
    assert resyncs[-1] < asked_at + 10 + 2 * RULES.in_flight, "they went before the snapshots that waited"
    assert min(place for place, path in enumerate(weighed) if path.startswith("/interest")) > 300, "polls come last"


async def test_a_ban_stops_one_exchange_for_as_long_as_it_says_and_no_other(exchange: Exchange) -> None:
    limited = web.Response(status=429, text='{"code":-1003,"msg":"Too many"}', headers={"Retry-After": "600"})
    exchange.scripted["/depth"] = [limited]
    slow = market("spot")
    other = market("perp", replace(RULES, pool="other"))
    async with resting(exchange.base, slow, other) as (rest, kept):
        stopped, going = Answers(1), Answers(2)
        stopped.take(rest["spot"], Priority.STARTUP, "snapshot", "A")
        await until(lambda: kept.pool.paused_until_us > 0)
        stopped.take(rest["spot"], Priority.RESYNC, "snapshot", "B")
        going.take(rest["perp"], Priority.POLL, "interest", "A")
        going.take(rest["perp"], Priority.POLL, "ratio", "A")
        await going.all.wait()
        assert rest["spot"].pending == 2, "the one that was refused keeps its place"
    assert sorted(exchange.served) == ["/interest?symbol=A", "/statistics/ratio?symbol=A"]


async def test_an_error_in_an_answer_with_status_200_is_none_of_the_exchanges_data(exchange: Exchange) -> None:
    def said(body: str, status: int = 200) -> web.Response:
        return web.Response(status=status, text=body, content_type="application/json")

    exchange.scripted["/interest"] = [said('{"code":-1121,"msg":"Invalid symbol."}'), said("<html>edge</html>")]
    exchange.scripted["/depth"] = [said('{"code":-1008,"msg":"overloaded"}', 503)]
    async with resting(exchange.base, market("spot")) as (rest, _):
        answers = Answers(3)
        answers.take(rest["spot"], Priority.POLL, "interest", "A")
        answers.take(rest["spot"], Priority.POLL, "interest", "B", retry=False)
        answers.take(rest["spot"], Priority.POLL, "snapshot", "C")
        await answers.all.wait()
    assert sorted(answers.names) == ["no interest A", "no interest B", "snapshot C"]


# -- over NATS ---------------------------------------------------------------------------------------------------------


def open_counter(name: str = "collector-1", **rules: Any) -> tuple[BudgetCounter, Keeper]:
    kept = Keeper("binance", replace(RULES, **rules), 1.0)
    counter = BudgetCounter("binance", {"perp": kept}, name, logs.configure(Settings.load(), "test"))
    return counter, kept


async def request(bus: Bus, **values: Any) -> BudgetGrant:
    wanted = {"market": "perp", "endpoint": "/depth", "weight": 2, "priority": "recent", **values}
    answer = await bus.client.request(subjects.budget("binance"), json.dumps(wanted).encode(), timeout=20)
    return control.decode_grant(answer.data)


async def test_leave_is_granted_over_nats_in_order_reported_and_not_lost(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter, kept = open_counter(in_flight=1)
    with pytest.raises(nats.errors.NoRespondersError):
        await request(bus)
    await counter.open(bus)
    monkeypatch.setattr(budget_counter, "ASK_AROUND_S", 0.05)
    assert await counter.look_around(bus) == []

    # One at a time: the first is granted, the others wait, and are served by priority when the first reports.
    assert await request(bus) == BudgetGrant(granted=True)
    order: list[str] = []

    async def wait_for(priority: str) -> None:
        assert await request(bus, priority=priority) == BudgetGrant(granted=True)
        order.append(priority)
        await report(bus)

    waiting = []
    for number, priority in enumerate(("historical", "recent", "poll", "urgent", "startup", "resync"), 1):
        waiting.append(asyncio.create_task(wait_for(priority)))
        await until(lambda number=number: kept.pool.waiting == number)
    await report(bus, headers={"x-used": "60"})
    await asyncio.gather(*waiting)
    assert order == [priority.value for priority in Priority]
    await until(lambda: not kept.pool.under_way)
    assert kept.pool.used(monotonic_us())["weight"] <= (60 + 6 * 2) / 120

    # Who waits no longer is told so in time; a grant whose report never comes is given back.
    monkeypatch.setattr(budget_counter, "GRANT_KEPT_S", 0.2)
    assert (await request(bus)).granted
    assert await request(bus, wait_s=0.05) == BudgetGrant(granted=False, error="no room within 0.05 s", again=True)
    assert kept.pool.waiting == 0
    assert (await request(bus)).granted, "the first one's has lapsed"
    await report(bus)

    # What can never be granted is refused at once, by name.
    heavy = await request(bus, weight=500)
    assert not heavy.again and heavy.error == "a weight of 500 does not fit into limit 'weight' of 120 in 0.4 s"
    assert (await request(bus, market="spot")).error == "market 'spot' is not kept here; there are perp"
    unknown = await request(bus, priority="sometime")
    assert unknown.error is not None and "sometime" in unknown.error

    # A pause that somebody else was told of holds for all.
    assert (await request(bus)).granted
    await report(bus, status=429, retry_after_s=600.0)
    await until(lambda: kept.pool.paused_until_us > 0)
    assert not (await request(bus, wait_s=0.05, priority="resync")).granted

    # A second keeper of the same budget is noticed, whichever looks.
    second, _ = open_counter("collector-2")
    await second.open(bus)
    assert await second.look_around(bus) == ["collector-1"]
    assert await counter.look_around(bus) == ["collector-2"]


async def test_a_collector_that_keeps_no_budget_asks_the_one_that_does(
    exchange: Exchange, bus: Bus, tmp_path: Path
) -> None:
    log = logs.configure(Settings.load(), "test")
    settings = CollectorSettings.load(data_dir=tmp_path, budget="ask", exchanges=("binance",))
    perp = market("perp")
    budgets = Budgets([perp], settings, log)
    async with Http(5) as http:
        rest = Rest(perp, exchange.base, http, budgets.of(perp), log)
        running = asyncio.create_task(rest.run(random.Random(1)))
        answers = Answers(3)
        answers.take(rest, Priority.STARTUP, "snapshot", "A")
        await budgets.open(bus)
        await until(lambda: budgets.of(perp)._failures > 0)  # type: ignore[attr-defined]  # nobody keeps it yet
        assert exchange.served == []
        counter, kept = open_counter()
        await counter.open(bus)
        answers.take(rest, Priority.POLL, "interest", "B")
        answers.take(rest, Priority.POLL, "ratio", "C")
        await answers.all.wait()
        await until(lambda: not kept.pool.under_way)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert sorted(answers.names) == ["interest B", "ratio C", "snapshot A"]
    assert Counter(exchange.served) == {
        "/depth?symbol=A": 1,
        "/interest?symbol=B": 1,
        "/statistics/ratio?symbol=C": 1,
    }


async def report(bus: Bus, **values: Any) -> None:
    told = BudgetReport(**{"market": "perp", "endpoint": "/depth", "status": 200, "weight": 2, **values})
    await bus.say(subjects.budget_report("binance"), control.encode(told))


def test_markets_share_a_budget_where_the_exchange_says_so(tmp_path: Path) -> None:
    settings = CollectorSettings.load(data_dir=tmp_path, request_share=0.5)
    budgets = Budgets(MARKETS.values(), settings, logs.configure(settings, "test"))
    shared = {
        exchange: len({id(budgets.of(market)) for market in MARKETS.values() if market.exchange == exchange})
        for exchange in ("binance", "okx", "bybit", "deribit", "gateio", "mexc")
    }
    assert shared == {"binance": 2, "okx": 1, "bybit": 1, "deribit": 1, "gateio": 1, "mexc": 2}
    okx = budgets.of(MARKETS["okx", "spot"])
    assert isinstance(okx, Keeper)
    for _ in range(5):
        okx.pool.add(Priority.POLL, "/api/v5/public/instruments", 1, lambda: None)
    assert okx.pool.take(monotonic_us()) is not None
    status = budgets.status()
    assert status["binance.spot"] == {"waiting": 0, "weight": 0.0}
    assert (status["okx.all"]["waiting"], status["okx.all"]["instruments"]) == (4, 0.1), "one of half of twenty"


def test_what_is_asked_for_is_what_is_declared() -> None:
    wanted = BudgetRequest("perp", "/fapi/v1/depth", 20, Priority.RESYNC)
    assert json.loads(control.encode(wanted)) == {
        "market": "perp",
        "endpoint": "/fapi/v1/depth",
        "weight": 20,
        "priority": "resync",
        "wait_s": 30.0,
    }
    assert control.decode_request(control.encode(wanted)) == wanted
