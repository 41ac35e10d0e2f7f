"""Generated frames through the real parsers, beside the ledger: for any exchange."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from schemas.frames import RawFrame
from schemas.records import Record
from services.exchange_simulator.generator.venue import GeneratedVenue
from services.shared.exchanges.declaration import BookSnapshot, Channel, Listing, Market, Poll, StreamName
from tests.generated_frames import LEDGER_ONLY, plain
from tests.generated_market import NOW_US, SECOND_US, play
from tests.unit.test_generator_ledger import rows_of


class Parsed(NamedTuple):
    """A frame and what the parser makes of it."""

    stream: str
    body: bytes
    records: Sequence[Record | BookSnapshot]


def raw(market: Market, channel: str, symbol: str, body: bytes, origin: Any) -> RawFrame:
    asked = NOW_US - 1_000 if origin == "rest" else None
    name = (market.exchange, market.market, channel, symbol, "c", "1", 1)
    return RawFrame(*name, NOW_US, origin, body, "", requested_at=asked)


def ask(venue: GeneratedVenue, market: Market, poll: Poll, listing: Listing, symbol: str = "") -> list[Any]:
    """Ask a declared endpoint, about a symbol of ours where it is asked per symbol, and parse the answer."""
    wire = listing.by_symbol[symbol].exchange_symbol if symbol else ""
    path, _, query = poll.filled(wire, NOW_US // 1000).partition("?")
    answer = venue.get(path, dict(part.split("=") for part in query.split("&") if part), NOW_US)
    assert answer.status == 200, (path, answer.body)
    return list(poll.parse(raw(market, poll.name, symbol or "_all", answer.body, "rest"), listing))


def listing_of(venue: GeneratedVenue, market: Market) -> Listing:
    return Listing(ask(venue, market, market.instruments, Listing()))


def listen(venue: GeneratedVenue, market: Market, listing: Listing, seconds: float) -> Iterator[Parsed]:
    """Subscribe every channel for every symbol, route by route, and yield all data frames, parsed."""
    for route, path in market.routes.items():
        about: dict[str, tuple[Channel, str]] = {}
        for channel in (one for one in market.channels.values() if one.route == route):
            symbols = {one.exchange_symbol: one.symbol for one in listing.by_symbol.values()}
            for wire, symbol in symbols.items() if channel.per_symbol else [("", "_all")]:
                if name := channel.stream(wire):
                    about[name] = (channel, symbol)
        if not about:
            continue
        session = venue.connect(path, "", NOW_US)
        session.receive(market.subscribe(list(about), 1), NOW_US)
        for _, body in play(session, NOW_US, seconds):
            name = market.sort(body)
            assert isinstance(name, StreamName), body
            channel, symbol = about[name.name]
            yield Parsed(name.name, body, channel.parse(raw(market, channel.name, symbol, body, "ws"), listing))
        session.close(NOW_US + round(seconds * SECOND_US))


def _same(mine: Any, theirs: Any) -> bool:
    return (Decimal(mine) if isinstance(theirs, Decimal) and mine is not None else mine) == theirs


def assert_equals_ledger(directory: Path, market: Market, records: Sequence[Record]) -> set[str]:
    """Compare records with the ledger, kind by kind, in order, every column; return the kinds compared."""
    parsed: dict[str, list[Record]] = {}
    for record in records:
        parsed.setdefault(record.KIND, []).append(record)
    for kind in parsed.keys() - {"candle"}:
        rows = rows_of(directory, f"{market.exchange}.{market.market}.{kind}")
        assert len(rows) == len(parsed[kind]), kind
        for row, record in zip(rows, parsed[kind], strict=True):
            theirs = {name: value for name, value in row.items() if name not in LEDGER_ONLY}
            mine = {name: plain(getattr(record, name)) for name in theirs}
            assert not {name: (mine[name], theirs[name]) for name in theirs if not _same(mine[name], theirs[name])}
    return set(parsed)
