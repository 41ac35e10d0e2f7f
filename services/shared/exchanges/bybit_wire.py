"""Bybit v5's frames and answers in Bybit's own words: only the keys that are read.

Numbers are strings, an empty one says "not applicable". Times are milliseconds: numbers in frames, strings in answers.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

import msgspec

Millis = Annotated[int, msgspec.Meta(ge=0, le=10_000_000_000_000)]
"""Up to the year 2286: a stray microsecond value is refused instead of being stored as a far future."""
MillisText = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,13}$")]
MillisTextOrNone = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{0,13}$")]
"""Empty where it does not apply."""
Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Side = Literal["Buy", "Sell"]

T = TypeVar("T")


class Push(msgspec.Struct, Generic[T], gc=False):
    """The envelope of every data frame; `cts`, the matching time, on books only."""

    topic: str
    type: Literal["snapshot", "delta"]
    ts: Millis
    data: T
    cts: Millis | None = None


class PublicTrade(msgspec.Struct, gc=False):
    """One row of `publicTrade`; the id is a UUID on derivatives and a rising integer on spot."""

    T: Millis
    s: str
    S: Side
    v: str
    p: str
    i: Annotated[str, msgspec.Meta(min_length=1)]


class Book(msgspec.Struct, gc=False):
    """`orderbook.<depth>`: sides of [price, size]."""

    s: str
    b: msgspec.Raw
    a: msgspec.Raw
    u: Id


class Kline(msgspec.Struct, gc=False):
    """One row of `kline.<interval>`; the symbol is in the topic alone."""

    start: Millis
    interval: str
    open: str
    close: str
    high: str
    low: str
    volume: str
    turnover: str
    confirm: bool


class Liquidation(msgspec.Struct, gc=False):
    """One row of `allLiquidation`."""

    T: Millis
    s: str
    S: Side
    v: str
    p: str


class Ticker(msgspec.Struct, gc=False):
    """`tickers`, stream and REST. In a delta only what has changed is there."""

    symbol: str
    lastPrice: str = ""
    prevPrice24h: str = ""
    highPrice24h: str = ""
    lowPrice24h: str = ""
    volume24h: str = ""
    turnover24h: str = ""
    price24hPcnt: str = ""
    bid1Price: str = ""
    bid1Size: str = ""
    ask1Price: str = ""
    ask1Size: str = ""
    markPrice: str = ""
    indexPrice: str = ""
    openInterest: str = ""
    openInterestValue: str = ""
    singleOpenInterest: str = ""
    singleOpenInterestValue: str = ""
    fundingRate: str = ""
    nextFundingTime: MillisTextOrNone = ""


class Answer(msgspec.Struct, gc=False):
    """The envelope of every REST answer."""

    retCode: int
    retMsg: str
    time: Millis
    result: msgspec.Raw = msgspec.Raw(b"{}")


class Rows(msgspec.Struct, Generic[T], gc=False):
    """A result that is a list."""

    rows: list[T] = msgspec.field(name="list")


class Page(msgspec.Struct, gc=False):
    """Where a list goes on; empty where it does not."""

    nextPageCursor: str = ""


class PagedAnswer(msgspec.Struct, gc=False):
    """An answer whose result may be one page of several."""

    result: Page


class Funding(msgspec.Struct, gc=False):
    """One row of `funding/history`."""

    symbol: str
    fundingRate: str
    fundingRateTimestamp: MillisText


class Ratio(msgspec.Struct, gc=False):
    """One row of `account-ratio`: shares of all accounts that hold long or short."""

    symbol: str
    buyRatio: str
    sellRatio: str
    timestamp: MillisText


class PriceFilter(msgspec.Struct, gc=False):
    """How fine prices are."""

    tickSize: str | None = None


class LotSizeFilter(msgspec.Struct, gc=False):
    """How fine quantities are: `qtyStep` on contracts, `basePrecision` on spot."""

    qtyStep: str | None = None
    basePrecision: str | None = None


class InstrumentInfo(msgspec.Struct, gc=False):
    """One row of `instruments-info`; what follows the filters on contracts only."""

    symbol: str
    status: str
    baseCoin: str
    quoteCoin: str
    priceFilter: PriceFilter
    lotSizeFilter: LotSizeFilter
    contractType: str | None = None
    symbolType: str | None = None
    settleCoin: str | None = None
    launchTime: MillisTextOrNone = ""
    deliveryTime: MillisTextOrNone = ""
