"""A generated run that is prepared as a whole and then only sent: measurements need the processors for something else.

Market time stands still while clients connect, subscribe and ask for what REST has. Then `Rehearsal.prepare` lets the
whole run pass: what each session is to be sent goes into a file of its own, and its events into the ledger. `start`
lets market time run, and each session is handed its file as it falls due.

A client gets the same frames as otherwise, but cannot connect or subscribe any more once the run is prepared. Faults on
frames are not for such a run, whose ledger is complete before they could befall it. Requests are counted in market
time: those of the whole set-up must fit into one window of the exchange's limits.
"""

from __future__ import annotations

import asyncio
import os
import time
from array import array
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import BinaryIO, Self

from schemas.errors import SettingsError
from services.exchange_simulator.generator import build
from services.exchange_simulator.generator.clock import Clock
from services.exchange_simulator.generator.session import GeneratedSession
from services.exchange_simulator.generator.venue import GeneratedVenue
from services.exchange_simulator.settings import SimulatorSettings
from services.exchange_simulator.venue import Answer, Binary, Closing, Refused

SLICE_US = 2_000
"""What falls due within so long is handed out together, at the end of it."""

_SOME_FRAMES = 1_000_000


class StandingClock(Clock):
    """Market time that stands at its start, goes where it is told, and runs from its start on once it is released."""

    def __init__(self, start_us: int, duration_s: float) -> None:
        """Stand at `start_us`; the run ends `duration_s` behind it."""
        super().__init__(start_us, duration_s)
        self.start_us = start_us
        self.end_us = start_us + round(duration_s * 1_000_000)
        super().market_us(start_us)
        self._stands_at_us: int | None = start_us

    def market_us(self, now_us: int) -> int:
        """Return the market time at a wall clock time."""
        return super().market_us(now_us) if self._stands_at_us is None else self._stands_at_us

    def stand(self, market_us: int) -> None:
        """Go to a market time, and stand there."""
        self._stands_at_us = market_us

    def release(self, now_us: int) -> None:
        """Run, from the start on."""
        self._stands_at_us, self._ahead_us = None, self.start_us - now_us


class _Script:
    """Frames on a file, in slices: when each falls due (market time), how many frames it has, and how long they are."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._due_us = array("q")
        self._frames = array("I")
        self._lengths = array("i")
        """Bytes of each frame; below 0: it is binary."""
        self._slice = self._frame = self._offset = 0

    def add(self, due_us: int, frames: Sequence[bytes]) -> None:
        """Write what falls due next."""
        self._due_us.append(due_us)
        self._frames.append(len(frames))
        self._lengths.extend([-len(frame) if type(frame) is Binary else len(frame) for frame in frames])
        self._file.write(b"".join(frames))

    def end(self) -> None:
        """Write no more: now it can be read."""
        self._file.flush()

    def take(self, until_us: int, limit: int) -> list[bytes]:
        """Return the next frames that are due, at least a slice and about `limit` at most."""
        due, first, number = self._due_us, self._frame, self._slice
        while number < len(due) and due[number] <= until_us and self._frame - first < limit:
            self._frame += self._frames[number]
            number += 1
        self._slice = number
        lengths = self._lengths[first : self._frame]
        data = os.pread(self._file.fileno(), sum(map(abs, lengths)), self._offset)
        self._offset += len(data)
        found, end = [], 0
        for length in lengths:
            begin, end = end, end + abs(length)
            frame = data[begin:end]
            found.append(frame if length >= 0 else Binary(frame))
        return found

    def next_due_us(self) -> int | None:
        """When the next slice falls due (market time)."""
        return self._due_us[self._slice] if self._slice < len(self._due_us) else None


class RehearsedSession:
    """A session of a generated market whose frames are written down before they are sent."""

    def __init__(self, session: GeneratedSession, clock: StandingClock, file: BinaryIO) -> None:
        self._session = session
        self._clock = clock
        self._file = file
        self._script = _Script(file)
        self._prepared = self._running = self._closed = False

    def receive(self, message: bytes, now_us: int) -> Sequence[bytes]:
        """Take one control message. Raises Closing for any once the run is prepared."""
        if self._prepared:
            raise Closing(1008, "the run is prepared: what is subscribed cannot change any more")
        return self._session.receive(message, now_us)

    def heard(self, now_us: int) -> None:
        """Count a ping or pong of the client. Raises Closing where the exchange limits them."""
        self._session.heard(now_us)

    def write(self, market_us: int) -> int:
        """Write down what falls due up to a market time; return how many frames that is."""
        written = 0
        while not self._closed and (frames := self._session.frames(market_us, _SOME_FRAMES)):
            self._script.add(market_us, frames)
            written += len(frames)
        self._prepared = True
        return written

    def run(self) -> None:
        """Hand out from now on."""
        self._script.end()
        self._running = True

    def frames(self, now_us: int, limit: int) -> Sequence[bytes]:
        """Return what is due."""
        return self._script.take(self._clock.market_us(now_us), limit) if self._running else ()

    def next_due_us(self) -> int | None:
        """When the next frames are due; None before the run, and behind it."""
        due_us = self._script.next_due_us() if self._running else None
        return None if due_us is None else self._clock.wall_us(due_us)

    def close(self, now_us: int) -> None:
        """Leave."""
        if not self._closed:
            self._closed, self._running = True, False
            self._session.close(now_us)
            self._file.close()


class RehearsedVenue:
    """A generated market, as a `Venue`, whose run is prepared before it is sent."""

    def __init__(self, venue: GeneratedVenue, clock: StandingClock, folder: Path) -> None:
        """Write what is to be sent below `folder`; `venue`, which nobody has asked yet, goes by `clock` from now on."""
        venue.clock = clock
        self.exchange = venue.exchange
        self.market = venue.market
        self.keep_alive = venue.keep_alive
        self._venue = venue
        self._clock = clock
        self._folder = folder
        self._numbers = count(1)
        self._sessions: list[RehearsedSession] = []
        self._open = True
        self._running = False

    def symbols(self) -> Sequence[str]:
        """The exchange's symbols that are listed."""
        return self._venue.symbols()

    def connect(self, path: str, query: str, now_us: int) -> RehearsedSession:
        """Open a session. Raises Refused, any once the run is prepared."""
        if not self._open:
            raise Refused(503, "the run is prepared: nobody can join it any more")
        session = self._venue.connect(path, query, now_us)
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{self.exchange}.{self.market}-{next(self._numbers)}.frames"
        file = (self._folder / name).open("w+b")
        (self._folder / name).unlink()  # it ends with this process
        self._sessions.append(RehearsedSession(session, self._clock, file))
        return self._sessions[-1]

    def get(self, path: str, query: Mapping[str, str], now_us: int) -> Answer:
        """Answer a GET as of the market time now."""
        return self._venue.get(path, query, now_us)

    def finished(self, now_us: int) -> bool:
        """Whether the run's end has come and all that fell due before has been handed out."""
        return (
            self._running
            and self._clock.ends_before(self._clock.market_us(now_us))
            and all(session.next_due_us() is None for session in self._sessions)
        )

    def missed(self) -> int:
        """Nothing is generated that nobody hears, so nothing is missed."""
        return 0

    def write(self, market_us: int) -> int:
        """Write down what falls due up to a market time; return how many frames that is."""
        self._open = False
        return sum(session.write(market_us) for session in self._sessions)

    def run(self, now_us: int) -> None:
        """Hand out from now on; the ledger is complete."""
        self._venue.ledger.flush(now_us)
        for session in self._sessions:
            session.run()
        self._running = True


class Rehearsal:
    """The run of all markets on one clock."""

    @classmethod
    def of(cls, settings: SimulatorSettings) -> Self:
        """Return the run that the settings describe. Raises SettingsError for one without an end."""
        if settings.duration_s is None:
            raise SettingsError("rehearsed=true needs duration_s: what has no end cannot be prepared")
        start_us = time.time_ns() // 1000 if settings.start_us is None else settings.start_us
        clock = StandingClock(start_us, settings.duration_s)
        folder = settings.data_dir / "simulator"
        venues = build(settings.model_copy(update={"start_us": start_us}))
        generated = [venue for venue in venues if isinstance(venue, GeneratedVenue)]
        return cls(clock, [RehearsedVenue(venue, clock, folder) for venue in generated])

    def __init__(self, clock: StandingClock, venues: Sequence[RehearsedVenue]) -> None:
        self.frames = 0
        """Written down so far."""
        self.prepared = False
        self.venues = venues
        self._clock = clock

    async def prepare(self) -> None:
        """Let the run pass, while connections are kept alive; then stand at its beginning again."""
        for market_us in range(self._clock.start_us + SLICE_US, self._clock.end_us + SLICE_US, SLICE_US):
            self._clock.stand(market_us)
            self.frames += sum(venue.write(market_us) for venue in self.venues)
            await asyncio.sleep(0)
        self._clock.stand(self._clock.start_us)
        self.prepared = True

    def start(self, now_us: int) -> None:
        """Begin to send. Raises ValueError when the run is not prepared."""
        if not self.prepared:
            raise ValueError("the run is not prepared yet: POST /simulator/prepare first, and wait for it")
        for venue in self.venues:
            venue.run(now_us)
        self._clock.release(now_us)
