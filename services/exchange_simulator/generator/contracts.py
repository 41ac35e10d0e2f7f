"""What a contract market says besides its book and trades: prices, funding, open interest, positions, liquidations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from services.exchange_simulator.generator.events import (
    Event,
    FundingEvent,
    IndexEvent,
    LiquidationEvent,
    MarkEvent,
    OpenInterestEvent,
    PositionsEvent,
)
from services.exchange_simulator.generator.market import Market
from services.exchange_simulator.generator.source import grid_after, whole_ms
from services.exchange_simulator.generator.statistics import RATIOS, Statistics

_LIQUIDATION_LAG_US = 1_005_000


class Regular:
    """Figures that are told every so often: one topic, at whole multiples of its period.

    `mark` and `mark_slow` are prices and the funding estimate, `index` and `funding` the same for streams that tell one
    of them, `open_interest` and `positions` (open interest and ratios, as at the last multiple).
    """

    def __init__(self, market: Market, statistics: Statistics, topic: str, period_us: int) -> None:
        self.topics = frozenset({topic})
        self.due_us = 0
        self._topic = topic
        self._period_us = period_us
        self._market = market
        self._statistics = statistics
        self._event = _EVENTS[topic]

    def start(self, now_us: int) -> None:
        """Begin with the next multiple of the period."""
        self.due_us = grid_after(now_us, self._period_us, 0)

    def take(self, heard: Collection[str]) -> Iterator[tuple[str, Event]]:
        """Yield the figures."""
        yield self._topic, self._event(self._market, self._statistics, self.due_us, self.due_us)
        self.due_us += self._period_us

    def state(self, topic: str, now_us: int) -> Event | None:
        """Return the figures as they stand."""
        as_of_us = now_us if topic != "positions" else self.due_us - self._period_us
        return self._event(self._market, self._statistics, whole_ms(now_us), as_of_us)


def _mark(market: Market, statistics: Statistics, sent_us: int, as_of_us: int) -> Event:
    return MarkEvent(market.listing, sent_us, statistics.mark(as_of_us))


def _funding(market: Market, statistics: Statistics, sent_us: int, as_of_us: int) -> Event:
    return FundingEvent(market.listing, sent_us, statistics.mark(as_of_us))


def _index(market: Market, statistics: Statistics, sent_us: int, as_of_us: int) -> Event:
    return IndexEvent(market.listing, sent_us, statistics.mark(as_of_us))


def _open_interest(market: Market, statistics: Statistics, sent_us: int, as_of_us: int) -> Event:
    ticks = market.touch(market.step_at(as_of_us)).bid
    return OpenInterestEvent(market.listing, sent_us, statistics.open_interest(as_of_us), ticks)


def _positions(market: Market, statistics: Statistics, sent_us: int, as_of_us: int) -> Event:
    ratios = {name: statistics.ratio(name, as_of_us) for name in RATIOS}
    return PositionsEvent(market.listing, sent_us, as_of_us, statistics.open_interest(as_of_us), ratios)


_EVENTS: Mapping[str, Callable[[Market, Statistics, int, int], Event]] = {
    "mark": _mark,
    "mark_slow": _mark,
    "index": _index,
    "funding": _funding,
    "open_interest": _open_interest,
    "positions": _positions,
}


class Liquidations:
    """Forced orders, told about a second after they were filled: topic `liquidation`."""

    topics = frozenset({"liquidation"})

    def __init__(self, market: Market, statistics: Statistics) -> None:
        self._market = market
        self._statistics = statistics
        self._slot = 0
        self.due_us = 0

    def start(self, now_us: int) -> None:
        """Begin with the first order told of after `now_us`."""
        self._slot = now_us // self._statistics.slot_us - 1
        self._schedule()
        while self.due_us <= now_us:
            self._slot += 1
            self._schedule()

    def _schedule(self) -> None:
        self._order = self._statistics.liquidation(self._slot)
        self.due_us = self._order.time_us + _LIQUIDATION_LAG_US

    def take(self, heard: Collection[str]) -> Iterator[tuple[str, Event]]:
        """Yield the order."""
        if "liquidation" in heard:
            yield "liquidation", LiquidationEvent(self._market.listing, whole_ms(self.due_us), self._order)
        self._slot += 1
        self._schedule()

    def state(self, topic: str, now_us: int) -> Event | None:
        """Nothing: an order is news once."""
        return None
