"""The quick way of a frame: what it says is told as it stands, where there is nothing to be judged about it.

That is so when the frame is in its channel's form, comes from the leader, and follows plainly on the last one, with no
hole before it and no change of leaders. The record goes out as the form's JSON without ever being one. When something
less plain happens, the last record is read back from that JSON, and the frame goes the long way: what comes out is the
same, whichever way a frame goes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import msgspec

from schemas import records, subjects
from services.normaliser.desk import Desk, Output
from services.normaliser.gaps import Hole
from services.shared.exchanges.declaration import Channel, Listing
from services.shared.exchanges.forms import ChangeForm, Form


@lru_cache
def decoder(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    """Return what reads a record of this type back from its JSON."""
    return msgspec.json.Decoder(kind)


class QuickLane:
    """The part of a lane that tells what needs no judgement, and what it shares with the rest."""

    quick: ClassVar[bool] = True
    """Whether lanes of this type have a quick way at all."""
    by_ones: ClassVar[bool] = False
    """What follows plainly: the next number, or anything that differs from the last one's."""

    def __init__(self, desk: Desk, exchange: str, market: str, symbol: str, channel: Channel) -> None:
        self.desk = desk
        self.exchange = exchange
        self.market = market
        self.symbol = symbol
        self.channel = channel
        self.holes: dict[str, Hole] = {}
        self.overlap = False
        """The leader took over while covering: what its predecessor already said is dropped until it passes that."""
        self.form: Form | ChangeForm | None = None
        """How the exchange writes this lane's frames; None while that is not known."""
        self._instrument: records.Instrument | None = None
        """As it was listed when the form was found."""
        self._kind = channel.kinds[0]
        self._tray, self._told_of = desk.tray, desk.counters.records
        self._subject = subjects.md(self._kind, exchange, market, symbol)
        self._last: dict[str, records.Record] = {}
        self._told: bytes | None = None
        """The JSON of the last record, when it was told the quick way and not asked for since."""
        self._number = -1
        """What that record is known by: holds while `_told` does."""

    @property
    def last(self) -> dict[str, records.Record]:
        """The last record of each kind that went out."""
        if self._told is not None:
            self._read_back()
        return self._last

    @last.setter
    def last(self, last: dict[str, records.Record]) -> None:
        self._last, self._told = last, None

    def learn(self, frame: bytes, listing: Listing) -> None:
        """Find the form of this lane's frames by one of them that was read."""
        forms = self.channel.form
        self._instrument = listing.by_symbol.get(self.symbol)
        if self.quick and forms is not None and self._instrument is not None:
            self.form = forms(self._instrument, frame)

    def look_at_listing(self, listing: Listing) -> None:
        """Forget the form when the instrument has changed, or another has its name."""
        known = self._instrument
        if known is None or listing.by_exchange_symbol.get(known.exchange_symbol) is not known:
            self.form = None

    def take(self, frame: bytes, received_at: int) -> bool:
        """Tell what the leader's next frame says, if that is plain. If not, the frame is to be read in full."""
        if self.form is None or self.holes or (self.overlap and not self.by_ones):
            return False
        told = self.form(frame, received_at)
        if told is None:
            return False
        number, body = told  # type: ignore[misc]  # only a book channel's form tells changes
        if self._told is None:
            last = self._last.get(self._kind)
            known = None if last is None else self.known_by(last)
            if known is None:
                return False
            self._number = known
        if number != self._number + 1 if self.by_ones else number == self._number:
            return False
        self._number, self._told = number, body
        self._told_of[self._kind] += 1
        self._tray.append(Output(self._subject, body))
        return True

    def known_by(self, record: records.Record) -> int | None:
        """Return what the form knows a record by: when it was sent."""
        sent: int | None = getattr(record, "sent_at", None)
        return sent

    def _read_back(self) -> None:
        """Make a record again of what was told last."""
        assert self._told is not None
        self._last[self._kind] = decoder(records.BY_KIND[self._kind]).decode(self._told)
        self._told = None
