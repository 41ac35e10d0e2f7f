"""Exact money: prices, quantities and rates as whole numbers of small units, so that no digit is ever rounded away.

Prices and quantities count per unit of the asset, not of the instrument: one unit of 1000PEPE is 1000 PEPE. A
multiplier is a power of ten, at most 10^12 or at least 10^-12, so 18 decimals become at most 30.
"""

from __future__ import annotations

DIGITS = 30
"""Prices and quantities are whole numbers of 10^-30; amounts of money, their products, of 10^-60."""

RATE_DIGITS = 9
RATE = 10**RATE_DIGITS
"""Fees and thresholds are whole numbers of 10^-9; an amount times a rate is of 10^-69."""

MOST_EXPONENT = 12
"""The largest power of ten that a multiplier may be, up or down."""

SHOWN_DECIMALS = 18
"""What the tables hold; beyond it amounts are rounded half to even when they are shown, never before."""

PERCENT_DECIMALS = 8

_POWERS = [1]
for _ in range(2 * DIGITS + RATE_DIGITS):
    _POWERS.append(10 * _POWERS[-1])


def whole(text: str, digits: int) -> int:
    """Return a plain decimal as a whole number of 10^-`digits`. Raises ValueError when it is none, or is finer."""
    units, _, fraction = text.partition(".")
    left = digits - len(fraction)
    if left < 0:
        raise ValueError(f"{text!r} is finer than 10^-{digits}")
    return int(units + fraction) * _POWERS[left]


def exponent_of(multiplier: str) -> int:
    """Return the power of ten that a multiplier is. Raises ValueError when it is none, or out of bounds."""
    scaled = whole(multiplier, MOST_EXPONENT)
    text = str(scaled)
    if scaled <= 0 or text.strip("0") != "1":
        raise ValueError(f"multiplier {multiplier!r} is no power of ten")
    exponent = len(text) - 1 - MOST_EXPONENT
    if exponent > MOST_EXPONENT:
        raise ValueError(f"multiplier {multiplier!r} is above 10^{MOST_EXPONENT}")
    return exponent


def divided(numerator: int, denominator: int) -> int:
    """Return the quotient rounded half to even; `denominator` is above zero."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and quotient & 1):
        quotient += 1
    return quotient


def power(exponent: int) -> int:
    """Return a power of ten, from 0 up."""
    return _POWERS[exponent]


def text(value: int, digits: int) -> str:
    """Return a whole number of 10^-`digits` as a plain decimal of at most 18 decimals, without zeros at its end."""
    if digits > SHOWN_DECIMALS:
        value = divided(value, _POWERS[digits - SHOWN_DECIMALS])
        digits = SHOWN_DECIMALS
    sign = "-" if value < 0 else ""
    units, fraction = divmod(abs(value), _POWERS[digits])
    if not fraction:
        return f"{sign}{units}"
    return f"{sign}{units}.{fraction:0{digits}d}".rstrip("0")


def percent(part: int, of: int) -> str:
    """Return `part` as percent of `of`, both in the same unit, to eight decimals, half to even."""
    return text(divided(part * _POWERS[PERCENT_DECIMALS + 2], of), PERCENT_DECIMALS)
