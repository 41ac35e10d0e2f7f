"""Recorded sessions of Binance in cryptofeed's files, as a collector files their frames: input of a benchmark."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from schemas import frames, subjects
from schemas.frames import RawFrame, RawMessage
from services.shared.exchanges.declaration import Listing, StreamName
from services.shared.exchanges.registry import MARKETS

SECOND = 1_000_000


class Filed(NamedTuple):
    """One message on RAW, and how many of the exchange's stream frames it carries (0: an answer, or a session)."""

    part: int
    message: RawMessage
    carried: int


def folder_of(recordings: Path) -> Path:
    """Return where Binance's sessions lie in a folder of recordings."""
    return recordings / "binance" / "cryptofeed"


def recorded(recordings: Path, session: str, market: str) -> list[tuple[int, RawFrame]]:
    """Return a session's frames with their partitions, in order of receipt. Raises OSError where it is not there."""
    folder, declared = folder_of(recordings), MARKETS["binance", market]

    def read(name: str) -> list[str]:
        packed = folder / f"{name}.gz"
        text = gzip.decompress(packed.read_bytes()).decode() if packed.exists() else (folder / name).read_text()
        return [line for line in text.splitlines() if ": " in line]

    def make(channel: str, symbol: str, connection: str, number: int, received_at: int, body: bytes) -> RawFrame:
        origin: frames.Origin = "ws" if connection == "A" else "rest"
        return RawFrame("binance", market, channel, symbol, "c1", connection, number, received_at, origin, body)

    info = read(f"{session}.0")[0].split(": ", 1)[1].encode()
    found_instruments = declared.instruments.parse(make("instruments", subjects.ALL, "R", 1, 1, info), Listing())
    listing = Listing(found_instruments)  # type: ignore[arg-type]  # an instrument list yields instruments
    streams = {
        channel.stream(item.exchange_symbol): (channel.name, item.symbol)
        for channel in declared.channels.values()
        for item in listing.by_symbol.values()
    }
    found: list[tuple[int, str, str, str, bytes]] = []
    for line in read(f"{session}.ws.1.0"):
        if not line.startswith("wss"):
            stamp, _, text = line.partition(": ")
            about = declared.sort(text.encode())
            assert isinstance(about, StreamName)
            found.append((round(float(stamp) * SECOND), "A", *streams[about.name], text.encode()))
    for line in read(f"{session}.http.0.0"):
        head, _, text = line.partition(": ")
        symbol = listing.by_exchange_symbol[head.split("symbol=")[1].split("&")[0]].symbol
        found.append((round(float(head.rsplit(" ", 1)[1]) * SECOND), "R", "depth_snapshot", symbol, text.encode()))
    found.sort(key=lambda item: item[0])
    first = make("instruments", subjects.ALL, "R", 1, found[0][0] - 1, info)
    filed = [(part, first) for part in range(subjects.PARTITIONS)]
    numbers = Counter({"R": 1})
    for received_at, connection, channel, symbol, body in found:
        numbers[connection] += 1
        part = subjects.partition("binance", market, symbol)
        filed.append((part, make(channel, symbol, connection, numbers[connection], received_at, body)))
    return filed


def messages(filed: list[tuple[int, RawFrame]], most: int) -> list[Filed]:
    """Return the messages of these frames: up to `most` stream frames of a partition in one, as a collector packs them.

    What is no stream frame goes alone, behind those before it.
    """
    found: list[Filed] = []
    waiting: dict[int, list[RawFrame]] = {}

    def flush(part: int) -> None:
        if gathered := waiting.pop(part, []):
            found.append(Filed(part, frames.pack(gathered, part), len(gathered)))

    for part, frame in filed:
        if frame.origin != "ws" or frame.channel == subjects.SESSION:
            flush(part)
            found.append(Filed(part, frames.message(frame, part), 0))
            continue
        waiting.setdefault(part, []).append(frame)
        if len(waiting[part]) >= most:
            flush(part)
    for part in list(waiting):
        flush(part)
    return found
