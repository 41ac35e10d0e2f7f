"""What the simulator's server asks of one simulated exchange market.

The server owns every socket and the wall clock; a venue is pure: bytes and times in, bytes and times out. Replayed
recordings and generated markets are both venues, so the server serves them alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Answer:
    """One REST answer: HTTP status, body as the exchange would write it, and the exchange's own headers.

    `Content-Type` is `application/json;charset=UTF-8` unless the headers name another.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    asked_too_often: bool = False
    """Whether it refuses a request that was one too many, where the status does not say so."""

    @property
    def over_the_limit(self) -> bool:
        """Whether it refuses a request because too much was asked."""
        return self.asked_too_often or self.status in (403, 418, 429)


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """How the exchange keeps a connection alive: a ping frame every so often, the pong due within so long."""

    ping_every_s: float
    pong_within_s: float


class Binary(bytes):
    """A frame that is sent as a binary message; every other one is text."""

    __slots__ = ()


class Refused(Exception):
    """A WebSocket path that the exchange would not serve; `status` is the HTTP status of the refused upgrade."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Closing(Exception):
    """The exchange cuts this connection now, with this WebSocket close code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Session(Protocol):
    """One client's WebSocket connection to a venue, without I/O. All times are integer microseconds, UTC."""

    def receive(self, message: bytes, now_us: int) -> Sequence[bytes]:
        """Take one text message of the client (subscribe, ...) and return the replies, in order. Raises Closing."""
        ...

    def heard(self, now_us: int) -> None:
        """Count a ping or pong frame of the client, where the exchange limits them. Raises Closing."""
        ...

    def frames(self, now_us: int, limit: int) -> Sequence[bytes]:
        """Return the data frames due at `now_us`, in order, at most `limit`; they count as sent. Raises Closing.

        A frame is a text message unless it is `Binary`.
        """
        ...

    def next_due_us(self) -> int | None:
        """When the next frame is due (a time already past means now), or None while nothing is to come.

        The server asks again after each message of any client of the venue and after each batch of frames.
        """
        ...

    def close(self, now_us: int) -> None:
        """The client is gone: what falls due from now on was sent to nobody on this connection."""
        ...


class Venue(Protocol):
    """One exchange market: `exchange` and `market` as in the names of the contracts (`binance`, `perp`)."""

    exchange: str
    market: str
    keep_alive: KeepAlive

    def symbols(self) -> Sequence[str]:
        """The exchange's own symbols (`BTCUSDT`) for which this venue has data to send."""
        ...

    def connect(self, path: str, query: str, now_us: int) -> Session:
        """Open a session on the exchange's own path and raw query string. Raises Refused."""
        ...

    def get(self, path: str, query: Mapping[str, str], now_us: int) -> Answer:
        """Answer a GET on the exchange's own REST path."""
        ...

    def finished(self, now_us: int) -> bool:
        """Whether everything this venue ever had to say has been handed out (or missed). Endless markets: False."""
        ...

    def missed(self) -> int:
        """Return how many frames fell due with nobody there to get them; a market that counts none says 0."""
        ...
