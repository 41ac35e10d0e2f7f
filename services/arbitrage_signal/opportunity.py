"""One opportunity's life: what it was worth, when, and how it is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from schemas.records import ArbitrageOpportunity
from services.arbitrage_signal.exact import DIGITS, percent, text
from services.arbitrage_signal.leg import Leg
from services.arbitrage_signal.terms import HORIZONS
from services.arbitrage_signal.walk import FINE_MONEY, MONEY, Offer

Event = Literal["open", "confirmed", "update", "closed"]


class Opportunity:
    """An opportunity that is open: buy at one leg, sell at another."""

    def __init__(self, buy: Leg, sell: Leg, opened_at: int, sequence: int) -> None:
        self.buy, self.sell = buy, sell
        self.opened_at = opened_at
        self.opportunity_id = f"{opened_at}.{sequence}-{buy.name}-{sell.name}"
        self.sequence = sequence
        """MD sequence of the last record that changed the figures."""
        self.confirmed_at: int | None = None
        self.offers: Sequence[Offer] = ()
        self.best: Offer
        self.peak: Offer | None = None
        self.peak_at = opened_at
        self.ages = (0, 0)
        self.left: dict[str, str] = {}
        """What was left at the horizons that have passed."""
        self.told_at = opened_at
        self.changed = False
        """Whether there are figures that were not told yet."""
        self.update_due: int | None = None

    def take(self, found: Sequence[Offer], best: Offer, now: int, sequence: int) -> None:
        """Take new figures, true now."""
        if found != self.offers:
            self.offers = found
            self.changed = True
            self.sequence = sequence
        self.best = best
        self.ages = (max(0, self.buy.age(now)), max(0, self.sell.age(now)))
        if self.peak is None or best.net > self.peak.net:
            self.peak, self.peak_at = best, now

    def note(self, horizon: str) -> None:
        """Note what is left now."""
        self.left[horizon] = text(self.best.net, FINE_MONEY)

    def tell(self, event: Event, now: int, reason: str | None = None) -> ArbitrageOpportunity:
        """Return the record of what happened now."""
        self.told_at = now
        self.changed = False
        best, buy, sell = self.best, self.buy, self.sell
        peak = self.peak or best
        return ArbitrageOpportunity(
            exchange=buy.name.exchange,
            market=buy.name.market,
            symbol=buy.name.symbol,
            timestamp=now,
            timestamp_source="received",
            received_at=now,
            source="live",
            opportunity_id=self.opportunity_id,
            event=event,
            asset=buy.asset,
            quote=buy.quote,
            sell_exchange=sell.name.exchange,
            sell_market=sell.name.market,
            sell_symbol=sell.name.symbol,
            sell_quote=sell.quote,
            input_sequence=self.sequence,
            opened_at=self.opened_at,
            duration_us=now - self.opened_at,
            buy_age_us=self.ages[0],
            sell_age_us=self.ages[1],
            size=text(best.size, MONEY),
            quantity=text(best.quantity, DIGITS),
            cost=text(best.cost, MONEY),
            proceeds=text(best.proceeds, MONEY),
            gross=text(best.gross, MONEY),
            fees=text(best.fees, FINE_MONEY),
            slippage=text(best.slippage, MONEY),
            net=text(best.net, FINE_MONEY),
            gross_percent=percent(best.gross, best.cost),
            net_percent=best.net_percent,
            sizes=[offer.row() for offer in self.offers],
            peak_net=text(peak.net, FINE_MONEY),
            peak_net_percent=peak.net_percent,
            peak_at=self.peak_at,
            confirmed_at=self.confirmed_at,
            reason=reason,
            **{name: self.left.get(name) for _, name in HORIZONS},
        )
