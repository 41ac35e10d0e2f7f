"""Bybit spot."""

from __future__ import annotations

from schemas import records
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from services.shared.exchanges import bybit, bybit_control, bybit_instruments, bybit_limits
from services.shared.exchanges import bybit_wire as wire
from services.shared.exchanges.binance import symbol_of
from services.shared.exchanges.declaration import Channel, Limits, Listing, Market, Poll
from services.shared.exchanges.server_time import time_poll

MARKET = "spot"


def _number(trade_id: str) -> int:
    """Spot's ids rise by one from trade to trade of a symbol."""
    if not (trade_id.isascii() and trade_id.isdigit() and len(trade_id) <= 19):
        raise BadFrame(f"i is {trade_id!r}; allowed is a whole number of up to 19 digits")
    return int(trade_id)


_read_ticker = bybit.reader(wire.Ticker, "tickers.")


def parse_ticker(frame: RawFrame, listing: Listing) -> tuple[records.Ticker, ...]:
    """Parse `tickers`, on spot always the whole of it, without best bid and ask."""
    push = _read_ticker(frame)
    found = bybit.ticker(push.data, symbol_of(push.data.symbol, frame, listing), push.ts, frame)
    return () if found is None else (found,)


_INSTRUMENTS = Poll(
    "instruments",
    ("instrument",),
    "/v5/market/instruments-info?category=spot",
    weight=1,
    parse=bybit_instruments.parse_spot,
    every_s=300,
)

_TRADES = Channel("trades", ("trade",), bybit.topic("publicTrade"), bybit.trade_parser(_number))
_CHANNELS = bybit.common_channels(_TRADES, Channel("ticker", ("ticker",), bybit.topic("tickers"), parse_ticker))

_TIME = time_poll("/v5/market/time", bybit_limits.read_time)
BYBIT_SPOT = Market(
    exchange=bybit.EXCHANGE,
    market=MARKET,
    ws_url=bybit.WS_URL,
    rest_url=bybit.REST_URL,
    routes={"": "/v5/public/spot"},
    limits=Limits(
        streams_per_connection=500,  # 21,000 characters of topics, which have up to 40
        streams_per_message=10,
        messages_per_s=10,
        connects_per_5_min=500,
        lifetime_s=24 * 3_600,
    ),
    channels={channel.name: channel for channel in _CHANNELS},
    polls={poll.name: poll for poll in (_INSTRUMENTS, _TIME, bybit.book_audit("spot"))},
    instruments=_INSTRUMENTS,
    book_channel="depth",
    book_snapshot=None,
    book_rule=bybit.BOOK_RULE,
    subscribe=bybit_control.subscribe,
    unsubscribe=bybit_control.unsubscribe,
    sort=bybit_control.sort,
    rest=bybit_limits.RULES,
    time=_TIME,
    starter=("BTC-USDT", "ETH-USDT", "SOL-USDT", "DOGE-USDT", "ADA-USDT"),
    keep_alive=bybit_control.KEEP_ALIVE,
)
