"""What Binance allows one address to ask by REST, and how it says no. Source: its documentation of 2026-07."""

from __future__ import annotations

import msgspec

from services.shared.exchanges.refusals import refusal_reader
from services.shared.exchanges.rest_rules import Rate, Refusal, RestRules, tiered

USED = "x-mbx-used-weight-1m"
_STATISTICS = "/futures/data/"
_FUNDING = ("/fapi/v1/fundingRate", "/fapi/v1/fundingInfo")
_TOO_MANY, _OVERLOADED, _SHUTTING_DOWN, _TIMEOUT, _UNKNOWN = -1003, -1008, -1016, -1007, -1000


class Error(msgspec.Struct):
    """The body of an error."""

    code: int
    msg: str


class Time(msgspec.Struct):
    """The answer of `/time`."""

    serverTime: int


class RateLimit(msgspec.Struct):
    """One of `exchangeInfo`'s limits: so many in `intervalNum` times `interval`."""

    rateLimitType: str
    interval: str
    intervalNum: int
    limit: int


class RateLimits(msgspec.Struct):
    """The limits in an `exchangeInfo`."""

    rateLimits: list[RateLimit] = []


_read_limits = msgspec.json.Decoder(RateLimits).decode
_read_time = msgspec.json.Decoder(Time).decode


def _find(error: Error) -> Refusal:
    passing = error.code in (_OVERLOADED, _SHUTTING_DOWN, _TIMEOUT, _UNKNOWN)
    return Refusal(str(error.code), error.msg, 60.0 if error.code == _TOO_MANY else None, passing)


def read_time(body: bytes) -> int:
    """Return the exchange's time, microseconds UTC (it is told in milliseconds)."""
    return _read_time(body).serverTime * 1_000


def told_limits(body: bytes) -> dict[str, int]:
    """Return the weight a minute that an `exchangeInfo` names; nothing where it names none, or is none."""
    try:
        limits = _read_limits(body).rateLimits
    except msgspec.DecodeError:
        return {}
    minute = ("REQUEST_WEIGHT", "MINUTE", 1)
    found = [told.limit for told in limits if (told.rateLimitType, told.interval, told.intervalNum) == minute]
    return {"weight": found[0]} if found and found[0] > 0 else {}


refusal = refusal_reader(Error, _find)

SPOT = RestRules(pool="spot", rates=(Rate("weight", 6_000, 60, used_header=USED),), refusal=refusal, told=told_limits)
FUTURES = RestRules(
    pool="futures",
    rates=(
        Rate("weight", 2_400, 60, but=(_STATISTICS, *_FUNDING), used_header=USED),
        Rate("statistics", 1_000, 300, paths=(_STATISTICS,), weighed=False),
        Rate("funding", 500, 300, paths=_FUNDING, weighed=False),
    ),
    refusal=refusal,
    told=told_limits,
)
"""Statistics and settled funding weigh nothing and have limits of their own."""


def spot_depth_weight(limit: int) -> int:
    """Return the weight of a spot book of so many levels a side."""
    return tiered(limit, ((100, 5), (500, 25), (1_000, 50), (5_000, 250)))


def futures_depth_weight(limit: int) -> int:
    """Return the weight of a futures book of so many levels a side."""
    return tiered(limit, ((50, 2), (100, 5), (500, 10), (1_000, 20)))
