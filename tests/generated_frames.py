"""Hears a generated market as collector and normaliser do, in virtual time: its own messages, its own parsers.

Where frames tell only what has changed, each is read as the whole that they make, and what is not new is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from schemas.frames import RawFrame
from schemas.records import Record
from services.exchange_simulator.generator.session import GeneratedSession
from services.exchange_simulator.generator.venue import GeneratedVenue
from services.shared.exchanges.declaration import Ask, BookSnapshot, Channel, Listing, Market, Poll, Reply, StreamName
from services.shared.exchanges.registry import MARKETS
from tests.generated_market import NOW_US, SECOND_US, build, play
from tests.unit.test_generator_ledger import rows_of

LEDGER_ONLY = {"connection", "handed_out_at", "fault"}
"""Columns of the ledger that no record has."""


@dataclass
class Heard:
    """What was heard: frames by stream, records by kind, and all that the book channel said, in order."""

    frames: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    records: dict[str, list[Record]] = field(default_factory=lambda: defaultdict(list))
    books: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))

    def is_news(self, item: Any) -> bool:
        """Whether anything but its times, and the mark price beside a funding rate, differs from the one before."""
        last = next((one for one in reversed(self.records[item.KIND]) if one.symbol == item.symbol), None)
        unseen = {"timestamp", "received_at", "sent_at"} | ({"mark_price"} if item.KIND == "funding_rate" else set())
        names = set(item.__struct_fields__) - unseen
        return last is None or any(getattr(item, name) != getattr(last, name) for name in names)

    def symbols(self, kind: str) -> set[str]:
        """Our symbols that a kind was heard of."""
        return {record.symbol for record in self.records[kind]}


@dataclass
class Listener:
    """One generated market and the declaration by which it is read."""

    venue: GeneratedVenue
    declared: Market = field(init=False)
    listing: Listing = field(init=False)

    def __post_init__(self) -> None:
        self.declared = MARKETS[self.venue.exchange, self.venue.market]
        self.listing = Listing(self.ask(self.declared.instruments, "_all"))

    def frame(self, channel: str, symbol: str, body: bytes, origin: Any = "ws", at_us: int = NOW_US) -> RawFrame:
        """A frame as a collector files it."""
        asked = at_us - 1_000 if origin == "rest" else None
        names = (self.venue.exchange, self.venue.market, channel, symbol)
        return RawFrame(*names, "c", "1", 1, at_us, origin, body, "", requested_at=asked)

    def ask(self, poll: Poll, symbol: str, now_us: int = NOW_US) -> list[Any]:
        """Ask a declared endpoint about one of our symbols, and parse the answer."""
        named = self.listing.by_symbol[symbol].exchange_symbol if poll.per_symbol else ""
        path, _, query = poll.filled(named, now_us // 1_000).partition("?")
        answer = self.venue.get(path, dict(part.split("=") for part in query.split("&") if part), now_us)
        assert answer.status == 200, (path, query, answer.body)
        return list(
            poll.parse(
                self.frame(poll.name, symbol, answer.body, "rest", now_us), Listing() if named == "" else self.listing
            )
        )

    def streams(self) -> dict[str, tuple[Channel, str]]:
        """Return every declared stream of every instrument: its channel, our symbol."""
        found = {
            channel.stream(one.exchange_symbol): (channel, one.symbol)
            for channel in self.declared.channels.values()
            for one in self.listing.by_symbol.values()
        }
        found.pop("", None)
        return found

    def connect(self, now_us: int = NOW_US) -> GeneratedSession:
        """Open a connection and subscribe every stream in the declaration's own messages; none may be refused."""
        declared = self.declared
        (path,) = declared.routes.values()
        session = self.venue.connect(path, "", now_us)
        for message in declared.greeting:
            session.receive(message, now_us)
        names = list(self.streams())
        size = declared.limits.streams_per_message
        for place in range(0, len(names), size):
            message = declared.subscribe(names[place : place + size], place + 1)
            if declared.stamp is not None:
                message = declared.stamp(message, now_us // 1_000)
            (reply,) = session.receive(message, now_us)
            answer = declared.sort(reply)
            assert isinstance(answer, Reply)
            assert answer.error is None, (message, answer.error)
        return session

    def listen(self, seconds: float, now_us: int = NOW_US) -> Heard:
        """Hear every declared stream for so long, and parse every frame."""
        heard, streams, wholes = Heard(), self.streams(), dict[str, bytes]()
        session = self.connect(now_us)
        for at_us, body in play(session, now_us, seconds):
            name = self.declared.sort(body)
            if isinstance(name, Ask):
                session.receive(name.answer, at_us)
            if not isinstance(name, StreamName):
                continue
            channel, symbol = streams[name.name]
            heard.frames[name.name].append(body)
            if channel.merge is not None:
                body = wholes[name.name] = channel.merge(wholes.get(name.name), body)
            for item in channel.parse(self.frame(channel.name, symbol, body, at_us=at_us), self.listing):
                if channel.merge is not None and not heard.is_news(item):
                    continue
                if channel.name == self.declared.book_channel:
                    heard.books[symbol].append(item)
                if isinstance(item, Record):
                    heard.records[item.KIND].append(item)
        session.close(now_us + round(seconds * SECOND_US))
        return heard


def plain(value: Any) -> Any:
    """Return a record's value as the ledger has it: levels and numbers as decimals."""
    if isinstance(value, msgspec.Raw):
        return [[Decimal(number) for number in level] for level in msgspec.json.decode(value)]
    return value


def differences(directory: Path, venue: GeneratedVenue, heard: Heard) -> Iterator[str]:
    """Yield where records and ledger are not the same, value by value and in the same order."""
    prefix = f"{venue.exchange}.{venue.market}"
    told = {path.name.split("-")[0].removeprefix(f"{prefix}.") for path in directory.glob(f"{prefix}.*")}
    for kind in sorted((heard.records.keys() | told) - {"candle"}):
        rows, records = rows_of(directory, f"{prefix}.{kind}"), heard.records[kind]
        if len(rows) != len(records):
            yield f"{kind}: {len(rows)} in the ledger, {len(records)} parsed"
        for row, record in zip(rows, records, strict=False):
            for name in row.keys() - LEDGER_ONLY:
                expected, found = row[name], plain(getattr(record, name))
                if isinstance(expected, Decimal) and isinstance(found, str):
                    found = Decimal(found)
                if expected != found:
                    yield f"{kind} of {record.symbol}: {name} is {found}, in the ledger {expected}"


Played = tuple[Path, Listener, Heard]
"""A market that was heard: the folder of its ledger, who listened, and what was heard."""


def played_market(folder: Path, exchange: str, market: str, seconds: float, **settings: Any) -> Played:
    """Hear every declared stream of one market for so long, with its ledger below `folder`."""
    listener = Listener(build(folder, exchange, ledger=True, **settings)[market])
    return folder / "ledger", listener, listener.listen(seconds)


def assert_is_the_ledger(played: Played, kinds: set[str], only: Mapping[str, set[str]] | None = None) -> None:
    """Records are those of the ledger; these kinds and no others were heard, of every symbol or of those in `only`."""
    directory, listener, heard = played
    assert not list(differences(directory, listener.venue, heard))
    assert heard.records.keys() == kinds
    for kind in kinds:
        expected = (only or {}).get(kind, set(listener.listing.by_symbol))
        assert heard.symbols(kind) == expected, kind


def assert_answered(listener: Listener, poll: Poll, symbol: str, now_us: int = NOW_US) -> None:
    """A declared endpoint answers about a symbol, with records of the kinds that it declares."""
    found = listener.ask(poll, symbol, now_us)
    assert found, (poll.name, symbol)
    assert {item.KIND for item in found if isinstance(item, Record)} <= set(poll.kinds)


class Book:
    """A book kept by the declared rule, from what the parsers give; prices and quantities are decimals."""

    def __init__(self, declared: Market, snapshot: BookSnapshot) -> None:
        self._rule = declared.book_rule
        self._fresh = declared.book_snapshot is not None
        self.sequence = snapshot.sequence
        self.bids, self.asks = _side(snapshot.bids), _side(snapshot.asks)

    def take(self, change: Any) -> bool:
        """Apply a change if the rule says so; a broken chain fails."""
        judge = self._rule.first if self._fresh else self._rule.following
        verdict = judge(self.sequence, change.first_sequence, change.last_sequence, change.previous_sequence)
        assert not verdict.broken, (self.sequence, change)
        if verdict.apply:
            self._fresh = False
            self.sequence = change.last_sequence
            for side, levels in ((self.bids, change.bids), (self.asks, change.asks)):
                side.update(_side(levels))
                for price in [price for price, quantity in side.items() if not quantity]:
                    del side[price]
        return verdict.apply

    def best(self, count: int) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        """Return the best levels of both sides."""
        return sorted(self.bids.items(), reverse=True)[:count], sorted(self.asks.items())[:count]


def _side(raw: Any) -> dict[Decimal, Decimal]:
    return {Decimal(level[0]): Decimal(level[1]) for level in msgspec.json.decode(raw)}


def form(value: Any) -> Any:
    """Return what a JSON value looks like: keys in order, and the kind of each value; numbers are one kind."""
    if isinstance(value, dict):
        return [(key, form(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        seen: list[Any] = []
        for inner in value:
            if (one := form(inner)) not in seen:
                seen.append(one)
        return ["list", *seen]
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    if isinstance(value, str):
        return "number in text" if value.removeprefix("-").replace(".", "", 1).isdigit() else "text"
    return "number"
