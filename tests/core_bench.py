"""One market's frames through one partition's core, as a collector files them, and what came out as plain JSON."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from schemas import frames, subjects
from schemas.frames import RawFrame
from services.normaliser.core import CoreOptions, PartitionCore, Resync
from services.shared.exchanges.declaration import Market
from tests.normaliser_rig import plain

SECOND = 1_000_000


@dataclass
class CoreBench:
    """The core of one instrument of one market; `listing` is the exchange's own instrument list."""

    market: Market
    symbol: str
    listing: object
    start: int
    """Receive time of the first frame, microseconds; `at` below is seconds from there."""
    numbers: Counter[str] = field(default_factory=Counter)
    sequence: int = 0

    def __post_init__(self) -> None:
        self.part = subjects.partition(self.market.exchange, self.market.market, self.symbol)
        self.core = PartitionCore(self.part, {(self.market.exchange, self.market.market): self.market}, CoreOptions())
        self.rest("instruments", self.listing, symbol=subjects.ALL)

    def feed(
        self, channel: str, body: object, *, at: float, on: str, symbol: str | None = None, request: str = ""
    ) -> list[dict[str, Any]]:
        self.numbers[on] += 1
        self.sequence += 1
        frame = RawFrame(
            self.market.exchange,
            self.market.market,
            channel,
            symbol or self.symbol,
            "c1",
            on,
            self.numbers[on],
            self.start + round(at * SECOND),
            "rest" if on == "R" else "ws",
            body if isinstance(body, bytes) else json.dumps(body).encode(),
            request,
        )
        message = frames.message(frame, self.part)
        found = [plain(output) for output in self.core.process(self.sequence, *message)]
        saved = {key: self.core.save(key) for key in self.core.units()}
        resyncs = self.core.take_resyncs()
        # Whatever was said so far must survive a restart of the normaliser.
        self.core = PartitionCore(self.part, {(self.market.exchange, self.market.market): self.market}, CoreOptions())
        assert self.core.restore(saved) == self.sequence
        self.asked = resyncs
        return found

    asked: list[Resync] = field(default_factory=list)
    """The books asked for by the last frame."""

    def ws(self, channel: str, body: object, at: float = 0, on: str = "A") -> list[dict[str, Any]]:
        return self.feed(channel, body, at=at, on=on)

    def rest(
        self, channel: str, body: object, at: float = 0, symbol: str | None = None, request: str = ""
    ) -> list[dict[str, Any]]:
        return self.feed(channel, body, at=at, on="R", symbol=symbol, request=request)

    def closed(self, on: str, at: float) -> list[dict[str, Any]]:
        """The connection ends."""
        body = frames.encode_session(frames.SessionEvent(event="closed", url="wss://x", reason="test"))
        return self.feed(subjects.SESSION, body, at=at, on=on, symbol=subjects.ALL)


def told(found: list[dict[str, Any]], *keys: str) -> list[tuple[Any, ...]]:
    """(subject, values of these keys) of each output."""
    return [(item["_to"], *(item.get(key) for key in keys)) for item in found]
