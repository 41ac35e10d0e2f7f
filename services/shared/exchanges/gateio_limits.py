"""What Gate.io allows one address to ask by REST, and how it says no. Source: its v4 documentation of 2026."""

from __future__ import annotations

import msgspec

from services.shared.exchanges.refusals import refusal_reader
from services.shared.exchanges.rest_rules import Rate, Refusal, RestRules

_TOO_MANY = "TOO_MANY_REQUESTS"
_PASSING = frozenset({"SERVER_ERROR", "INTERNAL", "TOO_BUSY"})


class Error(msgspec.Struct):
    """The body of an error."""

    label: str
    message: str = ""


class Time(msgspec.Struct):
    """The answer of `spot/time`."""

    server_time: int


_read_time = msgspec.json.Decoder(Time).decode


def _find(error: Error) -> Refusal:
    return Refusal(error.label, error.message, 10.0 if error.label == _TOO_MANY else None, error.label in _PASSING)


def read_time(body: bytes) -> int:
    """Return the exchange's time, microseconds UTC (it is told in milliseconds)."""
    return _read_time(body).server_time * 1_000


RULES = RestRules(
    rates=(
        Rate(
            "endpoint",
            200,
            10,
            apiece=True,
            weighed=False,
            left_header="x-gate-ratelimit-requests-remain",
            of_header="x-gate-ratelimit-limit",
            reset_header="x-gate-ratelimit-reset-timestamp",
        ),
    ),
    refusal=refusal_reader(Error, _find),
    pauses={429: 10.0, 403: 60.0},
)
"""Each endpoint has a limit of its own, and says in every answer what is left of it."""
