"""MEXC's numbers on contracts: bare JSON numbers, with exponents or long tails of zeros, to plain decimals, exactly."""

from __future__ import annotations

import re
from decimal import Context, Decimal

import msgspec

from schemas.errors import BadFrame
from services.shared.exchanges.numbers import ALLOWED, check

_PLAIN = rb"(?:0|[1-9][0-9]{0,19}+)(?:\.[0-9]{1,18}+)?+"
_as_sent = re.compile(rb"-?" + _PLAIN).fullmatch
_convertible = re.compile(rb"-?[0-9]{1,40}+(?:\.[0-9]{1,60}+)?+(?:[eE][+-]?[0-9]{1,2})?").fullmatch
"""A JSON number that is worth writing out: it stays shorter than 200 digits."""
_EXACT = Context(prec=200)


def signed(raw: msgspec.Raw, name: str) -> str:
    """Return a JSON number that may be negative as a plain decimal.

    One that is plain keeps its digits as sent. One with an exponent (`9.75E+4`), or with more decimals than a table's
    number has (`25329.000000000000000000000000000000`), is written out without trailing zeros. Raises BadFrame.
    """
    if _as_sent(raw) is not None:
        return str(raw, "ascii")
    if _convertible(raw) is None:
        shown = bytes(raw)[:60].decode(errors="replace")
        raise BadFrame(f"{name} is {shown or 'missing'}; allowed is {ALLOWED}")
    text = format(_EXACT.normalize(Decimal(str(raw, "ascii"))), "f")
    check(signed=(name,), **{name: text})
    return text


def unsigned(raw: msgspec.Raw, name: str) -> str:
    """Return a JSON number without sign as a plain decimal. Raises BadFrame."""
    text = signed(raw, name)
    if text.startswith("-"):
        raise BadFrame(f"{name} is {text!r}; allowed is {ALLOWED}")
    return text


def is_missing(raw: msgspec.Raw) -> bool:
    """Whether a number is absent or null."""
    return len(raw) == 0 or bytes(raw) == b"null"


def difference(number: str, other: str) -> str:
    """Return `number` - `other` exactly, as a plain decimal."""
    return format(_EXACT.subtract(Decimal(number), Decimal(other)), "f")


Rows = list[list[msgspec.Raw]]
"""A side of a book as sent: [price, contracts, orders]."""


def level_texts(rows: Rows, name: str) -> list[tuple[str, str]]:
    """Return the (price, contracts) of a side as plain decimals. Raises BadFrame naming the level."""
    texts = []
    for index, row in enumerate(rows):
        if len(row) < 2:
            raise BadFrame(f"{name}[{index}] has {len(row)} numbers; allowed is [price, contracts, orders]")
        texts.append((unsigned(row[0], f"{name}[{index}] price"), unsigned(row[1], f"{name}[{index}] contracts")))
    return texts
