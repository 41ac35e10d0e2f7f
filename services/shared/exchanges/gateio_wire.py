"""Gate.io's frames in Gate.io's own words: only the keys that are read, spot and USDT futures alike.

Numbers stand in these frames as text or as JSON numbers, by market, field and age: those are `Number`, raw JSON that
`gateio_numbers.digits` reads without touching a digit. Keys that one market or an older protocol lacks have a default;
keys not named here are skipped. Units of time differ by field and are said beside it.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

import msgspec

T = TypeVar("T")

Number = msgspec.Raw
ABSENT = msgspec.Raw()
"""A number that the frame does not have."""

Seconds = Annotated[int, msgspec.Meta(ge=0, le=10_000_000_000)]
"""Up to the year 2286: a stray value in milliseconds is refused instead of being stored as a far future."""
Millis = Annotated[int, msgspec.Meta(ge=0, le=10_000_000_000_000)]
Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Envelope(msgspec.Struct, Generic[T], gc=False):
    """What is around every result. `time_ms` is missing on spot in 2021, `time` on `spot.obu`."""

    channel: str
    event: str
    result: T
    time: Seconds = 0
    time_ms: Millis = 0

    @property
    def sent_at(self) -> int | None:
        """When the exchange sent the frame, in microseconds; whole seconds where it gives no more."""
        if self.time_ms:
            return self.time_ms * 1_000
        return self.time * 1_000_000 if self.time else None


class SpotTrade(msgspec.Struct, gc=False):
    """`spot.trades`. `create_time_ms` is milliseconds with a fraction; `id_market` and `range` are missing in 2021."""

    id: Id
    create_time_ms: Number
    side: Literal["buy", "sell"]
    currency_pair: str
    amount: Number
    price: Number
    id_market: Id | None = None
    range: str | None = None


class SpotDepth(msgspec.Struct, gc=False):
    """`spot.order_book_update`: levels are `[price, amount]`; `t` is milliseconds."""

    t: Millis
    s: str
    U: Id
    u: Id
    b: msgspec.Raw
    a: msgspec.Raw
    full: bool = False


class BookTicker(msgspec.Struct, gc=False):
    """`book_ticker`, futures too, whose quantities are contracts; a price is empty when its side is."""

    t: Millis
    u: Id
    s: str
    b: Number
    B: Number
    a: Number
    A: Number


class SpotCandle(msgspec.Struct, gc=False):
    """`spot.candlesticks`: `t` is seconds as text, `v` the quote amount, `a` (missing in 2021) the base amount."""

    t: Number
    n: str
    o: Number
    h: Number
    l: Number  # noqa: E741 - the exchange's name
    c: Number
    v: Number
    a: Number = ABSENT
    w: bool = False


class SpotTicker(msgspec.Struct, gc=False):
    """`spot.tickers`: no time of its own, and no open price."""

    currency_pair: str
    last: Number
    base_volume: Number
    quote_volume: Number
    lowest_ask: Number = ABSENT
    highest_bid: Number = ABSENT
    change_percentage: Number = ABSENT
    high_24h: Number = ABSENT
    low_24h: Number = ABSENT


class PerpTrade(msgspec.Struct, gc=False):
    """`futures.trades`: `size` is contracts, negative when the taker sold; `create_time_ms` is milliseconds."""

    id: Id
    size: Number
    create_time_ms: Number
    price: Number
    contract: str


class PerpDepth(msgspec.Struct, gc=False):
    """`futures.order_book_update`: levels are `{"p": price, "s": contracts}`; `t` is milliseconds."""

    t: Millis
    s: str
    U: Id
    u: Id
    b: msgspec.Raw = msgspec.Raw(b"[]")
    a: msgspec.Raw = msgspec.Raw(b"[]")
    full: bool = False


class PerpCandle(msgspec.Struct, gc=False):
    """`futures.candlesticks`: `t` is seconds, `v` contracts, `a` (missing in 2023) the quote amount."""

    t: Number
    n: str
    o: Number
    h: Number
    l: Number  # noqa: E741 - the exchange's name
    c: Number
    v: Number
    a: Number = ABSENT
    w: bool = False


class PerpTicker(msgspec.Struct, gc=False):
    """`futures.tickers`: `total_size` and `volume_24h` are contracts, `t` milliseconds, funding times seconds."""

    contract: str
    last: Number
    mark_price: Number
    total_size: Number
    volume_24h: Number
    volume_24h_quote: Number = ABSENT
    high_24h: Number = ABSENT
    low_24h: Number = ABSENT
    index_price: Number = ABSENT
    change_percentage: Number = ABSENT
    change_price: Number = ABSENT
    change_from: str | None = None
    funding_rate: Number = ABSENT
    funding_next_apply: Seconds | None = None
    t: Millis = 0


class PublicLiquidation(msgspec.Struct, gc=False):
    """`futures.public_liquidates`: `size` is the order's contracts, negative when it sells (a long is liquidated)."""

    price: Number
    size: Number
    time_ms: Millis
    contract: str


class BookAnswer(msgspec.Struct, gc=False):
    """REST `order_book` asked for with its id."""

    id: Id
    bids: msgspec.Raw
    asks: msgspec.Raw


class FundingRow(msgspec.Struct, gc=False):
    """One row of REST `funding_rate`: `t` is seconds."""

    t: Seconds
    r: Number


class StatisticsRow(msgspec.Struct, gc=False):
    """One row of REST `contract_stats`: `time` is seconds; of all accounts, and of the positions of the top traders."""

    time: Seconds
    lsr_account: Number = ABSENT
    top_lsr_size: Number = ABSENT


class CurrencyPair(msgspec.Struct, gc=False):
    """One row of REST `spot/currency_pairs`; the precisions are decimal places."""

    id: str
    base: str
    quote: str
    precision: int
    amount_precision: int
    trade_status: str
    delisting_time: Seconds = 0


class Contract(msgspec.Struct, gc=False):
    """One row of REST `futures/usdt/contracts`; `status`, `launch_time` and `enable_decimal` are missing in 2023."""

    name: str
    quanto_multiplier: Number
    order_price_round: Number
    in_delisting: bool
    status: str = "trading"
    launch_time: Seconds = 0
    enable_decimal: bool = False
