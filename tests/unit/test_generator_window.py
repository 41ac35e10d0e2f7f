"""A stream of a book's best levels: its changes, from the snapshot it begins with, give every later one."""

from __future__ import annotations

import random

import pytest

from services.exchange_simulator.generator.book import Book, Level
from services.exchange_simulator.generator.window import Window
from tests.generated_market import NOW_US
from tests.unit.test_generator_market import markets


@pytest.mark.parametrize("depth", [5, 20, 400])
def test_a_window_is_the_best_levels_after_every_step(depth: int) -> None:
    chance = random.Random(depth)
    went, came = 0, 0
    for market in markets(count=3, events_per_s=300.0):
        book, step = Book(market), market.step_at(NOW_US - chance.randrange(10**13))
        window, sides = Window(book.walker(step), book.snapshot(step, depth), depth), book.snapshot(step, depth)
        held = (dict(sides.bids), dict(sides.asks))
        for after in range(step + 1, step + 200):
            change = window.advance()
            for side, levels in zip(held, (change.bids, change.asks), strict=True):
                came += sum(ticks not in side for ticks, _ in levels)
                went += sum(not steps for _, steps in levels)
                applied(side, levels)
            now = book.snapshot(after, depth)
            assert change.step == after
            assert held == (dict(now.bids), dict(now.asks))
            assert len(now.bids) == len(now.asks) == depth
    assert min(came, went) > 100


def applied(side: dict[int, int], levels: list[Level]) -> None:
    assert [ticks for ticks, _ in levels] == sorted(ticks for ticks, _ in levels)
    for ticks, steps in levels:
        if steps:
            side[ticks] = steps
        else:
            del side[ticks]
