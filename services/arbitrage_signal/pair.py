"""Two instruments of one asset, both ways, and whether they can be the same coin at all."""

from __future__ import annotations

from schemas.records import ArbitrageSpread
from services.arbitrage_signal.exact import DIGITS, RATE, percent, text
from services.arbitrage_signal.leg import NO_ASK, NO_BID, Leg
from services.arbitrage_signal.opportunity import Opportunity
from services.arbitrage_signal.walk import common_step


class Route:
    """One direction of a pair: buy here, sell there."""

    def __init__(self, buy: Leg, sell: Leg) -> None:
        self.buy, self.sell = buy, sell
        self.opportunity: Opportunity | None = None


class Pair:
    """Two instruments that may be compared, in the order of their names.

    While their mid prices are too far apart they are taken for different coins: nothing is signalled. When that has
    lasted long enough the pair is suspended, until it has been near for as long.
    """

    def __init__(self, one: Leg, other: Leg) -> None:
        self.one, self.other = one, other
        self.step = common_step(one, other)
        self.routes = (Route(one, other), Route(other, one))
        self.apart_since: int | None = None
        self.near_since: int | None = None
        self.suspended = False
        self.key = f"{one.name}-{other.name}"

    def against(self, leg: Leg) -> Leg:
        """Return the other one of the two."""
        return self.other if self.one is leg else self.one

    def apart(self, most_percent: int) -> bool | None:
        """Tell whether the mid prices differ by more than so many percent of the lower one; None without both."""
        one, other = self.one, self.other
        if NO_BID in (one.bid, other.bid) or NO_ASK in (one.ask, other.ask):
            return None
        low, high = sorted((one.bid + one.ask, other.bid + other.ask))
        return 100 * high > (100 + most_percent) * low

    def spread(self, at: int) -> ArbitrageSpread | None:
        """Return the pair as it stands, filed under `at`; None unless both show fresh prices on both sides."""
        one, other = self.one, self.other
        if NO_BID in (one.bid, other.bid) or NO_ASK in (one.ask, other.ask) or not (one.fresh(at) and other.fresh(at)):
            return None
        return ArbitrageSpread(
            exchange=one.name.exchange,
            market=one.name.market,
            symbol=one.name.symbol,
            timestamp=at,
            timestamp_source="received",
            received_at=at,
            source="live",
            asset=one.asset,
            quote=one.quote,
            other_exchange=other.name.exchange,
            other_market=other.name.market,
            other_symbol=other.name.symbol,
            other_quote=other.quote,
            bid_price=text(one.bid, DIGITS),
            ask_price=text(one.ask, DIGITS),
            other_bid_price=text(other.bid, DIGITS),
            other_ask_price=text(other.ask, DIGITS),
            percent=percent(other.bid - one.ask, one.ask),
            net_percent=_net_percent(one, other),
            reverse_percent=percent(one.bid - other.ask, other.ask),
            reverse_net_percent=_net_percent(other, one),
            age_us=max(0, one.age(at)),
            other_age_us=max(0, other.age(at)),
            suspended=self.suspended,
        )


def _net_percent(buy: Leg, sell: Leg) -> str:
    return percent(sell.reach - buy.ask * buy.buying, buy.ask * RATE)
