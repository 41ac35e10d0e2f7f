"""Feeds against a small exchange in the test: confirmations, refusals, silence, death, and planned replacement."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from schemas import subjects
from schemas.frames import RawFrame, SessionEvent, decode_session, unpack
from services.collector.core import Topic
from services.collector.feed import Feed
from services.collector.line import Wiring
from services.collector.outbox import Outbox
from services.collector.pacing import Budget
from services.collector.pool import Room, Slot
from services.collector.settings import CollectorSettings
from services.shared.exchanges.binance_perp import BINANCE_PERP
from services.shared.exchanges.declaration import Market
from services.shared.runtime import logs

SYMBOLS = [f"S{n}" for n in range(5)]
STREAMS = {f"{symbol.lower()}usdt@aggTrade": Topic("trades", f"{symbol}-USDT-PERP") for symbol in SYMBOLS}


class Exchange:
    """Speaks Binance's subscribe protocol; `play` is what a connection does once it has subscribed."""

    def __init__(self) -> None:
        self.url = ""
        self.subscribed: list[list[str]] = []
        self.connections: list[ServerConnection] = []
        self.reply: Callable[[int, int], str | None] = lambda connection, number: json.dumps(
            {"result": None, "id": number}
        )
        self.play: Callable[[Exchange, ServerConnection, int], Awaitable[None]] | None = None
        self.sent = 0

    async def handle(self, socket: ServerConnection) -> None:
        index = len(self.connections)
        self.connections.append(socket)
        playing: asyncio.Future[None] | None = None
        try:
            async for text in socket:
                request = json.loads(text)
                self.subscribed.append(request["params"])
                reply = self.reply(index, request["id"])
                if reply is not None:
                    await socket.send(reply)
                if self.play is not None and playing is None:
                    playing = asyncio.ensure_future(self.play(self, socket, index))
        except ConnectionClosed:
            pass
        finally:
            if playing is not None:
                playing.cancel()

    async def trade(self, socket: ServerConnection) -> None:
        self.sent += 1
        await socket.send(trade_of(self.sent))


def trade_of(number: int) -> str:
    return f'{{"stream":"s0usdt@aggTrade","data":{{"a":{number}}}}}'


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    made = Exchange()
    async with serve(made.handle, "127.0.0.1", 0, close_timeout=0.1) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        made.url = f"ws://127.0.0.1:{port}"
        yield made


class Rig:
    def __init__(self, exchange: Exchange, data_dir: Path, market: Market = BINANCE_PERP, **fast: float) -> None:
        settings = CollectorSettings.load(
            data_dir=data_dir, **{"alive_every_s": 0.05, "backoff_base_s": 0.01, "overlap_s": 0.3, **fast}
        )
        self.outbox = Outbox(10**9, lambda: None)
        self.confirmed: list[Topic] = []
        self.changed = asyncio.Event()
        wiring = Wiring(
            market,
            exchange.url,
            settings,
            self.outbox,
            logs.configure(settings, "test"),
            random.Random(1),
            Budget(1_000, 300_000_000),
            lambda topics, replacing: self.confirmed.extend(topics),
            self.changed.set,
            Room(None),
        )
        self.feed = Feed(wiring, "market", Slot(1, dict(STREAMS)))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.feed.run())
        try:
            yield
        finally:
            self.feed.end("the collector stops")
            await task

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - the condition is about what many tasks do
            await asyncio.sleep(0.005)

    def frames(self) -> list[tuple[int, RawFrame]]:
        self.outbox.pack()
        return [
            (subjects.parse_raw(packed.message.subject).partition, frame)
            for packed in self.outbox.peek(10**6, 10**9)
            for frame in unpack(*packed.message)
        ]

    def events(self) -> list[tuple[str, SessionEvent]]:
        """Of the partition of `_all`: connection and event, without the signs of life."""
        everywhere = subjects.partition("binance", "perp", "_all")
        found = [
            (frame.connection, decode_session(frame.body))
            for part, frame in self.frames()
            if frame.channel == subjects.SESSION and part == everywhere
        ]
        return [(connection, event) for connection, event in found if event.event != "alive"]


async def test_subscriptions_are_cut_to_messages_and_each_confirmation_is_on_record(
    exchange: Exchange, tmp_path: Path
) -> None:
    market = replace(BINANCE_PERP, limits=replace(BINANCE_PERP.limits, streams_per_message=2, messages_per_s=1_000))
    rig = Rig(exchange, tmp_path, market)
    async with rig.running():
        await rig.until(lambda: rig.feed.ready)
        assert rig.changed.is_set()
    assert exchange.subscribed == [list(STREAMS)[:2], list(STREAMS)[2:4], list(STREAMS)[4:]]
    assert rig.confirmed == list(STREAMS.values())
    events = [(event.event, event.streams) for _, event in rig.events()]
    assert events == [("opened", 0), ("subscribed", 2), ("subscribed", 4), ("subscribed", 5), ("closed", 5)]
    named = Counter(
        (symbol, channel)
        for _, frame in rig.frames()
        if (event := decode_session(frame.body)).event == "subscribed"
        for symbol, channels in event.channels.items()
        for channel in channels
    )
    assert named == {(topic.symbol, topic.channel): 1 for topic in STREAMS.values()}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ('{"code":2,"msg":"Invalid request"}', "every subscription was refused"),
        ('{"code":2,"msg":"Invalid request","id":NUMBER}', "every subscription was refused"),
        ('{"result":null,"id":77}', "a subscription of 5 streams was not confirmed"),
        (None, "a subscription of 5 streams was not confirmed"),
    ],
)
async def test_what_is_not_confirmed_leads_to_a_reconnect(
    exchange: Exchange, tmp_path: Path, reply: str | None, reason: str
) -> None:
    good = exchange.reply
    bad = [None if reply is None else reply.replace("NUMBER", str(number)) for number in range(20)]
    exchange.reply = lambda connection, number: bad[number] if connection < 2 else good(connection, number)
    market = replace(BINANCE_PERP, limits=replace(BINANCE_PERP.limits, messages_per_s=1_000))
    rig = Rig(exchange, tmp_path, market, ack_timeout_s=0.05)
    async with rig.running():
        await rig.until(lambda: rig.feed.ready)
    events = [(event.event, event.reason) for _, event in rig.events()]
    assert [name for name, _ in events] == ["opened", "closed"] * 2 + ["opened", "subscribed", "closed"]
    assert all(reason in (text or "") for name, text in events[:4] if name == "closed")


async def test_a_connection_that_answers_no_ping_is_given_up(exchange: Exchange, tmp_path: Path) -> None:
    async def fall_asleep(_: Exchange, socket: ServerConnection, index: int) -> None:
        if index == 0:
            socket.transport.pause_reading()

    exchange.play = fall_asleep
    rig = Rig(exchange, tmp_path, dead_after_s=0.3)
    async with rig.running():
        await rig.until(lambda: len(exchange.subscribed) == 2 and rig.feed.ready)
    closed = [event.reason or "" for _, event in rig.events() if event.event == "closed"]
    assert closed[0].startswith("no sign of life for")
    # What it said before was proof: nothing claims that the dead connection lived past its last answer.
    dead = rig.events()[0][0]
    own = [frame for _, frame in rig.frames() if frame.connection == dead]
    last_alive = max((f.received_at for f in own if decode_session(f.body).event == "alive"), default=0)
    assert last_alive < own[-1].received_at - 200_000


async def test_a_silent_connection_that_answers_is_reported_and_replaced_without_a_hole(
    exchange: Exchange, tmp_path: Path
) -> None:
    rig = Rig(exchange, tmp_path, silence_report_s=0.1, silence_timeout_s=0.3, overlap_s=0.05)
    async with rig.running():
        await rig.until(lambda: [event.event for _, event in rig.events()].count("closed") == 1)
    events = [(connection, event.event) for connection, event in rig.events()]
    first, second = list(dict.fromkeys(connection for connection, _ in events))[:2]
    assert events[:3] == [(first, "opened"), (first, "subscribed"), (first, "silent")]
    assert events.index((second, "subscribed")) < events.index((first, "closed"))


async def test_a_planned_replacement_misses_no_frame(exchange: Exchange, tmp_path: Path) -> None:
    """The exchange sends one numbered stream to whoever is connected, as fast as it is read."""
    listeners: list[ServerConnection] = []

    async def join(_: Exchange, socket: ServerConnection, index: int) -> None:
        listeners.append(socket)

    async def broadcast() -> None:
        while True:
            if listeners:
                exchange.sent += 1
                text = trade_of(exchange.sent)
                for socket in list(listeners):
                    try:
                        await socket.send(text)
                    except ConnectionClosed:
                        listeners.remove(socket)
            await asyncio.sleep(0)

    exchange.play = join
    market = replace(BINANCE_PERP, limits=replace(BINANCE_PERP.limits, lifetime_s=0.5))
    rig = Rig(exchange, tmp_path, market)
    sending = asyncio.create_task(broadcast())
    async with rig.running():
        await rig.until(lambda: [event.reason for _, event in rig.events()].count("replaced") == 2)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    bodies = {frame.body for _, frame in rig.frames() if frame.channel == "trades"}
    assert exchange.sent > 100
    assert bodies == {trade_of(number).encode() for number in range(1, exchange.sent + 1)}
    events = [(connection, event.event) for connection, event in rig.events()]
    lines = list(dict.fromkeys(connection for connection, _ in events))
    for old, new in pairwise(lines):
        assert events.index((new, "subscribed")) < events.index((old, "closed"))


async def test_a_successor_waits_for_what_the_old_connection_still_owes(exchange: Exchange, tmp_path: Path) -> None:
    """Every connection gets the same stream, the first one late: what it owes must come before it is closed."""
    late_s = 0.3

    async def follow(_: Exchange, socket: ServerConnection, index: int) -> None:
        number = exchange.sent  # a connection gets what happens from its subscription on
        while True:
            while number < exchange.sent:
                number += 1
                if index == 0:
                    asyncio.get_running_loop().call_later(late_s, queue.put_nowait, trade_of(number))
                else:
                    await socket.send(trade_of(number))
            if index == 0:
                while not queue.empty():
                    await socket.send(queue.get_nowait())
            await asyncio.sleep(0.002)

    async def happen() -> None:
        while True:
            await asyncio.sleep(0.002)
            if exchange.connections:
                exchange.sent += 1

    queue: asyncio.Queue[str] = asyncio.Queue()
    exchange.play = follow
    market = replace(BINANCE_PERP, limits=replace(BINANCE_PERP.limits, lifetime_s=0.8))
    rig = Rig(exchange, tmp_path, market)
    happening = asyncio.create_task(happen())
    async with rig.running():
        await rig.until(lambda: [event.reason for _, event in rig.events()].count("replaced") == 1)
        happening.cancel()
        await asyncio.gather(happening, return_exceptions=True)
    numbers = sorted({int(f.body.split(b":")[-1].rstrip(b"}")) for _, f in rig.frames() if f.channel == "trades"})
    assert len(numbers) > 100
    assert numbers == list(range(numbers[0], numbers[-1] + 1))


async def test_what_was_sent_before_the_end_is_taken_before_closed_is_said(exchange: Exchange, tmp_path: Path) -> None:
    async def say_and_go(_: Exchange, socket: ServerConnection, index: int) -> None:
        for _number in range(500):
            await exchange.trade(socket)
        await socket.close(1001, "bye")

    exchange.play = say_and_go
    rig = Rig(exchange, tmp_path)
    async with rig.running():
        await rig.until(lambda: "closed" in [event.event for _, event in rig.events()])
    first = rig.events()[0][0]
    own = sorted((frame for _, frame in rig.frames() if frame.connection == first), key=lambda frame: frame.number)
    trades = [frame.body for frame in own if frame.channel == "trades"]
    assert trades == [trade_of(number).encode() for number in range(1, 501)]
    closed = [frame for frame in own if frame.channel == "_session" and decode_session(frame.body).event == "closed"]
    assert closed and min(frame.number for frame in closed) > max(f.number for f in own if f.channel == "trades")
    assert {decode_session(frame.body).reason for frame in closed} == {"closed by the exchange: 1001 bye"}
    assert {decode_session(frame.body).frames for frame in closed} == {500}
