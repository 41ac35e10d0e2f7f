"""The exchange's clock, asked of a server whose clock is set at will."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import structlog
from aiohttp import web
from structlog.testing import CapturingLogger

from services.collector.budget_keeper import keepers
from services.collector.clock import ClockWatch
from services.collector.rest import Rest
from services.shared.exchanges.binance_perp import BINANCE_PERP
from services.shared.exchanges.server_time import Sample
from services.shared.runtime.clock import now_us
from services.shared.runtime.http import Answer, Http
from tests.http_server import serving


class Clock:
    """Tells the time `ahead_ms` from ours, or whatever `body` is."""

    def __init__(self) -> None:
        self.ahead_ms = 0
        self.body: bytes | None = None
        self.base = ""
        self.asked = 0

    async def get(self, request: web.Request) -> web.Response:
        self.asked += 1
        told = json.dumps({"serverTime": now_us() // 1_000 + self.ahead_ms}).encode()
        return web.Response(body=self.body or told, content_type="application/json")


@pytest.fixture
async def clock() -> AsyncIterator[Clock]:
    made = Clock()
    async with serving([web.get("/fapi/v1/time", made.get)]) as address:
        made.base = f"http://{address}"
        yield made


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the condition is about what other tasks and the server do
        await asyncio.sleep(0.001)


class Heard:
    """What was logged and what went to RAW."""

    def __init__(self) -> None:
        self.logger = CapturingLogger()
        self.log: structlog.stdlib.BoundLogger = structlog.wrap_logger(self.logger, processors=[])
        self.raw: list[tuple[str, str, str, Answer]] = []

    def publish(self, channel: str, symbol: str, path: str, answer: Answer) -> None:
        self.raw.append((channel, symbol, path, answer))

    def events(self) -> list[tuple[str, str]]:
        return [(call.method_name, call.kwargs["event"]) for call in self.logger.calls]


def watch(heard: Heard, rest: Any, every_s: float) -> ClockWatch:
    return ClockWatch(BINANCE_PERP, rest, every_s, heard.publish, heard.log)


async def test_a_clock_that_is_far_from_ours_is_reported_once_and_every_answer_goes_to_raw(clock: Clock) -> None:
    heard = Heard()
    clock.ahead_ms = 60_000  # a minute: no delay of this machine is taken for it
    async with Http(5) as http:
        budget = keepers([BINANCE_PERP], 0.8)["binance", "perp"]
        rest = Rest(BINANCE_PERP, clock.base, http, budget, heard.log)
        asking = watch(heard, rest, 0.01)
        running = [asyncio.create_task(rest.run(random.Random(1))), asyncio.create_task(asking.run())]
        await until(lambda: len(heard.raw) >= 5)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    channel, symbol, path, answer = heard.raw[0]
    assert (channel, symbol, path) == ("time", "_all", "/fapi/v1/time")
    told_ms = json.loads(answer.body)["serverTime"] - 60_000
    assert answer.requested_at // 1_000 <= told_ms <= answer.received_at // 1_000
    assert heard.events() == [("warning", "clock_offset")]
    [call] = heard.logger.calls
    assert 60_000_000 - 5_000_000 < call.kwargs["value"] < 60_000_000 + 5_000_000


def test_it_is_reported_once_per_change() -> None:
    heard = Heard()
    asking = watch(heard, None, 1)
    for offset_ms in (150, 201, 250, 399, 402, 150, -150, -201, -350, 0, 100):
        asking.judge(Sample(0, offset_ms * 1_000, 5_000))
    assert [(call.kwargs["event"], call.kwargs["value"] // 1_000) for call in heard.logger.calls] == [
        ("clock_offset", 201),
        ("clock_offset", 402),
        ("clock_offset_small", 150),
        ("clock_offset", -201),
        ("clock_offset_small", 0),
    ]


async def test_an_answer_that_is_no_time_is_said_and_left_to_the_normaliser_and_never_asked_with_zero(
    clock: Clock,
) -> None:
    heard = Heard()
    clock.body = b'{"serverTime":"soon"}'
    async with Http(5) as http:
        budget = keepers([BINANCE_PERP], 0.8)["binance", "perp"]
        rest = Rest(BINANCE_PERP, clock.base, http, budget, heard.log)
        off = asyncio.create_task(watch(heard, rest, 0).run())
        running = [asyncio.create_task(rest.run(random.Random(1))), asyncio.create_task(watch(heard, rest, 60).run())]
        await until(lambda: bool(heard.events()))
        assert not off.done()
        for task in (*running, off):
            task.cancel()
        await asyncio.gather(*running, off, return_exceptions=True)
    assert (heard.events(), len(heard.raw), clock.asked) == ([("warning", "clock_unreadable")], 1, 1)
