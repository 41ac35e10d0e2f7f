"""What the core has to remember beside the market itself, so that a restart goes on as if nothing had been.

The market follows from the last records alone (`MEMORY_US`); opportunities that are open, and pairs that are suspended,
may be older than that.
"""

from __future__ import annotations

import msgspec

from services.arbitrage_signal.leg import Leg
from services.arbitrage_signal.opportunity import Opportunity
from services.arbitrage_signal.walk import Offer


class SavedOpportunity(msgspec.Struct, frozen=True):
    """An opportunity that is open. Offers are written as decimal text: their numbers are longer than 64 bits."""

    opportunity_id: str
    buy: tuple[str, str, str]
    sell: tuple[str, str, str]
    opened_at: int
    sequence: int
    offers: list[list[str]]
    best: list[str]
    peak: list[str]
    peak_at: int
    ages: tuple[int, int]
    left: dict[str, str]
    told_at: int
    changed: bool
    confirmed_at: int | None = None
    update_due: int | None = None


class Saved(msgspec.Struct, frozen=True):
    """What is remembered at one moment, `now` on the core's clock."""

    now: int = 0
    opportunities: list[SavedOpportunity] = []
    suspended: list[str] = []


def saved_opportunity(one: Opportunity) -> SavedOpportunity:
    """Return an opportunity as it is saved."""
    return SavedOpportunity(
        opportunity_id=one.opportunity_id,
        buy=one.buy.name,
        sell=one.sell.name,
        opened_at=one.opened_at,
        sequence=one.sequence,
        offers=[_written(offer) for offer in one.offers],
        best=_written(one.best),
        peak=_written(one.peak or one.best),
        peak_at=one.peak_at,
        ages=one.ages,
        left=dict(one.left),
        told_at=one.told_at,
        changed=one.changed,
        confirmed_at=one.confirmed_at,
        update_due=one.update_due,
    )


def loaded_opportunity(saved: SavedOpportunity, buy: Leg, sell: Leg) -> Opportunity:
    """Return the opportunity that was saved."""
    one = Opportunity(buy, sell, saved.opened_at, saved.sequence)
    one.opportunity_id = saved.opportunity_id
    one.offers = [_read(offer) for offer in saved.offers]
    one.best, one.peak, one.peak_at = _read(saved.best), _read(saved.peak), saved.peak_at
    one.ages, one.left = saved.ages, dict(saved.left)
    one.told_at, one.changed = saved.told_at, saved.changed
    one.confirmed_at, one.update_due = saved.confirmed_at, saved.update_due
    return one


def _written(offer: Offer) -> list[str]:
    return [str(number) for number in offer]


def _read(numbers: list[str]) -> Offer:
    return Offer(*map(int, numbers))
