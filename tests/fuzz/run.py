"""One run: so many frames from a seed, each through sorting, a parser and a core. The same seed, the same run."""

from __future__ import annotations

import json
import random
import resource
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas import frames, records, subjects
from schemas.errors import BadFrame
from schemas.frames import Origin, RawFrame
from services.normaliser.core import PartitionCore
from services.shared.exchanges.declaration import BookSnapshot
from tests.fuzz.corpus import Corpus, parsers, with_listing
from tests.fuzz.mutations import mutated

START_US = 1_790_300_000_000_000
STEP_US = 20_000
"""Between two frames on our clock."""
SAVED_EVERY = 1_000
"""Frames between two savings of all that the core remembers."""
ENDS_EVERY = 5_000
"""Frames after which a connection ends and the next begins."""


@dataclass
class Tally:
    """What became of one market's frames."""

    parsed: int = 0
    refused: int = 0
    records: int = 0
    dead: int = 0
    channels: Counter[str] = field(default_factory=Counter)


class Escaped(AssertionError):
    """Something else than the declared error came out; the text is enough to see it again."""


class Fuzz:
    """One market under fire, in a partition of its own."""

    def __init__(self, corpus: Corpus, seed: int) -> None:
        self.corpus = corpus
        self.market = corpus.market
        self.tally = Tally()
        self._source = random.Random(f"{seed} {self.market.exchange} {self.market.market}")
        self._parsers = parsers(self.market)
        self._channels = sorted(self._parsers)
        self._recorded = sorted(corpus.frames)
        snapshot = self.market.book_snapshot
        self._polled = {*self.market.polls, *([snapshot.name] if snapshot else [])}
        self._bodies = [(symbol, body) for rows in corpus.frames.values() for symbol, body in rows]
        self._wholes: dict[str, bytes | None] = {}
        declared = with_listing(corpus)
        self._core = PartitionCore(0, {(declared.exchange, declared.market): declared})
        self._sequence = 0
        self._into_core(self._frame(declared.instruments.name, subjects.ALL, b"{}"))

    def step(self) -> None:
        """Fire one frame. Raises Escaped."""
        source = self._source
        channel = source.choice(self._recorded if self._recorded and source.random() < 0.6 else self._channels)
        symbol, body = self._sample(channel)
        body = mutated(body, source)
        frame = self._frame(channel, symbol, body)
        self.tally.channels[channel] += 1
        try:
            self._sort(body)
            self._parse(frame)
            self._into_core(frame)
            if self._sequence % SAVED_EVERY == 0:
                self.saved_bytes()
            if self._sequence % ENDS_EVERY == 0:
                self._end(frame)
        except Exception as error:
            raise Escaped(
                f"{type(error).__name__}: {error} from {self.market.exchange} {self.market.market} {channel} "
                f"{symbol}, frame {self._sequence}: {body[:2000]!r}"
            ) from error

    def _sample(self, channel: str) -> tuple[str, bytes]:
        """Return a frame of the channel; where none is recorded, and now and then, one of another."""
        source = self._source
        if channel not in self.market.channels:
            return subjects.ALL, source.choice(self.corpus.answers)
        own = self.corpus.frames.get(channel)
        if own and source.random() < 0.95:
            return source.choice(own)
        return source.choice(self._bodies) if self._bodies else (subjects.ALL, b'{"data":[{"s":"BTCUSDT"}]}')

    def _frame(self, channel: str, symbol: str, body: bytes) -> RawFrame:
        self._sequence += 1
        asked = channel not in self.market.channels
        if asked and self._source.random() < 0.5:
            symbol = next(iter(self.corpus.listing.by_symbol))
        received_at = START_US + self._sequence * STEP_US
        connection = "R" if asked else f"A{self._sequence // ENDS_EVERY}"
        return RawFrame(
            self.market.exchange,
            self.market.market,
            channel,
            symbol,
            "c1",
            connection,
            self._sequence,
            received_at,
            self._origin(channel),
            body,
            "/path" if asked else None,
            received_at - 5_000 if asked else None,
        )

    def _origin(self, channel: str) -> Origin:
        """Return where frames of a channel come from: what neither is streamed nor polled is asked for of the past."""
        if channel in self.market.channels:
            return "ws"
        return "rest" if channel in self._polled else "backfill"

    def _sort(self, body: bytes) -> None:
        try:
            self.market.sort(body)
        except BadFrame:
            return

    def _parse(self, frame: RawFrame) -> None:
        channel = self.market.channels.get(frame.channel)
        try:
            body = frame.body
            if channel is not None and channel.merge is not None:
                body = self._wholes[frame.channel] = channel.merge(self._wholes.get(frame.channel), body)
            for item in self._parsers[frame.channel](_with(frame, body), self.corpus.listing):
                if not isinstance(item, BookSnapshot):
                    json.loads(records.encode(item))
            self.tally.parsed += 1
        except BadFrame:
            self.tally.refused += 1

    def _into_core(self, frame: RawFrame) -> None:
        subject, headers, body = frames.message(frame, 0)
        told = dict(headers or {})
        if self._source.random() < 0.01:  # what a message says of itself may be wrong, too
            name = self._source.choice([*sorted(told), frames.WANTED, frames.DONE])
            told[name] = self._source.choice(("", "x", "-1", "9" * 30, "zstd", "\u0661", "1-5", "5-1,3", "1 5 9"))
        for output in self._core.process(self._sequence, subject, told, body):
            self.tally.dead += output.subject.startswith("dead.")
            self.tally.records += output.subject.startswith("md.")
        self._core.take_resyncs()

    def _end(self, frame: RawFrame) -> None:
        """Let the connection end."""
        event = frames.SessionEvent(event="closed", url="wss://x", reason="fuzz")
        closed = self._frame(subjects.SESSION, subjects.ALL, frames.encode_session(event))
        self._core.process(self._sequence, *frames.message(_on(closed, frame.connection), 0))

    def saved_bytes(self) -> int:
        """Return how much the core has to remember."""
        return sum(len(self._core.save(key)) for key in self._core.units())


def _with(frame: RawFrame, body: bytes) -> RawFrame:
    return _copied(frame, body=body)


def _on(frame: RawFrame, connection: str) -> RawFrame:
    return _copied(frame, connection=connection)


def _copied(frame: RawFrame, **changed: Any) -> RawFrame:
    return RawFrame(**{name: getattr(frame, name) for name in RawFrame.__struct_fields__} | changed)


def peak_bytes() -> int:
    """Return the most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(corpora: Sequence[Corpus], count: int, seed: int) -> list[Fuzz]:
    """Fire `count` frames, evenly over all markets; return each market's tally. Raises Escaped."""
    found = [Fuzz(corpus, seed) for corpus in corpora]
    for number in range(count):
        found[number % len(found)].step()
    return found
