"""The recorded Binance sessions as plain JSON: read by the tests themselves, not by the code they test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

DEPTH, QUOTE, TRADE, CANDLE = "depth@100ms", "bookTicker", "aggTrade", "kline_1m"


@dataclass(frozen=True)
class Frame:
    stream: str
    channel: str
    data: dict[str, Any]
    text: str

    @property
    def symbol(self) -> str:
        return str(self.data["s"])


def frames(recordings: Path, session: str) -> list[Frame]:
    """The received frames of `BINANCE` or `BINANCE_FUTURES`, in order."""
    found: list[Frame] = []
    for line in (recordings / "binance" / "cryptofeed" / f"{session}.ws.1.0").read_text().splitlines():
        if not line or line.startswith("wss://"):
            continue
        text = line.split(": ", 1)[1]
        wrapped = json.loads(text)
        stream = wrapped["stream"]
        found.append(Frame(stream, stream.split("@", 1)[1], wrapped["data"], text))
    return found


def snapshots(recordings: Path, session: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The recorded depth snapshots: (exchange symbol, answer)."""
    for line in (recordings / "binance" / "cryptofeed" / f"{session}.http.0.0").read_text().splitlines():
        if line:
            url, _, rest = line.partition(" -> ")
            yield url.split("symbol=")[1].split("&")[0], json.loads(rest.split(": ", 1)[1])


def canonical(symbol: str, market: str) -> str:
    """Our name of a symbol that the two sessions hold."""
    for quote in ("USDT", "ETH", "BTC", "EUR"):
        if symbol.endswith(quote):
            return f"{symbol.removesuffix(quote)}-{quote}" + ("-PERP" if market == "perp" else "")
    raise AssertionError(symbol)


def micros(milliseconds: int) -> str:
    """A time as ClickHouse writes it: UTC with microseconds."""
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{milliseconds % 1000:03d}000"


def number(value: object) -> Decimal:
    return Decimal(str(value))
