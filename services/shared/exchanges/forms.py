"""Frames that are written as they always are, read in one step: from the exchange's text straight to a record's.

A form is the exact text of a channel's frames with places in it. A frame that matches it, from its first byte to its
last, is valid JSON, says the same to every reader, and its numbers are numbers as `numbers.py` has them: what is cut
out at the places goes into the record's JSON as it stands. Everything else (an unknown field, another order of keys, a
blank, an escape) does not match and is read in full by the channel's parser. So a form makes nothing right or wrong: it
says what the parser would say, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from schemas import records
from schemas.records import Instrument
from services.shared.exchanges.numbers import LEVELS, PLAIN

Told = tuple[int, bytes]
"""By what a lane knows the record (its number; of a candle when it was sent, microseconds), and its JSON."""

ToldChange = tuple[int, int, int, bytes, bytes, bytes]
"""Where the change before this one ended, where this one ends, its `timestamp`, bids, asks, and its JSON as in step."""

Form = Callable[[bytes, int], Told | None]
"""(a frame, when it was received in microseconds) -> what it says, or None: it is to be read in full."""

ChangeForm = Callable[[bytes, int], ToldChange | None]
"""The same of book changes, where that the one before ended in `before` means by the market's rule that none is missing
between."""


Forms = Callable[[Instrument, bytes], Form | ChangeForm | None]
"""What a channel may declare beside its parser: (an instrument, one of its frames) -> the form in which its frames are
written, or None where that frame is written in none that is known."""


_PLACES = {
    "id": r"(0|[1-9][0-9]{0,17}+)",
    "millis": r"([1-9][0-9]{12}+)",
    "number": rf"({PLAIN})",
    "levels": rf"({LEVELS})",
    "name": r'([^"\\]++)',
    "flag": r"(true|false)",
    "code": r"[A-Z0-9_]{1,64}+",
}
"""The places of a form. A name is compared with the one that it must be; a code says nothing and is not kept."""

_PLACE = re.compile(r"<(\w+)>")


def written(text: str, *optional: str) -> re.Pattern[bytes]:
    """Return the pattern of a form, given as its frames are written; `optional` pieces of it may be missing."""
    pattern = _pattern(text)
    for piece in map(_pattern, optional):
        assert piece in pattern, f"{piece!r} is no piece of {pattern!r}"
        pattern = pattern.replace(piece, f"(?:{piece})?+")
    return re.compile(pattern.encode())


def _pattern(text: str) -> str:
    pieces = _PLACE.split(text)
    return "".join(_PLACES[piece] if at % 2 else re.escape(piece) for at, piece in enumerate(pieces))


def filled(kind: type[records.Record], **fields: object) -> Callable[[tuple[bytes | int, ...]], bytes]:
    """Return what makes a record's JSON of values, in the order in which the record declares its fields.

    `fields` are the fixed ones, and for the others `msgspec.Raw` with a place (`%b` for text, `%d` for an integer).
    """
    given = {name: value.replace("%", "%%") if isinstance(value, str) else value for name, value in fields.items()}
    return records.encode(kind(**given)).__mod__  # type: ignore[arg-type]


def plain_name(name: str) -> bytes | None:
    """Return a name as it stands in JSON; None when it cannot be written without an escape."""
    text = msgspec.json.encode(name)
    return text[1:-1] if b"\\" not in text else None
