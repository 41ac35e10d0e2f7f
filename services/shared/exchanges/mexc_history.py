"""MEXC's past by REST: candles, and contracts' settled funding.

Trades are not refilled: spot's have no ids there, and of contracts' only the last hundred are served. Open interest has
no history, long/short ratios are not offered at all. Settled funding is served by page number, newest first: its first
page holds 41 days even where it is settled every hour.
Source: MEXC's documentation, spot v3 of 2026-09 and contracts v1 of 2025-11.
"""

from __future__ import annotations

from schemas import records
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from services.shared.exchanges import mexc_perp_wire as wire
from services.shared.exchanges.candle_history import asked_about, closed_candle
from services.shared.exchanges.declaration import Listing, Parser
from services.shared.exchanges.history import History, PathOf, candles, cost, refilled
from services.shared.exchanges.mexc_numbers import unsigned
from services.shared.exchanges.mexc_perp import MEXC_PERP
from services.shared.exchanges.mexc_perp import answer_reader as contract_reader
from services.shared.exchanges.mexc_perp_streams import INTERVALS as CONTRACT_INTERVALS
from services.shared.exchanges.mexc_perp_streams import SECOND, contract_size
from services.shared.exchanges.mexc_spot_streams import INTERVALS
from services.shared.exchanges.numbers import product
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


_read_contract = contract_reader(wire.Candles)


def _contract_parser(interval: str) -> Parser:
    def parse(frame: RawFrame, listing: Listing) -> tuple[records.Candle, ...]:
        """Parse contracts' `kline`, closed ones only; contracts become base currency by the contract size."""
        item, answer = asked_about(frame, listing), _read_contract(frame)
        columns = (answer.open, answer.high, answer.low, answer.close, answer.vol, answer.amount)
        if {len(column) for column in columns} != {len(answer.time)}:
            raise BadFrame(f"candles of {len(answer.time)} times whose columns are not as long")
        found = []
        for at, *raws in zip(answer.time, *columns, strict=True):
            names = ("open", "high", "low", "close", "vol", "amount")
            first, high, low, last, contracts, amount = map(unsigned, raws, names)
            volume = product(contracts, contract_size(item))
            candle = closed_candle(frame, item.symbol, interval, at * SECOND, (first, high, low, last), volume, amount)
            found.append(candle)
        return tuple(candle for candle in found if candle is not None)

    return parse


def _contract_path(interval: str) -> PathOf:
    def make(symbol: str, first: int, last: int, count: int) -> str:
        window = f"start={-(-first // SECOND)}&end={last // SECOND}"
        return f"/api/v1/contract/kline/{symbol}?interval={interval}&{window}"

    return make


def _funding_path(symbol: str, first: int, last: int, count: int) -> str:
    return f"/api/v1/contract/funding_rate/history?symbol={symbol}&page_num=1&page_size={count}"


SPOT = [candles(interval, _path(interval), _candle_parser(interval), 1_000, cost(1)) for interval in INTERVALS]

PERP = [
    *(
        candles(interval, _contract_path(name), _contract_parser(interval), 2_000, cost(1))
        for interval, name in CONTRACT_INTERVALS.items()
    ),
    History(
        "funding_history",
        "funding_rate",
        "time",
        _funding_path,
        refilled(MEXC_PERP.polls["funding"].parse),
        1_000,
        cost(1),
        "settled",
        delay_us=10 * 60 * SECOND,
        reach_us=40 * 86_400 * SECOND,
        windowed=False,
    ),
]

MEXC_HISTORY = {("mexc", "spot"): SPOT, ("mexc", "perp"): PERP}
