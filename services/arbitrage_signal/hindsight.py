"""The live service's own core over what is stored: what it told, or what it would have told with other settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from schemas import records
from services.arbitrage_signal import stored
from services.arbitrage_signal.core import ArbitrageCore
from services.arbitrage_signal.signals import Output
from services.arbitrage_signal.terms import MEMORY_US
from services.shared.runtime.warehouse import Warehouse


async def replayed(
    warehouse: Warehouse,
    core: ArbitrageCore,
    begin: int,
    end: int,
    reached: Callable[[float], None] = lambda share: None,
) -> AsyncIterator[Output]:
    """Replay a span of our clock, microseconds, through a new core; yield what it tells of what began in it.

    Told are opportunities opened, and spreads filed, from `begin` on and before `end`. The core is warmed up with what
    came before. `reached` hears the share that is done. Raises SpanRefused when some of that is not there any more,
    Busy, Broken.
    """
    found = await stored.bounds(warehouse, begin - MEMORY_US, end)
    if found is None:
        return
    first, last = found
    for message in (*await stored.instruments(warehouse, first), *await stored.clock_offsets(warehouse, first)):
        core.process(message.sequence, message.subject, message.body)
    async for message in stored.replay(warehouse, first, last, reached):
        for record in core.process(message.sequence, message.subject, message.body):
            since = record.opened_at if isinstance(record, records.ArbitrageOpportunity) else record.timestamp
            if begin <= since and record.timestamp < end:
                yield record


@dataclass
class Comparison:
    """What the live service told, beside what hindsight tells of the same span."""

    same: int = 0
    only_live: list[dict[str, Any]] = field(default_factory=list)
    only_hindsight: list[dict[str, Any]] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether each is one for one what the other is, in every field."""
        return not self.only_live and not self.only_hindsight


def as_told(record: Output) -> dict[str, Any]:
    """Return a record as it is on the wire."""
    told: dict[str, Any] = orjson.loads(records.encode(record))
    return told


def compare(live: list[dict[str, Any]], hindsight: list[dict[str, Any]]) -> Comparison:
    """Compare two lists of records, in every field and however they are ordered."""
    result = Comparison()
    waiting: dict[bytes, int] = {}
    for record in live:
        key = orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
        waiting[key] = waiting.get(key, 0) + 1
    for record in hindsight:
        key = orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
        if waiting.get(key):
            waiting[key] -= 1
            result.same += 1
        else:
            result.only_hindsight.append(record)
    result.only_live = [orjson.loads(key) for key, count in waiting.items() for _ in range(count)]
    return result
