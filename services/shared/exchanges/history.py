"""What an exchange tells of the past by REST, declared: which endpoint brings which rows, a page at a time.

Three ways to know a row: by its number in a contiguous id space (`id`), by its place on a grid of times (`grid`), or by
its time alone (`time`). A page is asked for by first and last key, both inclusive: numbers, or microseconds UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

from schemas.frames import RawFrame
from schemas.records import CandleUpdate, FundingRate, LongShortRatio, Record, Trade, VolatilityIndex
from services.shared.exchanges.declaration import BookSnapshot, Listing, Parser

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US

INTERVAL_US: Mapping[str, int] = {
    "1m": MINUTE_US,
    "3m": 3 * MINUTE_US,
    "5m": 5 * MINUTE_US,
    "15m": 15 * MINUTE_US,
    "30m": 30 * MINUTE_US,
    "1h": 60 * MINUTE_US,
    "2h": 120 * MINUTE_US,
    "4h": 240 * MINUTE_US,
    "6h": 360 * MINUTE_US,
    "12h": 720 * MINUTE_US,
    "1d": 1_440 * MINUTE_US,
}
"""Candle intervals whose open times are multiples of their length since the epoch."""


class PathOf(Protocol):
    """Makes the path of a page: the exchange's symbol, percent-encoded, first and last key, and the most rows."""

    def __call__(self, symbol: str, first: int, last: int, count: int) -> str:
        """Return path and query."""


@dataclass(frozen=True, slots=True)
class History:
    """One endpoint's past of one kind of record, for one market.

    `name` is the channel of the answers' raw frames. `parse` yields records with `source` `backfill`, equal to the live
    ones in every field that the answer has. `interval` tells apart the series of one kind: a candle's interval, a
    ratio's period, `settled` rates. `most` is how many rows one call brings, `weight` what it costs at that many rows,
    `step_us` the grid. A row stands for `length_us` from its key on (a candle), and is out `delay_us` after that.
    `reach_us`: what is older is not served; None where that is not said.
    """

    name: str
    kind: str
    keyed: Literal["id", "grid", "time"]
    path: PathOf
    parse: Parser
    most: int
    weight: Callable[[int], int]
    interval: str | None = None
    step_us: int = 1
    length_us: int = 0
    delay_us: int = 15 * SECOND_US
    reach_us: int | None = None
    spans: bool = False
    """Of a history by number: a row merges `trade_count` numbers, of which its own is the last."""
    windowed: bool = True
    """If not, an answer has the newest rows whatever is asked for: those outside of the page are left out."""

    def key(self, record: Record) -> int:
        """Return what a row is known by: its number, or its time in microseconds."""
        if self.keyed == "id":
            assert isinstance(record, Trade) and record.sequence is not None
            return record.sequence
        return record.timestamp


def interval_of(record: Record) -> str | None:
    """Return which series of its kind a record belongs to: what a `History` and a gap call its `interval`."""
    if isinstance(record, CandleUpdate):
        return record.interval
    if isinstance(record, LongShortRatio):
        return record.period
    if isinstance(record, FundingRate):
        return record.rate_kind
    return record.resolution if isinstance(record, VolatilityIndex) else None


def candles(
    interval: str,
    path: PathOf,
    parse: Parser,
    most: int,
    weight: Callable[[int], int],
    *,
    reach_us: int | None = None,
) -> History:
    """Return the history of closed candles of one interval."""
    length = INTERVAL_US[interval]
    name = f"candles_{interval}_history"
    return History(
        name, "candle", "grid", path, parse, most, weight, interval, length, length_us=length, reach_us=reach_us
    )


def cost(weight: int) -> Callable[[int], int]:
    """Return a weight that does not depend on the rows asked for."""
    return lambda count: weight


def refilled(parse: Parser) -> Parser:
    """Return a parser of live answers as one of history: the same rows, `source` `backfill`."""

    def parse_history(frame: RawFrame, listing: Listing) -> Sequence[Record | BookSnapshot]:
        """Parse rows of the past."""
        return [
            msgspec.structs.replace(record, source="backfill")
            for record in parse(frame, listing)
            if isinstance(record, Record)
        ]

    return parse_history
