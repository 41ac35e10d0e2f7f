"""OKX's past by REST: trades by id (one row a fill, 100 a call), candles, settled funding, long/short ratios.

The stream merges the fills of one taker order at one price and says how many; history has each by itself, under the ids
that the merged one stands for, so what is refilled fits to the id between what was heard. Open interest comes over the
WebSocket at times of its own and is not the same record as the 5-minute statistics, which are not refilled.

Source: OKX's v5 documentation of 2026-06. Pages: `after` is older than, `before` newer than; newest rows first.
"""

from __future__ import annotations

from schemas import records
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from services.shared.exchanges import okx
from services.shared.exchanges import okx_wire as wire
from services.shared.exchanges.candle_history import asked_about, closed_candle
from services.shared.exchanges.declaration import Listing, Parser
from services.shared.exchanges.history import INTERVAL_US, History, PathOf, candles, cost, refilled
from services.shared.exchanges.numbers import check
from services.shared.exchanges.okx_levels import base_quantity
from services.shared.exchanges.okx_perp import OKX_PERP

US = okx.US
DAY_US = 24 * 3_600 * 1_000_000
_RATIOS = "/api/v5/rubik/stat/contracts"

_read_trades = okx.answer_reader(wire.Trade)
_read_candles = okx.answer_reader(wire.Candle)


def parse_trades(frame: RawFrame, listing: Listing) -> tuple[records.Trade, ...]:
    """Parse `history-trades`: single fills, `side` is the taker's."""
    found = []
    for t in _read_trades(frame):
        check(px=t.px, sz=t.sz)
        instrument = okx.instrument_of(t.instId, frame, listing)
        found.append(
            records.Trade(
                exchange=frame.exchange,
                market=frame.market,
                symbol=instrument.symbol,
                timestamp=t.ts * US,
                timestamp_source="match",
                received_at=frame.received_at,
                source="backfill",
                price=t.px,
                quantity=base_quantity(instrument, t.sz, t.px),
                side=t.side,
                trade_id=str(t.tradeId),
                sequence=t.tradeId,
                contracts=None if instrument.contract_size is None else t.sz,
                first_trade_id=t.tradeId,
                last_trade_id=t.tradeId,
                trade_count=1,
            )
        )
    return tuple(found)


def _candle_parser(interval: str) -> Parser:
    def parse(frame: RawFrame, listing: Listing) -> tuple[records.Candle, ...]:
        """Parse `history-candles`, those that the exchange confirms to be final."""
        instrument = asked_about(frame, listing)
        found = []
        for k in _read_candles(frame):
            if k.confirm not in ("0", "1"):
                raise BadFrame(f"confirm is {k.confirm!r}; allowed are 0 and 1")
            volume = k.vol if instrument.contract_size is None else k.volCcy
            prices = (k.o, k.h, k.l, k.c)
            candle = closed_candle(frame, instrument.symbol, interval, k.ts * US, prices, volume, k.volCcyQuote)
            if candle is not None and k.confirm == "1":
                found.append(candle)
        return tuple(found)

    return parse


def _trades_path(symbol: str, first: int, last: int, count: int) -> str:
    window = f"after={last + 1}&before={first - 1}"
    return f"/api/v5/market/history-trades?instId={symbol}&type=1&{window}&limit={count}"


def _by_time(path: str, extra: str = "", after: str = "after", before: str = "before", beyond: int = 1) -> PathOf:
    def make(symbol: str, first: int, last: int, count: int) -> str:
        window = f"{after}={last // US + beyond}&{before}={-(-first // US) - beyond}"
        return f"{path}?instId={symbol}{extra}&{window}&limit={count}"

    return make


def _ratio(name: str, kind: str, endpoint: str) -> History:
    return History(
        f"{name}_history",
        kind,
        "grid",
        _by_time(f"{_RATIOS}/{endpoint}", "&period=5m", "end", "begin", 0),
        refilled(OKX_PERP.polls[name].parse),
        100,
        cost(1),
        "5m",
        INTERVAL_US["5m"],
        delay_us=5 * 60 * 1_000_000,
        reach_us=1_440 * INTERVAL_US["5m"] - 3_600 * 1_000_000,
    )


COMMON = [
    History(
        "trades_history",
        "trade",
        "id",
        _trades_path,
        parse_trades,
        100,
        cost(1),
        reach_us=90 * DAY_US,
        spans=True,
    ),
    *(
        candles(
            interval,
            _by_time("/api/v5/market/history-candles", f"&bar={name}"),
            _candle_parser(interval),
            100,
            cost(1),
        )
        for interval, name in okx.INTERVALS.items()
    ),
]
PERP = [
    *COMMON,
    History(
        "funding_history",
        "funding_rate",
        "time",
        _by_time("/api/v5/public/funding-rate-history"),
        refilled(OKX_PERP.polls["settled_funding"].parse),
        100,
        cost(1),
        "settled",
        delay_us=10 * 60 * 1_000_000,
        reach_us=90 * DAY_US,
    ),
    _ratio("lsr_top_positions", "lsr_top_position", "long-short-position-ratio-contract-top-trader"),
    _ratio("lsr_all_accounts", "lsr_all_account", "long-short-account-ratio-contract"),
]

OKX_HISTORY = {(okx.EXCHANGE, "spot"): COMMON, (okx.EXCHANGE, "perp"): PERP, (okx.EXCHANGE, "future"): COMMON}
