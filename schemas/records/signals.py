"""What the services that watch the markets say: published on `signal.<kind>.>`."""

from __future__ import annotations

from typing import ClassVar, Literal

from schemas.records.base import Levels, Micros, Number, Record, Token


class ArbitrageOpportunity(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What happened to an opportunity to buy `asset` at `exchange market symbol` and to sell it at the `sell_` side.

    `timestamp` is our clock, the receive time of the record that showed it or the moment at which a timer was due.
    Amounts are money in `quote` (which `sell_quote` is taken to equal), `quantity` is in units of `asset`. `cost` and
    `proceeds` come from walking both books; `gross` is the same quantity at the best prices alone, `slippage` what
    walking took from it, `net` what is left after that and both taker fees. Percentages are of `cost`. These figures
    are of the trade size with the largest `net`; `sizes` has a row for each size of the ladder that both books fill:
    `[size, quantity, cost, proceeds, fees, slippage, net, net_percent]`. A closed opportunity shows how it stood last.
    """

    KIND: ClassVar[str] = "arbitrage_opportunity"

    opportunity_id: str
    event: Literal["open", "confirmed", "update", "closed"]
    asset: Token
    quote: Token
    sell_exchange: Token
    sell_market: Token
    sell_symbol: Token
    sell_quote: Token
    input_sequence: int
    opened_at: Micros
    duration_us: int
    buy_age_us: int
    sell_age_us: int
    size: Number
    quantity: Number
    cost: Number
    proceeds: Number
    gross: Number
    fees: Number
    slippage: Number
    net: Number
    gross_percent: Number
    net_percent: Number
    sizes: Levels
    peak_net: Number
    peak_net_percent: Number
    peak_at: Micros
    confirmed_at: Micros | None = None
    net_after_100ms: Number | None = None
    net_after_1s: Number | None = None
    net_after_5s: Number | None = None
    reason: Token | None = None


class ArbitrageSpread(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A pair of instruments of one asset at the end of a second in which one of them changed; for charts.

    Prices are per unit of `asset`, best bid and ask of both. `percent` and `net_percent` are of buying here and selling
    there at those prices, before and after taker fees; the `reverse_` ones of the other direction.
    """

    KIND: ClassVar[str] = "arbitrage_spread"

    asset: Token
    quote: Token
    other_exchange: Token
    other_market: Token
    other_symbol: Token
    other_quote: Token
    bid_price: Number
    ask_price: Number
    other_bid_price: Number
    other_ask_price: Number
    percent: Number
    net_percent: Number
    reverse_percent: Number
    reverse_net_percent: Number
    age_us: int
    other_age_us: int
    suspended: bool
