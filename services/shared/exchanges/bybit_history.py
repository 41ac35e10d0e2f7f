"""Bybit's past by REST: candles, settled funding, long/short ratios of all accounts. Trades are not served by page.

Open interest comes with the ticker at times of its own and is not the same record as the 5-minute statistics, which are
not refilled. Source: Bybit's v5 documentation of 2026-08. Lists come newest first.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from schemas import records
from schemas.frames import RawFrame
from services.shared.exchanges import bybit
from services.shared.exchanges.binance import symbol_of
from services.shared.exchanges.bybit_perp import BYBIT_PERP
from services.shared.exchanges.candle_history import closed_candle
from services.shared.exchanges.declaration import Listing, Parser
from services.shared.exchanges.history import INTERVAL_US, History, PathOf, candles, cost, refilled

US = bybit.US
_Millis = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,13}$")]
_Row = tuple[_Millis, str, str, str, str, str, str]
"""Start, open, high, low, close, volume (base), turnover (quote)."""


class _Candles(msgspec.Struct, gc=False):
    """The result of `kline`."""

    symbol: str
    rows: list[_Row] = msgspec.field(name="list")


_read_candles = bybit.answer_reader(_Candles)


def _candle_parser(interval: str) -> Parser:
    def parse(frame: RawFrame, listing: Listing) -> tuple[records.Candle, ...]:
        """Parse `kline`: linear and spot volumes are in base currency."""
        answer, _ = _read_candles(frame)
        symbol = symbol_of(answer.symbol, frame, listing)
        rows = (
            closed_candle(frame, symbol, interval, int(k[0]) * US, (k[1], k[2], k[3], k[4]), k[5], k[6])
            for k in answer.rows
        )
        return tuple(row for row in rows if row is not None)

    return parse


def _path(path: str, category: str, first_name: str, last_name: str, extra: str = "") -> PathOf:
    def make(symbol: str, first: int, last: int, count: int) -> str:
        window = f"{first_name}={-(-first // US)}&{last_name}={last // US}"
        return f"{path}?category={category}&symbol={symbol}{extra}&{window}&limit={count}"

    return make


def _candles(category: str) -> list[History]:
    return [
        candles(
            interval,
            _path("/v5/market/kline", category, "start", "end", f"&interval={name}"),
            _candle_parser(interval),
            1_000,
            cost(1),
        )
        for interval, name in bybit.INTERVALS.items()
    ]


PERP = [
    *_candles("linear"),
    History(
        "funding_history",
        "funding_rate",
        "time",
        _path("/v5/market/funding/history", "linear", "startTime", "endTime"),
        refilled(BYBIT_PERP.polls["funding"].parse),
        200,
        cost(1),
        "settled",
        delay_us=10 * 60 * 1_000_000,
    ),
    History(
        "lsr_all_accounts_history",
        "lsr_all_account",
        "grid",
        _path("/v5/market/account-ratio", "linear", "startTime", "endTime", "&period=5min"),
        refilled(BYBIT_PERP.polls["lsr_all_accounts"].parse),
        500,
        cost(1),
        "5m",
        INTERVAL_US["5m"],
        delay_us=5 * 60 * 1_000_000,
    ),
]

BYBIT_HISTORY = {(bybit.EXCHANGE, "spot"): _candles("spot"), (bybit.EXCHANGE, "perp"): PERP}
