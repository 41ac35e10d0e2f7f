"""The control messages of one connection: greeting, subscriptions, signs of life, all within the exchange's limits."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from schemas.errors import Busy
from services.collector.core import Link
from services.collector.pacing import Budget
from services.collector.questions import Questions
from services.collector.settings import CollectorSettings
from services.shared.exchanges.declaration import Ask, KeepAlive, Market, Reply
from services.shared.runtime.clock import monotonic_us
from services.shared.runtime.ws import Socket

SECOND_US = 1_000_000


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
        self._messages = Budget(market.limits.messages_per_s * settings.request_share, SECOND_US)
        self._ids = itertools.count(1)
        self._questions = Questions()
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._kept: set[int] = set()
        """Ids of the last keep-alive messages: an answer to one is a sign of life, which it has been by coming."""
        self._one_at_a_time = asyncio.Lock()
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
            if question.subscribing and question.confirmed:
                self._link.subscribed(question.confirmed, received_at)
            answer.set_result(None)

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

    async def subscribe(self, names: Sequence[str]) -> list[str]:
        """Ask for streams of one message; return those confirmed. Raises Busy when none is, or no answer comes."""
        return await self._ask(names, self._market.subscribe, subscribing=True)

    async def resubscribe(self, name: str) -> None:
        """End one stream and ask for it again: it begins with a snapshot."""
        await self._ask([name], self._market.unsubscribe, subscribing=False)
        await self._ask([name], self._market.subscribe, subscribing=True)

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
        await asyncio.sleep(self._messages.wait_us(1, monotonic_us()) / SECOND_US)
        self._messages.spend(1, monotonic_us())
        await self._socket.send(message)

    async def _answer(self, message: bytes) -> None:
        with suppress(Busy):  # the reader sees the end itself
            await self._socket.send(message)

    async def _ask(
        self, names: Sequence[str], message: Callable[[Sequence[str], int], bytes], *, subscribing: bool
    ) -> list[str]:
        what = "a subscription" if subscribing else "the end of a subscription"
        async with self._one_at_a_time:  # so that an answer by names, or without any, is an answer to this
            await asyncio.sleep(self._messages.wait_us(1, monotonic_us()) / SECOND_US)
            self._messages.spend(1, monotonic_us())
            number = next(self._ids)
            question = self._questions.ask(number, names, subscribing=subscribing)
            answered = self._answers[number] = asyncio.get_running_loop().create_future()
            try:
                await self._socket.send(message(names, number))
                await asyncio.wait_for(answered, self._settings.ack_timeout_s)
            except TimeoutError:
                raise Busy(f"{what} of {len(names)} streams was not confirmed") from None
            finally:
                self._questions.forget(question)
                self._answers.pop(number, None)
        if question.error is not None:
            self._log.error("subscription_refused", error=question.error, count=len(names))
            raise Busy(f"{what} was refused: {question.error}")
        for name, error in question.refused.items():
            self._log.error("subscription_refused", error=error, name=name, count=1)
        if not question.confirmed:
            raise Busy(f"{what} was refused: {', '.join(question.refused.values())}")
        return question.confirmed


_REMEMBERED = 16
