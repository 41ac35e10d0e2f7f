"""Who may say and hear what, on a real nats-server with the accounts of a deployment."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import nats.errors
import pytest
from nats.aio.msg import Msg
from nats.js import api

from schemas import accounts, streams, subjects
from services.shared.runtime.bus import Bus, Outgoing
from services.shared.runtime.provision import provision
from tests.nats_server import NatsServer
from tests.secured import bus_of, client_of, run_secured_nats

TRADE = subjects.md("trade", "binance", "spot", "BTC-USDT")
RAW = subjects.raw("binance", "spot", "trade", "BTC-USDT")
BOT = accounts.BOT.name
API = f"$JS.{accounts.BOTS_DOMAIN}.API"
BOTS = {BOT: ["md.trade.>", "signal.>"]}
EVERY_ROOT = {
    "raw": RAW,
    "md": TRADE,
    "signal": "signal.arbitrage.BTC-USDT",
    "gap": subjects.gap("binance", "spot", "BTC-USDT"),
    "dead.normaliser": subjects.dead("normaliser"),
    "dead.storage-batcher": subjects.dead("storage-batcher"),
    "checkpoint": subjects.checkpoint(3),
    "checkpoint of signals": subjects.arbitrage_checkpoint(),
    "resync": subjects.resync("binance", "spot", "BTC-USDT"),
    "budget": subjects.budget("binance"),
    "budget report": subjects.budget_report("binance"),
    "backfill": subjects.backfill(),
    "budget keeper": subjects.budget_keeper("binance"),
    "batches": "$KV.batches.trades.0",
    "books": "$KV.books.00.x",
}
MAY_SAY = {
    "collector": {"raw", "budget", "budget report", "budget keeper"},
    "normaliser": {"md", "gap", "dead.normaliser", "checkpoint", "resync", "books"},
    "storage-batcher": {"dead.storage-batcher", "batches"},
    "gap-backfill": {"raw", "gap", "budget", "budget report"},
    "arbitrage-signal": {"signal", "checkpoint of signals"},
    BOT: set(),
}
"""What each user may publish, said a second time and by hand: who widens a permission does it here too."""


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with run_secured_nats(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
async def admin(secured: NatsServer) -> AsyncIterator[Bus]:
    """The administrator, with every stream, bucket and the bot's consumer made anew."""
    async with bus_of(secured, accounts.ADMIN) as bus:
        for stream in await bus.js.streams_info():
            await bus.js.delete_stream(stream.config.name or "")
        await provision(bus, bots=BOTS)
        yield bus


async def _stored(bus: Bus) -> dict[str, int]:
    """How many messages each stream has taken so far."""
    return {info.config.name or "": info.state.last_seq for info in await bus.js.streams_info()}


@pytest.mark.parametrize("user", MAY_SAY)
async def test_a_user_publishes_what_it_makes_and_nothing_else(admin: Bus, secured: NatsServer, user: str) -> None:
    async with client_of(secured, user) as stranger:
        said: set[str] = set()
        for name, subject in EVERY_ROOT.items():
            await stranger.client.publish(subject, b"{}")
            if not await stranger.refused():
                said.add(name)
        assert said == MAY_SAY[user]
        for request in ("STREAM.DELETE.RAW", "STREAM.PURGE.MD", "STREAM.UPDATE.RAW", "STREAM.CREATE.X"):
            await stranger.client.publish(f"$JS.API.{request}", b"{}")
            assert await stranger.refused(), request


@pytest.mark.parametrize("user", MAY_SAY)
async def test_a_user_hears_its_own_inbox_and_what_it_answers(admin: Bus, secured: NatsServer, user: str) -> None:
    asked = {
        "collector": {subjects.resync_filter("binance", "spot"), subjects.budget("okx"), subjects.budget_keeper("okx")},
        "gap-backfill": {subjects.backfill()},
        BOT: {"md.>", "signal.>"},
    }
    every = {*streams.RAW.subjects, *streams.MD.subjects, "control.>", "_INBOX.>", "$JS.>", "$KV.>", ">"}
    async with client_of(secured, user) as stranger:
        heard: set[str] = set()
        for subject in every.union(*asked.values()):
            await stranger.client.subscribe(subject)
            if not await stranger.refused():
                heard.add(subject)
    assert heard == asked.get(user, set())


async def test_who_keeps_a_budget_answers_who_asks_and_no_other_answers_anybody(
    admin: Bus, secured: NatsServer
) -> None:
    async with client_of(secured, "collector") as keeper, client_of(secured, "gap-backfill") as asker:

        async def answer(message: Msg) -> None:
            await message.respond(b"granted")
            await message.respond(b"again")

        await keeper.client.subscribe(subjects.budget("binance"), cb=answer)
        await keeper.client.flush()
        granted = await asker.client.request(subjects.budget("binance"), b"", timeout=10)
        assert granted.data == b"granted"
        assert len(await keeper.refused()) == 1, "it answers once"
        await keeper.client.publish(f"{accounts.inbox('gap-backfill')}.any", b"unasked")
        assert await keeper.refused()


async def test_a_bot_goes_on_where_it_was_when_it_comes_back(admin: Bus, secured: NatsServer) -> None:
    async def publish(price: str) -> None:
        async with bus_of(secured, "normaliser") as normaliser:
            await normaliser.publish_batch([Outgoing(TRADE, price.encode())])

    for price in ("1", "2", "3"):
        await publish(price)
    got: list[str] = []
    async with client_of(secured, BOT) as bot:
        live = await bot.client.subscribe("md.trade.>")
        consumer = await bot.client.jetstream(domain=accounts.BOTS_DOMAIN).pull_subscribe_bind(BOT, streams.MD.name)
        for message in await consumer.fetch(2):
            got.append(message.data.decode())
            await message.ack_sync()
        await publish("4")
        assert (await live.next_msg(10)).data == b"4"
        assert not await bot.refused()
    await publish("5")
    async with client_of(secured, BOT) as bot:
        consumer = await bot.client.jetstream(domain=accounts.BOTS_DOMAIN).pull_subscribe_bind(BOT, streams.MD.name)
        while len(got) < 5:
            for message in await consumer.fetch(5, timeout=10):
                got.append(message.data.decode())
                await message.ack_sync()
        info = await consumer.consumer_info()
    assert got == ["1", "2", "3", "4", "5"]
    assert info.num_ack_pending == 0
    assert info.num_pending == 0


@pytest.mark.parametrize(
    ("subject", "body"),
    [
        (subject, body)
        for stream, heard in (("RAW", "raw.>"), ("MD", "md.>"), ("MD", "dead.>"))
        for subject, body in (
            (f"$JS.API.STREAM.INFO.{stream}", {}),
            (f"$JS.API.STREAM.MSG.GET.{stream}", {"seq": 1}),
            (f"$JS.API.DIRECT.GET.{stream}", {"seq": 1}),
            (f"$JS.API.DIRECT.GET.{stream}.{RAW}", {}),
            (f"$JS.API.CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": {"filter_subject": heard}}),
            (
                f"$JS.API.CONSUMER.CREATE.{stream}.spy.{heard}",
                {"stream_name": stream, "config": {"name": "spy", "filter_subject": heard, "deliver_subject": "md.x"}},
            ),
            (
                f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.{BOT}",
                {
                    "stream_name": stream,
                    "config": {"durable_name": BOT, "deliver_subject": "_INBOX.bot.x", "filter_subject": heard},
                },
            ),
            (f"$JS.API.CONSUMER.MSG.NEXT.{stream}.spy", {"batch": 1}),
            (f"{API}.CONSUMER.MSG.NEXT.{stream}.spy", {"batch": 1}),
            (f"{API}.STREAM.INFO.{stream}", {}),
            (f"{API}.CONSUMER.CREATE.{stream}.spy.{heard}", {"stream_name": stream, "config": {"name": "spy"}}),
            (f"$JS.API.CONSUMER.LIST.{stream}", {}),
        )
    ],
)
async def test_a_bot_reads_no_frames_by_any_request(
    admin: Bus, secured: NatsServer, subject: str, body: dict[str, object]
) -> None:
    await admin.publish_batch([Outgoing(RAW, b"frame")])
    async with client_of(secured, BOT) as bot:
        with pytest.raises((nats.errors.TimeoutError, nats.errors.NoRespondersError)):
            await bot.client.request(subject, json.dumps(body).encode(), timeout=0.05)
        assert await bot.refused(), "the server did not refuse it"
    consumers = {info.name for stream in ("RAW", "MD") for info in await admin.js.consumers_info(stream)}
    assert consumers == {BOT}


async def test_a_bots_reply_subject_writes_nothing_where_the_streams_are(admin: Bus, secured: NatsServer) -> None:
    async with bus_of(secured, "normaliser") as normaliser:
        await normaliser.publish_batch([Outgoing(TRADE, b"1")])
    before = await _stored(admin)
    async with client_of(secured, BOT) as bot:
        for reply in (RAW, TRADE, "signal.arbitrage.X", "$JS.API.STREAM.DELETE.RAW"):
            for request in ("MSG.NEXT", "INFO"):
                await bot.client.publish(f"{API}.CONSUMER.{request}.MD.{BOT}", b'{"batch": 1}', reply=reply)
        await bot.client.flush()
        consumer = await bot.client.jetstream(domain=accounts.BOTS_DOMAIN).pull_subscribe_bind(BOT, streams.MD.name)
        await consumer.consumer_info()  # answered behind all of the above
    assert await _stored(admin) == before


async def test_a_service_can_write_anywhere_through_a_consumer_and_so_bots_may_make_none(
    admin: Bus, secured: NatsServer
) -> None:
    """Why bots' consumers are made for them: what the server delivers is not checked against permissions."""
    async with bus_of(secured, "normaliser") as normaliser:
        await normaliser.publish_batch([Outgoing(TRADE, b"1")])
    before = (await _stored(admin))["RAW"]
    async with bus_of(secured, "storage-batcher") as batcher:
        config = api.ConsumerConfig(deliver_subject=RAW, ack_policy=api.AckPolicy.NONE, filter_subject="md.>")
        listening = await admin.client.subscribe(RAW)
        await batcher.js.add_consumer("MD", config)
        await listening.next_msg(10)
    assert (await _stored(admin))["RAW"] > before


async def test_a_bot_that_acknowledges_nothing_holds_up_nobody(admin: Bus, secured: NatsServer) -> None:
    await admin.js.delete_consumer("MD", BOT)
    await admin.js.add_consumer("MD", api.ConsumerConfig(durable_name=BOT, max_ack_pending=3, filter_subject="md.>"))
    async with client_of(secured, BOT) as bot, bus_of(secured, "normaliser") as normaliser:
        consumer = await bot.client.jetstream(domain=accounts.BOTS_DOMAIN).pull_subscribe_bind(BOT, streams.MD.name)
        await normaliser.publish_batch([Outgoing(TRADE, str(number).encode()) for number in range(100)])
        kept = await consumer.fetch(3, timeout=10)
        with pytest.raises(nats.errors.TimeoutError):
            await consumer.fetch(1, timeout=0.2)
        last = await normaliser.publish_batch([Outgoing(TRADE, str(number).encode()) for number in range(100, 200)])
    async with bus_of(secured, "storage-batcher") as batcher:
        assert await batcher.bounds(streams.MD) == (1, last)
        assert (await batcher.last_of(streams.MD, TRADE)) is not None
    assert [message.data for message in kept] == [b"0", b"1", b"2"]


async def test_provisioning_again_changes_nothing_and_a_changed_bot_is_updated(admin: Bus) -> None:
    assert await provision(admin, bots=BOTS) == []
    assert await provision(admin, bots={BOT: ["md.quote.>"]}) == [f"consumer {BOT} updated"]
    assert await provision(admin, bots={BOT: ["md.quote.>"]}) == []
