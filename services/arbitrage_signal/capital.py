"""What trading the signals would have made of a given capital. Pure: it goes along with a core, live or in hindsight.

The model. Each exchange starts with money. On a signal both orders are sent, and filled `delay` later from the books as
they are then, for better or worse; a size that the books known then do not fill is not traded. The buying exchange pays
cost and fee; the selling exchange sells what it does not have yet, and holds the same money as security. The coins
arrive after the transfer time and close the sale: security and proceeds are free, and what the purchase took is sent
back, which takes the same time. Each transfer costs money. The capital costs its yearly rate for the whole span.

Not in the model: funding payments, and a perpetual that is closed at another price than it was opened at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from schemas.records import ArbitrageOpportunity
from services.arbitrage_signal.core import ArbitrageCore
from services.arbitrage_signal.exact import DIGITS, RATE, RATE_DIGITS, divided, percent, text, whole
from services.arbitrage_signal.leg import Leg, Name
from services.arbitrage_signal.signals import Output
from services.arbitrage_signal.terms import SECOND
from services.arbitrage_signal.walk import FINE_MONEY, MONEY, Offer, common_step, offers

YEAR_US = 365 * 86_400 * SECOND


@dataclass(frozen=True)
class CapitalRules:
    """The settings of a simulation. Money in quote currency as plain decimals, rates as shares a year."""

    balances: dict[str, str]
    order_limit: str = "10000"
    position_limit: str = "50000"
    """Most money bound at one exchange by trades that are not settled."""
    delay_us: int = 100_000
    transfer_us: int = 600 * SECOND
    transfer_cost: str = "1"
    capital_rate: str = "0.05"
    enter_on: Literal["open", "confirmed"] = "open"


class SimulatedTrade(msgspec.Struct, frozen=True):
    """One trade: both fills, and what they left."""

    opportunity_id: str
    at: int
    asset: str
    buy: str
    sell: str
    quantity: str
    cost: str
    proceeds: str
    fees: str
    net: str
    signalled_net: str


class Balance(msgspec.Struct, frozen=True):
    """Money at a moment: free at each exchange, and altogether with what is bound and on its way."""

    at: int
    free: dict[str, str]
    total: str


class CapitalResult(msgspec.Struct, frozen=True):
    """What became of the capital. Percentages are of the capital at the beginning.

    `annualised_percent` is the return times 365 days over the span, without compounding; `drawdown_percent` the largest
    fall of the total from its highest so far.
    """

    begin: int
    end: int
    capital: str
    profit: str
    transfer_costs: str
    capital_cost: str
    return_percent: str
    annualised_percent: str
    drawdown_percent: str
    missed: dict[str, int]
    trades: list[SimulatedTrade]
    balances: list[Balance]


@dataclass
class _Place:
    """Money at one exchange, whole numbers of 10^-69."""

    free: int
    bound: int = 0


@dataclass
class Capital:
    """A simulation beside `core`: hand it everything that the core tells, at once."""

    core: ArbitrageCore
    rules: CapitalRules
    trades: list[SimulatedTrade] = field(default_factory=list)
    missed: Counter[str] = field(default_factory=Counter)
    balances: list[Balance] = field(default_factory=list)

    def __post_init__(self) -> None:
        rules = self.rules
        self._places = {exchange: _Place(_fine(money)) for exchange, money in rules.balances.items()}
        self._sent = 0
        """Money that is bound or on its way."""
        self._start = self._highest = self._total()
        self._paid = 0
        """What transfers have cost."""
        self._fall = (0, max(1, self._start))
        """The deepest fall, and the highest total before it."""
        self._order_limit, self._position_limit = _fine(rules.order_limit), _fine(rules.position_limit)
        self._transfer_cost = _fine(rules.transfer_cost)

    def heard(self, record: Output) -> None:
        """Send orders when a signal says so."""
        if not isinstance(record, ArbitrageOpportunity) or record.event != self.rules.enter_on:
            return
        at = record.timestamp + self.rules.delay_us

        def fill(due: int) -> None:
            self._fill(record, due)

        if at <= self.core.signals.now:
            fill(self.core.signals.now)
        else:
            self.core.signals.alarms.set(at, fill)

    def _fill(self, signal: ArbitrageOpportunity, at: int) -> None:
        buy = self.core.legs.get(Name(signal.exchange, signal.market, signal.symbol))
        sell = self.core.legs.get(Name(signal.sell_exchange, signal.sell_market, signal.sell_symbol))
        if buy is None or sell is None or not (buy.fresh(at) and sell.fresh(at)):
            self.missed["market_unknown"] += 1
            return
        size = self._size(buy, sell, signal)
        if size <= 0:
            self.missed["no_money"] += 1
            return
        found = offers(buy, sell, (size // RATE,), common_step(buy, sell))
        if not found:
            self.missed["not_filled"] += 1
            return
        self._trade(signal, buy, sell, found[0], at)

    def _size(self, buy: Leg, sell: Leg, signal: ArbitrageOpportunity) -> int:
        """Return how much money may be spent on coins, before the fee."""
        places = self._places
        here, there = places.get(buy.name.exchange), places.get(sell.name.exchange)
        if here is None or there is None:
            return 0
        limits = [_fine(signal.size), self._order_limit, self._position_limit - here.bound]
        limits.append(self._position_limit - there.bound)
        if here is there:
            limits.append(here.free * RATE // (buy.buying + RATE))
        else:
            limits += [here.free * RATE // buy.buying, there.free]
        return min(limits)

    def _trade(self, signal: ArbitrageOpportunity, buy: Leg, sell: Leg, offer: Offer, at: int) -> None:
        here, there = self._places[buy.name.exchange], self._places[sell.name.exchange]
        security = offer.cost * RATE
        spent = offer.cost * buy.buying
        proceeds = offer.proceeds * sell.selling
        here.free -= spent
        here.bound += security
        there.free -= security
        if there is not here:
            there.bound += security
        self._sent += security + proceeds
        self.trades.append(
            SimulatedTrade(
                signal.opportunity_id,
                at,
                buy.asset,
                str(buy.name),
                str(sell.name),
                text(offer.quantity, DIGITS),
                text(offer.cost, MONEY),
                text(offer.proceeds, MONEY),
                text(offer.fees, FINE_MONEY),
                text(offer.net, FINE_MONEY),
                signal.net,
            )
        )
        self._note(at)
        moves = here is not there

        def arrived(due: int) -> None:
            """The coins are there: the sale is closed, and the money goes back."""
            there.free += security + proceeds
            self._sent -= security + proceeds
            here.bound -= security
            if moves:
                there.bound -= security
                self._pay(there)
                there.free -= spent
                self._sent += spent
                self._later(due, returned)
            self._note(due)

        def returned(due: int) -> None:
            here.free += spent
            self._sent -= spent
            self._pay(here)
            self._note(due)

        self._later(at, arrived)

    def _later(self, at: int, then: Callable[[int], None]) -> None:
        self.core.signals.alarms.set(at + self.rules.transfer_us, then)

    def _pay(self, place: _Place) -> None:
        place.free -= self._transfer_cost
        self._paid += self._transfer_cost

    def _total(self) -> int:
        return sum(place.free for place in self._places.values()) + self._sent

    def _note(self, at: int) -> None:
        total = self._total()
        self._highest = max(self._highest, total)
        fall = self._highest - total
        if fall * self._fall[1] > self._fall[0] * self._highest:
            self._fall = fall, self._highest
        free = {exchange: text(place.free, FINE_MONEY) for exchange, place in self._places.items()}
        self.balances.append(Balance(at, free, text(total, FINE_MONEY)))

    def result(self, begin: int, end: int) -> CapitalResult:
        """Return what became of the capital from `begin` to `end`, microseconds; what is on its way counts."""
        start, span = self._start, max(1, end - begin)
        cost = divided(start * whole(self.rules.capital_rate, RATE_DIGITS) * span, RATE * YEAR_US)
        profit = self._total() - start - cost
        return CapitalResult(
            begin=begin,
            end=end,
            capital=text(start, FINE_MONEY),
            profit=text(profit, FINE_MONEY),
            transfer_costs=text(self._paid, FINE_MONEY),
            capital_cost=text(cost, FINE_MONEY),
            return_percent=percent(profit, max(1, start)),
            annualised_percent=percent(profit * YEAR_US, max(1, start) * span),
            drawdown_percent=percent(*self._fall),
            missed=dict(self.missed),
            trades=self.trades,
            balances=self.balances,
        )


def _fine(money: str) -> int:
    return whole(money, FINE_MONEY)
