"""The instruments of every market, as each partition knows them from its own frames."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from schemas import subjects
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from schemas.records import Instrument
from services.normaliser.desk import Desk
from services.shared.exchanges.declaration import Listing, Market
from services.shared.exchanges.lifecycle import ENDED

DELISTED = "delisted"
"""The status of an instrument that its exchange lists no more."""

_NOTHING = Listing()


class Pages(msgspec.Struct):
    """A list that is told in pages, as far as it has come."""

    exchange: str
    market: str
    following: str
    """The path of the page that comes next."""
    named: list[str]
    """The instruments (ours) of those that came."""


class SavedListings(msgspec.Struct):
    """A partition's `Listings`."""

    instruments: list[Instrument]
    pages: list[Pages]


class Listings:
    """The listings of one partition. Instruments are put out by the partition they belong to, when new or changed."""

    def __init__(self, desk: Desk, part: int) -> None:
        self._desk = desk
        self._part = part
        self._by_market: dict[tuple[str, str], Listing] = {}
        self._pages: dict[tuple[str, str], Pages] = {}

    def of(self, exchange: str, market: str) -> Listing:
        """Return what is known of a market's instruments."""
        return self._by_market.get((exchange, market), _NOTHING)

    def has_ended(self, exchange: str, market: str, symbol: str) -> bool:
        """Whether an instrument is known, and known not to be traded any more."""
        item = self.of(exchange, market).by_symbol.get(symbol)
        return item is not None and item.status in ENDED

    def take(self, frame: RawFrame, market: Market) -> None:
        """Take an instrument list, or a page of one. Raises BadFrame.

        What a whole one no longer names has ended, and stays known: its last frames may come. A list in pages is whole
        with its last page, when each has come behind the one that led to it.
        """
        found = market.instruments.parse(frame, _NOTHING)
        known = self.of(frame.exchange, frame.market).by_symbol
        named = self._named(frame, market, [item.symbol for item in found])
        if known and named is not None and not named:
            raise BadFrame(f"an instrument list of {frame.exchange} {frame.market} without an instrument")
        merged = dict(known)
        gone = {} if named is None else {symbol: item for symbol, item in known.items() if symbol not in named}
        for item in found:
            assert isinstance(item, Instrument)
            old = known.get(item.symbol)
            instrument = item if old is None else _ended(old, item)
            if old is None or not _same(old, instrument):
                self._put(merged, instrument)
        for old in gone.values():
            if old.status not in ENDED:
                self._put(merged, _vanished(old, frame.received_at))
        self._by_market[frame.exchange, frame.market] = Listing(list(merged.values()))

    def _named(self, frame: RawFrame, market: Market, symbols: Iterable[str]) -> set[str] | None:
        """Return all that a list names whose last page this is; None for any other page."""
        if market.next_page is None:
            return set(symbols)
        key = (frame.exchange, frame.market)
        before = self._pages.pop(key, None)
        if frame.request in ("", market.instruments.path):
            told: Iterable[str] = ()
        elif before is not None and frame.request == before.following:
            told = before.named
        else:
            return None  # a page whose beginning has not come
        named = {*told, *symbols}
        following = market.next_page(frame.body)
        if following is None:
            return named
        self._pages[key] = Pages(*key, following, sorted(named))
        return None

    def _put(self, merged: dict[str, Instrument], item: Instrument) -> None:
        merged[item.symbol] = item
        if subjects.partition(item.exchange, item.market, item.symbol) == self._part:
            self._desk.emit(item)

    def dump(self) -> SavedListings:
        """Return all instruments, and what has come of lists in pages, to be saved."""
        instruments = [item for listing in self._by_market.values() for item in listing.by_symbol.values()]
        return SavedListings(instruments, list(self._pages.values()))

    def load(self, saved: SavedListings) -> None:
        """Take back what was saved."""
        self._pages = {(pages.exchange, pages.market): pages for pages in saved.pages}
        by_market: dict[tuple[str, str], list[Instrument]] = {}
        for item in saved.instruments:
            by_market.setdefault((item.exchange, item.market), []).append(item)
        self._by_market = {key: Listing(items) for key, items in by_market.items()}


def _ended(old: Instrument, new: Instrument) -> Instrument:
    """Return `new` with the time at which it ended, where its status says so and the exchange does not tell when.

    That is the time of the first list that said so, if one was seen that did not: else it is not known.
    """
    if new.status not in ENDED or new.delisted_at is not None:
        return new
    if old.status in ENDED:
        return msgspec.structs.replace(new, delisted_at=old.delisted_at)
    return msgspec.structs.replace(new, delisted_at=_moment(old, new.received_at))


def _vanished(old: Instrument, now: int) -> Instrument:
    """Return the last record of an instrument that a list of `now` does not name any more."""
    return msgspec.structs.replace(
        old,
        timestamp=now,
        timestamp_source="received",
        received_at=now,
        status=DELISTED,
        delisted_at=_moment(old, now),
    )


def _moment(old: Instrument, now: int) -> int:
    """Return when an instrument ended: as the exchange had announced it, else when a list first said so."""
    announced = [moment for moment in (old.delisted_at, old.expires_at) if moment is not None and moment <= now]
    return min(announced, default=now)


def _same(old: Instrument, new: Instrument) -> bool:
    return old == msgspec.structs.replace(new, timestamp=old.timestamp, received_at=old.received_at)
