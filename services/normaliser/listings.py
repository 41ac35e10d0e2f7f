"""The instruments of every market, as each partition knows them from its own frames."""

from __future__ import annotations

import msgspec

from schemas import subjects
from schemas.frames import RawFrame
from schemas.records import Instrument
from services.normaliser.desk import Desk
from services.shared.exchanges.declaration import Listing, Market

_NOTHING = Listing()


class Listings:
    """The listings of one partition. Instruments are put out by the partition they belong to, when new or changed."""

    def __init__(self, desk: Desk, part: int) -> None:
        self._desk = desk
        self._part = part
        self._by_market: dict[tuple[str, str], Listing] = {}

    def of(self, exchange: str, market: str) -> Listing:
        """Return what is known of a market's instruments."""
        return self._by_market.get((exchange, market), _NOTHING)

    def take(self, frame: RawFrame, market: Market) -> None:
        """Take an instrument list. Raises BadFrame. What it no longer names stays known: its last frames may come."""
        found = market.instruments.parse(frame, _NOTHING)
        known = self.of(frame.exchange, frame.market).by_symbol
        merged = dict(known)
        for instrument in found:
            assert isinstance(instrument, Instrument)
            symbol = instrument.symbol
            old = known.get(symbol)
            if old is not None and _same(old, instrument):
                continue
            merged[symbol] = instrument
            if subjects.partition(frame.exchange, frame.market, symbol) == self._part:
                self._desk.emit(instrument)
        self._by_market[frame.exchange, frame.market] = Listing(list(merged.values()))

    def dump(self) -> list[Instrument]:
        """Return all instruments, to be saved."""
        return [item for listing in self._by_market.values() for item in listing.by_symbol.values()]

    def load(self, saved: list[Instrument]) -> None:
        """Take saved instruments back."""
        by_market: dict[tuple[str, str], list[Instrument]] = {}
        for item in saved:
            by_market.setdefault((item.exchange, item.market), []).append(item)
        self._by_market = {key: Listing(items) for key, items in by_market.items()}


def _same(old: Instrument, new: Instrument) -> bool:
    return old == msgspec.structs.replace(new, timestamp=old.timestamp, received_at=old.received_at)
