"""What an exchange market adds to the common generator: a `Dialect`, all that is the exchange's own.

Common to all are assets and their prices, books, trades, candles and statistics in whole numbers (`market`, `book`,
`candles`, `statistics`), what is said when (`feed`), sessions and clock (`venue`), the ledger's files (`ledger`), and
faults. A dialect declares its listings, its rhythm and its ledger rows, and makes a `Voice`, which knows the control
protocol, stream names, frames and REST answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from services.exchange_simulator.generator.events import Event, Message
from services.exchange_simulator.generator.feed import Feed, Rhythm
from services.exchange_simulator.generator.ledger_rows import Scales
from services.exchange_simulator.generator.market import Prices
from services.exchange_simulator.generator.names import Asset, Listing
from services.exchange_simulator.venue import Answer, KeepAlive

EVERY = "*"
"""As a stream's speaker: each instrument of the market."""


class Heard(NamedTuple):
    """What a stream is about: who speaks (a wire symbol, `EVERY`, or a speaker of the voice's own) on which topic."""

    speaker: str
    topic: str


class Change(Protocol):
    """What one control message brought: replies in order, and the streams that came or went with it."""

    @property
    def replies(self) -> tuple[bytes, ...]:
        """The exchange's answers, in order."""
        ...

    @property
    def added(self) -> tuple[str, ...]:
        """Streams that are heard from now on."""
        ...

    @property
    def removed(self) -> tuple[str, ...]:
        """Streams that are heard no more."""
        ...


class Talk:
    """One connection's control protocol, without I/O; times are integer microseconds UTC (wall clock).

    Subclasses say what the exchange does; a frame that is to be sent as a binary message is a `venue.Binary`.
    """

    def receive(self, message: bytes, now_us: int) -> Change:
        """Take one message of the client. Raises Closing."""
        raise NotImplementedError

    def streams(self) -> Sequence[str]:
        """Return the streams that this connection hears now; right after connecting: those named in the URL."""
        raise NotImplementedError

    def heard(self, now_us: int) -> None:
        """Count a ping or pong frame of the client, where the exchange limits them. Raises Closing."""

    def wrap(self, stream: str, payload: bytes) -> bytes:
        """Return the frame in which this connection gets a payload of a stream."""
        return payload

    def due_us(self) -> int | None:
        """When the exchange will say something by itself (a heartbeat), or None."""
        return None

    def due(self, now_us: int) -> Sequence[bytes]:
        """Return what the exchange says by itself now. Raises Closing, as for a heartbeat without an answer."""
        return ()


class Speaker(Protocol):
    """Who has something to say on topics: a `Feed`, or a voice's own for what concerns a whole market."""

    @property
    def topics(self) -> frozenset[str]:
        """All that there is to hear."""
        ...

    @property
    def due_us(self) -> int | None:
        """When the next message falls due (market time), or None while nobody hears it."""
        ...

    def hear(self, topics: Collection[str], now_us: int) -> None:
        """Speak on these topics from `now_us` on, and on no others."""
        ...

    def beginning(self, topic: str, now_us: int) -> Message | None:
        """Return what a stream of the topic says first to whoever subscribes now; None: nothing."""
        ...

    def take(self, heard: Collection[str]) -> Iterator[tuple[str, Message]]:
        """Yield what falls due at `due_us` as (topic, message) for the topics heard, and move on."""
        ...


class Voice(Protocol):
    """One market's words. Made once, with the feeds by wire symbol; the mapping changes as symbols come and go."""

    speakers: Mapping[str, Speaker]
    """The market's own speakers beside its feeds, by name."""

    def connect(self, path: str, query: str, number: int, now_us: int) -> Talk:
        """Open the `number`-th connection on the exchange's path and raw query string. Raises Refused."""
        ...

    def heard(self, stream: str) -> Sequence[Heard]:
        """Return what a stream is about; nothing where the exchange has such a stream and it stays silent."""
        ...

    def payload(self, message: Message, stream: str) -> bytes:
        """Return a message as said on a stream."""
        ...

    def get(self, path: str, query: Mapping[str, str], now_us: int) -> Answer:
        """Answer a GET on the exchange's own REST path, as of market time `now_us`."""
        ...


Row = dict[str, Any]
"""A ledger row by column; what is not there is null. Numbers are whole numbers of the ledger's unit, see `Scales`."""


class Rows(NamedTuple):
    """One kind of row that an event makes: the record's kind, and the row, or None where this one makes none."""

    kind: str
    row: Callable[[Any, Scales], Row | None]


def as_the_asset(listing: Listing, prices: Prices) -> Prices:
    """Return the asset's own price: that of all but options."""
    return prices


@dataclass(frozen=True)
class Dialect:
    """One exchange market, declared. `exchange` and `market` are tapeline's names."""

    exchange: str
    market: str
    keep_alive: KeepAlive
    listings: Callable[[Sequence[Asset], float, int], Sequence[Listing]]
    """(assets, events a second of the whole exchange, when the run starts in us UTC) -> what is listed."""
    rhythm: Rhythm
    rows: Mapping[type[Event], Sequence[Rows]]
    """What the tables must hold of each event, written independently of the parsers."""
    voice: Callable[[Mapping[str, Feed]], Voice]
    chain: re.Pattern[bytes] | None = None
    """Finds in the frame of a book change the numbers by which it follows the one before. Its groups bear the names of
    the ledger's columns that tell them; a number that two columns tell is a group within a group. `last_sequence` is
    among them only where a change has no other number."""
    prices: Callable[[Listing, Prices], Prices] = as_the_asset
    """What an instrument's price hangs on, given its asset's."""
