"""A batch that ClickHouse has refused: which rows are to blame, found while the others go in.

Rows that look wrong (`suspicious`) are tried alone, the rest together; whatever is refused and has more than one row is
halved. The order and the cuts depend only on the rows, the suspects and ClickHouse's verdicts, and every part has a
token of its own: repeated after a crash, the parts that were stored are stored already.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import msgspec
import orjson

from schemas import tables
from services.storage_batcher.core import Message

_is_json = msgspec.json.Decoder(msgspec.Raw).decode


def unfit(body: bytes) -> str | None:
    """Return why a body cannot be one line of the rows that ClickHouse reads, or None.

    Such a body would not merely be refused: two objects in it would be two rows, an empty one would be none, and a
    torn one could swallow its neighbour.
    """
    if not body.startswith(b"{"):
        return "not a JSON object"
    if b"\n" in body:
        return "a line end inside"
    try:
        _is_json(body)
    except msgspec.DecodeError as error:
        return f"not JSON: {error}"
    return None


_NUMBER = re.compile(r"-?\d{1,20}(\.\d+)?")


def _is_number(value: object) -> bool:
    return isinstance(value, str) and _NUMBER.fullmatch(value) is not None


def _is_time_or_count(value: object) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _is_levels(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(level, list) and all(_is_number(number) for number in level) for level in value
    )


_CHECKS: tuple[tuple[str, Callable[[object], bool]], ...] = (
    ("Array", _is_levels),
    ("Decimal", _is_number),
    ("Int64", _is_time_or_count),
    ("Bool", lambda value: isinstance(value, bool)),
    ("String", lambda value: isinstance(value, str)),
)


def suspicious(table: tables.Table) -> Callable[[bytes], bool]:
    """Return a check that tells whether a row looks wrong for a table.

    A guess that saves inserts, not a verdict: what looks right and is refused is found by halving, and what looks wrong
    is still tried.
    """
    checks = []
    for column in table.columns:
        check = next(check for word, check in _CHECKS if word in column.input_type)
        has_default = (column.expression or "").startswith("ifNull")
        required = "Nullable" not in column.type and "Array" not in column.type and not has_default
        checks.append((column.name, required, check))

    def looks_wrong(body: bytes) -> bool:
        try:
            row = orjson.loads(body)
        except orjson.JSONDecodeError:
            return True
        for name, required, check in checks:
            value = row.get(name)
            if value is None:
                if required:
                    return True
            elif not check(value):
                return True
        return False

    return looks_wrong


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a refused batch, in order."""

    rows: Sequence[Message]

    def token(self, batch: str) -> str:
        """Return the part's insert token. No two parts of a batch have the same first and last row."""
        return f"{batch}/{self.rows[0].sequence}-{self.rows[-1].sequence}"


class Isolation:
    """The search: take `next`, try it, say `stored` or `refused`, until there is no next."""

    def __init__(self, rows: Sequence[Message], suspects: Collection[int]) -> None:
        rest = [row for row in rows if row.sequence not in suspects]
        self._parts = [Part((row,)) for row in reversed(rows) if row.sequence in suspects]
        if rest:
            self._parts.append(Part(rest))

    def next(self) -> Part | None:
        """Return the part to be tried now, or None when every row has its verdict."""
        return self._parts[-1] if self._parts else None

    def stored(self) -> None:
        """The part is in the table."""
        self._parts.pop()

    def refused(self) -> Message | None:
        """The part was refused: return its row if it was one alone, else it is halved and None is returned."""
        rows = self._parts.pop().rows
        if len(rows) == 1:
            return rows[0]
        middle = len(rows) // 2
        self._parts += (Part(rows[middle:]), Part(rows[:middle]))
        return None
