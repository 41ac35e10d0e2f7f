"""A collector's connections to Bybit and MEXC: servers on loopback that answer in the exchanges' own words."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from schemas import subjects
from schemas.frames import RawFrame, unpack
from schemas.proto import mexc_pb2 as pb
from schemas.records import Instrument
from services.collector.feed import Feed
from services.collector.line import Wiring
from services.collector.outbox import Outbox
from services.collector.pacing import Budget
from services.collector.plan import topics
from services.collector.pool import Room, Slot
from services.collector.settings import CollectorSettings
from services.shared.exchanges.bybit_perp import BYBIT_PERP
from services.shared.exchanges.bybit_spot import BYBIT_SPOT
from services.shared.exchanges.declaration import Market
from services.shared.exchanges.mexc_perp import MEXC_PERP
from services.shared.exchanges.mexc_spot import MEXC_SPOT
from services.shared.runtime import logs
from tests.extra_frames import instrument

Answer = Callable[[dict[str, Any]], Iterable[str | bytes]]


@asynccontextmanager
async def collecting(
    market: Market, item: Instrument, answer: Answer, data_dir: Path
) -> AsyncIterator[tuple[Feed, Outbox, list[dict[str, Any]]]]:
    """A feed of one instrument's streams on one connection, against a server that answers each message."""
    heard: list[dict[str, Any]] = []

    async def handle(socket: ServerConnection) -> None:
        assert socket.request is not None
        assert socket.request.path == market.routes[""]
        try:
            async for text in socket:
                assert isinstance(text, str)
                heard.append(json.loads(text))
                for reply in answer(heard[-1]):
                    await socket.send(reply)
        except ConnectionClosed:
            pass

    settings = CollectorSettings.load(data_dir=data_dir, alive_every_s=0.05, backoff_base_s=0.01)
    outbox = Outbox(10**9, lambda: None)
    ((route, streams),) = topics(market, [item], ()).items()
    async with serve(handle, "127.0.0.1", 0, close_timeout=0.1) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        wiring = Wiring(
            market,
            url,
            settings,
            outbox,
            logs.configure(settings, "test"),
            random.Random(1),
            Budget(1_000, 300_000_000),
            lambda topics, replacing: None,
            lambda: None,
            Room(None),
        )
        feed = Feed(wiring, route, Slot(1, streams))
        task = asyncio.create_task(feed.run())
        try:
            yield feed, outbox, heard
        finally:
            feed.end("the collector stops")
            await task


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the condition is about what many tasks do
        await asyncio.sleep(0.005)


def data(outbox: Outbox) -> list[RawFrame]:
    outbox.pack()
    frames = [frame for packed in outbox.peek(10**6, 10**9) for frame in unpack(*packed.message)]
    return [frame for frame in frames if frame.channel != subjects.SESSION]


def confirmed(feed: Feed) -> list[str]:
    assert feed.line is not None
    return list(feed.line.link.confirmed)


def kline(name: str) -> str:
    return json.dumps({"topic": name, "data": [], "ts": 1, "type": "snapshot"}, separators=(",", ":"))


def bybit(message: dict[str, Any]) -> Iterable[str]:
    """Data may come before the acknowledgement, which is one for the whole message and repeats its id."""
    if message["op"] == "ping":
        yield json.dumps({"success": True, "ret_msg": "pong", "conn_id": "c", "req_id": "", "op": "ping"})
        return
    yield from (kline(name) for name in message["args"] if name.startswith("kline.1."))
    yield json.dumps({"success": True, "ret_msg": "", "conn_id": "c", "req_id": message["req_id"], "op": message["op"]})


async def test_bybits_perpetuals_are_subscribed_in_one_message(tmp_path: Path) -> None:
    item = instrument("bybit", "perp", "BTC-USDT-PERP", "BTCUSDT")
    async with collecting(BYBIT_PERP, item, bybit, tmp_path) as (feed, outbox, heard):
        await until(lambda: feed.ready)
        names = [channel.stream("BTCUSDT") for channel in BYBIT_PERP.channels.values()]
        assert confirmed(feed) == names
        assert heard == [{"req_id": "1", "op": "subscribe", "args": names}]
        assert [(frame.channel, frame.symbol) for frame in data(outbox)] == [("candles_1m", "BTC-USDT-PERP")]
        # A book whose chain is broken is asked for anew on its own.
        assert feed.line is not None
        assert feed.line.resync("BTC-USDT-PERP")
        await until(lambda: len(heard) == 3)
    assert [(message["op"], message["args"]) for message in heard[1:]] == [
        ("unsubscribe", ["orderbook.1000.BTCUSDT"]),
        ("subscribe", ["orderbook.1000.BTCUSDT"]),
    ]


async def test_bybits_spot_takes_ten_topics_a_message(tmp_path: Path) -> None:
    items = [instrument("bybit", "spot", f"{base}-USDT", f"{base}USDT") for base in ("BTC", "ETH")]
    assert [len(streams) for streams in topics(BYBIT_SPOT, items, ()).values()] == [18]
    async with collecting(BYBIT_SPOT, items[0], bybit, tmp_path) as (feed, _, heard):
        await until(lambda: feed.ready)
        assert len(confirmed(feed)) == 9
    assert all(len(message["args"]) <= 10 for message in heard)


def mexc_spot(message: dict[str, Any]) -> Iterable[str | bytes]:
    """One answer names all that was accepted; what was refused is told with code 0 too. Data is binary."""
    if message["method"] == "PING":
        yield json.dumps({"id": 0, "code": 0, "msg": "PONG"})
        return
    refused = [name for name in message["params"] if "@Day1" in name]
    taken = [name for name in message["params"] if name not in refused]
    yield json.dumps({"id": 0, "code": 0, "msg": ",".join(taken)})
    for name in refused:
        why = f"Not Subscribed successfully! [{name}].  Reason： Blocked! "  # noqa: RUF001
        yield json.dumps({"id": 0, "code": 0, "msg": why}, ensure_ascii=False)
    body = pb.PublicAggreBookTickerV3Api(bidPrice="1", bidQuantity="2", askPrice="3", askQuantity="4", version="5")
    quotes = next(name for name in taken if "bookTicker" in name)
    yield pb.PushDataV3ApiWrapper(channel=quotes, symbol="BTCUSDT", publicAggreBookTicker=body).SerializeToString()


async def test_mexcs_spot_confirms_by_names_and_sends_binary(tmp_path: Path) -> None:
    item = instrument("mexc", "spot", "BTC-USDT", "BTCUSDT")
    async with collecting(MEXC_SPOT, item, mexc_spot, tmp_path) as (feed, outbox, heard):
        await until(lambda: feed.ready and bool(data(outbox)))
        names = [channel.stream("BTCUSDT") for channel in MEXC_SPOT.channels.values()]
        assert confirmed(feed) == [name for name in names if "@Day1" not in name]
        (frame,) = data(outbox)
        assert (frame.channel, frame.symbol) == ("quotes", "BTC-USDT")
        assert pb.PushDataV3ApiWrapper.FromString(frame.body).publicAggreBookTicker.version == "5"
    assert heard == [{"method": "SUBSCRIPTION", "params": names, "id": 1}]


def mexc_perp(message: dict[str, Any]) -> Iterable[str]:
    """Answers name no symbol; they come in the order of the messages."""
    if message["method"] == "ping":
        yield json.dumps({"channel": "pong", "data": 1, "ts": 1})
        return
    yield json.dumps({"channel": f"rs.{message['method']}", "data": "success", "ts": 1})
    if message["method"] == "sub.kline" and message["param"]["interval"] == "Min5":
        bar = {"symbol": message["param"]["symbol"], "interval": "Min5", "t": 1}
        yield json.dumps({"symbol": bar["symbol"], "data": bar, "channel": "push.kline", "ts": 1})


async def test_mexcs_contracts_take_one_stream_a_message(tmp_path: Path) -> None:
    item = instrument("mexc", "perp", "BTC-USDT-PERP", "BTC_USDT", contract_size="0.0001")
    async with collecting(MEXC_PERP, item, mexc_perp, tmp_path) as (feed, outbox, heard):
        await until(lambda: feed.ready and bool(data(outbox)))
        assert confirmed(feed) == [channel.stream("BTC_USDT") for channel in MEXC_PERP.channels.values()]
        assert [(frame.channel, frame.symbol) for frame in data(outbox)] == [("candles_5m", "BTC-USDT-PERP")]
    assert [message["method"] for message in heard if message["method"] != "ping"] == [
        "sub.deal",
        "sub.depth",
        "sub.depth.full",
        *["sub.kline"] * 5,
        "sub.ticker",
        "sub.funding.rate",
    ]
