"""Control messages beyond Binance's: acknowledgements by stream, keep-alive, greetings, questions, books begun anew."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from schemas import subjects
from schemas.errors import BadFrame
from schemas.frames import RawFrame, decode_session, unpack
from services.collector import line
from services.collector.core import Topic
from services.collector.feed import Feed
from services.collector.line import Wiring
from services.collector.outbox import Outbox
from services.collector.pacing import Budget
from services.collector.pool import Room, Slot
from services.collector.settings import CollectorSettings
from services.shared.exchanges.binance_perp import BINANCE_PERP
from services.shared.exchanges.declaration import Ask, KeepAlive, Notice, Pong, Reply, StreamName
from services.shared.runtime import logs

STREAMS = {
    "trades:A": Topic("trades", "A-USDT-PERP"),
    "book:A": Topic("depth", "A-USDT-PERP"),
    "trades:B": Topic("trades", "B-USDT-PERP"),
    "book:B": Topic("depth", "B-USDT-PERP"),
}


def sort(frame: bytes) -> StreamName | Reply | Notice | Pong | Ask:
    """The words of an exchange made up for these tests."""
    if frame == b"pong":
        return Pong()
    if frame == b"are you there":
        return Ask(b"here")
    found = json.loads(frame)
    if "data" in found:
        return StreamName(found["arg"])
    if "event" in found:
        return Reply(found.get("id"), found.get("error"), tuple(found.get("args", ())))
    raise BadFrame("unknown")


def asking(op: str) -> Callable[[Sequence[str], int], bytes]:
    return lambda names, number: json.dumps({"op": op, "args": list(names), "id": number}).encode()


MARKET = replace(
    BINANCE_PERP,
    book_snapshot=None,
    sort=sort,
    subscribe=asking("subscribe"),
    unsubscribe=asking("unsubscribe"),
    limits=replace(BINANCE_PERP.limits, messages_per_s=1_000, streams_per_message=3),
)


class Exchange:
    """Hands every message of a client to `answer`; keeps them all, each text or not."""

    def __init__(self) -> None:
        self.url = ""
        self.heard: list[str | bytes] = []
        self.sockets: list[ServerConnection] = []
        self.answers: Callable[[Any], list[Any]] = by_stream

    async def handle(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        try:
            async for message in socket:
                self.heard.append(message)
                if isinstance(message, str) and message.startswith("{"):
                    for answer in self.answers(json.loads(message)):
                        await socket.send(answer if isinstance(answer, str) else json.dumps(answer))
        except ConnectionClosed:
            pass

    @property
    def asked(self) -> list[tuple[str, list[str]]]:
        found = [json.loads(text) for text in self.heard if isinstance(text, str) and text.startswith('{"op"')]
        return [(message["op"], message["args"]) for message in found]


def by_stream(message: Any) -> list[Any]:
    return [{"event": message["op"], "args": [name]} for name in reversed(message["args"])]


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    made = Exchange()
    async with serve(made.handle, "127.0.0.1", 0, close_timeout=0.1) as server:
        made.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        yield made


class Rig:
    def __init__(self, exchange: Exchange, data_dir: Path, *, ack_timeout_s: float = 10.0, **market: Any) -> None:
        settings = CollectorSettings.load(
            data_dir=data_dir, alive_every_s=0.05, backoff_base_s=0.01, ack_timeout_s=ack_timeout_s
        )
        self.outbox = Outbox(10**9, lambda: None)
        self.confirmed: list[list[Topic]] = []
        wiring = Wiring(
            replace(MARKET, **market),
            exchange.url,
            settings,
            self.outbox,
            logs.configure(settings, "test"),
            random.Random(1),
            Budget(1_000, 300_000_000),
            lambda topics, replacing: self.confirmed.append(topics),
            lambda: None,
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

    def frames(self) -> list[RawFrame]:
        self.outbox.pack()
        return [frame for packed in self.outbox.peek(10**6, 10**9) for frame in unpack(*packed.message)]

    def events(self) -> list[tuple[str, str | None]]:
        """What happened to the connections, as told to each partition, once."""
        found = {
            (f.connection, f.number): decode_session(f.body) for f in self.frames() if f.channel == subjects.SESSION
        }
        return [(event.event, event.reason) for event in found.values() if event.event != "alive"]

    @property
    def streams(self) -> list[str]:
        assert self.feed.line is not None
        return list(self.feed.line.link.confirmed)


async def test_a_message_counts_when_each_of_its_streams_is_acknowledged(exchange: Exchange, tmp_path: Path) -> None:
    rig = Rig(exchange, tmp_path)
    async with rig.running():
        await rig.until(lambda: rig.feed.ready)
        assert rig.streams == list(STREAMS)
    topics = list(STREAMS.values())
    assert rig.confirmed == [topics[:3], topics[3:]]
    assert exchange.asked == [("subscribe", list(STREAMS)[:3]), ("subscribe", list(STREAMS)[3:])]
    assert [name for name, _ in rig.events()] == ["opened", "subscribed", "subscribed", "closed"]


async def test_a_stream_that_is_refused_leaves_the_others(exchange: Exchange, tmp_path: Path) -> None:
    exchange.answers = lambda message: [
        {"event": "error", "error": "no such symbol", "args": [name]} if name == "trades:A" else answer
        for name, answer in zip(reversed(message["args"]), by_stream(message), strict=True)
    ]
    rig = Rig(exchange, tmp_path)
    async with rig.running():
        await rig.until(lambda: rig.feed.ready)
        assert rig.streams == ["book:A", "trades:B", "book:B"]


async def test_a_stream_that_is_not_acknowledged_leaves_the_others(exchange: Exchange, tmp_path: Path) -> None:
    exchange.answers = lambda message: by_stream(message)[1:] if len(message["args"]) > 1 else by_stream(message)
    rig = Rig(exchange, tmp_path, ack_timeout_s=0.1)
    async with rig.running():
        await rig.until(lambda: rig.feed.ready)
        assert sorted(rig.streams) == ["book:A", "book:B", "trades:A"]
    assert sorted(rig.confirmed, key=len) == [[STREAMS["book:B"]], [STREAMS["trades:A"], STREAMS["book:A"]]]


async def test_what_is_acknowledged_does_not_wait_for_what_is_not(exchange: Exchange, tmp_path: Path) -> None:
    exchange.answers = lambda message: by_stream(message)[1:]
    rig = Rig(exchange, tmp_path)
    async with rig.running():
        await rig.until(lambda: bool(rig.confirmed))
        assert rig.confirmed == [[STREAMS["trades:A"], STREAMS["book:A"]]]
        assert sorted(rig.streams) == ["book:A", "trades:A"], "on record, though the message has 10 s"
        assert not rig.feed.ready


async def test_no_acknowledgement_at_all_leads_to_a_reconnect(exchange: Exchange, tmp_path: Path) -> None:
    exchange.answers = lambda message: by_stream(message) if len(exchange.sockets) > 1 else []
    rig = Rig(exchange, tmp_path, ack_timeout_s=0.1)
    async with rig.running():
        await rig.until(lambda: rig.feed.ready)
    opened, closed = rig.events()[:2]
    assert opened == ("opened", None)
    assert closed[0] == "closed" and "was not confirmed" in (closed[1] or "")


async def test_where_a_message_asks_for_one_stream_its_refusal_leaves_the_others(
    exchange: Exchange, tmp_path: Path
) -> None:
    def answers(message: Any) -> list[Any]:
        error = {"error": "no such symbol"} if message["args"] == ["trades:A"] else {}
        return [{"event": message["op"], "id": message["id"], **error}]

    exchange.answers = answers
    rig = Rig(exchange, tmp_path, limits=replace(MARKET.limits, streams_per_message=1))
    async with rig.running():
        await rig.until(lambda: rig.feed.ready)
        assert rig.streams == ["book:A", "trades:B", "book:B"]
    assert len(exchange.sockets) == 1


async def test_when_every_stream_is_refused_the_connection_is_of_no_use(exchange: Exchange, tmp_path: Path) -> None:
    def answers(message: Any) -> list[Any]:
        error = {"error": "maintenance"} if len(exchange.sockets) == 1 else {}
        return [{"event": message["op"], "args": [name], **error} for name in message["args"]]

    exchange.answers = answers
    rig = Rig(exchange, tmp_path)
    async with rig.running():
        await rig.until(lambda: rig.feed.ready)
    assert rig.events()[1] == ("closed", "every subscription was refused")


async def test_a_refused_stream_is_asked_for_again(
    exchange: Exchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "_ASK_AGAIN_S", 0.02)
    refusals = ["busy", "busy"]

    def answers(message: Any) -> list[Any]:
        return [
            {"event": "error", "error": refusals.pop(), "args": [name]}
            if name == "trades:A" and refusals
            else {"event": message["op"], "args": [name]}
            for name in message["args"]
        ]

    exchange.answers = answers
    rig = Rig(exchange, tmp_path)
    async with rig.running():
        await rig.until(lambda: rig.feed.line is not None and len(rig.streams) == len(STREAMS))
    assert exchange.asked[2:] == [("subscribe", ["trades:A"])] * 2
    assert rig.confirmed[-1] == [STREAMS["trades:A"]]


async def test_messages_do_not_wait_for_one_anothers_answers(exchange: Exchange, tmp_path: Path) -> None:
    """The exchange answers nothing until it has heard everything."""
    held: list[Any] = []

    def answers(message: Any) -> list[Any]:
        held.extend(by_stream(message))
        return held if len(held) == len(STREAMS) else []

    exchange.answers = answers
    rig = Rig(exchange, tmp_path, limits=replace(MARKET.limits, streams_per_message=1))
    async with rig.running():
        await rig.until(lambda: rig.feed.ready)
        assert rig.streams == list(STREAMS)
    assert len(exchange.sockets) == 1
    assert [name for name, _ in rig.events()] == ["opened", "subscribed", "closed"], "on record together"


async def test_a_connection_that_has_used_up_its_subscriptions_is_followed_by_another(
    exchange: Exchange, tmp_path: Path
) -> None:
    # Two messages subscribe, a book begun anew takes two: of five an hour, four fifths are used.
    rig = Rig(exchange, tmp_path, limits=replace(MARKET.limits, subscriptions_per_hour=5, streams_per_message=3))
    async with rig.running():
        await rig.until(lambda: rig.feed.ready)
        assert rig.feed.line is not None and rig.feed.line.resync("A-USDT-PERP")
        await rig.until(lambda: len(exchange.asked) == 4)
        await rig.until(lambda: rig.feed.line is not None and rig.feed.line.resync("B-USDT-PERP"))
        await rig.until(lambda: len(exchange.sockets) == 2 and rig.feed.ready)
    assert exchange.asked[2:4] == [("unsubscribe", ["book:A"]), ("subscribe", ["book:A"])]
    assert exchange.asked[4:] == exchange.asked[:2], "nothing more was asked for on the first one"
    reasons = [reason for event, reason in rig.events() if event == "closed"]
    assert reasons[0] == "the connection has sent all the subscription messages that it may in an hour"


async def test_data_before_its_acknowledgement_is_data(exchange: Exchange, tmp_path: Path) -> None:
    early = {"arg": "trades:A", "data": [1]}
    exchange.answers = lambda message: [early, *by_stream(message)] if "trades:A" in message["args"] else []
    rig = Rig(exchange, tmp_path)
    async with rig.running():
        await rig.until(lambda: rig.streams[:3] == list(STREAMS)[:3] if rig.feed.line else False)
    [frame] = [frame for frame in rig.frames() if frame.channel == "trades"]
    assert (frame.symbol, frame.body) == ("A-USDT-PERP", json.dumps(early).encode())


async def test_greeting_comes_first_and_keep_alive_goes_on_as_text(exchange: Exchange, tmp_path: Path) -> None:
    exchange.answers = lambda message: by_stream(message) if "op" in message else ["pong"]
    keep_alive = KeepAlive(0.05, lambda number: b'{"ping":%d}' % number)
    rig = Rig(exchange, tmp_path, greeting=(b"hello", b'{"set":"heartbeat"}'), keep_alive=keep_alive)
    async with rig.running():
        await rig.until(lambda: rig.feed.ready and len([t for t in exchange.heard if "ping" in str(t)]) >= 3)
        assert rig.feed.unknown == rig.feed.frames == 0
    assert all(isinstance(message, str) for message in exchange.heard)
    said = [message for message in exchange.heard if "ping" not in str(message)]
    assert said[:2] == ["hello", '{"set":"heartbeat"}']
    numbers = [json.loads(text)["ping"] for text in exchange.heard if "ping" in str(text)]
    assert numbers == sorted(set(numbers))
    ids = [json.loads(text)["id"] for text in exchange.heard if str(text).startswith('{"op"')]
    assert not set(ids) & set(numbers), "an id is never used twice on a connection"


async def test_the_exchanges_question_is_answered_at_once(exchange: Exchange, tmp_path: Path) -> None:
    exchange.answers = lambda message: ["are you there", *by_stream(message)]
    rig = Rig(exchange, tmp_path)
    async with rig.running():
        await rig.until(lambda: exchange.heard.count("here") == 2)
        assert rig.feed.frames == 0


async def test_a_book_is_begun_anew_by_ending_and_asking_for_its_stream(exchange: Exchange, tmp_path: Path) -> None:
    rig = Rig(exchange, tmp_path)
    async with rig.running():
        await rig.until(lambda: rig.feed.ready)
        line = rig.feed.line
        assert line is not None
        assert line.resync("B-USDT-PERP")
        assert not line.resync("B-USDT-PERP"), "one at a time for each book"
        assert not line.resync("C-USDT-PERP")
        await rig.until(lambda: len(exchange.asked) == 4)
        await rig.until(lambda: line.resync("B-USDT-PERP"))
    assert exchange.asked[2:4] == [("unsubscribe", ["book:B"]), ("subscribe", ["book:B"])]
    assert len(exchange.sockets) == 1
