"""Book levels of contracts: price, base quantity and contracts, exactly."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import BadFrame
from services.normaliser.book import Book
from services.shared.exchanges.numbers import contract_levels, inverse, inverse_levels, product


def test_linear_contracts_are_converted_exactly_and_kept() -> None:
    side = contract_levels([("8476.98", "415", "0", "13"), ("8475.5", "0")], "0.01", "bids")
    assert bytes(side) == b'[["8476.98","4.15","415"],["8475.5","0.00","0"]]'
    raw = contract_levels(msgspec.Raw(b'[["8476.98", "415", "0", "13"]]'), "1", "bids")
    assert bytes(raw) == b'[["8476.98","415","415"]]'
    assert bytes(contract_levels([], "0.01", "asks")) == b"[]"


def test_inverse_contracts_are_converted_at_the_price_of_their_level() -> None:
    side = inverse_levels([["3.0", "2"], ["50000", "0"]], "10", "asks")
    assert bytes(side) == b'[["3.0","6.666666666666666667","2"],["50000","0","0"]]'


@pytest.mark.parametrize(
    ("side", "text"),
    [
        ([("1", "NaN")], "bids[0] contracts is 'NaN'"),
        ([("1", "2"), ("-1", "2")], "bids[1] price is '-1'"),
        ([("1", "1e5")], "bids[0] contracts is '1e5'"),
        ([("1",)], "bids is not a list"),
        (msgspec.Raw(b'[["1",2]]'), "bids is not a list"),
        (msgspec.Raw(b"<html>"), "bids is not a list"),
        ([("1", "0.000000000000000001")], "allowed is"),
    ],
)
def test_what_is_no_number_is_refused_by_level_and_value(side: msgspec.Raw | list[tuple[str, ...]], text: str) -> None:
    with pytest.raises(BadFrame) as caught:
        contract_levels(side, "0.1", "bids")
    assert text in str(caught.value)


def test_results_that_no_column_holds_are_refused() -> None:
    with pytest.raises(BadFrame, match=r"price is '0\.0'"):
        inverse("1", "10", "0.0")
    with pytest.raises(BadFrame, match="price is '0'"):
        inverse_levels([("0", "1")], "10", "bids")
    with pytest.raises(BadFrame, match="allowed is"):
        product("99999999999999999999", "10")
    with pytest.raises(BadFrame, match="allowed is"):
        inverse("99999999999999999999", "1", "0.000000000000000001")


levels = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3)), max_size=12)


@given(st.lists(levels, max_size=6))
def test_a_book_of_contracts_keeps_all_three_and_drops_what_is_zero(items: list[list[tuple[int, int]]]) -> None:
    book = Book(0, msgspec.Raw(b"[]"), msgspec.Raw(b"[]"), 1_000)
    kept: dict[int, int] = {}
    for number, item in enumerate(items, 1):
        pairs = [(f"{price}.5", str(contracts)) for price, contracts in item]
        book.change(number, contract_levels(pairs, "0.01", "bids"), msgspec.Raw(b"[]"))
        kept.update(dict(item))
    told = json.loads(bytes(book.top(50)[0]))
    wanted = sorted(((price, contracts) for price, contracts in kept.items() if contracts), reverse=True)
    assert told == [[f"{price}.5", f"0.0{contracts}", str(contracts)] for price, contracts in wanted]
    assert Book.load(book.dump()).top(50) == book.top(50)
