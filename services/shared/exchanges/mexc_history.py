"""MEXC's past by REST: spot candles. Its trades have no ids there, and its contracts' candles come as floats.

Contracts' settled funding is served by page number, newest first, not by time; it is not refilled. Source: MEXC's spot
v3 documentation of 2026-09.
"""

from __future__ import annotations

from schemas import records
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from services.shared.exchanges.candle_history import asked_about, closed_candle
from services.shared.exchanges.declaration import Listing, Parser
from services.shared.exchanges.history import PathOf, candles, cost
from services.shared.exchanges.mexc_spot_streams import INTERVALS
from services.shared.exchanges.shared_answers import answer_reader

US = 1_000
_LEAST_MS, _MOST_MS = 0, 10_000_000_000_000

_Row = tuple[int, str, str, str, str, str, int, str]
"""Open time, open, high, low, close, base volume, close time, quote volume."""

_read = answer_reader(list[_Row])


def _candle_parser(interval: str) -> Parser:
    def parse(frame: RawFrame, listing: Listing) -> tuple[records.Candle, ...]:
        """Parse `klines`, closed ones only."""
        symbol = asked_about(frame, listing).symbol
        found = []
        for k in _read(frame):
            if not _LEAST_MS <= k[0] <= _MOST_MS:
                raise BadFrame(f"open time is {k[0]}; allowed are milliseconds")
            found.append(closed_candle(frame, symbol, interval, k[0] * US, (k[1], k[2], k[3], k[4]), k[5], k[7]))
        return tuple(candle for candle in found if candle is not None)

    return parse


def _path(interval: str) -> PathOf:
    def make(symbol: str, first: int, last: int, count: int) -> str:
        window = f"startTime={-(-first // US)}&endTime={last // US}"
        return f"/api/v3/klines?symbol={symbol}&interval={interval}&{window}&limit={count}"

    return make


SPOT = [candles(interval, _path(interval), _candle_parser(interval), 1_000, cost(1)) for interval in INTERVALS]

MEXC_HISTORY = {("mexc", "spot"): SPOT}
