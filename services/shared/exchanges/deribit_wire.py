"""Deribit's frames in Deribit's own words: only the keys that are read, all markets alike.

Numbers are JSON numbers, kept here as the bytes they were sent in (`Raw`) and read by `deribit_numbers` alone, so that
no digit passes through a float. An absent one is empty. Times are milliseconds.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import Raw

Millis = Annotated[int, msgspec.Meta(ge=0, le=10_000_000_000_000)]
"""Up to the year 2286: a stray microsecond value is refused instead of being stored as a far future."""
Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

T = TypeVar("T")
ABSENT = Raw()


class Params(msgspec.Struct, Generic[T], gc=False):
    """What a notification is about, and what it says."""

    channel: str
    data: T


class Push(msgspec.Struct, Generic[T], gc=False):
    """A notification of a subscribed channel."""

    method: Literal["subscription"]
    params: Params[T]


class Answer(msgspec.Struct, Generic[T], gc=False):
    """A REST answer."""

    result: T


class Trade(msgspec.Struct, gc=False):
    """One element of `trades.*`, and of the REST trade lists; `contracts` since 2021, the flag on liquidations only."""

    instrument_name: str
    trade_id: str
    trade_seq: Id
    timestamp: Millis
    direction: Literal["buy", "sell"]
    price: Raw
    amount: Raw
    contracts: Raw = ABSENT
    liquidation: Literal["M", "T", "MT"] | None = None


Level = tuple[Literal["new", "change", "delete"], Raw, Raw]
"""`[action, price, amount]`; the amount of a deleted level is 0."""


class BookEvent(msgspec.Struct, gc=False):
    """`book.*`: a snapshot first, then changes that name the one before them."""

    type: Literal["snapshot", "change"]
    instrument_name: str
    timestamp: Millis
    change_id: Id
    bids: list[Level]
    asks: list[Level]
    prev_change_id: Id | None = None


class Quote(msgspec.Struct, gc=False):
    """`quote.*`; prices are 0 (or null) on an empty side."""

    instrument_name: str
    timestamp: Millis
    best_bid_price: Raw
    best_bid_amount: Raw
    best_ask_price: Raw
    best_ask_amount: Raw


class Stats(msgspec.Struct, gc=False):
    """The last 24 hours within a ticker; null where nothing was traded. `price_change` is in percent."""

    high: Raw = ABSENT
    low: Raw = ABSENT
    price_change: Raw = ABSENT
    volume: Raw = ABSENT
    volume_notional: Raw = ABSENT


class Ticker(msgspec.Struct, gc=False):
    """`ticker.*`; funding on perpetuals only. `last_price` is null where nothing was ever traded."""

    instrument_name: str
    timestamp: Millis
    mark_price: Raw
    index_price: Raw
    open_interest: Raw
    stats: Stats
    last_price: Raw = ABSENT
    best_bid_price: Raw = ABSENT
    best_bid_amount: Raw = ABSENT
    best_ask_price: Raw = ABSENT
    best_ask_amount: Raw = ABSENT
    settlement_price: Raw = ABSENT
    current_funding: Raw = ABSENT


class Bar(msgspec.Struct, gc=False):
    """`chart.trades.*`; `tick` is the open time. The instrument is named by the channel alone."""

    tick: Millis
    open: Raw
    high: Raw
    low: Raw
    close: Raw
    volume: Raw
    cost: Raw


class Volatility(msgspec.Struct, gc=False):
    """`deribit_volatility_index.*`, percent a year."""

    timestamp: Millis
    volatility: Raw
    index_name: str


class InstrumentInfo(msgspec.Struct):
    """One row of `get_instruments`. `state`, `counter_currency`, `settlement_currency` and types are of later years."""

    instrument_name: str
    kind: str
    base_currency: str
    is_active: bool
    tick_size: Raw
    contract_size: Raw
    min_trade_amount: Raw
    creation_timestamp: Millis
    expiration_timestamp: Annotated[int, msgspec.Meta(ge=0, le=10**14)]
    settlement_currency: str | None = None
    state: str | None = None


class Book(msgspec.Struct, gc=False):
    """REST `get_order_book`, of which the book itself is read."""

    instrument_name: str
    change_id: Id
    bids: list[tuple[Raw, Raw]]
    asks: list[tuple[Raw, Raw]]


class Trades(msgspec.Struct, gc=False):
    """REST `get_last_trades_*`."""

    trades: list[Trade]


class Funding(msgspec.Struct, gc=False):
    """One hour of REST `get_funding_rate_history`."""

    timestamp: Millis
    interest_1h: Raw
