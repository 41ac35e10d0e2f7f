"""Sizes and sides of OKX's books to ours.

OKX's level is `["price","size","0","orders"]`. On spot the size is base currency, and `["price","size"]` is kept. On
contract markets it is a number of contracts, and the level becomes `["price","base quantity","contracts"]`.
"""

from __future__ import annotations

import re

import msgspec

from schemas.errors import BadFrame
from schemas.records import Instrument
from services.shared.exchanges.numbers import check, contract_levels, inverse, inverse_levels, product

_NUMBER = rb'"[0-9]{1,20}+(?:\.[0-9]{1,18}+)?+"'
_LEVEL = rb"\[" + _NUMBER + rb"," + _NUMBER + rb'(?:,"[0-9]{0,20}+")*+\]'
_checked = re.compile(rb"\[(?:" + _LEVEL + rb"(?:," + _LEVEL + rb")*+)?+\]").fullmatch
_pairs = re.compile(rb'\["([0-9.]++)","([0-9.]++)"').findall
_decode = msgspec.json.Decoder(list[list[str]]).decode
_encode = msgspec.json.Encoder().encode


def base_quantity(instrument: Instrument, size: str, price: str) -> str:
    """Return a size in base currency: itself on spot, by the size of a contract elsewhere. Both are checked numbers.

    Raises BadFrame where the result cannot be told: an inverse contract at no price, or a number that is none of ours.
    """
    contract_size = instrument.contract_size
    if contract_size is None:
        return size
    if instrument.contract_kind == "linear":
        return product(size, contract_size)
    return inverse(size, contract_size, price)


def levels(raw: msgspec.Raw, name: str, instrument: Instrument) -> msgspec.Raw:
    """Return a side of the book as our levels, best first as sent, digits untouched. Raises BadFrame naming a level."""
    contract_size = instrument.contract_size
    if contract_size is None:
        return _spot_levels(raw, name)
    if instrument.contract_kind == "linear":
        return contract_levels(raw, contract_size, name)
    return inverse_levels(raw, contract_size, name)


def _spot_levels(raw: msgspec.Raw, name: str) -> msgspec.Raw:
    if _checked(raw) is None:
        return _plain(raw, name)
    pairs = _pairs(raw)
    if not pairs:
        return msgspec.Raw(b"[]")
    return msgspec.Raw(b'[["' + b'"],["'.join([price + b'","' + size for price, size in pairs]) + b'"]]')


def _plain(raw: msgspec.Raw, name: str) -> msgspec.Raw:
    """Take levels that are not in the exchange's compact form: as long as they are levels. Raises BadFrame."""
    try:
        found = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"{name} is not a list of [price, size, ...]: {error}") from None
    for index, level in enumerate(found):
        if len(level) < 2:
            raise BadFrame(f"{name}[{index}] is {level!r}; allowed is [price, size, ...]")
        try:
            check(price=level[0], size=level[1])
        except BadFrame as error:
            raise BadFrame(f"{name}[{index}]: {error}") from None
    return msgspec.Raw(_encode([level[:2] for level in found]))
