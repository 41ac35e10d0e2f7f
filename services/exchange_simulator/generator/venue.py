"""A generated market as a `Venue`: who hears which stream, and what falls due when, whatever the exchange's words.

Market time runs with the wall clock, from `start_us` at the first request or connection on. Events are computed and
encoded once, for all who hear them, and only while somebody does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush

from services.exchange_simulator.faults import Note
from services.exchange_simulator.generator.clock import Clock
from services.exchange_simulator.generator.dialect import EVERY, Dialect, Speaker, Voice
from services.exchange_simulator.generator.feed import Feed
from services.exchange_simulator.generator.ledger import Ledger
from services.exchange_simulator.generator.market import Market, PriceProcess
from services.exchange_simulator.generator.session import AT_ONCE, GeneratedSession
from services.exchange_simulator.venue import Answer


class GeneratedVenue:
    """One generated exchange market."""

    def __init__(
        self,
        dialect: Dialect,
        markets: Sequence[Market],
        clock: Clock,
        ledger: Ledger,
        reserve: Sequence[Market] = (),
    ) -> None:
        """Serve `markets` in the words of `dialect`, on `clock`; what is handed out goes into `ledger`.

        Those in `reserve` are not listed yet: `enlist` takes them one by one.
        """
        self.exchange = dialect.exchange
        self.market = dialect.market
        self.keep_alive = dialect.keep_alive
        self.chain = dialect.chain
        self._begins = bool(dialect.rhythm.begins)
        self.clock = clock
        self.ledger = ledger
        self.feeds = {one.listing.wire_symbol: Feed(one, dialect.rhythm) for one in markets}
        self._reserve = [Feed(one, dialect.rhythm) for one in reserve]
        self.voice: Voice = dialect.voice(self.feeds)
        self._speakers: list[Speaker] = [*self.feeds.values(), *self.voice.speakers.values()]
        self._place_of = {name: place for place, name in enumerate((*self.feeds, *self.voice.speakers))}
        self._hearers: list[dict[str, list[tuple[GeneratedSession, str]]]] = [{} for _ in self._speakers]
        self._due: list[tuple[int, int]] = []
        self._scheduled: list[int | None] = [None] * len(self._speakers)
        self._sessions: set[GeneratedSession] = set()
        self._connected = 0

    def prepare(self, market_us: int) -> None:
        """Add up the 24 hours before a market time of every symbol: every ticker needs most of them.

        Done before anybody is served: of a thousand symbols it takes seconds, in which nobody would be answered. What
        cannot be added up fast is left to whoever asks.
        """
        for feed in self.feeds.values():
            if isinstance(feed.market.process, PriceProcess):
                feed.ticker(market_us)

    def symbols(self) -> Sequence[str]:
        """The exchange's symbols that are listed."""
        return list(self.feeds)

    def connect(self, path: str, query: str, now_us: int) -> GeneratedSession:
        """Open a session; streams named in the URL are subscribed at once. Raises Refused."""
        talk = self.voice.connect(path, query, self._connected + 1, now_us)
        self._connected += 1
        session = GeneratedSession(self, talk, self._connected)
        self._sessions.add(session)
        self.subscribe(session, talk.streams(), now_us)
        return session

    def get(self, path: str, query: Mapping[str, str], now_us: int) -> Answer:
        """Answer a GET as of the market time now."""
        return self.voice.get(path, query, self.clock.market_us(now_us))

    def finished(self, now_us: int) -> bool:
        """Whether the run's end has come and all that fell due before has been handed out."""
        return self.clock.ends_before(self.clock.market_us(now_us)) and not any(
            session.behind() for session in self._sessions
        )

    def missed(self) -> int:
        """Nothing is generated that nobody hears, so nothing is missed."""
        return 0

    def noted(self, note: Note) -> None:
        """Put a fault on record; at once on disk while no session is there to see to that."""
        self.ledger.note(note)
        if not self._sessions:
            self.ledger.flush(note.at_us)

    def enlist(self, now_us: int) -> str | None:
        """List one more symbol and return it; None where there is none left."""
        if not self._reserve:
            return None
        feed = self._reserve.pop(0)
        name = feed.market.listing.wire_symbol
        self.feeds[name] = feed
        self._place_of[name] = len(self._speakers)
        self._speakers.append(feed)
        self._hearers.append({})
        self._scheduled.append(None)
        self.advance(now_us)
        for session in self._sessions:
            for stream in session.streams():
                # Streams about the whole market are about this symbol too, from now on.
                for speaker, topic in self.voice.heard(stream):
                    if speaker == EVERY and topic in feed.topics:
                        self._hear(session, stream, self._place_of[name], topic, self.clock.market_us(now_us))
        return name

    def delist(self, symbol: str, now_us: int) -> str | None:
        """End a symbol, or the quietest one (""), and return it; None where it is not listed."""
        name = symbol or min(self.feeds, key=lambda one: self.feeds[one].market.listing.events_per_s, default="")
        if name not in self.feeds:
            return None
        self.advance(now_us)
        place = self._place_of[name]
        self._hearers[place].clear()
        self._reschedule(place, self.clock.market_us(now_us))
        del self.feeds[name], self._place_of[name]
        return name

    def subscribe(self, session: GeneratedSession, streams: Sequence[str], now_us: int) -> None:
        """Have a session hear these streams from now on; of an unknown symbol it will hear nothing."""
        if not streams:
            return
        market_us = self.clock.market_us(now_us)
        # What begins with how things stand needs everything told that was due; else a stream begins a little early.
        self.advance(now_us, None if self._begins else AT_ONCE)
        for stream in streams:
            for place, topic in self._sources_of(stream):
                self._hear(session, stream, place, topic, market_us)

    def _hear(self, session: GeneratedSession, stream: str, place: int, topic: str, market_us: int) -> None:
        self._hearers[place].setdefault(topic, []).append((session, stream))
        self._reschedule(place, market_us)
        beginning = self._speakers[place].beginning(topic, market_us)
        if beginning is not None and not self.clock.ends_before(market_us):
            session.hear(beginning, stream)

    def unsubscribe(self, session: GeneratedSession, streams: Sequence[str], now_us: int) -> None:
        """Have a session hear these streams no more."""
        market_us = self.clock.market_us(now_us)
        for stream in streams:
            for place, topic in self._sources_of(stream):
                hearers = self._hearers[place].get(topic, [])
                if (session, stream) not in hearers:
                    continue  # the symbol was not listed when the stream was asked for
                hearers.remove((session, stream))
                if not hearers:
                    del self._hearers[place][topic]
                self._reschedule(place, market_us)

    def forget(self, session: GeneratedSession, streams: Sequence[str], now_us: int) -> None:
        """Take leave of a session; the ledger is brought to disk."""
        if session in self._sessions:
            self._sessions.remove(session)
            self.unsubscribe(session, streams, now_us)
            self.ledger.flush(now_us)

    def _sources_of(self, stream: str) -> list[tuple[int, str]]:
        """Return (place of the speaker, topic) of everything that speaks on a stream."""
        found: list[tuple[int, str]] = []
        for speaker, topic in self.voice.heard(stream):
            names = self.feeds if speaker == EVERY else (speaker,)
            found += [
                (place, topic)
                for place in (self._place_of.get(name) for name in names)
                if place is not None and topic in self._speakers[place].topics
            ]
        return found

    def _reschedule(self, place: int, market_us: int) -> None:
        self._speakers[place].hear(self._hearers[place], market_us)
        self._schedule(place)

    def _schedule(self, place: int) -> None:
        due_us = self._speakers[place].due_us
        if due_us is not None and self.clock.ends_before(due_us):
            due_us = None
        if due_us is not None and due_us != self._scheduled[place]:
            heappush(self._due, (due_us, place))
        self._scheduled[place] = due_us

    def advance(self, now_us: int, most: int | None = None) -> None:
        """Let everything speak that falls due up to now; or as much of it as `most` speakers have to say."""
        market_us, due = self.clock.market_us(now_us), self._due
        spoken = 0
        while due and due[0][0] <= market_us and spoken != most:
            due_us, place = heappop(due)
            if self._scheduled[place] != due_us:
                continue
            spoken += 1
            self._scheduled[place] = None
            hearers = self._hearers[place]
            for topic, message in self._speakers[place].take(hearers):
                for session, stream in hearers[topic]:
                    session.hear(message, stream)
            self._schedule(place)

    def next_due_us(self) -> int | None:
        """When something falls due next (wall clock): an event, or rows of the ledger that must be on disk."""
        due = self._due
        while due and self._scheduled[due[0][1]] != due[0][0]:
            heappop(due)
        times = [self.clock.wall_us(due[0][0])] if due else []
        if (flush_us := self.ledger.flush_due_us()) is not None:
            times.append(flush_us)
        return min(times, default=None)
