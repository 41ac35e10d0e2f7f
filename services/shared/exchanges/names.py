"""Names: the asset that a base currency stands for, and which symbols can be part of a subject."""

from __future__ import annotations

import re

from schemas import subjects

_multiplied = re.compile(r"(1000+|1M)([A-Z].*)").fullmatch
_MULTIPLIERS = {"1M": "1000000"}


def asset_of(base: str) -> tuple[str, str]:
    """Return the asset behind a base currency and how many of it one unit is: 1000PEPE is 1000 PEPE, 1INCH is 1INCH."""
    match = _multiplied(base)
    if match is None:
        return base, "1"
    return match[2], _MULTIPLIERS.get(match[1], match[1])


def is_token(symbol: str) -> bool:
    """Whether a symbol can be part of a subject; one that cannot is left out."""
    try:
        subjects.token(symbol)
    except ValueError:
        return False
    return True
