"""One exchange asked over real sockets: a budget to wait for, and answers of every bad kind before the good one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from nats.aio.msg import Msg

from schemas import control, streams, subjects
from services.shared.runtime.bus import Bus
from tests.gap_asker_rig import SYMBOL, Exchange, Rig, asking, serving


def rows(*numbers: int) -> str:
    return json.dumps(
        [{"a": n, "p": "100.5", "q": "0.25", "f": n, "l": n, "T": 1_790_000_000_000 + n, "m": False} for n in numbers]
    )


@pytest.fixture
async def opened() -> AsyncIterator[AsyncExitStack]:
    """What a test has opened, closed after it."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def serve(opened: AsyncExitStack) -> Callable[[list[tuple[int, str]]], Any]:
    async def start(answers: list[tuple[int, str]]) -> Exchange:
        return await opened.enter_async_context(serving(answers))

    return start


@pytest.fixture
def rig(opened: AsyncExitStack, bus: Bus) -> Callable[..., Any]:
    async def make(exchange: Exchange, **more: Any) -> Rig:
        return await opened.enter_async_context(asking(bus, exchange, **more))

    return make


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
