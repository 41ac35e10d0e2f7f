"""The bodies of control messages about request budgets: core requests and messages of NATS, JSON.

An exchange grants so many requests to an address, and one collector keeps that account (`subjects.budget`). Whoever
else wants to ask the exchange something asks the keeper first, waits for its answer, makes the call, and says how it
went on `subjects.budget_report`. Without an owner NATS answers "no responders" at once: ask again later.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

DEFAULT_WAIT_S = 30.0


class Priority(StrEnum):
    """What a request is for. Those that wait are served in this order, and by age within one of them.

    A lower one is served when no higher one wants the same room: nothing is promised to it beyond that, so an address
    that is kept busy with polls alone never comes to history.
    """

    RESYNC = "resync"
    """One book's fresh snapshot after a break."""
    STARTUP = "startup"
    """The snapshots that follow a first subscription."""
    URGENT = "urgent"
    """What everything else waits for (instrument lists), and gaps that are being looked at."""
    POLL = "poll"
    RECENT = "recent"
    """Refilling what was missed lately."""
    HISTORICAL = "historical"
    """Refilling anything older."""

    @property
    def rank(self) -> int:
        """The place in the order of service, 0 first."""
        return _RANKS[self]


_RANKS = {priority: rank for rank, priority in enumerate(Priority)}


class BudgetRequest(msgspec.Struct, frozen=True):
    """May I ask this? `endpoint` is the path without its query, `weight` what the exchange counts it for.

    It is answered within `wait_s` seconds, granted or not, so that nothing is granted to who no longer listens: wait a
    little longer than that for the answer, and ask again after a refusal that says so.
    """

    market: str
    endpoint: str
    weight: Annotated[int, msgspec.Meta(ge=1)]
    priority: Priority
    wait_s: Annotated[float, msgspec.Meta(gt=0, le=50)] = DEFAULT_WAIT_S


class BudgetGrant(msgspec.Struct, frozen=True):
    """The answer. `error` says why not; `again`, whether the same request may be granted when it is made again.

    A grant is for one request, to be sent at once. It counts as sent until its report comes, or for a minute.
    """

    granted: bool
    error: str | None = None
    again: bool = False


class BudgetReport(msgspec.Struct, frozen=True):
    """How a granted request went. `market`, `endpoint` and `weight` are the request's own.

    `status` is HTTP's, 0 when no answer came. `headers` holds those that the exchange's rules name (lower-case name ->
    value): what is used, what is left. `retry_after_s` is set when the exchange asked for a pause, in whatever way.
    """

    market: str
    endpoint: str
    status: int
    weight: Annotated[int, msgspec.Meta(ge=1)]
    headers: dict[str, str] = {}
    retry_after_s: float | None = None


encode = msgspec.json.Encoder().encode
decode_request = msgspec.json.Decoder(BudgetRequest).decode
decode_grant = msgspec.json.Decoder(BudgetGrant).decode
decode_report = msgspec.json.Decoder(BudgetReport).decode
