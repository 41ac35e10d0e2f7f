"""How long is gathered: longer while batches are large, no longer than allowed, and back again."""

from __future__ import annotations

from services.shared.runtime.gathering import Gathering


def test_large_batches_make_it_longer_and_small_ones_shorter() -> None:
    gathering = Gathering(0.005, plenty=100, most=4)
    told = []
    for count in (100, 101, 250, 500, 500, 26, 24, 24, 24):
        gathering.took(count)
        told.append(gathering.seconds)
    assert told == [0.005, 0.01, 0.02, 0.02, 0.02, 0.02, 0.01, 0.005, 0.005]


def test_what_passed_since_it_began_counts() -> None:
    gathering = Gathering(0.25, plenty=100, most=4)
    assert gathering.left(10.0, 10.0) == 0.25
    assert gathering.left(10.0, 10.125) == 0.125
    assert gathering.left(10.0, 11.0) == 0.0


def test_nothing_is_gathered_where_no_time_is_given() -> None:
    gathering = Gathering(0.0, plenty=100, most=4)
    gathering.took(1_000)
    assert gathering.left(10.0, 10.0) == 0.0
