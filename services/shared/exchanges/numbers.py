"""What counts as a number: the rule every price, size and rate on every exchange must pass.

A plain decimal that ClickHouse's Decimal(38, 18) holds: up to 20 digits, and an optional fraction of up to 18. An empty
text, NaN, Infinity or an exponent is refused. The digits themselves are never touched.

Checks run at the speed of one regular expression per frame: the values are joined, each with a space behind it, and
matched at once; only a refusal looks at them one by one to name the culprit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal

import msgspec

from schemas.errors import BadFrame

PLAIN = r"[0-9]{1,20}+(?:\.[0-9]{1,18}+)?+"
"""The pattern of a number without a sign."""
_LEVEL = rf'\["{PLAIN}","{PLAIN}"\]'
LEVELS = rf"\[(?:{_LEVEL}(?:,{_LEVEL})*+)?+\]"
"""The pattern of a side of a book as JSON, `[["price","quantity"],...]`, compact."""

Match = Callable[[str], "re.Match[str] | None"]

ALLOWED = "a plain decimal of up to 20 digits before the point and 18 after it"

ZERO = "0."
"""A checked number without a sign of which nothing is left when these are stripped is zero."""

_one_signed = re.compile(rf"-?{PLAIN}").fullmatch
_one_unsigned = re.compile(PLAIN).fullmatch
_all_levels = re.compile(LEVELS.encode()).fullmatch
_decode_levels = msgspec.json.Decoder(list[tuple[str, str]]).decode
_encode_levels = msgspec.json.Encoder().encode


def unsigned(count: int) -> Match:
    """Return a function that matches `count` numbers without a sign, each followed by one space."""
    return re.compile(rf"(?:{PLAIN} ){{{count}}}").fullmatch


def refuse(*, signed: tuple[str, ...] = (), **values: str | None) -> BadFrame:
    """Return the error that names the first of `values` that is no number; fields in `signed` may be negative."""
    for name, value in values.items():
        if value is not None and (_one_signed if name in signed else _one_unsigned)(value) is None:
            return _not_a_number(name, value)
    return BadFrame(f"numbers out of form: {values!r}")


def check(*, signed: tuple[str, ...] = (), **values: str | None) -> None:
    """Check numbers one by one, for frames that come seldom; an absent one (`None`) passes. Raises BadFrame."""
    for name, value in values.items():
        if value is not None and (_one_signed if name in signed else _one_unsigned)(value) is None:
            raise _not_a_number(name, value)


def _not_a_number(name: str, value: str) -> BadFrame:
    return BadFrame(f"{name} is {value!r}; allowed is {ALLOWED}")


def levels(raw: msgspec.Raw, name: str) -> msgspec.Raw:
    """Check a side of a book as it stands in the frame, `[["price","quantity"],...]`; return it in that compact form.

    Prices and quantities carry no sign. Raises BadFrame naming the level and its value.
    """
    if _all_levels(raw) is not None:
        return raw
    try:
        pairs = _decode_levels(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"{name} is not a list of [price, quantity]: {error}") from None
    for index, pair in enumerate(pairs):
        for part, value in zip(("price", "quantity"), pair, strict=True):
            if _one_unsigned(value) is None:
                raise _not_a_number(f"{name}[{index}] {part}", value)
    return msgspec.Raw(_encode_levels(pairs))


_EXACT = Context(prec=80)
_PLACES = Decimal(1).scaleb(-18)


def product(number: str, factor: str) -> str:
    """Return `number` x `factor` exactly, as a plain decimal: contracts to base currency on linear contracts.

    Both are checked numbers. Raises BadFrame when the result is none, being too large or too fine.
    """
    if factor == "1":
        return number
    return _fitting(format(_EXACT.multiply(Decimal(number), Decimal(factor)), "f"), number, factor)


def inverse(contracts: str, contract_size: str, price: str) -> str:
    """Return contracts x size / price, rounded half-even to 18 places: contracts to base currency on inverse ones.

    All are checked numbers. Raises BadFrame when the price is zero or the result is too large.
    """
    divisor = Decimal(price)
    if not divisor:
        raise BadFrame(f"price is {price!r}; allowed is a number above zero")
    value = _EXACT.divide(_EXACT.multiply(Decimal(contracts), Decimal(contract_size)), divisor)
    text = format(value.quantize(_PLACES, ROUND_HALF_EVEN, _EXACT).normalize(_EXACT), "f")
    return _fitting(text, contracts, contract_size)


def _fitting(result: str, *factors: str) -> str:
    if _one_signed(result) is None:
        raise BadFrame(f"{' x '.join(factors)} is {result}; allowed is {ALLOWED}")
    return result


Side = msgspec.Raw | Sequence[Sequence[str]]
"""A side of a book in contracts: per level price, contracts, and what else the exchange says; or the JSON of that."""

_decode_texts = msgspec.json.Decoder(list[list[str]]).decode
_all_unsigned = re.compile(rf"(?:{PLAIN} )*+").fullmatch


def contract_levels(side: Side, contract_size: str, name: str) -> msgspec.Raw:
    """Return a side of a linear contract's book as JSON triples `["price","base quantity","contracts"]`, exactly.

    `contract_size` is the instrument's, checked. Raises BadFrame naming the level and its value.
    """
    return _triples([(p, product(c, contract_size), c) for p, c in _contracts(side, name)])


def inverse_levels(side: Side, contract_size: str, name: str) -> msgspec.Raw:
    """Return a side of an inverse contract's book as such triples; base quantities are those of `inverse`."""
    return _triples([(p, inverse(c, contract_size, p), c) for p, c in _contracts(side, name)])


def _contracts(side: Side, name: str) -> list[tuple[str, str]]:
    """Return the checked (price, contracts) of a side."""
    try:
        rows = _decode_texts(side) if isinstance(side, msgspec.Raw) else side
        pairs = [(row[0], row[1]) for row in rows]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, IndexError) as error:
        raise BadFrame(f"{name} is not a list of [price, contracts, ...]: {error}") from None
    joined = "".join([f"{price} {contracts} " for price, contracts in pairs])
    if _all_unsigned(joined) is None or joined.count(" ") != 2 * len(pairs):  # "1 2" would pass for two numbers
        for index, pair in enumerate(pairs):
            for part, value in zip(("price", "contracts"), pair, strict=True):
                if _one_unsigned(value) is None:
                    raise _not_a_number(f"{name}[{index}] {part}", value)
    return pairs


def _triples(levels: list[tuple[str, str, str]]) -> msgspec.Raw:
    return msgspec.Raw(_encode_levels(levels))
