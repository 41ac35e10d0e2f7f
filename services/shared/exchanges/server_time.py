"""How far an exchange's clock is from ours, from its answers to "what time is it". Pure.

As NTP does it: the answer's time is taken to be that of the middle between asking and hearing, which is wrong by half
the round trip at most; so of the recent answers the one with the least round trip is believed. Times are microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from schemas import records, subjects
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from services.shared.exchanges.declaration import Listing, Poll
from services.shared.exchanges.shared_answers import UNREADABLE

TIME = "time"
"""The name of the endpoint, and the channel of its answers, in every market."""

RECENT_US = 600_000_000
"""Answers older than this are recent no more: clocks drift apart by some 30 us a second at worst."""
MOST = 16
FAR_US = 200_000
"""An offset beyond this is reported: what is told apart by time of day on two exchanges is then no longer true."""

LATEST_US = 10_000_000_000_000_000
"""In the year 2286: what is told in another unit than it should be is refused."""

UNREADABLE_TIME = (*UNREADABLE, ValueError)


class Sample(NamedTuple):
    """One answer. `offset_us` is the exchange's clock less ours: positive where the exchange is ahead."""

    received_at: int
    offset_us: int
    round_trip_us: int


def sample(server_us: int, requested_at: int, received_at: int) -> Sample:
    """Make one of the exchange's time and ours of asking and hearing."""
    return Sample(received_at, server_us - (requested_at + received_at) // 2, received_at - requested_at)


def with_recent(recent: Sequence[Sample], new: Sample) -> list[Sample]:
    """Return the recent answers, `new` the last of them.

    When our own clock was set back, what lies ahead of it was measured by another clock and counts no more.
    """
    oldest = new.received_at - RECENT_US
    return [*(item for item in recent if oldest < item.received_at <= new.received_at), new][-MOST:]


def best(recent: Sequence[Sample]) -> Sample:
    """Return the one to believe: the least round trip, of equal ones the newest."""
    return min(reversed(recent), key=lambda item: item.round_trip_us)


def time_poll(path: str, read: Callable[[bytes], int]) -> Poll:
    """Declare the endpoint of an exchange's time; `read` returns it in microseconds UTC. It may raise ValueError."""

    def parse(frame: RawFrame, listing: Listing) -> tuple[records.ClockOffset, ...]:
        """Parse one answer into what it alone says; our receive time files it. Raises BadFrame."""
        if frame.requested_at is None:
            raise BadFrame(f"an answer of {frame.channel} that does not say when it was asked for")
        try:
            server_us = read(frame.body)
        except UNREADABLE_TIME as error:
            raise BadFrame(f"not an answer of {frame.channel}: {error}") from None
        if not 0 <= server_us <= LATEST_US:
            raise BadFrame(f"not an answer of {frame.channel}: a time of {str(server_us)[:30]} us is none of this age")
        _, offset_us, round_trip_us = sample(server_us, frame.requested_at, frame.received_at)
        if round_trip_us < 0:
            raise BadFrame(f"an answer of {frame.channel} heard {-round_trip_us} us before it was asked for")
        return (
            records.ClockOffset(
                exchange=frame.exchange,
                market=frame.market,
                symbol=subjects.ALL,
                timestamp=frame.received_at,
                timestamp_source="received",
                received_at=frame.received_at,
                source="live",
                collector=frame.collector,
                offset_us=offset_us,
                round_trip_us=round_trip_us,
                measured_at=frame.received_at,
                samples=1,
                server_time=server_us,
            ),
        )

    return Poll(TIME, (records.ClockOffset.KIND,), path, weight=1, parse=parse)
