"""What faults on order do to the sessions and answers of a market, and the notes that are taken of it.

A fault works between server and venue, so it is the same for replayed and generated markets. Venues that keep a ledger
(`Accountant`) are told of each fault that came to pass, and their sessions (`Accountable`) of each frame it befell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, runtime_checkable

import msgspec

from services.exchange_simulator import fault_orders as orders
from services.exchange_simulator.refusals import error_page, refusal
from services.exchange_simulator.venue import Answer, Refused, Session

_Counted = TypeVar("_Counted", bound=orders.OnFrames | orders.Refuse | orders.Reject | orders.Page)
_UNCHAINED_BY = 1_000


@dataclass(frozen=True, slots=True)
class About:
    """What a frame is about, as far as its session knows: a kind of record, an instrument, and its ids there."""

    stream: str = ""
    symbol: str | None = None
    kind: str | None = None
    first_id: int | None = None
    last_id: int | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """One fault that came to pass, at `at_us` (wall clock, us UTC).

    `connection` is the venue's number of it, `frame` how many data frames it had been handed before. `detail` says what
    the other fields cannot: a close code, a status and path, seconds.
    """

    fault: str
    at_us: int
    connection: int | None = None
    frame: int | None = None
    about: About = field(default=About())
    symbol: str = ""
    """The exchange's own name, of a fault about a symbol and no frame."""
    detail: str = ""


@runtime_checkable
class Accountable(Protocol):
    """A session that knows what its frames are about. `place` counts the frames last handed out."""

    number: int

    def about(self, place: int) -> About:
        """Say what a frame is about."""
        ...

    def spoiled(self, place: int, fault: str) -> None:
        """Note what became of a frame; before the session is asked for the next ones."""
        ...

    def unchained(self, place: int, frame: bytes, by: int) -> bytes | None:
        """Return a book change with the number that chains it to the one before raised by so much; None: it is none."""
        ...


@runtime_checkable
class Accountant(Protocol):
    """A venue that keeps a ledger, and whose list of symbols can change."""

    def noted(self, note: Note) -> None:
        """Put a fault on record."""
        ...

    def enlist(self, now_us: int) -> str | None:
        """List one more symbol, and return it, or None where there is none left."""
        ...

    def delist(self, symbol: str, now_us: int) -> str | None:
        """End a symbol, or the quietest one (""), and return it, or None where it is not listed."""
        ...


class MarketFaults:
    """The faults still to befall one market. Times are microseconds UTC."""

    def __init__(self, exchange: str, noted: Callable[[Note], None]) -> None:
        """`noted` is told of each fault as it comes to pass."""
        self.counts: Counter[str] = Counter()
        self._exchange = exchange
        self._noted = noted
        self._clear()

    def _clear(self) -> None:
        self.stalled_until_us = 0
        self.frames: list[orders.OnFrames] = []
        self.behind: list[tuple[bytes, bytes]] = []
        self._inserts: list[bytes] = []
        self._refuse: list[orders.Refuse] = []
        self._answers: list[orders.Reject | orders.Page] = []

    def note(self, note: Note) -> None:
        """Count a fault that came to pass, and pass it on."""
        self.counts[note.fault] += 1
        self._noted(note)

    def add(self, fault: orders.Fault, now_us: int) -> None:
        """Arm a fault. Those on connections and symbols act at once and are the server's."""
        match fault:
            case orders.OnFrames():
                self.frames.append(msgspec.structs.replace(fault))
            case orders.Insert() if fault.behind:
                self.behind.append((fault.behind.encode(), fault.payload()))
            case orders.Insert():
                self._inserts.append(fault.payload())
            case orders.Stall():
                self.stalled_until_us = now_us + int(fault.seconds * 1_000_000)
                self.note(Note("stall", now_us, detail=f"{fault.seconds} s"))
            case orders.Refuse():
                self._refuse.append(msgspec.structs.replace(fault))
            case orders.Reject() | orders.Page():
                self._answers.append(msgspec.structs.replace(fault))
            case orders.Clear():
                self._clear()

    def connecting(self, now_us: int) -> None:
        """Refuse a new connection if one is to be refused. Raises Refused."""
        if self._refuse:
            status = use(self._refuse, self._refuse[0]).status
            self.note(Note("refuse", now_us, detail=str(status)))
            raise Refused(status, "refused by a simulated fault")

    def answering(self, path: str, now_us: int) -> Answer | None:
        """Return the answer that replaces the venue's, if this request is to be answered otherwise."""
        for fault in self._answers:
            if fault.path in path:
                use(self._answers, fault)
                kind = "page" if isinstance(fault, orders.Page) else "reject"
                self.note(Note(kind, now_us, detail=f"{fault.status} {path}"))
                if isinstance(fault, orders.Page):
                    return error_page(fault.status)
                return refusal(self._exchange, fault.status, fault.retry_after_s, now_us)
        return None

    def inserts(self) -> list[bytes]:
        """Take the frames to be inserted now."""
        inserts, self._inserts = self._inserts, []
        return inserts

    def inserting(self) -> bool:
        """Whether a frame is waiting to be inserted."""
        return bool(self._inserts)


def use(faults: list[_Counted], fault: _Counted) -> _Counted:
    """Count a fault as used once, and take it off the list when it is used up."""
    fault.count -= 1
    if fault.count <= 0:
        faults.remove(fault)
    return fault


class FaultySession:
    """A venue's session with the market's faults in between, itself a `Session`."""

    def __init__(self, session: Session, faults: MarketFaults) -> None:
        self.number = session.number if isinstance(session, Accountable) else None
        self._session = session
        self._told = session if isinstance(session, Accountable) else None
        self._faults = faults
        self._sent = 0
        self._held: list[tuple[bytes, str]] = []
        """Frames that are to follow the next one, of their stream where that is known."""

    def receive(self, message: bytes, now_us: int) -> Sequence[bytes]:
        """Pass the message on."""
        return self._session.receive(message, now_us)

    def heard(self, now_us: int) -> None:
        """Pass it on."""
        self._session.heard(now_us)

    def frames(self, now_us: int, limit: int) -> Sequence[bytes]:
        """Return the venue's frames as the faults leave them; none while stalled."""
        faults = self._faults
        if now_us < faults.stalled_until_us:
            return ()
        inserted = faults.inserts() if faults.inserting() else []
        for payload in inserted:
            faults.note(Note("insert", now_us, self.number, self._sent, detail=f"{payload[:80]!r}"))
        frames = self._session.frames(now_us, limit)
        if faults.frames or faults.behind or self._held:
            frames = self._spoil(frames, now_us)
        if inserted:
            frames = [*inserted, *frames]
        self._sent += len(frames)
        return frames

    def _spoil(self, frames: Sequence[bytes], now_us: int) -> list[bytes]:
        """Do to these frames what the faults order."""
        left: list[bytes] = []
        for place, frame in enumerate(frames):
            fault = self._fault_on(place, frame)
            said = self._befall(fault, place, frame) if fault is not None else [frame]
            if said is None or fault is None:
                said = [frame]
            else:
                use(self._faults.frames, fault)
                self._note(str(type(fault).__struct_config__.tag), place, now_us, self._sent + len(left))
            left += said
            if said:
                left += self._released(place)
            left += self._behind(frame, now_us, self._sent + len(left))
        if self._held and not frames and self._session.next_due_us() is None:
            left += [frame for frame, _ in self._held]
            self._held = []
        return left

    def _fault_on(self, place: int, frame: bytes) -> orders.OnFrames | None:
        for fault in self._faults.frames:
            if fault.match.encode() in frame and (not fault.kind or fault.kind == self._about(place).kind):
                return fault
        return None

    def _befall(self, fault: orders.OnFrames, place: int, frame: bytes) -> list[bytes] | None:
        """Return what is sent in place of a frame, or None where the fault cannot befall it."""
        match fault:
            case orders.Drop():
                return []
            case orders.Duplicate():
                return [frame, frame]
            case orders.Truncate():
                return [type(frame)(frame[: len(frame) // 2])]
            case orders.Swap():
                self._held.append((frame, self._about(place).stream))
                return []
        changed = None if self._told is None else self._told.unchained(place, frame, _UNCHAINED_BY)
        return None if changed is None else [changed]

    def _released(self, place: int) -> list[bytes]:
        """Take the frames that were held back until this one had passed."""
        stream = self._about(place).stream
        found = [frame for frame, waits_for in self._held if waits_for == stream]
        self._held = [item for item in self._held if item[1] != stream]
        return found

    def _behind(self, frame: bytes, now_us: int, number: int) -> list[bytes]:
        faults = self._faults
        follows = [item for item in faults.behind if item[0] in frame]
        faults.behind = [item for item in faults.behind if item not in follows]
        for _, payload in follows:
            faults.note(Note("insert", now_us, self.number, number, detail=f"{payload[:80]!r}"))
        return [payload for _, payload in follows]

    def _about(self, place: int) -> About:
        return About() if self._told is None else self._told.about(place)

    def _note(self, fault: str, place: int, now_us: int, number: int) -> None:
        about = self._about(place)
        if self._told is not None:
            self._told.spoiled(place, fault)
        self._faults.note(Note(fault, now_us, self.number, number, about))

    def next_due_us(self) -> int | None:
        """When the next frame is due: not before the stall ends, at once for a frame to be inserted."""
        due = 0 if self._faults.inserting() else self._session.next_due_us()
        if due is None and self._held:
            due = 0
        return None if due is None else max(due, self._faults.stalled_until_us)

    def close(self, now_us: int) -> None:
        """Pass it on."""
        self._session.close(now_us)
