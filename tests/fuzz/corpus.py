"""What is mutated: recorded frames and answers of every market, by channel, and the instruments that they are about."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from schemas.errors import BadFrame
from schemas.records import Instrument
from services.shared.exchanges.declaration import Listing, Market, Parser, StreamName
from services.shared.exchanges.known_history import HISTORIES
from services.shared.exchanges.registry import MARKETS
from tests.extra_frames import instrument
from tests.known_fields import bodies, channel_of

FOLDERS = {"bybit_v2": "bybit"}
"""Where an exchange's recordings lie, if not under its name."""
PER_CHANNEL = 40
"""Frames kept of each channel, spread over the session."""
LARGEST = 60_000
"""Bytes; whole instrument lists are longer, and would be all that a run does."""


@dataclass(frozen=True)
class Corpus:
    """One market's frames: `frames` by channel, `answers` to any of its REST requests."""

    market: Market
    listing: Listing
    frames: dict[str, list[tuple[str, bytes]]]
    """Channel -> (our symbol, body)."""
    answers: list[bytes]


def corpora(recordings: Path) -> list[Corpus]:
    """Return every declared market's corpus."""
    return [_corpus(market, recordings) for market in MARKETS.values()]


def _corpus(market: Market, recordings: Path) -> Corpus:
    folder = FOLDERS.get(market.exchange, market.exchange)
    found: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
    names: dict[str, None] = {}
    for _, body in bodies(recordings, folder):  # of the other markets too: they have most channels in common
        try:
            about = market.sort(body)
        except BadFrame:
            continue
        channel = channel_of(market, about.name) if isinstance(about, StreamName) else None
        if channel is not None and isinstance(about, StreamName):
            wire = _symbol(market, channel, about.name)
            names[wire] = None
            found[channel].append((wire, body))
    listed = [_listed(market, number, wire) for number, wire in enumerate(names or {"BTCUSDT": None})]
    ours = {item.exchange_symbol: item.symbol for item in listed}
    frames = {
        channel: [(ours[wire], body) for wire, body in rows[:: -(-len(rows) // PER_CHANNEL)]]
        for channel, rows in found.items()
    }
    return Corpus(market, Listing(listed), frames, list(_answers(recordings / folder)))


def _symbol(market: Market, channel: str, stream: str) -> str:
    """Return the exchange's symbol in a stream's name."""
    declared = market.channels[channel]
    for symbol in ("x", "X-Y", "X_Y"):
        begin, found, end = declared.stream(symbol).rpartition(symbol)
        if found and stream.startswith(begin) and stream.endswith(end):
            wire = stream[len(begin) : len(stream) - len(end)]
            return wire.upper() if market.exchange == "binance" else wire
    return stream


def _listed(market: Market, number: int, wire: str) -> Instrument:
    kind = "inverse" if number % 3 == 2 else "linear"
    contract = {} if market.market == "spot" else {"contract_size": "0.01", "contract_kind": kind}
    suffix = "" if market.market == "spot" else "-PERP"
    return instrument(market.exchange, market.market, f"A{number}-USDT{suffix}", wire, **contract)


def _answers(folder: Path) -> Iterator[bytes]:
    """Return the recorded REST answers that are not too long, and small ones of the forms that were not recorded."""
    for path in sorted(folder.glob("nautilus_trader/http_*.json")):
        if path.stat().st_size <= LARGEST:
            yield path.read_bytes()
    for path in sorted(folder.glob("cryptofeed/*.http.*")):
        for line in path.read_text().splitlines()[:4]:
            yield line.partition(" -> ")[2].partition(": ")[2].encode()
    row = {"symbol": "BTCUSDT", "timestamp": 1_700_000_000_000, "time": "1700000000000", "price": "1.5", "qty": "2"}
    for form in ([row], {"data": [row]}, {"result": {"list": [row]}, "retCode": 0, "retMsg": "", "time": 1}):
        yield json.dumps(form).encode()


def with_listing(corpus: Corpus) -> Market:
    """Return the market with an instrument list that any frame of the list's channel stands for."""
    market, listed = corpus.market, tuple(corpus.listing.by_symbol.values())

    def parse(_frame: object, _listing: object) -> tuple[Instrument, ...]:
        return listed

    poll = replace(market.instruments, parse=parse)
    return replace(market, instruments=poll, polls={**market.polls, poll.name: poll})


def parsers(market: Market) -> dict[str, Parser]:
    """Return every parser of a market, by channel, endpoint or series of the past."""
    polls = {poll.name: poll for poll in (market.book_snapshot, market.instruments, *market.polls.values()) if poll}
    past = HISTORIES.get((market.exchange, market.market), {})
    return {name: item.parse for name, item in (*market.channels.items(), *polls.items(), *past.items())}
