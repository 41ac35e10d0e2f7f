"""Frames of today's protocols from `extra_frames`, and what tests of an exchange's parsers have in common."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from schemas import records
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from services.shared.exchanges.declaration import BookSnapshot, Listing, Market, Parser

RECEIVED = 1_790_300_000_000_000


@dataclass(frozen=True)
class Extra:
    session: str
    url: str
    sent: bool
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body)


def extra_frames(recordings: Path, exchange: str) -> list[Extra]:
    """All lines of an exchange's `frames.jsonl`, in order."""
    found = []
    for line in (recordings / exchange / "extra_frames" / "frames.jsonl").read_text().splitlines():
        row = json.loads(line)
        body = bytes.fromhex(row["hex"]) if row["kind"] == "binary" else row["frame"].encode()
        found.append(Extra(row["session"], row["url"], row["dir"] == "sent", body))
    return found


def instrument(exchange: str, market: str, symbol: str, exchange_symbol: str, **more: Any) -> records.Instrument:
    base, quote, *_ = symbol.split("-")
    return records.Instrument(
        exchange=exchange,
        market=market,
        symbol=symbol,
        timestamp=1,
        timestamp_source="received",
        received_at=1,
        source="live",
        exchange_symbol=exchange_symbol,
        base=base,
        quote=quote,
        asset=base,
        multiplier="1",
        status="trading",
        **more,
    )


@dataclass(frozen=True)
class Bench:
    """One market's parsers on a bench: frames in, records out as plain JSON."""

    market: Market
    listing: Listing
    symbol: str

    def frame(self, channel: str, body: bytes, symbol: str | None = None) -> RawFrame:
        name = symbol or self.symbol
        return RawFrame(self.market.exchange, self.market.market, channel, name, "c", "A", 1, RECEIVED, "ws", body)

    def parser(self, channel: str) -> Parser:
        return (self.market.channels.get(channel) or self.market.polls[channel]).parse

    def typed(self, channel: str, body: object, symbol: str | None = None) -> Sequence[records.Record | BookSnapshot]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.parser(channel)(self.frame(channel, raw, symbol), self.listing)

    def parse(self, channel: str, body: object, symbol: str | None = None) -> list[dict[str, Any]]:
        found = self.typed(channel, body, symbol)
        return [json.loads(records.encode(item)) for item in found if isinstance(item, records.Record)]

    def snapshots(self, channel: str, body: object, symbol: str | None = None) -> list[BookSnapshot]:
        return [item for item in self.typed(channel, body, symbol) if isinstance(item, BookSnapshot)]

    def head(self, timestamp: int, source: str, symbol: str | None = None) -> dict[str, Any]:
        """What every record of this market begins with; times in microseconds."""
        return {
            "exchange": self.market.exchange,
            "market": self.market.market,
            "symbol": symbol or self.symbol,
            "timestamp": timestamp,
            "timestamp_source": source,
            "received_at": RECEIVED,
            "source": "live",
        }

    def survives(self, channel: str, body: bytes) -> None:
        """Whatever these bytes are, nothing but BadFrame may come of them, neither here nor in `sort`."""
        for work in (lambda: self.market.sort(body), lambda: self.typed(channel, body)):
            try:
                work()
            except BadFrame:
                continue


NESTED = (b'{"x":' + b"[" * 100_000, b'{"data":' + b'{"x":' * 100_000, b"[" * 100_000)
"""Frames that nest without end."""


def damaged(bodies: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Frames cut short, or with some bytes in their middle replaced."""

    @st.composite
    def build(draw: st.DrawFn) -> bytes:
        body = draw(st.sampled_from(bodies))
        at = draw(st.integers(0, len(body)))
        gone = draw(st.integers(0, 12))
        return body[:at] + draw(st.binary(max_size=6)) + (body[at + gone :] if draw(st.booleans()) else b"")

    return build()


def refused(bench: Bench, channel: str, body: object, symbol: str | None = None) -> str:
    """The reason for which a frame is refused."""
    with pytest.raises(BadFrame) as caught:
        bench.typed(channel, body, symbol)
    return str(caught.value)
