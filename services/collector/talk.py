"""The control messages of one connection: greeting, subscriptions, signs of life, all within the exchange's limits."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress

import structlog

from schemas.errors import Busy
from services.collector.core import Link
from services.collector.pacing import Budget
from services.collector.questions import Question, Questions
from services.collector.settings import CollectorSettings
from services.collector.tasks import together
from services.shared.exchanges.declaration import Ask, KeepAlive, Market, Reply
from services.shared.runtime.clock import monotonic_us, now_us
from services.shared.runtime.ws import Socket

SECOND_US = 1_000_000


class Refused(Busy):
    """The exchange said no to a message about several streams, as a whole."""


class Talk:
    """What is said on an open connection. Every method that sends raises Busy when the connection is gone."""

    def __init__(
        self,
        market: Market,
        settings: CollectorSettings,
        link: Link,
        socket: Socket,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._market = market
        self._settings = settings
        self._link = link
        self._socket = socket
        self._log = log
        limits, share = market.limits, settings.request_share
        self._messages = Budget(limits.messages_per_s * share, SECOND_US)
        hourly = limits.subscriptions_per_hour
        self._subscriptions = Budget(hourly * share, 3_600 * SECOND_US) if hourly is not None else None
        self._ids = itertools.count(1)
        self._questions = Questions()
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._fresh: list[str] = []
        """Confirmed streams that are not on record yet."""
        self._fresh_since = 0
        self._kept: set[int] = set()
        """Ids of the last keep-alive messages: an answer to one is a sign of life, which it has been by coming."""
        self._sending = asyncio.Lock()
        self._doubt = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    # -- what the exchange says ------------------------------------------------------------------------------------

    def replied(self, reply: Reply, received_at: int) -> None:
        """Take the exchange's answer. What it confirms is on record before the first frame behind it."""
        complete = self._questions.take(reply)
        if complete is None:
            if reply.error is not None:
                self._log.warning("reply_unexpected", error=reply.error, value=reply.request_id)
            elif reply.request_id not in self._kept:
                self._log.info("reply_unexpected", value=reply.request_id)
            return
        for question in complete:
            answer = self._answers.pop(question.number, None)
            if answer is None or answer.done():
                continue
            if question.subscribing:
                self._confirmed(question.news(), received_at)
            answer.set_result(None)

    def _confirmed(self, names: list[str], now: int, *, at_once: bool = False) -> None:
        """Put confirmations on record: those of single streams together, as long as more are soon to come."""
        fresh = self._fresh
        fresh += names
        self._fresh_since = self._fresh_since or now
        due = at_once or len(names) > 1 or not len(self._questions) or now - self._fresh_since > _GATHER_US
        if fresh and due:
            self._link.subscribed(fresh, now)
            self._fresh, self._fresh_since = [], 0

    def asked(self, ask: Ask) -> None:
        """Answer the exchange's own question at once; it counts as a message, and waits for none."""
        self._messages.spend(1, monotonic_us())
        task = asyncio.ensure_future(self._answer(ask.answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def doubted(self) -> None:
        """WebSocket's own ping has had no answer: have a keep-alive message sent before its time."""
        self._doubt.set()

    # -- what we say -----------------------------------------------------------------------------------------------

    def may_ping(self) -> bool:
        """Whether the limit leaves room for a ping now; counts it."""
        if self._messages.wait_us(1, monotonic_us()):
            return False
        self._messages.spend(1, monotonic_us())
        return True

    async def greet(self) -> None:
        """Send what goes before any subscription."""
        for message in self._market.greeting:
            await self._send(message)

    async def subscribe(self, names: Sequence[str], confirmed: Callable[[list[str]], None]) -> None:
        """Ask for streams in as many messages as it takes; `confirmed` is told of those accepted, message by message.

        Of a message whose streams are acknowledged one by one, those that are do not wait for the rest.

        A message of several that is refused as a whole is cut in two, and so on: one stream that the exchange does not
        know (any more) does not keep the others out. Raises Busy when a message is not answered, or too many refused.
        """
        most = self._market.limits.streams_per_message
        room = asyncio.Semaphore(_OUTSTANDING)
        refusals = 0

        async def ask(some: Sequence[str]) -> None:
            nonlocal refusals
            try:
                async with room:
                    await self._ask(some, self._market.subscribe, subscribing=True, told=confirmed)
            except Refused:
                refusals += 1
                if refusals > _MOST_REFUSALS:
                    raise
                await ask(some[: len(some) // 2])
                await ask(some[len(some) // 2 :])

        await together(*(ask(names[start : start + most]) for start in range(0, len(names), most)))

    async def unsubscribe(self, names: Sequence[str]) -> None:
        """End streams. What the exchange refuses to end it does not carry. Raises Busy when it does not answer."""
        most = self._market.limits.streams_per_message
        for start in range(0, len(names), most):
            with suppress(Refused):
                await self._ask(names[start : start + most], self._market.unsubscribe, subscribing=False)

    async def resubscribe(self, name: str) -> None:
        """End one stream and ask for it again: it begins with a snapshot. Raises Busy when it does not."""
        await self._ask([name], self._market.unsubscribe, subscribing=False)
        question = await self._ask([name], self._market.subscribe, subscribing=True)
        if not question.confirmed:
            raise Busy(f"{name} could not be asked for anew: {question.refused[name]}")

    async def keep_alive(self, rule: KeepAlive) -> None:
        """Send the keep-alive message every so often, for ever; sooner when a ping of WebSocket's has no answer."""
        shortest_s = min(rule.every_s, self._settings.dead_after_s / 4)
        while True:
            await asyncio.sleep(shortest_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._doubt.wait(), rule.every_s - shortest_s)
            self._doubt.clear()
            number = next(self._ids)
            self._kept = {kept for kept in self._kept if kept > number - _REMEMBERED} | {number}
            await self._send(rule.message(number))

    async def end(self) -> None:
        """Stop whatever is still being sent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- how -------------------------------------------------------------------------------------------------------

    async def _send(self, message: bytes) -> None:
        async with self._sending:
            await self._wait_for_room()
            await self._put(message)

    async def _put(self, message: bytes) -> None:
        stamp = self._market.stamp
        await self._socket.send(stamp(message, now_us() // 1_000) if stamp is not None else message)

    async def _wait_for_room(self) -> None:
        while wait := self._messages.wait_us(1, monotonic_us()):  # noqa: ASYNC110 - it is time that is waited for
            await asyncio.sleep(wait / SECOND_US)
        self._messages.spend(1, monotonic_us())

    def _count_subscription(self) -> None:
        """Count a message about streams. Raises Busy when this connection may send no more: another one may."""
        if self._subscriptions is not None:
            if self._subscriptions.wait_us(1, monotonic_us()):
                raise Busy("the connection has sent all the subscription messages that it may in an hour")
            self._subscriptions.spend(1, monotonic_us())

    async def _answer(self, message: bytes) -> None:
        with suppress(Busy):  # the reader sees the end itself
            await self._socket.send(message)

    async def _ask(
        self,
        names: Sequence[str],
        message: Callable[[Sequence[str], int], bytes],
        *,
        subscribing: bool,
        told: Callable[[list[str]], None] = lambda _: None,
    ) -> Question:
        """Send a message and wait for its answer, or those to each of its streams; `told` hears what is accepted."""
        what = "a subscription" if subscribing else "the end of a subscription"
        self._count_subscription()
        async with self._sending:
            await self._wait_for_room()
            number = next(self._ids)
            question = self._questions.ask(number, names, subscribing=subscribing)
            answered = self._answers[number] = asyncio.get_running_loop().create_future()
            await self._put(message(names, number))
        early: set[str] = set()
        try:
            async for some in self._in_part(question, answered):
                early |= set(some)
                told(some)
            if not answered.done():
                if not question.give_up("not confirmed"):
                    raise Busy(f"{what} of {len(names)} streams was not confirmed")
                if subscribing:
                    self._confirmed(question.news(), now_us())
        finally:
            self._questions.forget(question)
            self._answers.pop(number, None)
        self._confirmed([], now_us())
        error = question.error
        if error is not None and len(names) > 1:
            self._log.error("subscription_refused", error=error, count=len(names))
            raise Refused(f"{what} was refused: {error}")
        refused = question.refused if error is None else dict.fromkeys(names, error)
        for name, why in refused.items():
            self._log.error("subscription_refused", error=why, name=name, count=1)
        question.refused = refused
        if rest := [name for name in question.confirmed if name not in early]:
            told(rest)
        return question

    async def _in_part(self, question: Question, answered: asyncio.Future[None]) -> AsyncIterator[list[str]]:
        """Yield what of a message was accepted while the rest is waited for; end with it, or when it takes too long."""
        clock = asyncio.get_running_loop().time
        until = clock() + self._settings.ack_timeout_s
        while not answered.done() and (left := until - clock()) > 0:
            await asyncio.wait({answered}, timeout=min(left, _GATHER_US / SECOND_US))
            if question.subscribing and not answered.done() and (news := question.news()):
                self._confirmed(news, now_us(), at_once=True)
                yield news


_MOST_REFUSALS = 32
"""Messages of several streams refused in one go: more is no matter of single streams."""

_REMEMBERED = 16
_GATHER_US = 250_000
_OUTSTANDING = 8
"""Messages that may wait for their answers at the same time: a far exchange takes a while for each."""
