"""The book against a naive one, which keeps decimals in a dictionary."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.normaliser.book import Book

Levels = list[tuple[str, str]]


def raw(levels: Levels) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(levels, separators=(",", ":")).encode())


class NaiveBook:
    def __init__(self, bids: Levels, asks: Levels) -> None:
        self.sides: tuple[dict[Decimal, str], dict[Decimal, str]] = ({}, {})
        self.change(bids, asks)

    def change(self, bids: Levels, asks: Levels) -> None:
        for side, levels in zip(self.sides, (bids, asks), strict=True):
            for price, quantity in levels:
                if Decimal(quantity) == 0:
                    side.pop(Decimal(price), None)
                else:
                    side[Decimal(price)] = quantity

    def top(self, count: int) -> list[list[tuple[Decimal, str]]]:
        bids, asks = (sorted(side.items()) for side in self.sides)
        return [bids[::-1][:count], asks[:count]]


def told(book: Book, count: int) -> list[list[tuple[Decimal, str]]]:
    return [[(Decimal(price), quantity) for price, quantity in json.loads(bytes(side))] for side in book.top(count)]


def test_levels_are_told_best_first_in_the_exchanges_own_digits() -> None:
    book = Book(1, raw([("99.10", "1.0"), ("98.00", "2")]), raw([("100.00", "3"), ("101.50", "0.50")]), 1000)
    book.change(2, raw([("99.20", "7.000")]), raw([("100.00", "0.000")]))
    bids, asks = book.top(2)
    assert bytes(bids) == b'[["99.20","7.000"],["99.10","1.0"]]'
    assert bytes(asks) == b'[["101.50","0.50"]]'
    assert book.sequence == 2


def test_one_price_written_in_two_ways_is_one_level() -> None:
    book = Book(1, raw([("0.10", "1")]), raw([]), 1000)
    book.change(2, raw([("0.1", "2"), ("0.100", "3"), ("0.1", "4")]), raw([]))
    assert bytes(book.top(5)[0]) == b'[["0.1","4"]]'
    book.change(3, raw([("0.1000", "0.0000")]), raw([]))
    assert bytes(book.top(5)[0]) == b"[]"


def test_no_digit_is_lost_that_a_float_would_lose() -> None:
    low, high = "12345678901234567890.000000000000000001", "12345678901234567890.000000000000000002"
    book = Book(1, raw([(low, "1"), (high, "2")]), raw([]), 1000)
    assert bytes(book.top(1)[0]) == f'[["{high}","2"]]'.encode()


def test_beyond_a_snapshot_that_was_cut_nothing_is_claimed() -> None:
    book = Book(1, raw([("99", "1"), ("98", "1")]), raw([("100", "1")]), 2)
    book.change(2, raw([("97", "5"), ("99", "0")]), raw([]))
    assert bytes(book.top(5)[0]) == b'[["98","1"]]'
    assert not book.proves(2)
    assert book.proves(1)
    whole = Book(1, raw([("99", "1")]), raw([("100", "1")]), 2)
    assert whole.proves(20)


def test_a_book_is_crossed_when_its_best_bid_is_not_below_its_best_ask() -> None:
    book = Book(1, raw([("99", "1")]), raw([("100", "1")]), 1000)
    assert not book.crossed()
    book.change(2, raw([("100.0", "1")]), raw([]))
    assert book.crossed()


def test_sides_written_with_different_decimal_places_are_compared_as_numbers() -> None:
    book = Book(1, raw([("99.5", "1")]), raw([("99.75", "1")]), 1000)
    assert not book.crossed()
    book.change(2, raw([("99.750", "2")]), raw([]))
    assert book.crossed()
    assert bytes(book.top(2)[0]) == b'[["99.750","2"],["99.5","1"]]'


def test_far_levels_are_given_up_and_no_longer_claimed() -> None:
    levels = [(str(price), "1") for price in range(5_000, 4_000, -1)]
    book = Book(1, raw(levels), raw([]), 1_000)
    book.change(2, raw([(str(price), "1") for price in range(5_001, 6_000)]), raw([]))
    book.settle()
    assert len(book) == 1_000
    assert not book.proves(1_001)
    book.change(3, raw([("4500", "9")]), raw([]))
    assert len(book) == 1_000


prices = st.integers(min_value=1, max_value=60).map(lambda tick: f"{Decimal(tick) / 4:.2f}")
odd_prices = st.one_of(prices, prices.map(lambda price: price + "0"), prices.map(lambda price: price[:-1]))
quantities = st.sampled_from(["0", "0.000", "1", "2.5", "0.001"])


@st.composite
def changes(draw: st.DrawFn, price: st.SearchStrategy[str]) -> tuple[Levels, Levels]:
    side = st.lists(st.tuples(price, quantities), max_size=8)
    return draw(side), draw(side)


@settings(max_examples=150, deadline=None)
@given(st.lists(changes(odd_prices), max_size=12), st.lists(st.booleans(), min_size=12, max_size=12))
def test_any_changes_make_the_same_book_as_the_naive_one(items: list[tuple[Levels, Levels]], looks: list[bool]) -> None:
    # A price cut short may be another price: what counts is that both books read it alike.
    book, naive = Book(0, raw([]), raw([]), 1000), NaiveBook([], [])
    for number, ((bids, asks), look) in enumerate(zip(items, looks, strict=False), 1):
        book.change(number, raw(bids), raw(asks))
        naive.change(bids, asks)
        if look:
            assert told(book, 20) == naive.top(20)
    assert told(book, 20) == naive.top(20)
    assert told(Book.load(book.dump()), 100) == naive.top(100)


@settings(max_examples=50, deadline=None)
@given(changes(prices), st.lists(changes(prices), max_size=8))
def test_a_saved_book_goes_on_like_the_one_that_stayed(
    start: tuple[Levels, Levels], items: list[tuple[Levels, Levels]]
) -> None:
    stayed = Book(0, raw(start[0]), raw(start[1]), 5)
    for number, (bids, asks) in enumerate(items, 1):
        came_back = Book.load(stayed.dump())
        for book in (stayed, came_back):
            book.change(number, raw(bids), raw(asks))
        assert told(stayed, 100) == told(came_back, 100)
        assert stayed.proves(5) == came_back.proves(5)
