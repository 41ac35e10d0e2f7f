"""Plays generated markets in virtual time, for tests: no sockets, no waiting."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from services.exchange_simulator import generator
from services.exchange_simulator.generator.session import GeneratedSession
from services.exchange_simulator.generator.venue import GeneratedVenue
from services.exchange_simulator.settings import SimulatorSettings

NOW_US = int(datetime.datetime(2026, 10, 15, 12, 34, 56, 789_000, tzinfo=datetime.UTC).timestamp() * 1000) * 1000
SECOND_US = 1_000_000
WIRE_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT", "ADAUSDT")


def build(data_dir: Path, exchange: str = "binance", **settings: Any) -> dict[str, GeneratedVenue]:
    """Return an exchange's generated venues by market; without a ledger unless asked for."""
    settings = {"ledger": False, "events_per_s": 400.0, "exchanges": (exchange,), **settings}
    venues: dict[str, GeneratedVenue] = {}
    for venue in generator.build(SimulatorSettings(data_dir=data_dir, **settings)):
        assert isinstance(venue, GeneratedVenue)
        venues[venue.market] = venue
    return venues


def streams(symbols: Sequence[str], topics: Sequence[str]) -> str:
    """Return the query string of a combined connection."""
    return "streams=" + "/".join(f"{symbol.lower()}@{topic}" for symbol in symbols for topic in topics)


def play(session: GeneratedSession, now_us: int, seconds: float, batch: int = 256) -> Iterator[tuple[int, bytes]]:
    """Yield (time, frame) of everything a session hands out within so many seconds from `now_us` on."""
    end_us = now_us + round(seconds * SECOND_US)
    while True:
        frames = session.frames(now_us, batch)
        yield from ((now_us, frame) for frame in frames)
        if frames:
            continue
        due_us = session.next_due_us()
        if due_us is None or due_us > end_us:
            return
        now_us = max(now_us, due_us)


def messages(session: GeneratedSession, now_us: int, seconds: float) -> list[tuple[str, dict[str, Any]]]:
    """Return (stream, payload) of everything a combined session hands out, numbers with a point never as floats."""
    found = []
    for _, frame in play(session, now_us, seconds):
        message = decode(frame)
        found.append((message["stream"], message["data"]))
    return found


def get(venue: GeneratedVenue, path: str, now_us: int = NOW_US, **query: object) -> Any:
    """GET a path and return the decoded body; the answer must be 200."""
    answer = venue.get(path, {name: str(value) for name, value in query.items()}, now_us)
    assert answer.status == 200, answer.body
    return decode(answer.body)


def decode(body: bytes) -> Any:
    return msgspec.json.decode(body)


class Book:
    """A client's order book, kept by the exchange's own description, in decimals."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.bids = {Decimal(price): Decimal(quantity) for price, quantity in snapshot["bids"]}
        self.asks = {Decimal(price): Decimal(quantity) for price, quantity in snapshot["asks"]}

    def apply(self, change: dict[str, Any]) -> None:
        for side, levels in ((self.bids, change["b"]), (self.asks, change["a"])):
            for price, quantity in levels:
                if Decimal(quantity):
                    side[Decimal(price)] = Decimal(quantity)
                else:
                    side.pop(Decimal(price), None)

    def best(self) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        bid, ask = max(self.bids), min(self.asks)
        return bid, self.bids[bid], ask, self.asks[ask]
