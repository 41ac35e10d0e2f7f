"""Frames as a collector files them, into one partition's core, and what came out, read as plain JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from schemas import frames, subjects
from schemas.frames import RawFrame
from services.command_line.bench_recorded import recorded as recorded
from services.normaliser.core import CoreOptions, Output, PartitionCore, Resync
from services.shared.exchanges.declaration import Market
from services.shared.exchanges.registry import MARKETS

SECOND = 1_000_000
START = 1_700_000_000 * SECOND


def exchange_info(*bases: str) -> bytes:
    """An instrument list of USDT pairs, in the form of both markets."""
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "stepSize": "0.001"},
    ]
    rows = [
        {
            "symbol": f"{base}USDT",
            "status": "TRADING",
            "baseAsset": base,
            "quoteAsset": "USDT",
            "contractType": "PERPETUAL",
            "marginAsset": "USDT",
            "onboardDate": 1_569_398_400_000,
            "filters": filters,
        }
        for base in bases
    ]
    return json.dumps({"symbols": rows}).encode()


def plain(output: Output) -> dict[str, Any]:
    """An output's body, with its subject's first tokens as `_to`."""
    head = output.subject.split(".")
    return {"_to": ".".join(head[:2]) if head[0] in ("md", "dead") else head[0], **json.loads(output.body)}


@dataclass
class Rig:
    """One core, fed one frame at a time; `at` is the receive clock in seconds since START."""

    restarts: ClassVar[bool] = False
    """Whether the core is saved and restored after every message."""

    market: str = "perp"
    symbol: str = "BTC-USDT-PERP"
    options: CoreOptions = field(default_factory=CoreOptions)
    bases: tuple[str, ...] = ("BTC", "ETH")
    markets: Mapping[tuple[str, str], Market] = field(default_factory=lambda: MARKETS)

    def __post_init__(self) -> None:
        self.part = subjects.partition("binance", self.market, self.symbol)
        self.core = PartitionCore(self.part, self.markets, self.options)
        self.sequence = 0
        self.numbers: Counter[str] = Counter()
        self.sent: list[tuple[int, frames.RawMessage]] = []
        self.asked: list[Resync] = []
        self.past: list[PartitionCore] = []
        self.coverage: list[dict[str, Any]] = []
        """What was counted, minute by minute: told beside what every test is about."""
        self.rest("instruments", exchange_info(*self.bases), at=0, symbol=subjects.ALL)

    def feed(self, message: frames.RawMessage) -> list[dict[str, Any]]:
        self.sequence += 1
        self.sent.append((self.sequence, message))
        found = [plain(output) for output in self.core.process(self.sequence, *message)]
        self.coverage += [item for item in found if item["_to"] == "md.coverage"]
        found = [item for item in found if item["_to"] != "md.coverage"]
        self.asked += self.core.take_resyncs()
        if self.restarts:
            self.restart()
        return found

    def restart(self) -> None:
        """Go on with a new core, made of the saved state of this one."""
        saved = {key: self.core.save(key) for key in self.core.units()}
        self.past += [self.core]
        self.core = PartitionCore(self.part, self.markets, self.options)
        assert self.core.restore(saved) == self.sequence

    def count(self, name: str) -> int:
        """What all cores counted so far."""
        return sum(getattr(core.counters, name) for core in [*self.past, self.core])

    def resyncs(self) -> list[Resync]:
        """The books asked for since the last call."""
        taken, self.asked = self.asked, []
        return taken

    def frame(self, channel: str, body: bytes, *, at: float, on: str, symbol: str | None, origin: str) -> RawFrame:
        self.numbers[on] += 1
        return RawFrame(
            exchange="binance",
            market=self.market,
            channel=channel,
            symbol=symbol or self.symbol,
            collector="c1",
            connection=on,
            number=self.numbers[on],
            received_at=START + round(at * SECOND),
            origin=origin,  # type: ignore[arg-type]
            body=body,
        )

    def ws(
        self, channel: str, body: bytes | dict[str, Any], *, at: float, on: str = "A", symbol: str | None = None
    ) -> list[dict[str, Any]]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.feed(frames.message(self.frame(channel, raw, at=at, on=on, symbol=symbol, origin="ws"), self.part))

    def rest(
        self, channel: str, body: bytes | dict[str, Any], *, at: float, symbol: str | None = None
    ) -> list[dict[str, Any]]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        frame = self.frame(channel, raw, at=at, on="R", symbol=symbol, origin="rest")
        return self.feed(frames.message(frame, self.part))

    def session(self, event: str, *channels: str, at: float, on: str = "A", **more: Any) -> list[dict[str, Any]]:
        body = frames.SessionEvent(
            event=event,  # type: ignore[arg-type]
            url="wss://x",
            channels={self.symbol: list(channels)} if channels else {},
            **more,
        )
        return self.ws(subjects.SESSION, frames.encode_session(body), at=at, on=on, symbol=subjects.ALL)

    def again(self) -> list[dict[str, Any]]:
        """Publish the last message once more."""
        return self.feed(self.sent[-1][1])

    def trade(self, number: int, *, at: float, on: str = "A", price: str = "100.0") -> list[dict[str, Any]]:
        return self.ws("trades", trade(number, at, price), at=at, on=on)

    def depth(
        self,
        first: int,
        last: int,
        previous: int,
        *,
        at: float,
        on: str = "A",
        bids: list[list[str]] | None = None,
        asks: list[list[str]] | None = None,
    ) -> list[dict[str, Any]]:
        return self.ws("depth", depth(first, last, previous, at, bids or [], asks or []), at=at, on=on)

    def snapshot(
        self, sequence: int, *, at: float, bids: list[list[str]] | None = None, asks: list[list[str]] | None = None
    ) -> list[dict[str, Any]]:
        body = {"lastUpdateId": sequence, "bids": bids or [["99.0", "1"]], "asks": asks or [["101.0", "1"]]}
        return self.rest("depth_snapshot", body, at=at)


def millis(at: float) -> int:
    """A moment as the exchange would tell it, 10 ms before we received it."""
    return (START + round(at * SECOND)) // 1000 - 10


def trade(number: int, at: float, price: str = "100.0") -> dict[str, Any]:
    return {
        "e": "aggTrade",
        "E": millis(at),
        "a": number,
        "s": "BTCUSDT",
        "p": price,
        "q": "0.5",
        "f": number * 10,
        "l": number * 10 + 2,
        "T": millis(at),
        "m": False,
    }


def depth(
    first: int, last: int, previous: int, at: float, bids: list[list[str]], asks: list[list[str]]
) -> dict[str, Any]:
    return {
        "e": "depthUpdate",
        "E": millis(at),
        "T": millis(at),
        "s": "BTCUSDT",
        "U": first,
        "u": last,
        "pu": previous,
        "b": bids,
        "a": asks,
    }


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [item["_to"] for item in found]


def replay(filed: list[tuple[int, RawFrame]], options: CoreOptions | None = None) -> list[dict[str, Any]]:
    """Everything that sixteen cores make of these frames."""
    cores = [PartitionCore(part, MARKETS, options) for part in range(subjects.PARTITIONS)]
    found: list[dict[str, Any]] = []
    for sequence, (part, frame) in enumerate(filed, 1):
        found += [plain(output) for output in cores[part].process(sequence, *frames.message(frame, part))]
    return found
