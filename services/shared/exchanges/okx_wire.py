"""OKX's frames in OKX's own words: only the keys that are read.

Nearly every value is text, times and ids too; they are read as integers where they are integers (decoders of this
module are to be made with `strict=False`), and kept as text where they are prices, sizes and rates. Empty text means
"not applicable". Keys that the protocol of 2022 lacked have a default; keys not named here are skipped.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

import msgspec

T = TypeVar("T")

Millis = Annotated[int, msgspec.Meta(ge=0, le=10_000_000_000_000)]
"""Up to the year 2286: a stray microsecond value is refused instead of being stored as a far future."""
Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
PreviousId = Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 1)]
"""-1 where nothing came before."""

Side = Literal["buy", "sell"]
Level = Annotated[list[str], msgspec.Meta(min_length=2, max_length=8)]
"""`[price, size, "0" (once liquidated orders), number of orders]`."""


class Arg(msgspec.Struct, gc=False):
    """What a push is about: a channel, and an instrument, or a type of instrument."""

    channel: str
    instId: str = ""
    instType: str = ""


class Push(msgspec.Struct, Generic[T], gc=False):
    """The envelope of every data frame."""

    arg: Arg
    data: list[T]


class BookPush(msgspec.Struct, gc=False):
    """A data frame of `books`."""

    arg: Arg
    action: Literal["snapshot", "update"]
    data: list[Book]


class Book(msgspec.Struct, gc=False):
    """A whole book or a change of it; no ids in 2022-05, `checksum` is 0 since 2026."""

    asks: msgspec.Raw
    bids: msgspec.Raw
    ts: Millis
    seqId: Id | None = None
    prevSeqId: PreviousId | None = None


class Trade(msgspec.Struct, gc=False):
    """`trades`, `trades-all` and REST `trades`; `count` not in 2022-05, and on `trades` only."""

    instId: str
    tradeId: Id
    px: str
    sz: str
    side: Side
    ts: Millis
    count: Annotated[int, msgspec.Meta(ge=1, le=2**31)] | None = None


class Top(msgspec.Struct, gc=False):
    """`bbo-tbt`, and `books5`, which has more levels."""

    asks: list[Level]
    bids: list[Level]
    ts: Millis
    seqId: Id | None = None


class Ticker(msgspec.Struct, gc=False):
    """`tickers`."""

    instId: str
    last: str
    lastSz: str
    askPx: str
    askSz: str
    bidPx: str
    bidSz: str
    open24h: str
    high24h: str
    low24h: str
    volCcy24h: str
    vol24h: str
    ts: Millis


class Candle(msgspec.Struct, array_like=True, gc=False):
    """`candle...`: a list of nine."""

    ts: Millis
    o: str
    h: str
    l: str  # noqa: E741 - the exchange's name
    c: str
    vol: str
    volCcy: str
    volCcyQuote: str
    confirm: Literal["0", "1"]


class MarkPrice(msgspec.Struct, gc=False):
    """`mark-price`, and REST `mark-price`."""

    instId: str
    markPx: str
    ts: Millis


class IndexTicker(msgspec.Struct, gc=False):
    """`index-tickers`; `instId` names the index."""

    instId: str
    idxPx: str
    ts: Millis


class Funding(msgspec.Struct, gc=False):
    """`funding-rate`; `ts` is missing in old frames."""

    instId: str
    fundingRate: str
    fundingTime: Millis
    ts: Millis | None = None


class SettledFunding(msgspec.Struct, gc=False):
    """One row of REST `funding-rate-history`."""

    instId: str
    fundingTime: Millis
    realizedRate: str


class OpenInterest(msgspec.Struct, gc=False):
    """`open-interest`."""

    instId: str
    oi: str
    oiCcy: str
    ts: Millis
    oiUsd: str = ""


class LiquidationDetail(msgspec.Struct, gc=False):
    """One liquidation order; `bkPx` is the bankruptcy price."""

    side: Side
    bkPx: str
    sz: str
    ts: Millis
    posSide: Literal["long", "short", "net", ""] = ""


class Liquidation(msgspec.Struct, gc=False):
    """`liquidation-orders`: the orders of one instrument."""

    instId: str
    details: list[LiquidationDetail]


class Ratio(msgspec.Struct, array_like=True, gc=False):
    """One row of REST `rubik/stat/contracts/...ratio...`."""

    ts: Millis
    ratio: str


class Instrument(msgspec.Struct):
    """One row of REST `instruments`."""

    instId: str
    instType: str
    state: str
    baseCcy: str = ""
    quoteCcy: str = ""
    settleCcy: str = ""
    uly: str = ""
    ctType: str = ""
    ctVal: str = ""
    ctMult: str = ""
    tickSz: str = ""
    lotSz: str = ""
    listTime: str = ""
    expTime: str = ""


class Answer(msgspec.Struct, Generic[T]):
    """The envelope of every REST answer; `code` is "0" when it is one."""

    code: str
    msg: str = ""
    data: list[T] = []
