"""One market's statistics by REST: each endpoint's symbols spread evenly over its period."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import quote

from schemas import subjects
from schemas.control import Priority
from schemas.records import Instrument
from services.collector.rest import Rest
from services.collector.tasks import together
from services.shared.exchanges.declaration import AUDIT, Poll
from services.shared.runtime.clock import now_us
from services.shared.runtime.http import Answer


class Polling:
    """Asks each of `polls`, until cancelled."""

    def __init__(
        self,
        polls: Sequence[Poll],
        rest: Rest,
        collected: Callable[[], Sequence[Instrument]],
        crowded: Callable[[], bool],
        publish: Callable[[str, str, str, Answer], None],
        announce_audit: Callable[[str, int], None],
    ) -> None:
        self._polls = polls
        self._rest = rest
        self._collected = collected
        self._crowded = crowded
        """Whether there is no room for answers: nothing more is asked for then than must be."""
        self._publish = publish
        self._announce_audit = announce_audit
        """Says, before a book is asked for to be compared with ours, that ours is to be kept as it stands then."""
        self._asked: set[tuple[str, str]] = set()
        """Endpoint and symbol of what was asked for and has not come."""

    async def run(self) -> None:
        """Ask for everything, for ever."""
        if not self._polls:
            await asyncio.Event().wait()
        await together(*(self._run(poll) for poll in self._polls))

    async def _run(self, poll: Poll) -> None:
        assert poll.every_s is not None
        loop = asyncio.get_running_loop()
        start = loop.time()
        while True:
            asked: list[Instrument | None] = [*self._collected()] if poll.per_symbol else [None]
            for index, item in enumerate(asked):
                await asyncio.sleep(start + index * poll.every_s / len(asked) - loop.time())
                self._ask(poll, item)
            start += poll.every_s
            await asyncio.sleep(start - loop.time())

    def _ask(self, poll: Poll, item: Instrument | None) -> None:
        key = (poll.name, subjects.ALL if item is None else item.symbol)
        if key not in self._asked and not self._crowded():
            self._asked.add(key)
            path = path_of(poll, item)
            if poll.name == AUDIT:
                self._announce_audit(key[1], now_us())
            self._rest.add(Priority.POLL, path, poll.weight, poll.name, partial(self._answered, key, path), retry=False)

    def _answered(self, key: tuple[str, str], path: str, answer: Answer | None) -> None:
        self._asked.discard(key)
        if answer is not None:
            self._publish(*key, path, answer)


def path_of(poll: Poll, item: Instrument | None) -> str:
    """Return the path to ask for now; `item` is None where one answer holds the whole market."""
    return poll.filled(quote(item.exchange_symbol, safe="") if item is not None else "", now_us() // 1_000)
