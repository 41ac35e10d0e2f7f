"""One partition's owner on a real server: ended, killed and started again, it says every record once."""

from __future__ import annotations

import asyncio
import json

from schemas import frames, streams, subjects
from schemas.frames import RawFrame
from services.normaliser.owner import CHECKPOINT_COPY, Owner
from services.normaliser.publisher import Publisher
from services.normaliser.settings import NormaliserSettings
from services.shared.runtime.bus import Bus, Outgoing
from services.shared.runtime.reader import Reader
from services.shared.runtime.ring import Ring, oldest_unstored_of_md
from tests.normaliser_rig import exchange_info, trade

SYMBOL = "BTC-USDT-PERP"
PART = subjects.partition("binance", "perp", SYMBOL)


class Running:
    """An owner at work; `end` lets it finish in good order, `kill` does not."""

    def __init__(self, bus: Bus) -> None:
        self.stop = asyncio.Event()
        settings = NormaliserSettings.load()
        ring = Ring(bus, streams.MD, oldest_unstored_of_md, 5.0, bus.log)
        publisher = Publisher(bus, ring, 0, self.stop)
        self.owner = Owner(PART, bus, publisher, ring, settings, bus.log, self.stop)
        self._tasks = [asyncio.create_task(publisher.run()), asyncio.create_task(self.owner.work())]

    async def end(self) -> None:
        self.stop.set()
        await self._tasks[1]
        self._tasks[0].cancel()

    async def kill(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def message(channel: str, symbol: str, number: int, body: bytes) -> Outgoing:
    origin = "rest" if channel == "instruments" else "ws"
    connection = "rest" if origin == "rest" else "c-1"
    frame = RawFrame("binance", "perp", channel, symbol, "c", connection, number, 1_700_000_000_000_000, origin, body)
    return Outgoing(*_of(frames.message(frame, PART)))


def _of(raw: frames.RawMessage) -> tuple[str, bytes, dict[str, str]]:
    return raw.subject, raw.body, raw.headers


async def publish_trades(bus: Bus, numbers: range) -> None:
    for number in numbers:
        body = json.dumps({"stream": "btcusdt@aggTrade", "data": trade(number, 1.0)}).encode()
        await bus.publish_batch([message("trades", SYMBOL, number, body)])


async def trade_ids(bus: Bus, count: int) -> list[int]:
    """The ids of the trades on MD, once there are `count`, and whatever more there is then."""
    reader = Reader(bus, streams.MD, ["md.trade.>"], 0)
    found: list[int] = []
    while len(found) < count or await reader.caught_up_to() is None:
        found += [json.loads(item.body)["sequence"] for item in await reader.read(1000, 0.2)]
    await reader.close()
    return found


async def test_an_owner_that_is_killed_or_ended_goes_on_where_it_was(bus: Bus) -> None:
    await bus.publish_batch([message("instruments", subjects.ALL, 1, exchange_info("BTC"))])
    await publish_trades(bus, range(1, 21))
    running = Running(bus)
    assert await trade_ids(bus, 20) == list(range(1, 21))
    await running.kill()
    await publish_trades(bus, range(21, 31))
    running = Running(bus)
    assert await trade_ids(bus, 30) == list(range(1, 31))
    await running.end()
    await publish_trades(bus, range(31, 41))
    running = Running(bus)
    assert await trade_ids(bus, 40) == list(range(1, 41))
    await running.end()


async def test_a_second_owner_takes_over_and_the_first_is_refused(bus: Bus) -> None:
    await bus.publish_batch([message("instruments", subjects.ALL, 1, exchange_info("BTC"))])
    first, second = Running(bus), Running(bus)
    for start in range(1, 101, 10):
        await publish_trades(bus, range(start, start + 10))
        assert await trade_ids(bus, start + 9) == list(range(1, start + 10))
    await first.kill()
    await second.kill()


async def saved_copy(bus: Bus) -> bytes | None:
    return (await bus.saved(streams.BOOKS, f"{PART:02d}")).get(CHECKPOINT_COPY)


async def test_a_checkpoint_that_md_has_discarded_is_found_in_its_copy(bus: Bus) -> None:
    await bus.publish_batch([message("instruments", subjects.ALL, 1, exchange_info("BTC"))])
    running = Running(bus)
    await publish_trades(bus, range(1, 21))
    assert await trade_ids(bus, 20) == list(range(1, 21))
    stored = await bus.last_of(streams.MD, subjects.checkpoint(PART))
    assert stored is not None
    while await saved_copy(bus) != stored.body:  # noqa: ASYNC110 - another process's doing gives no event here
        await asyncio.sleep(0.05)  # it is copied when there is nothing else to do
    await running.kill()
    await bus.js.purge_stream(streams.MD.name, subject=subjects.checkpoint(PART))
    assert await bus.last_of(streams.MD, subjects.checkpoint(PART)) is None
    await publish_trades(bus, range(21, 31))
    running = Running(bus)
    assert await trade_ids(bus, 30) == list(range(1, 31))
    await running.end()
