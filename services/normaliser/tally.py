"""What was received and made of an instrument, minute by minute of our receive clock: the basis of a proof of no loss.

Pure and cheap: a record costs a look at its own JSON for when it was received. Counts of a minute go out as `coverage`
records when a later minute has begun; what belongs to it and comes after that goes out with the next ones, so that
records of one minute add up.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from schemas import records

MINUTE_US = 60_000_000

Instrument = tuple[str, str, str]
"""Exchange, market, symbol."""

_RECEIVED = b'"received_at":'
_DIGITS = 16
"""Of a time in microseconds, until the year 2286."""


class _Ids(msgspec.Struct):
    sequence: int | None = None
    first_sequence: int | None = None
    last_sequence: int | None = None


_ids = msgspec.json.Decoder(_Ids).decode


class SavedCount(msgspec.Struct, array_like=True):
    """Records of one kind of one minute: how many, the first one's JSON and the last one's."""

    subject: str
    minute: int
    records: int
    first: bytes
    last: bytes


class SavedTally(msgspec.Struct):
    """The state of a `Tally`; frames are by channel."""

    minute: int
    counts: list[SavedCount]
    frames: dict[str, int]


class _Count:
    __slots__ = ("begin", "end", "first", "last", "minute", "records")

    def __init__(self, minute: int, body: bytes) -> None:
        self.minute = minute
        self.begin, self.end = (str(at * MINUTE_US).encode() for at in (minute, minute + 1))
        self.records = 0
        self.first = self.last = body


class Tally:
    """What one saved unit has to count. Minutes are counted since the epoch."""

    __slots__ = ("_counts", "_late", "minute")

    def __init__(self, minute: int) -> None:
        self.minute = minute
        """The minute that has begun: those before it were told."""
        self._counts: dict[str, _Count] = {}
        self._late: dict[tuple[str, int], _Count] = {}
        """Counts of other minutes than the one that a kind counts now."""

    def count(self, subject: str, body: bytes) -> None:
        """Count a record by its JSON."""
        at = body.find(_RECEIVED, 60) + len(_RECEIVED)
        found = self._counts.get(subject)
        if found is None or not found.begin <= body[at : at + _DIGITS] < found.end:
            found = self._turn(subject, int(body[at : body.index(b",", at)]) // MINUTE_US, body)
        found.records += 1
        found.last = body

    def _turn(self, subject: str, minute: int, body: bytes) -> _Count:
        before = self._counts.get(subject)
        if before is not None:
            self._late[subject, before.minute] = before
        found = self._late.pop((subject, minute), None) or _Count(minute, body)
        self._counts[subject] = found
        return found

    def tell(self, minute: int, frames: Mapping[str, int], whose: Instrument, now: int) -> list[records.Coverage]:
        """Return the counts of all minutes before `minute`, and forget them. `now` is our clock.

        `frames` of each kind came since this was last asked: they count for the minute that was the newest then.
        """
        told = {
            (self.minute, *whose, kind): _coverage(self.minute, *whose, kind, now, frames=count)
            for kind, count in frames.items()
            if count
        }
        due = [(subject, count) for (subject, _), count in self._late.items() if count.minute < minute]
        due += [(subject, count) for subject, count in self._counts.items() if count.minute < minute]
        for subject, count in due:
            kind, exchange, market, symbol = subject.split(".")[1:]
            key = (count.minute, exchange, market, symbol, kind)
            made = told.get(key) or _coverage(count.minute, exchange, market, symbol, kind, now)
            first, last = _ids(count.first), _ids(count.last)
            told[key] = msgspec.structs.replace(
                made,
                records=count.records,
                first_id=first.sequence if first.first_sequence is None else first.first_sequence,
                last_id=last.sequence if last.last_sequence is None else last.last_sequence,
            )
        self._late = {key: count for key, count in self._late.items() if count.minute >= minute}
        self._counts = {key: count for key, count in self._counts.items() if count.minute >= minute}
        self.minute = minute
        return [told[key] for key in sorted(told)]

    def dump(self, frames: dict[str, int]) -> SavedTally:
        """Return the state; `frames` by channel."""
        counts = [(subject, count) for (subject, _), count in self._late.items()]
        counts += self._counts.items()
        saved = [SavedCount(subject, one.minute, one.records, one.first, one.last) for subject, one in counts]
        return SavedTally(self.minute, saved, frames)

    def load(self, saved: SavedTally) -> None:
        """Take a saved state back."""
        self.minute = saved.minute
        for item in saved.counts:
            count = self._turn(item.subject, item.minute, item.first)
            count.records, count.last = item.records, item.last


def _coverage(
    minute: int, exchange: str, market: str, symbol: str, kind: str, now: int, frames: int = 0
) -> records.Coverage:
    return records.Coverage(
        exchange=exchange,
        market=market,
        symbol=symbol,
        timestamp=minute * MINUTE_US,
        timestamp_source="received",
        received_at=now,
        source="live",
        kind=kind,
        frames=frames,
        records=0,
    )
