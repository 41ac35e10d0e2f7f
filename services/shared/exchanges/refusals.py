"""Reading the error out of a REST answer that is one. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from services.shared.exchanges.rest_rules import Refusal
from services.shared.exchanges.shared_answers import UNREADABLE

E = TypeVar("E", bound=msgspec.Struct)


def refusal_reader(envelope: type[E], find: Callable[[E], Refusal | None]) -> Callable[[bytes], Refusal | None]:
    """Return a recogniser that reads an answer as `envelope`; what does not read as one holds no error it knows."""
    decode = msgspec.json.Decoder(envelope).decode

    def refusal(body: bytes) -> Refusal | None:
        try:
            return find(decode(body))
        except UNREADABLE:
            return None

    return refusal
