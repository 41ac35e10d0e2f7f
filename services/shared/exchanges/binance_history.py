"""Binance's past by REST, spot and USD-M futures.

Aggregate trades by id (1,000 a call), candles (spot 1,000, futures 1,500), settled funding, and the 5-minute open
interest and ratios of the last 30 days. Books, quotes, liquidations, mark prices and estimated funding are not served.

Source: Binance's REST pages, spot 2026-07, derivatives 2026-07. They disagree on how far back futures' aggregate trades
reach (24 h, a year): none is declared, the answer itself tells.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from schemas import records
from schemas.errors import BadFrame, UnknownSymbol
from schemas.frames import RawFrame
from services.shared.exchanges import binance_wire as wire
from services.shared.exchanges.binance import EXCHANGE, INTERVALS, US, symbol_of
from services.shared.exchanges.binance_perp import BINANCE_PERP, RATIO_PERIOD
from services.shared.exchanges.declaration import Listing, Parser
from services.shared.exchanges.history import INTERVAL_US, History, PathOf, candles, cost, refilled
from services.shared.exchanges.numbers import check
from services.shared.exchanges.shared_answers import answer_reader

_DAY_US = 24 * 3_600 * 1_000_000
_STATISTICS_REACH_US = 30 * _DAY_US - 3_600 * 1_000_000
"""The documented 30 days, less an hour: a page that begins beyond them is refused as a whole."""


class _AggregateRow(msgspec.Struct, gc=False):
    """One row of REST `aggTrades`."""

    a: wire.Id
    p: str
    q: str
    f: wire.Id
    l: wire.Id  # noqa: E741 - the exchange's name
    T: wire.Millis
    m: bool
    nq: str | None = None


class _OpenInterestRow(msgspec.Struct, gc=False):
    """One row of REST `openInterestHist`."""

    symbol: str
    sumOpenInterest: str
    sumOpenInterestValue: str
    timestamp: wire.Millis | str


_Kline = tuple[wire.Millis, str, str, str, str, str, wire.Millis, str, wire.Id, str, str, str]
"""Open time, open, high, low, close, base volume, close time, quote volume, trades, taker's base and quote, unused."""

_read_trades = answer_reader(list[_AggregateRow])
_read_klines = answer_reader(list[_Kline])
_read_open_interest = answer_reader(list[_OpenInterestRow])


def _known(frame: RawFrame, listing: Listing) -> str:
    """Return the symbol that an answer is about, which names none itself. Raises UnknownSymbol."""
    if frame.symbol not in listing.by_symbol:
        raise UnknownSymbol(f"{frame.symbol!r} is on no instrument list of {frame.exchange} {frame.market}")
    return frame.symbol


def parse_trades(frame: RawFrame, listing: Listing) -> tuple[records.Trade, ...]:
    """Parse `aggTrades`: the rows of the live stream, without the time of sending. `m` true: the taker sold."""
    symbol = _known(frame, listing)
    rows = []
    for t in _read_trades(frame):
        check(p=t.p, q=t.q, nq=t.nq)
        rows.append(
            records.Trade(
                exchange=frame.exchange,
                market=frame.market,
                symbol=symbol,
                timestamp=t.T * US,
                timestamp_source="match",
                received_at=frame.received_at,
                source="backfill",
                price=t.p,
                quantity=t.q,
                side="sell" if t.m else "buy",
                trade_id=str(t.a),
                sequence=t.a,
                first_trade_id=t.f,
                last_trade_id=t.l,
                trade_count=t.l - t.f + 1,
                quantity_without_rpi=t.nq,
            )
        )
    return tuple(rows)


def _candle_parser(interval: str) -> Parser:
    length = INTERVAL_US[interval]

    def parse(frame: RawFrame, listing: Listing) -> tuple[records.Candle, ...]:
        """Parse `klines`, closed ones only: the last row of an answer may be the candle that is still open."""
        symbol = _known(frame, listing)
        asked_at = frame.received_at if frame.requested_at is None else frame.requested_at
        rows = []
        for k in _read_klines(frame):
            open_at = k[0] * US
            if open_at % length or k[6] != (open_at + length) // US - 1:
                raise BadFrame(f"a candle from {k[0]} to {k[6]} ms is none of {interval}")
            check(o=k[1], h=k[2], l=k[3], c=k[4], v=k[5], q=k[7], V=k[9], Q=k[10])
            if open_at + length > asked_at:
                continue
            rows.append(
                records.Candle(
                    exchange=frame.exchange,
                    market=frame.market,
                    symbol=symbol,
                    timestamp=open_at,
                    timestamp_source="open",
                    received_at=frame.received_at,
                    source="backfill",
                    interval=interval,
                    open_price=k[1],
                    high_price=k[2],
                    low_price=k[3],
                    close_price=k[4],
                    volume=k[5],
                    closed=True,
                    quote_volume=k[7],
                    trade_count=k[8],
                    taker_buy_volume=k[9],
                    taker_buy_quote_volume=k[10],
                )
            )
        return tuple(rows)

    return parse


def parse_open_interest(frame: RawFrame, listing: Listing) -> tuple[records.OpenInterest, ...]:
    """Parse `openInterestHist`: base and quote currency, at the end of each period."""
    rows = []
    for row in _read_open_interest(frame):
        check(sumOpenInterest=row.sumOpenInterest, sumOpenInterestValue=row.sumOpenInterestValue)
        stamp = str(row.timestamp)
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 13):
            raise BadFrame(f"timestamp is {stamp!r}; allowed are milliseconds")
        rows.append(
            records.OpenInterest(
                exchange=frame.exchange,
                market=frame.market,
                symbol=symbol_of(row.symbol, frame, listing),
                timestamp=int(stamp) * US,
                timestamp_source="stamp",
                received_at=frame.received_at,
                source="backfill",
                open_interest=row.sumOpenInterest,
                open_interest_value=row.sumOpenInterestValue,
            )
        )
    return tuple(rows)


def _by_id(path: str) -> PathOf:
    def make(symbol: str, first: int, last: int, count: int) -> str:
        return f"{path}?symbol={symbol}&fromId={first}&limit={count}"

    return make


def _by_time(path: str, **more: str) -> PathOf:
    extra = "".join(f"&{name}={value}" for name, value in more.items())

    def make(symbol: str, first: int, last: int, count: int) -> str:
        window = f"startTime={-(-first // US)}&endTime={last // US}"
        return f"{path}?symbol={symbol}{extra}&{window}&limit={count}"

    return make


def _futures_candle_weight(count: int) -> int:
    return 1 if count < 100 else 2 if count < 500 else 5 if count <= 1_000 else 10


def _common(prefix: str, trades: int, weight: Callable[[int], int], most: int) -> list[History]:
    return [
        History("trades_history", "trade", "id", _by_id(f"{prefix}/aggTrades"), parse_trades, 1_000, cost(trades)),
        *(
            candles(interval, _by_time(f"{prefix}/klines", interval=interval), _candle_parser(interval), most, weight)
            for interval in INTERVALS
        ),
    ]


def _statistic(name: str, kind: str, endpoint: str, parse: Parser) -> History:
    return History(
        name,
        kind,
        "grid",
        _by_time(f"/futures/data/{endpoint}", period=RATIO_PERIOD),
        parse,
        500,
        cost(1),
        RATIO_PERIOD,
        INTERVAL_US[RATIO_PERIOD],
        delay_us=5 * 60 * 1_000_000,
        reach_us=_STATISTICS_REACH_US,
    )


def _polled(name: str) -> Parser:
    return refilled(BINANCE_PERP.polls[name].parse)


SPOT = _common("/api/v3", 4, cost(2), 1_000)
PERP = [
    *_common("/fapi/v1", 20, _futures_candle_weight, 1_500),
    History(
        "funding_history",
        "funding_rate",
        "time",
        _by_time("/fapi/v1/fundingRate"),
        _polled("funding"),
        1_000,
        cost(1),
        "settled",
        delay_us=10 * 60 * 1_000_000,
    ),
    _statistic("open_interest_history", "open_interest", "openInterestHist", parse_open_interest),
    _statistic(
        "lsr_top_positions_history", "lsr_top_position", "topLongShortPositionRatio", _polled("lsr_top_positions")
    ),
    _statistic(
        "lsr_all_accounts_history", "lsr_all_account", "globalLongShortAccountRatio", _polled("lsr_all_accounts")
    ),
]

BINANCE_HISTORY = {(EXCHANGE, "spot"): SPOT, (EXCHANGE, "perp"): PERP}
