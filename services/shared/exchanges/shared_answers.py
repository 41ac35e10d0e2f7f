"""Reading answers: what may go wrong, and an instrument list read once, however many partitions it is filed in."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import msgspec

from schemas.errors import BadFrame
from schemas.frames import RawFrame
from schemas.records import Instrument
from services.shared.exchanges.declaration import AUDIT, Listing, Parser, Poll

T = TypeVar("T")

AUDIT_EVERY_S = 600
"""How often each book is compared with the exchange's own; with 100 levels it costs little of any budget."""

AUDIT_LIMIT = 100
"""Levels a side that are compared, where the exchange leaves the choice."""

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a JSON decoder raises on bytes that are not what they should be; the last where they nest without end."""


def answer_reader(answer: type[T]) -> Callable[[RawFrame], T]:
    """Return a function that reads one REST answer. It raises BadFrame when the bytes are not that answer."""
    return frame_reader(answer, "not an answer of", strict=True)


def frame_reader(
    form: type[T], otherwise: str = "not a frame of channel", *, strict: bool = False
) -> Callable[[RawFrame], T]:
    """Return a function that reads frames of one form, and where it is not `strict` a number that is told as a text.

    It raises BadFrame, `otherwise` and the channel's name, when the bytes are not of that form.
    """
    decode = msgspec.json.Decoder(form, strict=strict).decode

    def read(frame: RawFrame) -> T:
        try:
            return decode(frame.body)
        except UNREADABLE as error:
            raise BadFrame(f"{otherwise} {frame.channel}: {error}") from None

    return read


def audit_poll(path: str, weight: int, parse: Parser) -> Poll:
    """Return the poll that asks for a snapshot of each book to compare ours with; its update ids are the stream's."""
    return Poll(AUDIT, ("book_audit",), path, weight=weight, parse=parse, every_s=AUDIT_EVERY_S)


def read_once(make: Callable[[RawFrame], tuple[Instrument, ...]]) -> Parser:
    """Return the parser of an instrument list that `make` reads.

    The collector publishes one answer into every partition, and one process may read them all: the last answer's
    instruments are shared instead of being made sixteen times.
    """

    @lru_cache(maxsize=1)
    def parse_body(frame: _ByContent) -> tuple[Instrument, ...]:
        return make(frame.frame)

    def parse(frame: RawFrame, listing: Listing) -> tuple[Instrument, ...]:
        """Parse the instrument list; our receive time files it."""
        return parse_body(_ByContent(frame))

    return parse


class _ByContent:
    """A frame as a cache key: the same answer, received at the same moment."""

    __slots__ = ("_key", "frame")

    def __init__(self, frame: RawFrame) -> None:
        self.frame = frame
        self._key = (frame.exchange, frame.market, frame.received_at, frame.body)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByContent) and self._key == other._key
