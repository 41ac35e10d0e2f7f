"""Asks the exchange's clock regularly, and says when it is far from ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from schemas import records, subjects
from schemas.control import Priority
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from services.collector import metrics
from services.collector.rest import Rest
from services.shared.exchanges.declaration import Listing, Market, Poll
from services.shared.exchanges.server_time import FAR_US, Sample, best, with_recent
from services.shared.runtime.http import Answer


class ClockWatch:
    """One market's time requests. The answers go to RAW, from where the normaliser makes the records."""

    def __init__(
        self,
        market: Market,
        rest: Rest,
        every_s: float,
        publish: Callable[[str, str, str, Answer], None],
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._market = market
        self._rest = rest
        self._every_s = every_s
        self._publish = publish
        self._log = log
        self._recent: list[Sample] = []
        self._reported_us: int | None = None
        """The offset that was reported last; None while it is small."""

    async def run(self) -> None:
        """Ask until cancelled; with `every_s` 0, or where the exchange tells no time, never."""
        poll = self._market.time
        if poll is None or not self._every_s:
            await asyncio.Event().wait()
            return
        while True:
            await self._ask(poll)
            await asyncio.sleep(self._every_s)

    async def _ask(self, poll: Poll) -> None:
        """Ask once and wait for the answer: one request at a time, however long it waits for leave."""
        answered: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()

        def done(answer: Answer | None) -> None:
            if not answered.done():
                answered.set_result(answer)

        self._rest.add(Priority.POLL, poll.path, poll.weight, poll.name, done, retry=False)
        answer = await answered
        if answer is not None:
            self._publish(poll.name, subjects.ALL, poll.path, answer)
            self._take(poll, answer)

    def _take(self, poll: Poll, answer: Answer) -> None:
        market = self._market
        frame = RawFrame(
            market.exchange,
            market.market,
            poll.name,
            subjects.ALL,
            "here",
            "",
            0,
            answer.received_at,
            "rest",
            answer.body,
            poll.path,
            answer.requested_at,
        )
        try:
            [told] = poll.parse(frame, Listing())
        except BadFrame as error:
            self._log.warning("clock_unreadable", error=str(error))
            return
        assert isinstance(told, records.ClockOffset)
        self._recent = with_recent(self._recent, Sample(told.received_at, told.offset_us, told.round_trip_us))
        self.judge(best(self._recent))

    def judge(self, found: Sample) -> None:
        """Take what the offset is believed to be: report a large one once, and again when it has changed as much."""
        offset_us, round_trip_us = found.offset_us, found.round_trip_us
        metrics.CLOCK_OFFSET.labels(self._market.exchange, self._market.market).set(offset_us / 1_000_000)
        far = abs(offset_us) > FAR_US
        reported = self._reported_us
        if far and (reported is None or abs(offset_us - reported) > FAR_US):
            self._reported_us = offset_us
            self._log.warning("clock_offset", value=offset_us, elapsed_s=round_trip_us / 1_000_000)
        elif not far and reported is not None:
            self._reported_us = None
            self._log.info("clock_offset_small", value=offset_us, elapsed_s=round_trip_us / 1_000_000)
