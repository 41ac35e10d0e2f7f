"""Gate.io's past by REST: candles, the settled funding and the long/short ratios of perpetuals.

Trades are not refilled. They are served by whole seconds, newest first, a thousand at a time behind an offset that
moves while trades come; from an id on only by a parameter that the exchange has withdrawn; and spot's rows do not tell
which ids a live trade merges. Their gaps stay on record, exact to the id.
Source: Gate.io's v4 documentation of 2026-09. Times are seconds; `from` and `to` exclude `limit`.
"""

from __future__ import annotations

import msgspec

from schemas import records
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from services.shared.exchanges import gateio
from services.shared.exchanges import gateio_wire as wire
from services.shared.exchanges.candle_history import asked_about, closed_candle
from services.shared.exchanges.declaration import Listing, Parser
from services.shared.exchanges.gateio_numbers import number
from services.shared.exchanges.gateio_perp import GATEIO_PERP, base
from services.shared.exchanges.history import INTERVAL_US, SECOND_US, History, PathOf, candles, cost, refilled

_SPOT_COLUMNS = 7


class _PerpRow(msgspec.Struct, gc=False):
    """One row of futures' `candlesticks`: `v` is contracts, `sum` the quote amount."""

    t: wire.Seconds
    o: wire.Number
    h: wire.Number
    l: wire.Number  # noqa: E741 - the exchange's name
    c: wire.Number
    v: wire.Number
    sum: wire.Number


_read_spot = gateio.answer_reader(list[list[str]])
_read_perp = gateio.answer_reader(list[_PerpRow])


def _spot_parser(interval: str) -> Parser:
    def parse(frame: RawFrame, listing: Listing) -> tuple[records.Candle, ...]:
        """Parse spot's rows: time, quote volume, close, high, low, open, base volume, whether it is closed."""
        symbol = asked_about(frame, listing).symbol
        found = []
        for row in _read_spot(frame):
            if len(row) < _SPOT_COLUMNS or not row[0].isdecimal():
                raise BadFrame(f"not a candle: {row!r}")
            prices = (row[5], row[3], row[4], row[2])
            found.append(closed_candle(frame, symbol, interval, int(row[0]) * SECOND_US, prices, row[6], row[1]))
        return tuple(candle for candle in found if candle is not None)

    return parse


def _perp_parser(interval: str) -> Parser:
    def parse(frame: RawFrame, listing: Listing) -> tuple[records.Candle, ...]:
        """Parse futures' rows, volumes converted by the contract size."""
        instrument = asked_about(frame, listing)
        found = []
        for k in _read_perp(frame):
            prices = (number(k.o, "o"), number(k.h, "h"), number(k.l, "l"), number(k.c, "c"))
            volume, quote_volume = base(number(k.v, "v"), instrument), number(k.sum, "sum")
            found.append(
                closed_candle(frame, instrument.symbol, interval, k.t * SECOND_US, prices, volume, quote_volume)
            )
        return tuple(candle for candle in found if candle is not None)

    return parse


def _between(path: str, name: str, extra: str = "") -> PathOf:
    def make(symbol: str, first: int, last: int, count: int) -> str:
        return f"{path}?{name}={symbol}{extra}&from={-(-first // SECOND_US)}&to={last // SECOND_US}"

    return make


def _statistics_path(symbol: str, first: int, last: int, count: int) -> str:
    start = -(-first // SECOND_US)
    return f"/api/v4/futures/usdt/contract_stats?contract={symbol}&interval=5m&from={start}&limit={count}"


def _ratio(name: str, kind: str) -> History:
    return History(
        f"{name}_history",
        kind,
        "grid",
        _statistics_path,
        refilled(GATEIO_PERP.polls[name].parse),
        100,
        cost(1),
        "5m",
        INTERVAL_US["5m"],
        delay_us=5 * 60 * SECOND_US,
    )


SPOT = [
    candles(
        interval,
        _between("/api/v4/spot/candlesticks", "currency_pair", f"&interval={interval}"),
        _spot_parser(interval),
        1_000,
        cost(1),
    )
    for interval in gateio.INTERVALS
]
PERP = [
    *(
        candles(
            interval,
            _between("/api/v4/futures/usdt/candlesticks", "contract", f"&interval={interval}"),
            _perp_parser(interval),
            1_500,
            cost(1),
        )
        for interval in gateio.INTERVALS
    ),
    History(
        "funding_history",
        "funding_rate",
        "time",
        _between("/api/v4/futures/usdt/funding_rate", "contract", "&limit=1000"),
        refilled(GATEIO_PERP.polls["funding"].parse),
        1_000,
        cost(1),
        "settled",
        delay_us=10 * 60 * SECOND_US,
    ),
    _ratio("lsr_top_positions", "lsr_top_position"),
    _ratio("lsr_all_accounts", "lsr_all_account"),
]

GATEIO_HISTORY = {("gateio", "spot"): SPOT, ("gateio", "perp"): PERP}
