"""What OKX allows one address to ask by REST, and how it says no. Source: its v5 documentation of 2026-06."""

from __future__ import annotations

import msgspec

from services.shared.exchanges.refusals import refusal_reader
from services.shared.exchanges.rest_rules import Rate, Refusal, RestRules

_PER_2_S = {
    "/api/v5/public/time": 10,
    "/api/v5/public/instruments": 20,
    "/api/v5/public/open-interest": 20,
    "/api/v5/market/books": 40,
    "/api/v5/market/tickers": 20,
    "/api/v5/market/ticker": 20,
    "/api/v5/market/candles": 40,
    "/api/v5/market/history-candles": 20,
    "/api/v5/market/history-mark-price-candles": 20,
    "/api/v5/market/trades": 100,
    "/api/v5/market/history-trades": 20,
}
"""Requests in two seconds; what is not named here has the least that is documented."""
_RUBIK = "/api/v5/rubik/"
_TOO_MANY, _PASSING = "50011", frozenset({"50001", "50004", "50013", "50026"})


class Envelope(msgspec.Struct):
    """What every answer begins with."""

    code: str
    msg: str = ""


class TimeRow(msgspec.Struct):
    """The row of `public/time`, milliseconds."""

    ts: str


class Time(msgspec.Struct):
    """The answer of `public/time`."""

    data: tuple[TimeRow]


_read_time = msgspec.json.Decoder(Time).decode


def _find(answer: Envelope) -> Refusal | None:
    if answer.code == "0":
        return None
    return Refusal(answer.code, answer.msg, 2.0 if answer.code == _TOO_MANY else None, answer.code in _PASSING)


def read_time(body: bytes) -> int:
    """Return the exchange's time, microseconds UTC (it is told in milliseconds). Raises ValueError."""
    return int(_read_time(body).data[0].ts) * 1_000


RULES = RestRules(
    rates=(
        *(Rate(path.rsplit("/", 1)[1], units, 2, paths=(path,), weighed=False) for path, units in _PER_2_S.items()),
        Rate("statistics", 5, 2, paths=(_RUBIK,), apiece=True, weighed=False),
        Rate("others", 10, 2, but=(*_PER_2_S, _RUBIK), apiece=True, weighed=False),
    ),
    refusal=refusal_reader(Envelope, _find),
    pauses={429: 2.0, 403: 60.0},
)
"""Each endpoint has a limit of its own, shared by the markets; 429 clears within its window. Statistics are limited per
address and instrument, which is kept to per address."""
