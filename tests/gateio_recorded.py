"""The recorded Gate.io sessions: as plain JSON, read by the tests themselves, and as a collector files them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas import subjects
from schemas.frames import Origin, RawFrame
from services.shared.exchanges.declaration import Listing, Market
from services.shared.exchanges.gateio_perp import GATEIO_PERP
from services.shared.exchanges.gateio_spot import GATEIO_SPOT

SESSIONS = {"spot": "GATEIO", "perp": "GATEIO_FUTURES"}
MARKETS: dict[str, Market] = {"spot": GATEIO_SPOT, "perp": GATEIO_PERP}
DEPTH = {"spot": "spot.order_book_update", "perp": "futures.order_book_update"}
_SECOND = 1_000_000


@dataclass(frozen=True)
class Frame:
    """A received frame: when (microseconds), its text, and the text as JSON."""

    received_at: int
    text: str
    data: dict[str, Any]


def _lines(recordings: Path, name: str) -> list[str]:
    return [line for line in (recordings / "gateio" / "cryptofeed" / name).read_text().splitlines() if line]


def received(recordings: Path, market: str) -> list[Frame]:
    """Every frame that was received, acknowledgements among them, in order."""
    found = []
    for line in _lines(recordings, f"{SESSIONS[market]}.ws.1.0"):
        if not line.startswith("wss://"):
            stamp, _, text = line.partition(": ")
            found.append(Frame(round(float(stamp) * _SECOND), text, json.loads(text)))
    return found


def results(recordings: Path, market: str, channel: str) -> Iterator[tuple[Frame, dict[str, Any]]]:
    """The data of one channel: (frame, its result, of a list each row)."""
    for frame in received(recordings, market):
        if frame.data["channel"] == channel and frame.data["event"] == "update":
            result = frame.data["result"]
            for row in result if isinstance(result, list) else [result]:
                yield frame, row


def instruments(recordings: Path, market: str) -> str:
    """The text of the recorded instrument list."""
    return _lines(recordings, f"{SESSIONS[market]}.0")[0].split(": ", 1)[1]


def books(recordings: Path, market: str) -> list[tuple[str, int, str]]:
    """The recorded REST books: (exchange symbol, received at, text)."""
    found = []
    for line in _lines(recordings, f"{SESSIONS[market]}.http.0.0"):
        head, _, text = line.partition(": ")
        name = head.split("?")[1].split("&")[0].split("=")[1]
        found.append((name, round(float(head.rsplit(" ", 1)[1]) * _SECOND), text))
    return found


def raw_frame(market: str, channel: str, symbol: str, body: str | bytes, **more: Any) -> RawFrame:
    """A frame as a collector files it."""
    fields: dict[str, Any] = {"connection": "A", "number": 1, "received_at": 1_700_000_000_000_000, "origin": "ws"}
    raw = body if isinstance(body, bytes) else body.encode()
    return RawFrame(
        exchange="gateio", market=market, channel=channel, symbol=symbol, collector="c1", body=raw, **(fields | more)
    )


def listing(recordings: Path, market: str) -> Listing:
    """The recorded instruments."""
    found = MARKETS[market].instruments.parse(
        raw_frame(market, "instruments", "_all", instruments(recordings, market)), Listing()
    )
    return Listing(found)  # type: ignore[arg-type]


def filed(recordings: Path, market: str) -> list[tuple[int, RawFrame]]:
    """The session as a collector files it: (partition, frame), in order of receipt."""
    declared, known = MARKETS[market], listing(recordings, market)
    streams = {
        channel.stream(item.exchange_symbol): (channel.name, item.symbol)
        for channel in declared.channels.values()
        for item in known.by_symbol.values()
    }
    origin: Origin
    found: list[tuple[int, Origin, str, str, str]] = []
    for frame in received(recordings, market):
        if frame.data["event"] == "update":
            channel, symbol = streams[declared.sort(frame.text.encode()).name]  # type: ignore[union-attr]
            found.append((frame.received_at, "ws", channel, symbol, frame.text))
    for name, received_at, text in books(recordings, market):
        found.append((received_at, "rest", "depth_snapshot", known.by_exchange_symbol[name].symbol, text))
    found.sort(key=lambda item: item[0])
    first = raw_frame(
        market,
        "instruments",
        "_all",
        instruments(recordings, market),
        connection="rest",
        origin="rest",
        received_at=found[0][0] - 1,
    )
    made = [(part, first) for part in range(subjects.PARTITIONS)]
    numbers = Counter({"rest": 1})
    for received_at, origin, channel, symbol, text in found:
        numbers[origin] += 1
        frame_ = raw_frame(
            market,
            channel,
            symbol,
            text,
            connection=origin,
            number=numbers[origin],
            received_at=received_at,
            origin=origin,
        )
        made.append((subjects.partition("gateio", market, symbol), frame_))
    return made
