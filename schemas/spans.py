"""Sets of whole numbers as spans: what is missing, what was asked for, what is there.

Trade ids and times come in runs, so a set of millions of them is a few pairs. The text form is what a header carries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self

Pair = tuple[int, int]
"""First and last number of a run, both inclusive."""


class Spans:
    """A set of whole numbers, kept as ascending runs that neither overlap nor touch. Never changed once made."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[Pair] = ()) -> None:
        """Join any pairs (first, last) into runs; one whose last lies before its first is empty."""
        merged: list[Pair] = []
        for first, last in sorted(pairs):
            if last < first:
                continue
            if merged and first <= merged[-1][1] + 1:
                if last > merged[-1][1]:
                    merged[-1] = (merged[-1][0], last)
            else:
                merged.append((first, last))
        self.pairs: tuple[Pair, ...] = tuple(merged)

    @classmethod
    def of(cls, numbers: Iterable[int]) -> Self:
        """Return the set of these numbers."""
        return cls((number, number) for number in numbers)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form: `5,9-12`, negative numbers not allowed. Raises ValueError naming what is wrong."""
        pairs = []
        for part in text.split(",") if text else ():
            first, dash, last = part.partition("-")
            if not first.isdecimal() or (dash and not last.isdecimal()):
                raise ValueError(f"{part!r} is not a number or a span such as 9-12")
            pairs.append((int(first), int(last if dash else first)))
        return cls(pairs)

    def __str__(self) -> str:
        """Return the text form."""
        return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in self.pairs)

    def __repr__(self) -> str:
        return f"Spans({self})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spans) and self.pairs == other.pairs

    def __hash__(self) -> int:
        return hash(self.pairs)

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    def __contains__(self, number: int) -> bool:
        low, high = 0, len(self.pairs)
        while low < high:
            middle = (low + high) // 2
            if self.pairs[middle][1] < number:
                low = middle + 1
            else:
                high = middle
        return low < len(self.pairs) and self.pairs[low][0] <= number

    def __or__(self, other: Spans) -> Spans:
        if not other.pairs:
            return self
        return Spans((*self.pairs, *other.pairs)) if self.pairs else other

    def __sub__(self, other: Spans) -> Spans:
        if not self.pairs or not other.pairs:
            return self
        left: list[Pair] = []
        cuts = other.pairs
        at = 0
        for first, last in self.pairs:
            while at < len(cuts) and cuts[at][1] < first:
                at += 1
            place = at
            while place < len(cuts) and cuts[place][0] <= last:
                if cuts[place][0] > first:
                    left.append((first, cuts[place][0] - 1))
                first = cuts[place][1] + 1
                place += 1
            if first <= last:
                left.append((first, last))
        return Spans(left)

    def __and__(self, other: Spans) -> Spans:
        return self - (self - other)

    def within(self, first: int, last: int) -> Spans:
        """Return the part from `first` to `last`, both inclusive."""
        return self & Spans(((first, last),))

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return sum(last - first + 1 for first, last in self.pairs)

    @property
    def first(self) -> int:
        """The least number. Raises IndexError when there is none."""
        return self.pairs[0][0]

    @property
    def last(self) -> int:
        """The greatest number. Raises IndexError when there is none."""
        return self.pairs[-1][1]
