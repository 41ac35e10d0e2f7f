"""One client's connection to a generated market."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Sequence
from typing import Protocol

from services.exchange_simulator.faults import About
from services.exchange_simulator.generator.clock import Clock
from services.exchange_simulator.generator.dialect import Row, Talk, Voice
from services.exchange_simulator.generator.events import Bundle, Event, Message
from services.exchange_simulator.generator.ledger import Ledger, Written
from services.exchange_simulator.venue import Closing

AT_ONCE = 256
"""Speakers that are asked before anybody else has a turn: a machine that is too slow for a thousand symbols tells them
late, and still answers."""
MOST_WAITING = 500_000
"""Messages that may wait for a client that does not read; then the exchange gives it up."""
_BACK = -2
"""What is added to a book change's only number, to unchain it. By one less it would be the change before once more."""


class Host(Protocol):
    """What a session asks of its venue."""

    clock: Clock
    ledger: Ledger
    voice: Voice
    chain: re.Pattern[bytes] | None

    def subscribe(self, session: GeneratedSession, streams: Sequence[str], now_us: int) -> None:
        """Have a session hear these streams from now on."""
        ...

    def unsubscribe(self, session: GeneratedSession, streams: Sequence[str], now_us: int) -> None:
        """Have a session hear these streams no more."""
        ...

    def forget(self, session: GeneratedSession, streams: Sequence[str], now_us: int) -> None:
        """Take leave of a session that hears these streams."""
        ...

    def advance(self, now_us: int, most: int | None = None) -> None:
        """Let everything speak that falls due up to now, or so many of those who do."""
        ...

    def next_due_us(self) -> int | None:
        """When something falls due next (wall clock), or None."""
        ...


class GeneratedSession:
    """One client's connection to a generated market, as a `Session`."""

    def __init__(self, venue: Host, talk: Talk, number: int) -> None:
        self.number = number
        self._waiting: deque[tuple[Message, str]] = deque()
        self._venue = venue
        self._talk = talk
        self._given_up = False
        self._last: list[tuple[str, list[Written]]] = []
        """Stream and ledger rows of each frame last handed out."""

    def receive(self, message: bytes, now_us: int) -> Sequence[bytes]:
        """Take one control message. Raises Closing where the exchange would close."""
        change = self._talk.receive(message, now_us)
        if change.removed:
            self._venue.unsubscribe(self, change.removed, now_us)
            gone = set(change.removed)
            self._waiting = deque(item for item in self._waiting if item[1] not in gone)
        if change.added:
            self._venue.subscribe(self, change.added, now_us)
        return change.replies

    def heard(self, now_us: int) -> None:
        """Count a ping or pong of the client. Raises Closing where the exchange limits them."""
        self._talk.heard(now_us)

    def streams(self) -> Sequence[str]:
        """Return the streams that the client has asked for and can hear."""
        return self._talk.streams()

    def hear(self, message: Message, stream: str) -> None:
        """Queue a message for the client."""
        if len(self._waiting) >= MOST_WAITING:
            self._given_up = True
        else:
            self._waiting.append((message, stream))

    def frames(self, now_us: int, limit: int) -> Sequence[bytes]:
        """Return what is due, recorded in the ledger before it is encoded. Raises Closing for a client far behind."""
        venue, waiting = self._venue, self._waiting
        flush_us = venue.ledger.flush_due_us()
        if flush_us is not None and flush_us <= now_us:
            venue.ledger.flush(now_us)
        venue.advance(now_us, AT_ONCE)
        if self._given_up:
            raise Closing(1008, f"{MOST_WAITING} messages are waiting: the client reads too slowly")
        frames = list(self._talk.due(now_us))
        last: list[tuple[str, list[Written]]] = [("", []) for _ in frames]
        while waiting and len(frames) < limit:
            message, stream = waiting.popleft()
            last.append((stream, self._written(message, now_us)))
            frames.append(self._talk.wrap(stream, self._payload(message, stream)))
        self._last = last
        return frames

    def _written(self, message: Message, now_us: int) -> list[Written]:
        ledger, number = self._venue.ledger, self.number
        if isinstance(message, Event):
            return ledger.write(message, number, now_us)
        assert isinstance(message, Bundle)
        return [row for event in message.events for row in ledger.write(event, number, now_us)]

    def _payload(self, message: Message, stream: str) -> bytes:
        if message.payload is None or message.stream != stream:
            message.payload, message.stream = self._venue.voice.payload(message, stream), stream
        return message.payload

    def about(self, place: int) -> About:
        """Say what a frame last handed out is about: of several rows the first; without a ledger only the stream."""
        stream, written = self._last[place]
        if not written:
            return About(stream)
        kind, row = written[0]
        last = row.get("last_sequence", row.get("last_trade_id", row.get("sequence")))
        first = row.get("first_sequence", row.get("first_trade_id", row.get("sequence")))
        return About(stream, row["symbol"], kind, first, last)

    def spoiled(self, place: int, fault: str) -> None:
        """Note in the ledger what became of a frame last handed out."""
        for _, row in self._last[place][1]:
            row["fault"] = fault

    def unchained(self, place: int, frame: bytes, by: int) -> bytes | None:
        """Return a book change that does not follow the one before; None for a frame that cannot be made one.

        Where a change tells its end apart from its beginning, that is moved by up to `by`, and stays in front of the
        end: what it seems to leave out is known exactly. Where it has one number only, that falls by two, behind the
        change before: the next one lacks this one then. Its ledger row says what was sent, as well.
        """
        chain = self._venue.chain
        if chain is None or self.about(place).kind != "book_change":
            return None
        found = chain.search(frame)
        row = self._last[place][1][0][1]
        moved = _BACK if "last_sequence" in chain.groupindex else min(by, _room(row, chain.groupindex))
        if found is None or not moved:
            return None
        parts, end = [], 0
        for group in range(1, chain.groups + 1):
            if found.start(group) < end:
                continue  # the number of the group before, which is another column as well
            parts += [frame[end : found.start(group)], b"%d" % (int(found[group]) + moved)]
            end = found.end(group)
        if len(spoiled := b"".join([*parts, frame[end:]])) != len(frame):
            return None  # a number with one digit more would make the lengths in a binary frame lies
        for column in chain.groupindex:
            row[column] += moved
        return type(frame)(spoiled)

    def behind(self) -> bool:
        """Whether anything is still to be handed out, however late."""
        return bool(self._waiting) or self._venue.next_due_us() is not None

    def next_due_us(self) -> int | None:
        """When the next frame is due; also when the ledger wants to be flushed.

        Behind the last frame of a run that ends, the client is not asked for a sign of life any more.
        """
        if self._waiting:
            return 0
        due_us, talk_us = self._venue.next_due_us(), self._talk.due_us()
        if due_us is None:
            return talk_us if self._venue.clock.endless else None
        return due_us if talk_us is None else min(due_us, talk_us)

    def close(self, now_us: int) -> None:
        """Leave: nothing more is handed to this connection."""
        self._waiting.clear()
        self._venue.forget(self, self._talk.streams(), now_us)


def _room(row: Row, columns: Collection[str]) -> int:
    """Return by how much the number that chains a change may be raised and still lie in front of the change."""
    if "first_sequence" in columns:
        return int(row["last_sequence"] - row["first_sequence"])
    return int(row["first_sequence"] - 1 - row["previous_sequence"])
