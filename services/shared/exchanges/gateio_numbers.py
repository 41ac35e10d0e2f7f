"""Gate.io's numbers, which come as text or as JSON numbers, to plain decimals without losing a digit."""

from __future__ import annotations

import re
from decimal import Context, Decimal

import msgspec

from schemas.errors import BadFrame
from services.shared.exchanges.numbers import ALLOWED, check, product

_as_sent = re.compile(rb'("?)(-?[0-9]{1,20}+(?:\.[0-9]{1,18}+)?+)\1').fullmatch
_with_exponent = re.compile(rb"-?[0-9]{1,20}+(?:\.[0-9]{1,40}+)?+[eE][+-]?[0-9]{1,2}").fullmatch
_EMPTY = (b"", b'""', b"null")

_ONE_MICROSECOND = 3
"""Decimal places of a millisecond that are kept."""
_millis = re.compile(r"([0-9]{1,13})(?:\.([0-9]+))?").fullmatch
_seconds = re.compile(r"[0-9]{1,10}").fullmatch


def optional(raw: msgspec.Raw, name: str) -> str | None:
    """Return the digits of a number as the exchange wrote them, with or without quotes; None when it gave none.

    A JSON number in exponent form (`1e-7`) is written out, exactly. Raises BadFrame for anything else.
    """
    match = _as_sent(raw)
    if match is not None:
        return match[2].decode()
    body = bytes(raw)
    if body in _EMPTY:
        return None
    if _with_exponent(body) is not None:
        text = format(Decimal(body.decode()), "f")
        check(**{name: text}, signed=(name,))
        return text
    raise BadFrame(f"{name} is {body[:80].decode(errors='replace')}; allowed is {ALLOWED}")


def number(raw: msgspec.Raw, name: str) -> str:
    """Return the digits of a number that must be there and has no sign. Raises BadFrame."""
    found = signed(raw, name)
    if found.startswith("-"):
        raise BadFrame(f"{name} is {found!r}; allowed is {ALLOWED}")
    return found


def signed(raw: msgspec.Raw, name: str) -> str:
    """Return the digits of a number that must be there and may be negative. Raises BadFrame."""
    found = optional(raw, name)
    if found is None:
        raise BadFrame(f"{name} is missing; allowed is {ALLOWED}")
    return found


def unsigned_or_none(raw: msgspec.Raw, name: str) -> str | None:
    """Return the digits of a number without sign; None when the exchange left it empty. Raises BadFrame."""
    return None if optional(raw, name) is None else number(raw, name)


def direction(raw: msgspec.Raw, name: str) -> tuple[bool, str]:
    """Return whether a signed count of contracts sells, and the count without its sign. Raises BadFrame for zero."""
    found = signed(raw, name)
    count = found.removeprefix("-")
    if not count.strip("0."):
        raise BadFrame(f"{name} is {found}: neither a buy nor a sale")
    return found.startswith("-"), count


def micros(raw: msgspec.Raw, name: str) -> int:
    """Return microseconds of a time in milliseconds, as number or text; what is finer than that is cut off."""
    found = optional(raw, name)
    match = _millis(found or "")
    if match is None:
        raise BadFrame(f"{name} is {found!r}; allowed are milliseconds")
    fraction = (match[2] or "")[:_ONE_MICROSECOND].ljust(_ONE_MICROSECOND, "0")
    return int(match[1]) * 1_000 + int(fraction)


def seconds(raw: msgspec.Raw, name: str) -> int:
    """Return microseconds of a time in whole seconds, as number or text. Raises BadFrame."""
    found = optional(raw, name)
    if found is None or _seconds(found) is None:
        raise BadFrame(f"{name} is {found!r}; allowed are seconds")
    return int(found) * 1_000_000


_EXACT = Context(prec=80)


def minus(number: str, other: str, name: str) -> str:
    """Return `number` - `other` exactly; both are checked numbers. Raises BadFrame by `name` when it is negative."""
    text = format(_EXACT.subtract(Decimal(number), Decimal(other)), "f")
    check(**{name: text})  # type: ignore[arg-type]  # `signed` is none of the names
    return text


class _Level(msgspec.Struct, gc=False):
    p: msgspec.Raw
    s: msgspec.Raw


_decode_levels = msgspec.json.Decoder(list[_Level]).decode


def triples(raw: msgspec.Raw, name: str, contract_size: str) -> msgspec.Raw:
    """Return a side of a contract book, `[{"p":price,"s":contracts},...]`, as `[[price,base quantity,contracts],...]`.

    Prices and contracts are text or numbers; the base quantity is exact. Raises BadFrame naming the level.
    """
    try:
        found = _decode_levels(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"{name} is not a list of levels: {error}") from None
    made = []
    for index, level in enumerate(found):
        price = number(level.p, f"{name}[{index}] p")
        contracts = number(level.s, f"{name}[{index}] s")
        made.append(f'["{price}","{product(contracts, contract_size)}","{contracts}"]')
    return msgspec.Raw(f"[{','.join(made)}]".encode())
