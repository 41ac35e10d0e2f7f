"""What Bybit allows one address to ask by REST, and how it says no. Source: its v5 documentation of 2026-07."""

from __future__ import annotations

import msgspec

from services.shared.exchanges.refusals import refusal_reader
from services.shared.exchanges.rest_rules import Rate, Refusal, RestRules

_TOO_MANY, _PASSING = frozenset({429, 10006, 10018}), frozenset({10000, 10016})
_SHUT_OUT_S = 600.0


class Envelope(msgspec.Struct):
    """What every answer begins with."""

    retCode: int
    retMsg: str = ""


class Nanos(msgspec.Struct):
    """The result of `market/time`."""

    timeNano: str


class Time(msgspec.Struct):
    """The answer of `market/time`."""

    result: Nanos


_read_time = msgspec.json.Decoder(Time).decode


def _find(answer: Envelope) -> Refusal | None:
    if not answer.retCode:
        return None
    pause_s = 5.0 if answer.retCode in _TOO_MANY else None
    return Refusal(f"retCode {answer.retCode}", answer.retMsg, pause_s, answer.retCode in _PASSING)


def read_time(body: bytes) -> int:
    """Return the exchange's time, microseconds UTC (it is told in nanoseconds). Raises ValueError."""
    return int(_read_time(body).result.timeNano) // 1_000


RULES = RestRules(
    rates=(
        Rate("address", 600, 5, weighed=False),
        Rate(
            "endpoint",
            600,
            5,
            apiece=True,
            weighed=False,
            left_header="x-bapi-limit-status",
            of_header="x-bapi-limit",
            reset_header="x-bapi-limit-reset-timestamp",
        ),
    ),
    refusal=refusal_reader(Envelope, _find),
    pauses={429: 5.0, 403: _SHUT_OUT_S},
)
"""Beyond 600 requests in 5 seconds it answers 403 and wants ten minutes without any request. Where an endpoint has a
limit of its own, its headers say so."""
