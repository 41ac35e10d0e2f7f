"""MEXC contracts' frames and answers in MEXC's own words: only the keys that are read.

Numbers are bare JSON numbers and stay the bytes they are. Times are milliseconds, but for candles' seconds. Quantities
are contracts.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

import msgspec

from services.shared.exchanges.mexc_numbers import Rows

Millis = Annotated[int, msgspec.Meta(ge=0, le=10_000_000_000_000)]
"""Up to the year 2286: a stray microsecond value is refused instead of being stored as a far future."""
Seconds = Annotated[int, msgspec.Meta(ge=0, le=10_000_000_000)]
Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
IdText = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,18}$")]

T = TypeVar("T")
NONE = msgspec.Raw()


class Push(msgspec.Struct, Generic[T], gc=False):
    """The envelope of every data frame."""

    channel: str
    symbol: str
    ts: Millis
    data: T


class Deal(msgspec.Struct, gc=False):
    """One row of `push.deal`: `T` is the taker's side, 1 buy, 2 sell; the id is missing in older frames."""

    p: msgspec.Raw
    v: msgspec.Raw
    T: Literal[1, 2]
    t: Millis
    i: IdText | None = None


class Depth(msgspec.Struct, gc=False):
    """`push.depth`, `push.depth.full` and REST `depth`; merged changes have `begin` and `end`."""

    asks: Rows
    bids: Rows
    version: Id
    begin: Id | None = None
    end: Id | None = None
    cts: Millis | None = None


class Ticker(msgspec.Struct, gc=False):
    """`push.ticker`."""

    symbol: str
    lastPrice: msgspec.Raw
    volume24: msgspec.Raw = NONE
    amount24: msgspec.Raw = NONE
    lower24Price: msgspec.Raw = NONE
    high24Price: msgspec.Raw = NONE
    riseFallValue: msgspec.Raw = NONE
    riseFallRate: msgspec.Raw = NONE
    bid1: msgspec.Raw = NONE
    ask1: msgspec.Raw = NONE
    holdVol: msgspec.Raw = NONE
    fairPrice: msgspec.Raw = NONE
    indexPrice: msgspec.Raw = NONE
    fundingRate: msgspec.Raw = NONE


class Kline(msgspec.Struct, gc=False):
    """`push.kline`: `q` contracts, `a` quote amount."""

    symbol: str
    interval: str
    t: Seconds
    o: msgspec.Raw
    c: msgspec.Raw
    h: msgspec.Raw
    l: msgspec.Raw  # noqa: E741 - the exchange's name
    q: msgspec.Raw
    a: msgspec.Raw


class Funding(msgspec.Struct, gc=False):
    """`push.funding.rate`; the rate has two names."""

    symbol: str
    rate: msgspec.Raw = NONE
    fundingRate: msgspec.Raw = NONE
    nextSettleTime: Millis | None = None


class Answer(msgspec.Struct, gc=False):
    """The envelope of REST answers; a book may come without."""

    success: bool | None = None
    code: int = 0
    message: str = ""
    data: msgspec.Raw = NONE


class Settled(msgspec.Struct, gc=False):
    """One row of `funding_rate/history`."""

    symbol: str
    fundingRate: msgspec.Raw
    settleTime: Millis


class SettledPage(msgspec.Struct, gc=False):
    """A page of it, newest first."""

    resultList: list[Settled]


class Candles(msgspec.Struct, gc=False):
    """REST `kline`: an array a column, oldest first; `vol` contracts, `amount` quote."""

    time: list[Seconds]
    open: list[msgspec.Raw]
    close: list[msgspec.Raw]
    high: list[msgspec.Raw]
    low: list[msgspec.Raw]
    vol: list[msgspec.Raw]
    amount: list[msgspec.Raw]


class Detail(msgspec.Struct, gc=False):
    """One row of `detail`."""

    symbol: str
    baseCoin: str
    quoteCoin: str
    settleCoin: str
    contractSize: msgspec.Raw
    state: int
    priceUnit: msgspec.Raw = NONE
    volUnit: msgspec.Raw = NONE
    isHidden: bool = False
