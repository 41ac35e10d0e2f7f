"""Every record that tapeline publishes on a subject and stores in a table, declared once.

One record is one JSON object on its subject and one row in its table; the field names are the same in both. The types
below say what a field is: from them `schemas.tables` derives the ClickHouse columns and `schemas.json_schema` the JSON
Schemas, so nothing is typed twice.

* `Micros`: integer microseconds since the epoch, UTC.
* `Number`: a plain decimal string with the exchange's own digits; at most 20 digits before the point and 18 after.
* `Levels`: book levels, best first, each `[price, quantity]` or, on contract markets, `[price, quantity, contracts]`.
  On the wire of a live record they may still be the exchange's own bytes (`msgspec.Raw`), already checked.

A field that the exchange did not give is absent from the JSON object and NULL in the table.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

Micros = Annotated[int, "micros"]
Number = Annotated[str, "number"]
Levels = Annotated[msgspec.Raw | list[tuple[str, ...]], "levels"]
Token = Annotated[str, "token"]  # one of few values: stored as LowCardinality(String)

Side = Literal["buy", "sell"]
Source = Literal["live", "backfill"]
TimestampSource = Literal["match", "push", "received", "open", "stamp"]
"""Where `timestamp` comes from: the match, the exchange's push time, our receive time, a candle's open time, or the
exchange's own stamp on a polled statistic."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What every record carries: whose it is, when it happened, when we received it, and how."""

    KIND: ClassVar[str]

    exchange: Token
    market: Token
    symbol: Token
    timestamp: Micros
    timestamp_source: TimestampSource
    received_at: Micros
    source: Source


class Sequenced(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A record whose row keeps its place in the MD stream, so that what was heard can be replayed in its order.

    `stream_sequence` is absent on the wire, where the message's own sequence says it; the storage-batcher fills it in.
    """

    stream_sequence: int | None = None


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


class Connection(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What happened to a collector's WebSocket connection. `symbol` is `_all`: a connection carries many."""

    KIND: ClassVar[str] = "connection"

    collector: Token
    connection: str
    event: Literal["opened", "subscribed", "silent", "dropped", "unsubscribed", "closed"]
    url: str
    streams: int
    frames: int
    reason: str | None = None


class ClockOffset(Sequenced, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """How far an exchange's clock is from a collector's own, in microseconds; positive where the exchange is ahead.

    One record per answer to "what time is it". `offset_us` is that of the answer with the least `round_trip_us` among
    the `samples` recent ones, heard at `measured_at`: it is wrong by half its round trip at most. `server_time` is what
    this answer said. `symbol` is `_all`.
    """

    KIND: ClassVar[str] = "clock_offset"

    collector: Token
    offset_us: int
    round_trip_us: int
    measured_at: Micros
    samples: int
    server_time: Micros


class Coverage(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What came of one kind in one minute of our receive clock, which `timestamp` begins: records of a minute add up.

    `frames` of the kind's channels were read from the raw stream, `records` were made (`received_at` in the minute; of
    an `_all` stream those of each instrument). `first_id` and `last_id` are those of the first and the last record that
    went out, where the kind is numbered.
    """

    KIND: ClassVar[str] = "coverage"

    kind: Token
    frames: int
    records: int
    first_id: int | None = None
    last_id: int | None = None


class BookAudit(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The local book compared with a fresh snapshot by REST, level by level; the snapshot's receive time files it.

    `sequence` is the snapshot's update id, `book_sequence` that of the last change in the book compared with it: less
    where no change ended right there. `levels` were compared, `mismatches` of them differ in price or size; `reason`
    names the first, or says why nothing was compared.
    """

    KIND: ClassVar[str] = "book_audit"

    verdict: Literal["equal", "different", "not_compared"]
    sequence: int
    book_sequence: int | None = None
    levels: int = 0
    mismatches: int = 0
    reason: str | None = None


class Gap(Sequenced, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Something the exchange said, or may have said, that we do not have; one row per change of its state.

    `timestamp` is the last moment before the gap on the exchange's clock (ours where nothing came before it);
    `received_at` is when this state was recorded, `detection_time` when the gap was found. The times `after_timestamp`
    and `before_timestamp` are exclusive: the last thing we have before the gap and the first after it on the exchange's
    clock, absent while not known; `lost_from` and `lost_to` are the same on our clock. `first_missing` and
    `last_missing` are inclusive ids or sequence numbers.
    """

    KIND: ClassVar[str] = "gap"

    gap_id: str
    kind: Token
    gap_type: Literal["sequence", "disconnect", "dropped", "unsynced", "ring", "missing", "downtime", "asked"]
    status: Literal["open", "filling", "filled", "partly_filled", "unavailable", "merged"]
    """`merged`: it is part of another gap, which its evidence names; the log of gaps leaves it out."""
    evidence: str
    interval: Token | None = None
    priority: Literal["urgent", "recent", "historical"] | None = None
    first_missing: int | None = None
    last_missing: int | None = None
    after_timestamp: Micros | None = None
    before_timestamp: Micros | None = None
    lost_from: Micros | None = None
    lost_to: Micros | None = None
    attempts: int = 0
    records_filled: int = 0
    detection_time: Micros


class DeadLetter(Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A message that was refused, with the reason and its bytes in base64."""

    KIND: ClassVar[str] = "dead_letter"

    service: Token
    reason: str
    subject: str
    stream_sequence: int
    body: str
    connection: str | None = None
    frame: int | None = None


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


MARKET_RECORDS: tuple[type[Record], ...] = (
    Trade,
    Fill,
    OrderBook,
    BookChange,
    Quote,
    Ticker,
    Candle,
    CandleUpdate,
    FundingRate,
    OpenInterest,
    IndexPrice,
    Liquidation,
    LsrTopPosition,
    LsrAllAccount,
    VolatilityIndex,
    Instrument,
    Connection,
    BookAudit,
    ClockOffset,
    Coverage,
)
"""Records published on `md.<kind>.>`."""

SIGNAL_RECORDS: tuple[type[Record], ...] = (ArbitrageOpportunity, ArbitrageSpread)
"""Records published on `signal.<kind>.>`."""

ALL_RECORDS: tuple[type[Record], ...] = (*MARKET_RECORDS, *SIGNAL_RECORDS, Gap, DeadLetter)
BY_KIND: dict[str, type[Record]] = {record.KIND: record for record in ALL_RECORDS}

_encode = msgspec.json.Encoder().encode


def encode(record: Record) -> bytes:
    """One record as its JSON object, UTF-8; fields the exchange did not give are left out."""
    return _encode(record)
