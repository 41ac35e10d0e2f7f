"""One market's statistics by REST: each symbol soon after it is collected, then spread evenly over each period."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import quote

from schemas import subjects
from schemas.control import Priority
from schemas.records import Instrument
from services.collector.polling_schedule import Schedule, Settling, first_spacing_s
from services.collector.rest import Rest
from services.collector.tasks import together
from services.shared.exchanges.declaration import AUDIT, Poll
from services.shared.exchanges.rest_rules import RestRules
from services.shared.runtime.clock import now_us
from services.shared.runtime.http import Answer

LOOK_S = 1.0
"""Longest wait between two looks at what is collected."""
AUDITS_IN_LINE = 10
"""Most of a market's audits that wait for leave at a time: what is asked every minute is not to be far behind them."""


class Polling:
    """Asks each of `polls`, until cancelled."""

    def __init__(
        self,
        polls: Sequence[Poll],
        rules: RestRules,
        rest: Rest,
        collected: Callable[[], Sequence[Instrument]],
        crowded: Callable[[], bool],
        book_stands: Callable[[Instrument], bool],
        publish: Callable[[str, str, str, Answer], None],
        announce_audit: Callable[[str, int], None],
        audit_after_s: float,
    ) -> None:
        self._polls = polls
        self._rules = rules
        self._rest = rest
        self._collected = collected
        self._crowded = crowded
        """Whether there is no room for answers: nothing more is asked for then than must be."""
        self._book_stands = book_stands
        """Whether a book has all that it is made of: before that there is nothing to compare."""
        self._publish = publish
        self._announce_audit = announce_audit
        """Says, before a book is asked for to be compared with ours, that ours is to be kept as it stands then."""
        self._audit_after_s = audit_after_s
        self._asked: set[tuple[str, str]] = set()
        """Endpoint and symbol of what was asked for and has not come."""
        self._audits = 0
        """How many of these are audits."""

    async def run(self) -> None:
        """Ask for everything, for ever."""
        if not self._polls:
            await asyncio.Event().wait()
        await together(*(self._run(poll) for poll in self._polls))

    async def _run(self, poll: Poll) -> None:
        assert poll.every_s is not None
        schedule = Schedule(poll.every_s, first_spacing_s(poll, self._rules))
        known: Sequence[Instrument] | None = None
        items: dict[str, Instrument | None] = {}

        clock = asyncio.get_running_loop().time
        settling = Settling(self._audit_after_s)

        def may(symbol: str) -> bool:
            item = items[symbol]
            if self._crowded():
                return False
            if poll.name != AUDIT or item is None:
                return True
            return settling.settled(symbol, self._book_stands(item), clock()) and self._audits < AUDITS_IN_LINE

        while True:
            if (collected := self._collected()) is not known:
                known = collected
                items = {item.symbol: item for item in known} if poll.per_symbol else {subjects.ALL: None}
                schedule.collect(items, clock())
            for symbol in schedule.take(clock(), may):
                self._ask(poll, schedule, symbol, items[symbol])
            due = schedule.next_due()
            await asyncio.sleep(LOOK_S if due is None else min(LOOK_S, max(0.0, due - clock())))

    def _ask(self, poll: Poll, schedule: Schedule, symbol: str, item: Instrument | None) -> None:
        key = (poll.name, symbol)
        if key not in self._asked:
            self._asked.add(key)
            self._audits += poll.name == AUDIT
            path = path_of(poll, item)
            sending = partial(self._announce, symbol) if poll.name == AUDIT else None
            answered = partial(self._answered, schedule, key, path)
            self._rest.add(Priority.POLL, path, poll.weight, poll.name, answered, retry=False, sending=sending)

    def _announce(self, symbol: str) -> None:
        self._announce_audit(symbol, now_us())

    def _answered(self, schedule: Schedule, key: tuple[str, str], path: str, answer: Answer | None) -> None:
        self._asked.discard(key)
        self._audits -= key[0] == AUDIT
        if answer is None:
            schedule.failed(key[1], asyncio.get_running_loop().time())
            return
        schedule.answered(key[1])
        self._publish(*key, path, answer)


def path_of(poll: Poll, item: Instrument | None) -> str:
    """Return the path to ask for now; `item` is None where one answer holds the whole market."""
    return poll.filled(quote(item.exchange_symbol, safe="") if item is not None else "", now_us() // 1_000)
