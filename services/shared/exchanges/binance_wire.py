"""Binance's frames in Binance's own words: only the keys that are read, spot and USD-M futures alike.

Keys that one market or an older protocol lacks have a default; keys not named here are skipped. Times are milliseconds.
Names differ by letter case alone (`u`/`U`, `p`/`P`), as the exchange has them.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Millis = Annotated[int, msgspec.Meta(ge=0, le=10_000_000_000_000)]
"""Up to the year 2286: a stray microsecond value is refused instead of being stored as a far future."""
Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
IdOrNone = Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 1)]
"""-1 where nothing traded."""


class AggTrade(msgspec.Struct, gc=False):
    """`<s>@aggTrade`."""

    e: Literal["aggTrade"]
    E: Millis
    s: str
    a: Id
    p: str
    q: str
    f: Id
    l: Id  # noqa: E741 - the exchange's name
    T: Millis
    m: bool
    nq: str | None = None
    st: int = 1


class SingleTrade(msgspec.Struct, gc=False):
    """Spot `<s>@trade`."""

    e: Literal["trade"]
    E: Millis
    s: str
    t: Id
    p: str
    q: str
    T: Millis
    m: bool


class Depth(msgspec.Struct, gc=False):
    """`<s>@depth@100ms`; `T` and `pu` on futures only."""

    e: Literal["depthUpdate"]
    E: Millis
    s: str
    U: Id
    u: Id
    b: msgspec.Raw
    a: msgspec.Raw
    pu: Id | None = None
    T: Millis | None = None
    st: int = 1


class BookTicker(msgspec.Struct, gc=False):
    """`<s>@bookTicker`; `e`, `T` and `E` on futures only."""

    u: Id
    s: str
    b: str
    B: str
    a: str
    A: str
    e: Literal["bookTicker"] = "bookTicker"
    T: Millis | None = None
    E: Millis | None = None
    st: int = 1


class Bar(msgspec.Struct, gc=False):
    """The candle inside a kline event."""

    t: Millis
    s: str
    i: str
    f: IdOrNone
    L: IdOrNone
    o: str
    c: str
    h: str
    l: str  # noqa: E741 - the exchange's name
    v: str
    n: Id
    x: bool
    q: str
    V: str
    Q: str


class Kline(msgspec.Struct, gc=False):
    """`<s>@kline_<i>`."""

    e: Literal["kline"]
    E: Millis
    s: str
    k: Bar
    st: int = 1


class Ticker(msgspec.Struct, gc=False):
    """`<s>@ticker`; `b B a A` on spot only."""

    e: Literal["24hrTicker"]
    E: Millis
    s: str
    p: str
    P: str
    w: str
    c: str
    Q: str
    o: str
    h: str
    l: str  # noqa: E741 - the exchange's name
    v: str
    q: str
    O: Millis  # noqa: E741 - the exchange's name
    C: Millis
    F: IdOrNone
    L: IdOrNone
    n: Id
    b: str | None = None
    B: str | None = None
    a: str | None = None
    A: str | None = None
    st: int = 1


class MarkPrice(msgspec.Struct, gc=False):
    """Futures `<s>@markPrice@1s`; `ap` since 2026-03."""

    e: Literal["markPriceUpdate"]
    E: Millis
    s: str
    p: str
    r: str
    T: Millis
    i: str | None = None
    P: str | None = None
    ap: str | None = None
    st: int = 1


class ForceOrder(msgspec.Struct, gc=False):
    """The order inside a liquidation event."""

    s: str
    S: Literal["BUY", "SELL"]
    q: str
    p: str
    ap: str
    X: str
    l: str  # noqa: E741 - the exchange's name
    z: str
    T: Millis
    st: int = 1


class Liquidation(msgspec.Struct, gc=False):
    """Futures `<s>@forceOrder` and `!forceOrder@arr`."""

    e: Literal["forceOrder"]
    E: Millis
    o: ForceOrder

    @property
    def s(self) -> str:
        """The exchange's symbol, which this event keeps inside the order."""
        return self.o.s

    @property
    def st(self) -> int:
        """1 for USD-M, 2 for COIN-M."""
        return self.o.st


class DepthAnswer(msgspec.Struct, gc=False):
    """REST `depth`."""

    lastUpdateId: Id
    bids: msgspec.Raw
    asks: msgspec.Raw


class Filter(msgspec.Struct, gc=False):
    """One of a symbol's filters, told apart by `filterType`."""

    filterType: str
    tickSize: str | None = None
    stepSize: str | None = None


class SymbolInfo(msgspec.Struct):
    """One symbol of `exchangeInfo`; what follows `filters` on futures only."""

    symbol: str
    status: str
    baseAsset: str
    quoteAsset: str
    filters: list[Filter]
    contractType: str | None = None
    marginAsset: str | None = None
    onboardDate: Millis | None = None


class ExchangeInfo(msgspec.Struct):
    """REST `exchangeInfo`."""

    symbols: list[SymbolInfo]


class OpenInterest(msgspec.Struct, gc=False):
    """REST `openInterest`."""

    openInterest: str
    symbol: str
    time: Millis


class Funding(msgspec.Struct, gc=False):
    """One row of REST `fundingRate`; `markPrice` is absent or empty in old rows."""

    symbol: str
    fundingRate: str
    fundingTime: Millis
    markPrice: str | None = None


class Ratio(msgspec.Struct, gc=False):
    """One row of REST `/futures/data/...Ratio`; the time may be a number or its text."""

    symbol: str
    longShortRatio: str
    longAccount: str
    shortAccount: str
    timestamp: Millis | str
