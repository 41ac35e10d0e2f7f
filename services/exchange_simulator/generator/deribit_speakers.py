"""Deribit's streams that no feed has: trades once a second, and the volatility indices."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from services.exchange_simulator.generator.deribit_events import FlaggedTradeEvent, VolatilityEvent, flag_of
from services.exchange_simulator.generator.deribit_volatility import Indices
from services.exchange_simulator.generator.events import Bundle, Event, Message
from services.exchange_simulator.generator.feed import Feed
from services.exchange_simulator.generator.source import SECOND_US, lag_us, whole_ms


class _EverySecond:
    """Speaks at each whole second while anybody hears it."""

    def __init__(self) -> None:
        self._running = False
        self._next_us = 0

    @property
    def due_us(self) -> int | None:
        """When the next messages fall due, or None while nobody hears any."""
        return self._next_us if self._running else None

    def hear(self, topics: Collection[str], now_us: int) -> None:
        """Begin with the next second, or stop."""
        if topics and not self._running:
            self._next_us = (now_us // SECOND_US + 1) * SECOND_US
        self._running = bool(topics)


class SecondsOfTrades(_EverySecond):
    """The trades of each second, by wire symbol (`trades.BTC-PERPETUAL.agg2`); silent where there were none."""

    def __init__(self, feeds: Mapping[str, Feed]) -> None:
        super().__init__()
        self._feeds = feeds
        self._told: dict[str, int] = {}

    @property
    def topics(self) -> frozenset[str]:
        """Each instrument of the market."""
        return frozenset(self._feeds)

    def hear(self, topics: Collection[str], now_us: int) -> None:
        """Tell of trades from `now_us` on; what an instrument said before somebody heard it is not told."""
        super().hear(topics, now_us)
        known = self.topics.intersection(topics)
        self._told = {name: self._told.get(name, self._upto(name, now_us)) for name in known}

    def _upto(self, name: str, now_us: int) -> int:
        market = self._feeds[name].market
        return market.trades_upto(market.step_at(now_us - lag_us(market)))

    def beginning(self, topic: str, now_us: int) -> Message | None:
        """Nothing: a trade is news once."""
        return None

    def take(self, heard: Collection[str]) -> Iterator[tuple[str, Message]]:
        """Yield the second's trades of each instrument heard."""
        due_us = self._next_us
        for name in sorted(self._told.keys() & heard & self._feeds.keys()):  # what is listed no more is silent
            market, upto = self._feeds[name].market, self._upto(name, due_us)
            trades = [market.trade(number) for number in range(self._told[name], upto)]
            self._told[name] = upto
            told: list[Event] = [
                FlaggedTradeEvent(market.listing, due_us, trade, flag_of(market, trade)) for trade in trades
            ]
            if told:
                yield name, Bundle(events=told)
        self._next_us += SECOND_US


class VolatilityIndices(_EverySecond):
    """The volatility indices, by the exchange's name (`btc_usd`)."""

    def __init__(self, indices: Indices) -> None:
        super().__init__()
        self._indices = indices

    @property
    def topics(self) -> frozenset[str]:
        """The name of each index that there is."""
        return frozenset(f"{currency.lower()}_usd" for currency in self._indices.currencies())

    def beginning(self, topic: str, now_us: int) -> Message | None:
        """Return the index as it stands."""
        return self._event(topic, whole_ms(now_us))

    def take(self, heard: Collection[str]) -> Iterator[tuple[str, Message]]:
        """Yield the second's values."""
        for name in sorted(self.topics.intersection(heard)):
            yield name, self._event(name, self._next_us)
        self._next_us += SECOND_US

    def _event(self, name: str, now_us: int) -> VolatilityEvent:
        currency = name.partition("_")[0].upper()
        listing = self._indices.currencies()[currency].market.listing
        return VolatilityEvent(listing, now_us, name, self._indices.of(currency).at(now_us))
