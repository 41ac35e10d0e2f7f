"""Which streams and endpoints of a market a kind of record comes from: what the README lists and benchmarks ask for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from schemas import records
from services.shared.exchanges.declaration import Channel, Market, Poll

KINDS = tuple(record.KIND for record in records.MARKET_RECORDS if record not in (records.Connection, records.Coverage))
"""What exchanges tell, and what is made of it alone: all but what a collector says of itself."""


class Sources(NamedTuple):
    """Where a market's records of one kind come from."""

    channels: tuple[Channel, ...]
    polls: tuple[Poll, ...]

    def by_default(self) -> Sources:
        """Return those that are collected where no channel is named."""
        return Sources(
            tuple(channel for channel in self.channels if channel.default),
            tuple(poll for poll in self.polls if poll.default),
        )

    def tell_of(self, symbol: str) -> bool:
        """Whether any of them tells of an instrument, by the exchange's own symbol; some streams only a few have."""
        return bool(self.polls) or any(not channel.per_symbol or channel.stream(symbol) for channel in self.channels)


NOWHERE = Sources((), ())
"""Of a kind that is not offered."""


def sources(market: Market, kind: str) -> Sources:
    """Return where a market's records of a kind come from. A book is made of its changes."""
    told = records.BookChange.KIND if kind == records.OrderBook.KIND else kind
    polls: Iterable[Poll] = {poll.name: poll for poll in (*market.polls.values(), market.instruments)}.values()
    return Sources(
        tuple(channel for channel in market.channels.values() if told in channel.kinds),
        tuple(poll for poll in polls if told in poll.kinds),
    )
