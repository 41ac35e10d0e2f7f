"""Book changes, quotes and trades: what an exchange says of each step of its market."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from services.exchange_simulator.generator.book import Book, Change, Walker
from services.exchange_simulator.generator.events import (
    BookEvent,
    BookSnapshotEvent,
    Event,
    FillEvent,
    QuoteEvent,
    TradeEvent,
)
from services.exchange_simulator.generator.market import Market
from services.exchange_simulator.generator.source import lag_us, whole_ms
from services.exchange_simulator.generator.window import Window


class Steps:
    """One step of the market at a time; topics `trade` (aggregates), `fill`, `quote`, `book`.

    Where the stream tells of the best `depth` levels only, a change says too which levels come into view and which go
    out of it.
    """

    topics = frozenset({"trade", "fill", "quote", "book"})

    def __init__(self, market: Market, book: Book, depth: int | None) -> None:
        self._market = market
        self._book = book
        self._depth = depth
        self._lag_us = lag_us(market)
        self.due_us = 0
        self._step = 0
        self._walker: Walker | None = None
        self._window: Window | None = None
        self._touch = market.touch(0)
        self._last_id = 0

    def start(self, now_us: int) -> None:
        """Begin with the first step told of after `now_us`."""
        told = self._market.step_at(now_us - self._lag_us)
        self._step = told + 1
        self._walker = None
        self._touch, self._last_id = self._market.touch(told), self._market.last_update_id(told)
        self._schedule()

    def _schedule(self) -> None:
        self.due_us = self._market.step_time(self._step) + self._lag_us

    def take(self, heard: Collection[str]) -> Iterator[tuple[str, Event]]:
        """Yield the step's trades, then the quote if it changed, then the book change."""
        market, step = self._market, self._step
        listing, sent_us = market.listing, whole_ms(self.due_us)
        if "trade" in heard or "fill" in heard:
            for trade in market.trades_of_step(step):
                if "fill" in heard:
                    for place in range(len(trade.fills)):
                        yield "fill", FillEvent(listing, sent_us, trade, place)
                if "trade" in heard:
                    yield "trade", TradeEvent(listing, sent_us, trade)
        time_us = whole_ms(self.due_us - self._lag_us)
        first_id, last_id = market.update_ids(step, self._last_id)
        change = self._book_change() if "book" in heard else None
        touch = market.touch(step) if change is None else change.touch
        if "quote" in heard and touch != self._touch:
            yield "quote", QuoteEvent(listing, sent_us, time_us, last_id, touch)
        if change is None:
            self._walker = None
        else:
            ids = (first_id, last_id, self._last_id)
            yield (
                "book",
                BookEvent(listing, sent_us, time_us, *ids, change.bids, change.asks, change.new_bids, change.new_asks),
            )
        self._step, self._touch, self._last_id = step + 1, touch, last_id
        self._schedule()

    def _book_change(self) -> Change:
        if self._walker is None:
            self._walker = self._book.walker(self._step - 1)
            self._window = None
        if self._depth is None:
            return self._walker.advance()
        if self._window is None:
            self._window = Window(self._walker, self._book.snapshot(self._step - 1, self._depth), self._depth)
        return self._window.advance()

    def state(self, topic: str, now_us: int) -> Event | None:
        """Return the best `depth` levels of the book, or the best bid and ask, as last told."""
        market, told = self._market, self._step - 1
        listing, time_us = market.listing, whole_ms(market.step_time(told))
        if topic == "quote":
            return QuoteEvent(listing, whole_ms(now_us), time_us, self._last_id, self._touch)
        if topic == "book" and self._depth is not None:
            book = self._book.snapshot(told, self._depth)
            return BookSnapshotEvent(listing, whole_ms(now_us), time_us, self._last_id, book.bids, book.asks)
        return None
