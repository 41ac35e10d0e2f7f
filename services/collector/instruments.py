"""One market's instrument list: read at start, however long it takes, and again every so often.

Where the exchange tells it in pages, it is taken, and published, when the last one has come.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from schemas import subjects
from schemas.control import Priority
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from schemas.records import Instrument
from services.collector.core import RestLink
from services.collector.pacing import Backoff
from services.collector.rest import Rest
from services.collector.universe import Catalogue
from services.shared.exchanges.declaration import Listing, Market
from services.shared.runtime.http import Answer

REPUBLISH_US = 3_600_000_000
"""An unchanged instrument list is published again after this long, so that RAW's ring always holds one."""


class Instruments:
    """Reads the list. With a `link` it is published where it is new; without, it is somebody else's to publish."""

    def __init__(
        self,
        market: Market,
        rest: Rest,
        link: RestLink | None,
        every_s: float,
        log: structlog.stdlib.BoundLogger,
        on_list: Callable[[], None],
    ) -> None:
        self.market = market
        self._catalogue = Catalogue()
        self._rest = rest
        self._link = link
        self._every_s = every_s
        self._log = log
        self._on_list = on_list
        self._published: tuple[Instrument, ...] = ()
        self._published_at = 0

    @property
    def listing(self) -> Listing:
        """What is listed, as last read."""
        return self._catalogue.listing

    async def run(self, source: random.Random) -> None:
        """Read until cancelled."""
        backoff = Backoff(1.0, 60.0, source)
        while not await self._ask():
            self._log.warning("instruments_missing", attempt=backoff.failures + 1)
            await asyncio.sleep(backoff.next_s())
        while True:
            await asyncio.sleep(self._every_s)
            await self._ask()

    async def _ask(self) -> bool:
        """Ask for the list once; return whether a usable one came."""
        pages: dict[str, Answer] = {}
        listed: list[Instrument] = []
        path: str | None = self.market.instruments.path
        while path is not None:
            answer = await self._answer(path)
            found = None if answer is None else self._read(path, answer)
            if answer is None or found is None:
                return False
            pages[path] = answer
            listed += found
            path = None if self.market.next_page is None else self.market.next_page(answer.body)
            if path in pages:
                self._log.error("instruments_refused", error="its pages go round", path=path)
                return False
        self._take(pages, listed)
        return True

    async def _answer(self, path: str) -> Answer | None:
        """Ask for the list, or a page of it; None when there is no answer to be had."""
        answered: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        poll = self.market.instruments

        def done(answer: Answer | None) -> None:
            if not answered.done():
                answered.set_result(answer)

        self._rest.add(Priority.URGENT, path, poll.weight, poll.name, done)
        return await answered

    def _read(self, path: str, answer: Answer) -> list[Instrument] | None:
        """Return the instruments of an answer; None where it is no instrument list."""
        market = self.market
        frame = RawFrame(
            market.exchange,
            market.market,
            market.instruments.name,
            subjects.ALL,
            "",
            "",
            0,
            answer.received_at,
            "rest",
            answer.body,
        )
        try:
            found = market.instruments.parse(frame, Listing())
        except BadFrame as error:
            self._log.error("instruments_refused", error=str(error), bytes=len(answer.body))
            # Published all the same: the normaliser keeps what it refuses, with its bytes.
            self._publish(path, answer)
            return None
        return [item for item in found if isinstance(item, Instrument)]

    def _take(self, pages: Mapping[str, Answer], listed: Sequence[Instrument]) -> None:
        """Take a whole list, and publish its pages, in their order, where it is new."""
        for answer in pages.values():
            self._rest.told(answer.body)
        plain = tuple(msgspec.structs.replace(item, timestamp=0, received_at=0) for item in listed)
        now = max(answer.received_at for answer in pages.values())
        if plain != self._published or now - self._published_at >= REPUBLISH_US:
            self._published, self._published_at = plain, now
            for path, answer in pages.items():
                self._publish(path, answer)
        self._catalogue.take(listed)
        self._on_list()

    def _publish(self, path: str, answer: Answer) -> None:
        if self._link is not None:
            name = self.market.instruments.name
            self._link.publish(
                name, subjects.ALL, answer.body, path, answer.requested_at, answer.received_at, everywhere=True
            )
