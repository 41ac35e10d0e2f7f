"""A generated Binance market as a `Venue`: who hears which stream, and what falls due when.

Market time runs with the wall clock, from `start_us` at the first request or connection on. Events are computed and
encoded once, for all who hear them, and only while somebody does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from heapq import heappop, heappush

from services.exchange_simulator import binance_protocol
from services.exchange_simulator.generator.binance_frames import Encoder
from services.exchange_simulator.generator.binance_rest import GeneratedRest
from services.exchange_simulator.generator.events import Event, MarkEvent
from services.exchange_simulator.generator.feed import Feed
from services.exchange_simulator.generator.ledger import Ledger
from services.exchange_simulator.generator.market import Market
from services.exchange_simulator.venue import Answer, Closing

_PROTOCOLS = {"spot": binance_protocol.SPOT, "perp": binance_protocol.PERP}
_MOST_WAITING = 500_000
"""Events that may wait for a client that does not read; then the exchange gives it up."""


class Clock:
    """Market time: the wall clock, or a clock that began at `start_us` when it was first looked at."""

    def __init__(self, start_us: int | None, duration_s: float | None) -> None:
        self._start_us = start_us
        self._duration_us = None if duration_s is None else round(duration_s * 1_000_000)
        self._ahead_us: int | None = None
        self._end_us: int | None = None

    def market_us(self, now_us: int) -> int:
        """Return the market time at a wall clock time, no later than the end of the run."""
        if self._ahead_us is None:
            start_us = now_us if self._start_us is None else self._start_us
            self._ahead_us = start_us - now_us
            self._end_us = None if self._duration_us is None else start_us + self._duration_us
        return now_us + self._ahead_us

    def wall_us(self, market_us: int) -> int:
        """Return the wall clock time of a market time."""
        return market_us - (self._ahead_us or 0)

    def ends_before(self, market_us: int) -> bool:
        """Whether the run ends before a market time."""
        return self._end_us is not None and self._end_us < market_us


class MarkArray:
    """The all-market mark price streams: every second, or third second, one message for all symbols."""

    topics = frozenset({"!markPrice@arr@1s", "!markPrice@arr"})
    _SECOND_US = 1_000_000

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds = feeds
        self._running = False
        self._next_us = 0

    @property
    def due_us(self) -> int | None:
        """When the next message falls due, or None while nobody hears it."""
        return self._next_us if self._running else None

    def hear(self, topics: Collection[str], now_us: int) -> None:
        """Begin with the next full second, or stop."""
        if topics and not self._running:
            self._next_us = (now_us // self._SECOND_US + 1) * self._SECOND_US
        self._running = bool(topics)

    def take(self, heard: Collection[str]) -> Iterator[tuple[str, Bundle]]:
        """Yield what falls due next."""
        due_us = self._next_us
        third = due_us // self._SECOND_US % 3 == 0
        wanted = [topic for topic in heard if third or topic.endswith("@1s")]
        if wanted:
            marks = [MarkEvent(feed.market.listing, due_us, feed.statistics.mark(due_us)) for feed in self._feeds]
            bundle = Bundle(marks)
            yield from ((topic, bundle) for topic in wanted)
        self._next_us += self._SECOND_US


class Bundle:
    """Several events in one message."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self.payload: bytes | None = None


Speaker = Feed | MarkArray
Message = Event | Bundle


class GeneratedVenue:
    """One generated Binance market, spot or USD-M futures."""

    exchange = "binance"

    def __init__(self, market: str, markets: Sequence[Market], clock: Clock, ledger: Ledger) -> None:
        """Serve `markets`, all of Binance `market`, on `clock`; what is handed out goes into `ledger`."""
        self.market = market
        self.clock = clock
        self.ledger = ledger
        self._protocol = _PROTOCOLS[market]
        self.keep_alive = self._protocol.keep_alive
        self.encoder = Encoder([one.listing for one in markets])
        self.feeds = [Feed(one) for one in markets]
        self._speakers: list[Speaker] = [*self.feeds]
        self._by_symbol = {feed.market.listing.wire_symbol.lower(): place for place, feed in enumerate(self.feeds)}
        if market == "perp":
            self._mark_array = len(self._speakers)
            self._speakers.append(MarkArray(self.feeds))
        self._hearers: list[dict[str, list[tuple[GeneratedSession, str]]]] = [{} for _ in self._speakers]
        self._due: list[tuple[int, int]] = []
        self._scheduled: list[int | None] = [None] * len(self._speakers)
        self._sessions: set[GeneratedSession] = set()
        self._connected = 0
        self._rest = GeneratedRest(market, self.feeds, self.encoder)

    def symbols(self) -> Sequence[str]:
        """The exchange's symbols that are listed."""
        return [feed.market.listing.wire_symbol for feed in self.feeds]

    def connect(self, path: str, query: str, now_us: int) -> GeneratedSession:
        """Open a session; streams named in the URL are subscribed at once. Raises Refused."""
        control = binance_protocol.Control(self._protocol, path, query)
        self._connected += 1
        session = GeneratedSession(self, control, self._connected)
        self._sessions.add(session)
        self.subscribe(session, control.audible(), now_us)
        return session

    def get(self, path: str, query: Mapping[str, str], now_us: int) -> Answer:
        """Answer a GET as of the market time now."""
        return self._rest.get(path, query, self.clock.market_us(now_us))

    def finished(self, now_us: int) -> bool:
        """Whether the run's end has come and all that fell due before has been handed out."""
        return self.clock.ends_before(self.clock.market_us(now_us)) and not any(
            session.waiting or session.next_due_us() is not None for session in self._sessions
        )

    def missed(self) -> int:
        """Nothing is generated that nobody hears, so nothing is missed."""
        return 0

    def subscribe(self, session: GeneratedSession, streams: Sequence[str], now_us: int) -> None:
        """Have a session hear these streams from now on; of an unknown symbol it will hear nothing."""
        market_us = self.clock.market_us(now_us)
        self.advance(now_us)
        for stream in streams:
            for place, topic in self._sources_of(stream):
                self._hearers[place].setdefault(topic, []).append((session, stream))
                self._reschedule(place, market_us)

    def unsubscribe(self, session: GeneratedSession, streams: Sequence[str], now_us: int) -> None:
        """Have a session hear these streams no more."""
        market_us = self.clock.market_us(now_us)
        for stream in streams:
            for place, topic in self._sources_of(stream):
                hearers = self._hearers[place][topic]
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
        """Return (speaker, topic) of everything that speaks on a stream."""
        if stream == "!forceOrder@arr":
            return [(place, "forceOrder") for place in range(len(self.feeds))]
        if stream in MarkArray.topics and self.market == "perp":
            return [(self._mark_array, stream)]
        symbol, _, topic = stream.partition("@")
        place = self._by_symbol.get(symbol)
        return [(place, topic)] if place is not None and topic in self.feeds[place].topics else []

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

    def advance(self, now_us: int) -> None:
        """Let everything speak that falls due up to now."""
        market_us, due = self.clock.market_us(now_us), self._due
        while due and due[0][0] <= market_us:
            due_us, place = heappop(due)
            if self._scheduled[place] != due_us:
                continue
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


class GeneratedSession:
    """One client's connection to a generated market, as a `Session`."""

    def __init__(self, venue: GeneratedVenue, control: binance_protocol.Control, number: int) -> None:
        self.number = number
        self.waiting: deque[tuple[Message, str]] = deque()
        self._venue = venue
        self._control = control
        self._given_up = False

    def receive(self, message: bytes, now_us: int) -> Sequence[bytes]:
        """Take one control message. Raises Closing above the message limit."""
        change = self._control.receive(message, now_us)
        if change.removed:
            self._venue.unsubscribe(self, change.removed, now_us)
            gone = set(change.removed)
            self.waiting = deque(item for item in self.waiting if item[1] not in gone)
        if change.added:
            self._venue.subscribe(self, change.added, now_us)
        return change.replies

    def heard(self, now_us: int) -> None:
        """Count a ping or pong of the client. Raises Closing above the message limit."""
        self._control.heard(now_us)

    def hear(self, message: Message, stream: str) -> None:
        """Queue a message for the client."""
        if len(self.waiting) >= _MOST_WAITING:
            self._given_up = True
        else:
            self.waiting.append((message, stream))

    def frames(self, now_us: int, limit: int) -> Sequence[bytes]:
        """Return what is due, recorded in the ledger before it is encoded. Raises Closing for a client far behind."""
        venue, waiting = self._venue, self.waiting
        venue.advance(now_us)
        if self._given_up:
            raise Closing(1008, f"{_MOST_WAITING} messages are waiting: the client reads too slowly")
        frames: list[bytes] = []
        while waiting and len(frames) < limit:
            message, stream = waiting.popleft()
            payload = self._payload(message, now_us)
            frames.append(binance_protocol.wrap(stream, payload) if self._control.combined else payload)
        flush_us = venue.ledger.flush_due_us()
        if flush_us is not None and flush_us <= now_us:
            venue.ledger.flush(now_us)
        return frames

    def _payload(self, message: Message, now_us: int) -> bytes:
        ledger, encoder = self._venue.ledger, self._venue.encoder
        if isinstance(message, Bundle):
            for event in message.events:
                ledger.write(event, self.number, now_us)
            if message.payload is None:
                message.payload = encoder.array(message.events)
            return message.payload
        ledger.write(message, self.number, now_us)
        return encoder.payload(message)

    def next_due_us(self) -> int | None:
        """When the next frame is due; also when the ledger wants to be flushed."""
        return 0 if self.waiting else self._venue.next_due_us()

    def close(self, now_us: int) -> None:
        """Leave: nothing more is handed to this connection."""
        self.waiting.clear()
        self._venue.forget(self, self._control.audible(), now_us)
