"""Spans against plain sets of numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.spans import Spans

numbers = st.sets(st.integers(0, 40))


@given(numbers, numbers)
def test_spans_compute_as_sets_do(one: set[int], other: set[int]) -> None:
    def plain(spans: Spans) -> set[int]:
        assert all(last + 1 < first for (_, last), (first, _) in zip(spans.pairs, spans.pairs[1:], strict=False))
        return {number for first, last in spans for number in range(first, last + 1)}

    a, b = Spans.of(one), Spans.of(other)
    assert plain(a) == one
    assert plain(a | b) == one | other
    assert plain(a - b) == one - other
    assert plain(a & b) == one & other
    assert a.count == len(one) and bool(a) == bool(one)
    assert {number for number in range(42) if number in a} == one
    assert Spans.parse(str(a)) == a
    if one:
        assert (a.first, a.last) == (min(one), max(one))


def test_pairs_that_touch_or_overlap_become_one() -> None:
    assert Spans([(5, 9), (1, 3), (4, 4), (8, 20), (30, 29)]).pairs == ((1, 20),)
    assert str(Spans([(1, 1), (9, 12)])) == "1,9-12"


@pytest.mark.parametrize("text", ["x", "1-", "-1", "1-2-3", "1,,2", "1 - 2"])
def test_a_text_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number or a span"):
        Spans.parse(text)
