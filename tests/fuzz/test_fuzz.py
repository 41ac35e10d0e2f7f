"""50,000 frames of the million that `python -m benchmarks fuzz` fires."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from services.shared.exchanges.declaration import Market
from services.shared.exchanges.registry import MARKETS
from tests.fuzz.corpus import Corpus, corpora
from tests.fuzz.mutations import mutated
from tests.fuzz.run import Escaped, Fuzz, peak_bytes, run

COUNT = 50_000
SEED = 1
MOST_SAVED = 4 * 1024**2
"""Bytes that a core may have to remember of a few instruments, whatever it was told."""
MOST_GROWTH = 192 * 1024**2


@pytest.fixture(scope="module")
def recorded(recordings: Path) -> list[Corpus]:
    return corpora(recordings)


def test_nothing_but_bad_frame_comes_of_whatever_is_sent(recorded: list[Corpus]) -> None:
    before = peak_bytes()
    fired = run(recorded, COUNT, SEED)
    assert sum(fuzz.tally.parsed + fuzz.tally.refused for fuzz in fired) >= COUNT
    for fuzz in fired:
        name = f"{fuzz.market.exchange} {fuzz.market.market}"
        tally = fuzz.tally
        assert set(tally.channels) >= {*fuzz.market.channels, *fuzz.market.polls}, f"{name}: a parser was left out"
        assert tally.parsed > 100, f"{name}: what is not damaged must be read"
        assert tally.records > 0, f"{name}: nothing came through the core"
        assert tally.dead > 100, f"{name}: what is damaged must be told as refused"
        assert fuzz.saved_bytes() < MOST_SAVED, f"{name}: the core remembers {fuzz.saved_bytes()} bytes"
    assert peak_bytes() - before < MOST_GROWTH


def test_every_market_is_fired_at(recorded: list[Corpus]) -> None:
    assert [(corpus.market.exchange, corpus.market.market) for corpus in recorded] == list(MARKETS)
    assert all(corpus.frames for corpus in recorded)


def test_the_same_seed_is_the_same_run(recorded: list[Corpus]) -> None:
    one, again, other = (run(recorded[:2], 400, seed) for seed in (7, 7, 8))
    assert [fuzz.tally for fuzz in one] == [fuzz.tally for fuzz in again]
    assert [fuzz.tally for fuzz in one] != [fuzz.tally for fuzz in other]


def test_damage_is_done_as_often_as_it_is_said() -> None:
    source = random.Random(1)
    body = b'{"topic":"trade.BTCUSD","data":[{"price":"1.5","size":2,"flag":true,"none":null}]}'
    found = [mutated(body, source) for _ in range(2_000)]
    same = found.count(body)
    assert 200 < same < 600
    assert len(set(found)) > 1_000
    assert sum(len(frame) > 1_000 for frame in found) > 10, "some grow"
    assert sum(len(frame) < len(body) // 2 for frame in found) > 10, "some shrink"


def test_another_error_is_told_with_the_frame_that_it_came_of(
    recorded: list[Corpus], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(self: Fuzz, body: bytes) -> None:
        raise KeyError("p")

    monkeypatch.setattr(Fuzz, "_sort", breaks)
    with pytest.raises(Escaped, match=r"KeyError: 'p' from binance spot .*, frame \d+: b"):
        run(recorded[:1], 1, SEED)


def test_a_parser_that_lets_another_error_out_is_found(recorded: list[Corpus]) -> None:
    corpus = recorded[0]
    assert isinstance(corpus.market, Market)
    fuzz = Fuzz(corpus, SEED)

    def careless(frame: Any, listing: Any) -> tuple[()]:
        return (frame.body.decode(), ())[1]

    fuzz._parsers = dict.fromkeys(fuzz._parsers, careless)
    with pytest.raises(Escaped, match="UnicodeDecodeError"):
        for _ in range(1_000):
            fuzz.step()
