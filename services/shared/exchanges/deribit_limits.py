"""What Deribit allows one address to ask by REST, and how it says no. Source: its article on rate limits of 2025."""

from __future__ import annotations

import msgspec

from services.shared.exchanges.refusals import refusal_reader
from services.shared.exchanges.rest_rules import Rate, Refusal, RestRules

_INSTRUMENTS = "/api/v2/public/get_instruments"
_TOO_MANY, _PASSING = 10028, frozenset({10040, 10041, 11050, 11051, 13028})


class Error(msgspec.Struct):
    """An error in the words of JSON-RPC."""

    code: int
    message: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


class Answer(msgspec.Struct):
    """What is told of an error in an answer."""

    error: Error


class Time(msgspec.Struct):
    """The answer of `get_time`, milliseconds."""

    result: int


_read_time = msgspec.json.Decoder(Time).decode


def _find(answer: Answer) -> Refusal:
    code, message, data = answer.error.code, answer.error.message, bytes(answer.error.data).decode()
    pause_s = 5.0 if code == _TOO_MANY else None
    return Refusal(str(code), f"{message} {data}".rstrip(), pause_s, code in _PASSING)


def read_time(body: bytes) -> int:
    """Return the exchange's time, microseconds UTC (it is told in milliseconds)."""
    return _read_time(body).result * 1_000


RULES = RestRules(
    rates=(
        Rate("credits", 20, 1, but=(_INSTRUMENTS,)),
        Rate("instruments", 1, 10, paths=(_INSTRUMENTS,), weighed=False),
    ),
    refusal=refusal_reader(Answer, _find),
    pauses={429: 5.0, 403: 60.0},
    in_flight=4,
)
"""A request costs 500 of the 10,000 credits that come back in a second: one unit of weight stands for 500. The burst of
100 that it allows besides is left unused. The documents disagree about instruments; this is the least they say."""
