"""What MEXC allows one address to ask by REST, and how it says no. Source: its documentation of 2026."""

from __future__ import annotations

import msgspec

from services.shared.exchanges.refusals import refusal_reader
from services.shared.exchanges.rest_rules import Rate, Refusal, RestRules

_CONTRACT = "/api/v1/contract"
_DETAIL = f"{_CONTRACT}/detail"
_WITH_SYMBOL = tuple(
    f"{_CONTRACT}/{name}/"
    for name in ("depth", "depth_commits", "funding_rate", "kline", "deals", "index_price", "fair_price")
)
"""Endpoints whose path ends in a symbol: one endpoint each, whatever the symbol."""
_SPOT_TOO_MANY, _SPOT_PASSING = 429, frozenset({500, 503, 504, 700007})
_CONTRACT_TOO_MANY, _CONTRACT_PASSING = 510, frozenset({500, 501})


class SpotError(msgspec.Struct):
    """The body of an error of spot."""

    code: int
    msg: str | None = None


class SpotTime(msgspec.Struct):
    """The answer of spot's `/time`."""

    serverTime: int


class Envelope(msgspec.Struct):
    """What the contract market's answers begin with; a book may come without."""

    success: bool
    code: int = 0
    message: str | None = None


class ContractTime(msgspec.Struct):
    """The answer of contracts' `ping`, milliseconds."""

    data: int


_read_spot_time = msgspec.json.Decoder(SpotTime).decode
_read_contract_time = msgspec.json.Decoder(ContractTime).decode


def _find_spot(error: SpotError) -> Refusal | None:
    if error.code in (0, 200):
        return None
    pause_s = 60.0 if error.code == _SPOT_TOO_MANY else None
    return Refusal(str(error.code), error.msg or "", pause_s, error.code in _SPOT_PASSING)


def _find_contract(answer: Envelope) -> Refusal | None:
    if answer.success and not answer.code:
        return None
    pause_s = 2.0 if answer.code == _CONTRACT_TOO_MANY else None
    return Refusal(str(answer.code), answer.message or "", pause_s, answer.code in _CONTRACT_PASSING)


def read_spot_time(body: bytes) -> int:
    """Return spot's time, microseconds UTC (it is told in milliseconds)."""
    return _read_spot_time(body).serverTime * 1_000


def read_contract_time(body: bytes) -> int:
    """Return the contract market's time, microseconds UTC (it is told in milliseconds)."""
    return _read_contract_time(body).data * 1_000


SPOT = RestRules(
    pool="spot", rates=(Rate("endpoint", 500, 10, apiece=True),), refusal=refusal_reader(SpotError, _find_spot)
)
CONTRACT = RestRules(
    pool="contract",
    rates=(
        Rate("detail", 1, 5, paths=(_DETAIL,), weighed=False),
        *(Rate(path.split("/")[-2], 20, 2, paths=(path,), weighed=False) for path in _WITH_SYMBOL),
        Rate("endpoint", 20, 2, but=(_DETAIL, *_WITH_SYMBOL), apiece=True, weighed=False),
    ),
    refusal=refusal_reader(Envelope, _find_contract),
)
"""Spot and contracts are different servers, each with a limit for every endpoint of its own."""
