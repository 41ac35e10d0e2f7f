"""A market's REST side against a small exchange in the test: instruments, snapshots, polls, errors, limits."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from aiohttp import WSMsgType, web

from schemas.control import Priority
from schemas.frames import RawFrame, unpack
from services.collector.budget_keeper import Keeper, keepers
from services.collector.market import MarketCollector
from services.collector.outbox import Outbox
from services.collector.pacing import Budget
from services.collector.service import universe_of
from services.collector.settings import CollectorSettings
from services.shared.exchanges.binance_perp import BINANCE_PERP
from services.shared.exchanges.declaration import Market, Poll
from services.shared.runtime import logs
from services.shared.runtime.clock import monotonic_us
from services.shared.runtime.http import Http
from tests.http_server import serving


def listing(*bases: str) -> str:
    symbols = [
        {
            "symbol": f"{base}USDT",
            "status": "TRADING",
            "baseAsset": base,
            "quoteAsset": "USDT",
            "contractType": "PERPETUAL",
            "filters": [],
        }
        for base in bases
    ]
    return json.dumps({"serverTime": 1, "symbols": symbols})


class Exchange:
    """Answers what `answers` holds for a path, one after the other; the last one stays."""

    def __init__(self) -> None:
        self.answers: dict[str, list[web.Response | str]] = {}
        self.asked: list[str] = []
        self.streams: list[str] = []
        self.base = ""

    async def get(self, request: web.Request) -> web.Response:
        self.asked.append(request.raw_path)
        queue = self.answers[request.path]
        found = queue.pop(0) if len(queue) > 1 else queue[0]
        return web.Response(text=found, content_type="application/json") if isinstance(found, str) else found

    async def stream(self, request: web.Request) -> web.StreamResponse:
        socket: web.WebSocketResponse[bool] = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                asked = json.loads(message.data)
                self.streams += asked["params"]
                await socket.send_str(json.dumps({"result": None, "id": asked["id"]}))
        return socket


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    made = Exchange()
    async with serving([web.get("/{route}/stream", made.stream), web.get("/{path:.*}", made.get)]) as made.base:
        yield made


class Rig:
    def __init__(self, market: MarketCollector, outbox: Outbox, budget: Keeper) -> None:
        self.budget = budget
        self.market = market
        self._outbox = outbox
        self._frames: list[RawFrame] = []

    def frames(self, channel: str) -> list[RawFrame]:
        self._outbox.pack()
        batch = self._outbox.peek(10**6, 10**9)
        self._outbox.pop(len(batch))
        self._frames += [frame for packed in batch for frame in unpack(*packed.message)]
        return [frame for frame in self._frames if frame.channel == channel]

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - the condition is about what many tasks do
            await asyncio.sleep(0.005)


@asynccontextmanager
async def collecting(
    exchange: Exchange, data_dir: Path, declared: Market = BINANCE_PERP, **values: Any
) -> AsyncIterator[Rig]:
    settings = CollectorSettings.load(
        data_dir=data_dir,
        ws_urls={"binance.perp": f"ws://{exchange.base}"},
        rest_urls={"binance.perp": f"http://{exchange.base}"},
        **{"universe": "all-usdt-perpetuals", "channels": ("depth",), "clock_every_s": 0, **values},
    )
    outbox = Outbox(10**9, lambda: None)
    stop = asyncio.Event()
    async with Http(5) as http:
        log = logs.configure(settings, "test")
        universe = universe_of(settings)

        def listed(reader: MarketCollector) -> None:
            universe.learn((declared.exchange, declared.market), reader.instruments.listing)
            reader.plan()

        budget = keepers([declared], 0.8)["binance", "perp"]
        market = MarketCollector(
            declared, settings, outbox, http, log, Budget(100, 10**9), budget, lambda: None, universe, listed
        )
        task = asyncio.create_task(market.run(stop))
        try:
            yield Rig(market, outbox, budget)
        finally:
            stop.set()
            await task


INFO, DEPTH, INTEREST = "/fapi/v1/exchangeInfo", "/fapi/v1/depth", "/fapi/v1/openInterest"


async def test_no_error_page_is_ever_data_and_instruments_are_waited_for(exchange: Exchange, tmp_path: Path) -> None:
    html = "<html>maintenance</html>"
    exchange.answers = {
        INFO: [web.Response(status=502, text=html), html, '{"symbols": 5}', listing("BTC")],
        DEPTH: [web.Response(status=503, text="Service Unavailable"), '{"lastUpdateId":1,"bids":[],"asks":[]}'],
    }
    async with collecting(exchange, tmp_path) as rig:
        await rig.until(lambda: len(rig.frames("depth_snapshot")) == 1)
        assert rig.market.ready
    instruments = rig.frames("instruments")
    # A JSON answer that is no instrument list is kept, for the normaliser to refuse, but not believed.
    assert Counter(frame.body for frame in instruments) == {b'{"symbols": 5}': 16, listing("BTC").encode(): 16}
    [snapshot] = rig.frames("depth_snapshot")
    assert (snapshot.symbol, snapshot.request) == ("BTC-USDT-PERP", "/fapi/v1/depth?symbol=BTCUSDT&limit=1000")
    assert exchange.asked.count("/fapi/v1/depth?symbol=BTCUSDT&limit=1000") == 2


async def test_a_new_listing_is_collected_and_an_unchanged_list_is_not_repeated(
    exchange: Exchange, tmp_path: Path
) -> None:
    same = [listing("BTC")] * 5
    exchange.answers = {INFO: [*same, listing("BTC", "币安人生")], DEPTH: ['{"lastUpdateId":1,"bids":[],"asks":[]}']}
    async with collecting(exchange, tmp_path, instruments_every_s=0.02) as rig:
        await rig.until(lambda: len(rig.frames("depth_snapshot")) == 2 and rig.market.ready)
        assert len(rig.market.connections()) == 1, "there was room on the first one"
    assert Counter(frame.body for frame in rig.frames("instruments")) == {
        listing("BTC").encode(): 16,
        listing("BTC", "币安人生").encode(): 16,
    }
    assert exchange.streams == ["btcusdt@depth@100ms", "币安人生usdt@depth@100ms"]
    assert [frame.symbol for frame in rig.frames("depth_snapshot")] == ["BTC-USDT-PERP", "币安人生-USDT-PERP"]
    assert rig.frames("depth_snapshot")[1].request == (
        "/fapi/v1/depth?symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT&limit=1000"
    )


def next_page(body: bytes) -> str | None:
    """The page after this one, as a list names it that is told in pages."""
    following: str | None = json.loads(body).get("next")
    return f"{INFO}?cursor={following}" if following else None


def page(*bases: str, then: str = "") -> str:
    return json.dumps(json.loads(listing(*bases)) | {"next": then})


async def test_a_list_in_pages_is_read_to_its_end_and_published_page_by_page(
    exchange: Exchange, tmp_path: Path
) -> None:
    lost = web.Response(status=400, text='{"code":-1,"msg":"no such page"}')
    first, last = page("BTC", then="2"), page("ETH")
    exchange.answers = {
        INFO: [first, lost, first, last, page("SOL", then="round"), page("SOL", then="round"), first, last, "{}"],
        DEPTH: ['{"lastUpdateId":1,"bids":[],"asks":[]}'],
    }
    paged = replace(BINANCE_PERP, next_page=next_page)
    async with collecting(exchange, tmp_path, paged, instruments_every_s=0.02) as rig:
        await rig.until(lambda: len(rig.frames("depth_snapshot")) == 2 and len(exchange.asked) > 10)
        assert sorted(rig.market.instruments.listing.by_symbol) == ["BTC-USDT-PERP", "ETH-USDT-PERP"]
    frames = [frame for frame in rig.frames("instruments") if frame.body != b"{}"]
    assert len(frames) == 32, "each page in every partition; nothing of a list whose last page did not come"
    assert [(frame.request, frame.body.decode()) for frame in frames[::16]] == [
        (INFO, first),
        (f"{INFO}?cursor=2", last),
    ]
    asked = [path for path in exchange.asked if path.startswith(INFO)]
    assert asked[:6] == [INFO, f"{INFO}?cursor=2", INFO, f"{INFO}?cursor=2", INFO, f"{INFO}?cursor=round"]


async def test_a_book_that_begins_in_its_stream_is_begun_anew_without_a_request(
    exchange: Exchange, tmp_path: Path
) -> None:
    exchange.answers = {INFO: [listing("BTC", "ETH")]}
    async with collecting(exchange, tmp_path, replace(BINANCE_PERP, book_snapshot=None)) as rig:
        await rig.until(lambda: rig.market.ready)
        [connection] = rig.market.connections()
        asked = {"connection": connection["id"], "sequence": 5, "reason": "a break"}
        rig.market.resync("control.resync.binance.perp.ETH-USDT-PERP", json.dumps(asked).encode())
        gone = {**asked, "connection": "long gone"}
        rig.market.resync("control.resync.binance.perp.BTC-USDT-PERP", json.dumps(gone).encode())
        await rig.until(lambda: len(exchange.streams) == 4)
    assert exchange.streams == ["btcusdt@depth@100ms", "ethusdt@depth@100ms"] + ["ethusdt@depth@100ms"] * 2
    assert exchange.asked == [INFO]


async def test_a_book_that_is_on_its_way_is_not_asked_for_twice(
    exchange: Exchange, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exchange.answers = {INFO: [listing("BTC")], DEPTH: [web.Response(status=503, text="busy")]}
    asked = json.dumps({"reason": "no snapshot has come"}).encode()
    async with collecting(exchange, tmp_path) as rig:
        await rig.until(lambda: f"{DEPTH}?symbol=BTCUSDT&limit=1000" in exchange.asked)
        rig.market.resync("control.resync.binance.perp.BTC-USDT-PERP", asked)
        assert rig.market.rest.snapshots_pending == 1
        assert '"resync"' not in capsys.readouterr().err, "it waits; that is no news"
        exchange.answers[DEPTH] = ['{"lastUpdateId":1,"bids":[],"asks":[]}']
        await rig.until(lambda: len(rig.frames("depth_snapshot")) == 1)
        rig.market.resync("control.resync.binance.perp.BTC-USDT-PERP", asked)
        assert '"resync"' in capsys.readouterr().err
        await rig.until(lambda: len(rig.frames("depth_snapshot")) == 2)


async def test_a_limit_that_comes_with_the_instruments_is_kept(exchange: Exchange, tmp_path: Path) -> None:
    told = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 1200}
    orders = {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 7}
    exchange.answers = {
        INFO: [json.dumps({**json.loads(listing("BTC")), "rateLimits": [orders, told]})],
        DEPTH: ['{"lastUpdateId":1,"bids":[],"asks":[]}'],
    }
    async with collecting(exchange, tmp_path) as rig:
        await rig.until(lambda: len(rig.frames("depth_snapshot")) == 1)
        # The list's weight of 1 and the book's 20, of 0.8 times 1,200.
        assert rig.budget.pool.used(monotonic_us())["weight"] == pytest.approx(21 / 960)


async def test_a_ban_pauses_everything_for_as_long_as_it_says(exchange: Exchange, tmp_path: Path) -> None:
    banned = web.Response(
        status=418, text='{"code":-1003,"msg":"banned"}', headers={"Retry-After": "600", "X-MBX-USED-WEIGHT-1M": "2400"}
    )
    exchange.answers = {INFO: [banned]}
    async with collecting(exchange, tmp_path) as rig:
        await rig.until(lambda: rig.budget.pool.paused_until_us > 0)
        pool = rig.budget.pool
        assert 590_000_000 < pool.paused_until_us - monotonic_us() <= 600_000_000
        await rig.until(lambda: pool.waiting == 1)
        assert pool.take(pool.paused_until_us - 1) == 1
        assert pool.used(monotonic_us())["weight"] >= 1, "the exchange says that others have used it all"
    assert exchange.asked == [INFO]
    assert rig.frames("instruments") == []


async def test_polls_go_through_every_symbol_and_a_refused_one_stops_nothing(
    exchange: Exchange, tmp_path: Path
) -> None:
    fast = replace(BINANCE_PERP.polls["open_interest"], every_s=0.05)
    market = replace(BINANCE_PERP, polls={**BINANCE_PERP.polls, fast.name: fast})
    refused = web.Response(status=400, text='{"code":-1121,"msg":"Invalid symbol."}')
    exchange.answers = {
        INFO: [listing("BTC", "ETH")],
        INTEREST: [refused, '{"symbol":"x","openInterest":"1","time":1}'],
    }
    async with collecting(exchange, tmp_path, market, channels=("open_interest",)) as rig:
        await rig.until(lambda: len(rig.frames("open_interest")) >= 4)
        assert rig.market.ready, "there is nothing to subscribe to"
    frames = rig.frames("open_interest")
    assert {frame.symbol for frame in frames} == {"ETH-USDT-PERP", "BTC-USDT-PERP"}
    asked = [path for path in exchange.asked if path.startswith(INTEREST)]
    assert asked[0] == f"{INTEREST}?symbol=BTCUSDT"
    assert Counter(frame.request for frame in frames) <= Counter(asked[1:]), "the first answer was no answer"


async def test_what_goes_before_a_request_is_said_when_it_is_sent_not_when_it_begins_to_wait(
    exchange: Exchange, tmp_path: Path
) -> None:
    exchange.answers = {INFO: [listing("BTC")], INTEREST: ["{}"]}
    said: list[int] = []
    answers: list[object] = []
    async with collecting(exchange, tmp_path, polls=False, channels=("open_interest",)) as rig:
        await rig.until(lambda: rig.market.planned)
        rig.budget.pool.pause(monotonic_us() + 3_600 * 1_000_000)
        rig.market.rest.add(
            Priority.POLL,
            INTEREST,
            1,
            "open_interest",
            answers.append,
            sending=lambda: said.append(len(exchange.asked)),
        )
        await rig.until(lambda: rig.budget.pool.waiting == 1)
        assert said == []
        rig.budget.pool.paused_until_us = 0
        rig.budget.look()
        await rig.until(lambda: len(answers) == 1)
    assert (said, exchange.asked) == ([1], [INFO, INTEREST])


async def test_a_poll_of_the_whole_market_is_asked_once_for_the_time_just_past(
    exchange: Exchange, tmp_path: Path
) -> None:
    path = "/all?from={start_ms}&to={end_ms}"
    whole = Poll("open_interest", ("open_interest",), path, 1, lambda *_: (), every_s=0.05, span_s=60)
    market = replace(BINANCE_PERP, polls={**BINANCE_PERP.polls, whole.name: whole})
    exchange.answers = {INFO: [listing("BTC", "ETH")], "/all": ["[]"]}
    async with collecting(exchange, tmp_path, market, channels=("open_interest",)) as rig:
        await rig.until(lambda: len(rig.frames("open_interest")) >= 2)
    first, second = rig.frames("open_interest")[:2]
    assert (first.symbol, second.symbol, second.number - first.number) == ("_all", "_all", 1), "in one partition only"
    asked = [dict(parse_qsl(urlsplit(frame.request or "").query)) for frame in (first, second)]
    assert [int(query["to"]) - int(query["from"]) for query in asked] == [60_000, 60_000]
    assert int(asked[0]["to"]) * 1_000 <= (first.requested_at or 0) < int(asked[1]["to"]) * 1_000 + 999
