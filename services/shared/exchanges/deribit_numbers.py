"""Deribit's JSON numbers to plain decimal texts, and its amounts to base currency and contracts.

What is written plainly keeps its digits as sent. An exponent (`2.081e-05`) is written out, exactly. Sizes: an inverse
future's amount is US dollars, any other amount is base currency; `contract_size` is in the unit of the amount.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, Inexact, InvalidOperation
from typing import NamedTuple

from msgspec import Raw

from schemas.errors import BadFrame
from schemas.records import Instrument
from services.shared.exchanges import numbers

_DIGITS = rb"(?:0|[1-9][0-9]{0,19}+)(?:\.[0-9]{1,18}+)?+"
_unsigned = re.compile(_DIGITS).fullmatch
_signed = re.compile(rb"-?" + _DIGITS).fullmatch
_any = re.compile(rb"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,2})?").fullmatch
"""A JSON number that is worth converting: written out it stays shorter than 200 digits."""

_EXACT = Context(prec=250)
_QUOTIENT = Context(prec=80, traps=[Inexact, DivisionByZero, InvalidOperation])
_PLACES = Decimal(1).scaleb(-18)


def plain(raw: Raw, name: str, *, signed: bool = False) -> str:
    """Return a JSON number as a plain decimal with the same digits. Raises BadFrame naming it."""
    if (_signed if signed else _unsigned)(raw) is not None:
        return str(raw, "ascii")
    if _any(raw) is None:
        raise _refusal(raw, name)
    text = format(Decimal(str(raw, "ascii")), "f")
    numbers.check(**{name: text}, signed=(name,) if signed else ())
    return text


def optional(raw: Raw, name: str, *, signed: bool = False) -> str | None:
    """Return a JSON number as `plain` does, or None where it is absent or null."""
    return None if is_missing(raw) else plain(raw, name, signed=signed)


def statistic(raw: Raw, name: str, *, signed: bool = False) -> str:
    """Return a number that the exchange has computed: a rate, a sum. Raises BadFrame naming it.

    Such numbers come with all the digits of a float (`-4.739622041017375e-7`): past the 18th decimal, where a table's
    number ends, they are rounded half-even.
    """
    if (_signed if signed else _unsigned)(raw) is not None:
        return str(raw, "ascii")
    if _any(raw) is None:
        raise _refusal(raw, name)
    value = Decimal(str(raw, "ascii"))
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -18:
        value = value.quantize(_PLACES, ROUND_HALF_EVEN, _EXACT)
        value = value.normalize(_EXACT) if value else Decimal(0)
    text = format(value, "f")
    numbers.check(**{name: text}, signed=(name,) if signed else ())
    return text


def is_missing(raw: Raw) -> bool:
    """Whether a number is absent or null."""
    return len(raw) == 0 or bytes(raw) == b"null"


def _refusal(raw: Raw, name: str) -> BadFrame:
    shown = bytes(raw)[:60].decode(errors="replace")
    return BadFrame(f"{name} is {shown!r}; allowed is {numbers.ALLOWED}")


class Size(NamedTuple):
    """A size in base currency, and the same in contracts."""

    quantity: str
    contracts: str


class Sizes:
    """How an instrument's amounts become base currency and contracts."""

    __slots__ = ("_dollars", "_size")

    def __init__(self, instrument: Instrument) -> None:
        """Take an instrument of this exchange. An inverse option's amount is base currency, as its contract is."""
        self._dollars = instrument.contract_kind == "inverse" and instrument.market != "option"
        size = Decimal(instrument.contract_size or "1")
        self._size = None if size == 1 else size

    def of(self, amount: str, price: str) -> Size:
        """Return the size of an amount at a price, both plain decimals. Raises BadFrame.

        Base currency of dollars is amount / price, rounded half-even to 18 places. Contracts are exact.
        """
        contracts = amount
        if self._size is not None:
            try:
                contracts = format(_QUOTIENT.divide(Decimal(amount), self._size), "f")
            except Inexact:
                raise BadFrame(f"amount {amount} is no whole part of a contract of {self._size}") from None
            numbers.check(contracts=contracts)
        if not self._dollars:
            return Size(amount, contracts)
        if not amount.strip("0."):
            return Size("0", contracts)  # of an empty side, whose price is 0 too
        return Size(numbers.inverse(amount, "1", price), contracts)

    def best(self, price_raw: Raw, amount_raw: Raw, name: str) -> tuple[str, str] | tuple[None, None]:
        """Return price and base quantity of a side's best level; of an empty side, whose price is 0, neither."""
        price = optional(price_raw, f"{name}_price")
        if price is None or not price.strip(numbers.ZERO):
            return None, None
        return price, self.of(plain(amount_raw, f"{name}_amount"), price).quantity
