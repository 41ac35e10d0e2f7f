"""What exchanges say of their markets, and what is made of it: published on `md.<kind>.>`."""

from __future__ import annotations

from typing import ClassVar, Literal

from schemas.records.base import Levels, Micros, Number, Record, Sequenced, Side, Token


class Trade(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One trade as the exchange numbers them: a fill, or an aggregate of one taker order's fills at one price.

    `side` is the taker's. `sequence` is the trade's number in the instrument's contiguous id space, where it has one.
    """

    KIND: ClassVar[str] = "trade"

    price: Number
    quantity: Number
    side: Side
    trade_id: str | None = None
    sequence: int | None = None
    contracts: Number | None = None
    first_trade_id: int | None = None
    last_trade_id: int | None = None
    trade_count: int | None = None
    quantity_without_rpi: Number | None = None
    sent_at: Micros | None = None


class Fill(Trade, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A single fill, on exchanges where a trade is an aggregate. Off by default."""

    KIND: ClassVar[str] = "fill"


class OrderBook(Sequenced, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The best levels of a book that is provably in step: the last state of each second of `timestamp`."""

    KIND: ClassVar[str] = "orderbook"

    sequence: int
    bids: Levels
    asks: Levels
    sent_at: Micros | None = None


class BookChange(Sequenced, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One book change as sent: absolute quantities, 0 removes. `in_step` is false before a sync.

    `overlaps` marks the first one of another connection that took over within the last one's sequence numbers: it says
    once more what was said up to there. Two connections cut the same updates at different places.
    """

    KIND: ClassVar[str] = "book_change"

    first_sequence: int
    last_sequence: int
    bids: Levels
    asks: Levels
    in_step: bool
    previous_sequence: int | None = None
    sent_at: Micros | None = None
    overlaps: bool = False


class Quote(Sequenced, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Best bid and ask; an empty side of the book has neither price nor quantity."""

    KIND: ClassVar[str] = "quote"

    bid_price: Number | None = None
    bid_quantity: Number | None = None
    ask_price: Number | None = None
    ask_quantity: Number | None = None
    sequence: int | None = None
    sent_at: Micros | None = None


class Ticker(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Statistics of the last 24 hours. `volume` is in base currency, `quote_volume` in quote currency."""

    KIND: ClassVar[str] = "ticker"

    last_price: Number
    open_price: Number | None = None
    high_price: Number | None = None
    low_price: Number | None = None
    volume: Number | None = None
    quote_volume: Number | None = None
    price_change: Number | None = None
    price_change_percent: Number | None = None
    weighted_average_price: Number | None = None
    last_quantity: Number | None = None
    bid_price: Number | None = None
    bid_quantity: Number | None = None
    ask_price: Number | None = None
    ask_quantity: Number | None = None
    trade_count: int | None = None
    first_trade_id: int | None = None
    last_trade_id: int | None = None
    window_open_at: Micros | None = None
    window_close_at: Micros | None = None
    sent_at: Micros | None = None


class CandleUpdate(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A candle as it stands; `timestamp` is its open time, `closed` marks the final version."""

    KIND: ClassVar[str] = "candle_update"

    interval: Token
    open_price: Number
    high_price: Number
    low_price: Number
    close_price: Number
    volume: Number | None = None
    closed: bool
    quote_volume: Number | None = None
    trade_count: int | None = None
    taker_buy_volume: Number | None = None
    taker_buy_quote_volume: Number | None = None
    first_trade_id: int | None = None
    last_trade_id: int | None = None
    sent_at: Micros | None = None


class Candle(CandleUpdate, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A closed candle, one per instrument, interval and open time."""

    KIND: ClassVar[str] = "candle"


class FundingRate(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A perpetual's funding rate per funding interval, as a fraction: an estimate, or the rate that was settled."""

    KIND: ClassVar[str] = "funding_rate"

    rate: Number
    rate_kind: Literal["estimated", "settled"]
    next_funding_time: Micros | None = None
    mark_price: Number | None = None
    sent_at: Micros | None = None


class OpenInterest(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Open interest in base currency, and its value in quote currency where the exchange gives it."""

    KIND: ClassVar[str] = "open_interest"

    open_interest: Number
    open_interest_value: Number | None = None
    contracts: Number | None = None
    sent_at: Micros | None = None


class IndexPrice(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Mark price and index price of a derivative, or one of them where the exchange tells them apart."""

    KIND: ClassVar[str] = "index_price"

    mark_price: Number | None = None
    index_price: Number | None = None
    mark_price_average: Number | None = None
    settlement_price: Number | None = None
    sent_at: Micros | None = None


class Liquidation(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A forced order. `side` is its own side as a taker: `sell` when a long position was liquidated."""

    KIND: ClassVar[str] = "liquidation"

    price: Number
    quantity: Number
    side: Side
    order_price: Number | None = None
    order_quantity: Number | None = None
    last_quantity: Number | None = None
    contracts: Number | None = None
    status: Token | None = None
    sent_at: Micros | None = None


class LongShortRatio(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Long over short, and the shares of both where the exchange gives them, over `period`."""

    long_short_ratio: Number
    period: Token
    long_ratio: Number | None = None
    short_ratio: Number | None = None
    sent_at: Micros | None = None


class LsrTopPosition(LongShortRatio, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Long/short ratio of the positions of the top traders."""

    KIND: ClassVar[str] = "lsr_top_position"


class LsrAllAccount(LongShortRatio, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Long/short ratio of all accounts."""

    KIND: ClassVar[str] = "lsr_all_account"


class VolatilityIndex(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A volatility index over `resolution`, in percent a year; `timestamp` is the candle's open time, or the push time.

    Where the exchange pushes single values, the four are that value and `resolution` is `tick`.
    """

    KIND: ClassVar[str] = "volatility_index"

    open: Number
    high: Number
    low: Number
    close: Number
    resolution: Token
    sent_at: Micros | None = None


class Instrument(Sequenced, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What is traded; one unit of `base` stands for `multiplier` units of `asset` (1000PEPE = PEPE x 1000)."""

    KIND: ClassVar[str] = "instrument"

    exchange_symbol: str
    base: Token
    quote: Token
    asset: Token
    multiplier: Number
    status: Token
    settle: Token | None = None
    tick_size: Number | None = None
    quantity_step: Number | None = None
    contract_size: Number | None = None
    contract_kind: Literal["linear", "inverse"] | None = None
    listed_at: Micros | None = None
    delisted_at: Micros | None = None
    expires_at: Micros | None = None
