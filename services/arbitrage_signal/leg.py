"""One instrument as a place to buy or sell: its terms, its book and quote, and what it offers now.

A quote and a book tell of the same market on two roads. Whichever is newer leads: by the exchange's time, or by ours
where one of them has none. While the quote leads, its prices are the best ones, and the book's levels behind them
stand; while the book leads, the quote is passed over. A book of which one side is not known, since the price has left
the levels that were told, does not lead over a quote. An instrument that shows no book at all offers what its quote
holds. One whose book is out of step offers nothing until a book that is in step has come.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple
from zlib import crc32

from services.arbitrage_signal import inputs
from services.arbitrage_signal.book import BadLevel, Book, Side, levels
from services.arbitrage_signal.exact import DIGITS, RATE, SHOWN_DECIMALS, exponent_of, power, whole
from services.arbitrage_signal.terms import MARKETS, TRADING, Terms

UNSEEN, IN_STEP, OUT_OF_STEP = range(3)
"""What is known of a book: none was ever told of, the levels are right, they may be wrong."""

NO_BID = -1
NO_ASK = 1 << 512
"""What a side without an offer is worth: so little, or so much, that no comparison passes."""


class Name(NamedTuple):
    """An instrument."""

    exchange: str
    market: str
    symbol: str

    def __str__(self) -> str:
        return ".".join(self)


class BadTerms(ValueError):
    """An instrument that cannot be compared with others; `reason` is one of few."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Depth(NamedTuple):
    """One side of an offer, best first, with what is in it up to and including each level."""

    prices: list[int]
    quantities: list[int]
    amounts: list[int]


class Leg:
    """One instrument that may be bought or sold. Raises BadTerms when what is told of it does not suffice."""

    def __init__(self, name: Name, told: inputs.InstrumentInput, terms: Terms) -> None:
        self.name = name
        self.told = told
        self.asset = told.asset
        self.quote = told.quote
        if not told.asset or not told.quote:
            raise BadTerms("asset", f"{name} does not say its asset, or its quote currency")
        if told.status != TRADING or name.market not in MARKETS:
            raise BadTerms("not_trading", f"{name} is {told.status}")
        try:
            exponent = exponent_of(told.multiplier)
        except ValueError as error:
            raise BadTerms("multiplier", str(error)) from None
        try:
            fee = terms.taker_fee(name.exchange, name.market)
        except LookupError as error:
            raise BadTerms("fee", str(error)) from None
        self.price_factors = tuple(power(DIGITS - exponent - n) for n in range(SHOWN_DECIMALS + 1))
        self.quantity_factors = tuple(power(DIGITS + exponent - n) for n in range(SHOWN_DECIMALS + 1))
        self.step = self._step(told.quantity_step, exponent)
        self.buying = RATE + fee
        self.selling = RATE - fee
        self._hurdle_rate = RATE + fee + terms.threshold
        self._age_us = terms.age_us
        self.offset_us = 0
        self.book = Book()
        self.book_state = UNSEEN
        self._book_times = (0, 0, False)
        self._quote: tuple[int, int, int, int] | None = None
        self._quote_times = (0, 0, False)
        self.spread_phase = crc32(told.asset.encode()) % terms.spread_us if terms.spread_us else 0
        """When the grid of the spreads told for charts begins, microseconds behind the whole second."""
        self.spread_place = -1
        """The place on that grid of the last record; -1 before the first."""
        self._settle()

    def _step(self, quantity_step: str | None, exponent: int) -> int:
        if quantity_step is None:
            return self.quantity_factors[SHOWN_DECIMALS]
        try:
            step = whole(quantity_step, DIGITS + exponent)
        except ValueError as error:
            raise BadTerms("quantity_step", str(error)) from None
        if step <= 0:
            raise BadTerms("quantity_step", f"{self.name} has the quantity step {quantity_step}")
        return step

    # -- what comes in ---------------------------------------------------------------------------------------------

    def take_quote(self, record: inputs.QuoteInput) -> None:
        """Take a new best bid and ask. Raises BadLevel, after which there is no quote."""
        self._quote = None
        self._quote_times = _times(record)
        try:
            bid, bid_quantity = self._level(record.bid_price, record.bid_quantity, NO_BID)
            ask, ask_quantity = self._level(record.ask_price, record.ask_quantity, NO_ASK)
            self._quote = (bid, bid_quantity, ask, ask_quantity)
        finally:
            self._settle()

    def _level(self, price: str | None, quantity: str | None, empty: int) -> tuple[int, int]:
        if price is None or quantity is None:
            return empty, 0
        ((key, amount),) = levels([[price, quantity]], self.price_factors, self.quantity_factors)
        if not amount:
            raise BadLevel(f"{self.name} quotes {price} without a quantity")
        return key, amount

    def take_book(self, record: inputs.OrderBookInput) -> None:
        """Take the best levels of a book that is in step. Raises BadLevel, after which the book is out of step."""
        self.book_state = OUT_OF_STEP
        self._book_times = _times(record)
        try:
            bids = levels(record.bids, self.price_factors, self.quantity_factors)
            self.book.snapshot(record.sequence, bids, levels(record.asks, self.price_factors, self.quantity_factors))
            self.book_state = IN_STEP
        finally:
            self._settle()

    def take_change(self, record: inputs.BookChangeInput) -> bool:
        """Take a book change; return whether the offer may be another now. Raises BadLevel as `take_book`.

        One that is not in step and not from before the book says that what is known may be wrong.
        """
        if not record.in_step:
            if self.book_state == IN_STEP and record.last_sequence <= self.book.sequence:
                return False
            return self.lose_step()
        if self.book_state != IN_STEP:
            return False
        self.book_state = OUT_OF_STEP
        self._book_times = _times(record)
        try:
            bids = levels(record.bids, self.price_factors, self.quantity_factors)
            self.book.change(record.last_sequence, bids, levels(record.asks, self.price_factors, self.quantity_factors))
            self.book_state = IN_STEP
        finally:
            self._settle()
        return True

    def lose_step(self) -> bool:
        """Know that the book may be wrong; return whether that is news."""
        if self.book_state == OUT_OF_STEP:
            return False
        self.book_state = OUT_OF_STEP
        self._settle()
        return True

    def lose_quote(self) -> None:
        """Know that quotes are missing."""
        self._quote = None
        self._settle()

    def forget(self) -> None:
        """Know nothing of the market, as at the beginning."""
        self.book.clear()
        self.book_state = UNSEEN
        self._quote = None
        self.spread_place = -1
        self._settle()

    def set_offset(self, offset_us: int) -> None:
        """Know how far the exchange's clock is ahead of ours."""
        self.offset_us = offset_us
        self._settle()

    # -- what is offered -------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Work out best prices and times anew."""
        self._bids: Depth | None = None
        self._asks: Depth | None = None
        self.crossed = False
        self.bid, self.ask = NO_BID, NO_ASK
        quote, state = self._quote, self.book_state
        bids, asks = self.book.bids.keys, self.book.asks.keys
        book_leads = state == IN_STEP and bool(bids) and bool(asks) and _newer(self._book_times, self._quote_times)
        self.quote_leads = quote is not None and not book_leads
        if state == OUT_OF_STEP or (state == UNSEEN and quote is None):
            times = self._book_times
        elif self.quote_leads:
            assert quote is not None
            self.bid, _, self.ask, _ = quote
            times = self._quote_times
        else:
            if bids:
                self.bid = -bids[0]
            if asks:
                self.ask = asks[0]
            times = self._book_times
        if self.bid >= self.ask:
            self.crossed = True
            self.bid, self.ask = NO_BID, NO_ASK
        self.reach = self.bid * self.selling
        self.hurdle = self.ask * self._hurdle_rate
        self.told_at = times[0] if times[2] else times[0] - self.offset_us
        """When what leads was true, on our clock."""

    def age(self, now: int) -> int:
        """Return how old the offer is, microseconds; below zero when the exchange's clock is ahead of what is known."""
        return now - self.told_at

    def fresh(self, now: int) -> bool:
        """Tell whether the offer is neither too old nor from the future."""
        return -self._age_us <= now - self.told_at <= self._age_us

    @property
    def fresh_until(self) -> int:
        """The last microsecond at which the offer is not too old."""
        return self.told_at + self._age_us

    def bids(self) -> Depth:
        """Return what can be sold into, best first; nothing while there is no best bid."""
        if self._bids is None:
            self._bids = self._depth(self.book.bids, self.bid if self.bid != NO_BID else None, 0)
        return self._bids

    def asks(self) -> Depth:
        """Return what can be bought, best first; nothing while there is no best ask."""
        if self._asks is None:
            self._asks = self._depth(self.book.asks, self.ask if self.ask != NO_ASK else None, 2)
        return self._asks

    def _depth(self, side: Side, best: int | None, place: int) -> Depth:
        if best is None:
            return Depth([], [], [])
        pairs = list(self._from_quote(side, best, place) if self.quote_leads else self._from_book(side))
        prices = [price for price, _ in pairs]
        quantities = list(accumulate(quantity for _, quantity in pairs))
        return Depth(prices, quantities, list(accumulate(price * quantity for price, quantity in pairs)))

    def _from_quote(self, side: Side, best: int, place: int) -> Iterator[tuple[int, int]]:
        assert self._quote is not None
        yield best, self._quote[place + 1]
        if self.book_state == IN_STEP:
            key = side.sign * best
            yield from ((abs(other), side.quantities[other]) for other in side.keys if other > key)

    def _from_book(self, side: Side) -> Iterator[tuple[int, int]]:
        return ((abs(key), side.quantities[key]) for key in side.keys)


def _times(record: inputs.Timed) -> tuple[int, int, bool]:
    """Return when a record's content was true, when we received it, and whether the first is on our clock too."""
    return record.timestamp, record.received_at, record.timestamp_source == "received"


def _newer(one: tuple[int, int, bool], other: tuple[int, int, bool]) -> bool:
    """Tell which is the newer one; of two exchange times these decide, else the times of receipt."""
    return one[0] > other[0] if not (one[2] or other[2]) else one[1] > other[1]
