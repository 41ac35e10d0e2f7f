"""MEXC spot: streams over protobuf, and REST that looks like Binance's.

The small ticker stream gives no opening price, and a connection carries thirty streams: 24 h statistics are polled.
"""

from __future__ import annotations

import msgspec

from schemas import records
from schemas.errors import UnknownSymbol
from schemas.frames import RawFrame
from schemas.records import Instrument
from services.shared.exchanges import mexc_limits, mexc_spot_control, mexc_spot_streams
from services.shared.exchanges.binance import symbol_of
from services.shared.exchanges.binance_wire import Id, Millis
from services.shared.exchanges.declaration import BookSnapshot, Limits, Listing, Market, Poll
from services.shared.exchanges.mexc_spot_streams import US
from services.shared.exchanges.names import asset_of, is_token
from services.shared.exchanges.numbers import check, levels, product
from services.shared.exchanges.server_time import time_poll
from services.shared.exchanges.shared_answers import answer_reader, audit_poll, read_once

EXCHANGE = "mexc"
MARKET = "spot"
SNAPSHOT_LIMIT = 1_000
TICKER_EVERY_S = 10


class _Symbol(msgspec.Struct, gc=False):
    symbol: str
    status: str
    baseAsset: str
    quoteAsset: str
    baseAssetPrecision: int
    quotePrecision: int
    isSpotTradingAllowed: bool = True


class _ExchangeInfo(msgspec.Struct):
    symbols: list[_Symbol]


class _Depth(msgspec.Struct, gc=False):
    lastUpdateId: Id
    bids: msgspec.Raw
    asks: msgspec.Raw


class _Ticker(msgspec.Struct, gc=False):
    symbol: str
    lastPrice: str
    openPrice: str
    highPrice: str
    lowPrice: str
    volume: str
    closeTime: Millis
    quoteVolume: str | None = None
    priceChange: str | None = None
    priceChangePercent: str | None = None
    bidPrice: str | None = None
    bidQty: str | None = None
    askPrice: str | None = None
    askQty: str | None = None


_read_info = answer_reader(_ExchangeInfo)
_read_depth = answer_reader(_Depth)
_read_ticker = answer_reader(_Ticker)

_STATUS = {"1": "trading", "ENABLED": "trading", "2": "paused", "3": "offline"}
"""`status` of a symbol; older answers have words."""


def _step(places: int) -> str | None:
    """Return the step of a number with so many decimal places."""
    if not 0 <= places <= 18:
        return None
    return "1" if places == 0 else f"0.{'1'.rjust(places, '0')}"


def _instruments(frame: RawFrame) -> tuple[Instrument, ...]:
    found = []
    for row in _read_info(frame).symbols:
        name = f"{row.baseAsset}-{row.quoteAsset}"
        if not is_token(name):
            continue
        asset, multiplier = asset_of(row.baseAsset)
        status = _STATUS.get(row.status, row.status.lower())
        found.append(
            Instrument(
                exchange=frame.exchange,
                market=frame.market,
                symbol=name,
                timestamp=frame.received_at,
                timestamp_source="received",
                received_at=frame.received_at,
                source="live",
                exchange_symbol=row.symbol,
                base=row.baseAsset,
                quote=row.quoteAsset,
                asset=asset,
                multiplier=multiplier,
                status="suspended" if status == "trading" and not row.isSpotTradingAllowed else status,
                tick_size=_step(row.quotePrecision),
                quantity_step=_step(row.baseAssetPrecision),
            )
        )
    return tuple(found)


def parse_snapshot(frame: RawFrame, listing: Listing) -> tuple[BookSnapshot, ...]:
    """Parse REST `depth`. The answer names no symbol: the frame is filed under the one it was asked for."""
    if frame.symbol not in listing.by_symbol:
        raise UnknownSymbol(f"{frame.symbol!r} is on no instrument list of {frame.exchange} {frame.market}")
    answer = _read_depth(frame)
    bids, asks = levels(answer.bids, "bids"), levels(answer.asks, "asks")
    return (BookSnapshot(frame.symbol, answer.lastUpdateId, bids, asks, SNAPSHOT_LIMIT),)


def parse_ticker(frame: RawFrame, listing: Listing) -> tuple[records.Ticker, ...]:
    """Parse REST `ticker/24hr`; the change is a fraction in the exchange's words and percent in ours.

    An answer without the turnover, which young symbols give, is no whole statistic and yields nothing.
    """
    t = _read_ticker(frame)
    symbol = symbol_of(t.symbol, frame, listing)
    if not t.quoteVolume:
        return ()
    check(lastPrice=t.lastPrice, openPrice=t.openPrice, highPrice=t.highPrice, lowPrice=t.lowPrice)
    check(volume=t.volume, quoteVolume=t.quoteVolume, bidPrice=t.bidPrice or None, bidQty=t.bidQty or None)
    check(askPrice=t.askPrice or None, askQty=t.askQty or None)
    changes = ("priceChange", "priceChangePercent")
    check(priceChange=t.priceChange or None, priceChangePercent=t.priceChangePercent or None, signed=changes)
    return (
        records.Ticker(
            exchange=frame.exchange,
            market=frame.market,
            symbol=symbol,
            timestamp=t.closeTime * US,
            timestamp_source="stamp",
            received_at=frame.received_at,
            source="live",
            last_price=t.lastPrice,
            open_price=t.openPrice,
            high_price=t.highPrice,
            low_price=t.lowPrice,
            volume=t.volume,
            quote_volume=t.quoteVolume,
            price_change=t.priceChange or None,
            price_change_percent=product(t.priceChangePercent, "100") if t.priceChangePercent else None,
            bid_price=t.bidPrice or None,
            bid_quantity=t.bidQty or None,
            ask_price=t.askPrice or None,
            ask_quantity=t.askQty or None,
        ),
    )


_INSTRUMENTS = Poll(
    "instruments",
    ("instrument",),
    "/api/v3/exchangeInfo",
    weight=10,
    parse=read_once(_instruments),
    every_s=300,
)
_SNAPSHOT = Poll(
    "depth_snapshot",
    (),
    f"/api/v3/depth?symbol={{symbol}}&limit={SNAPSHOT_LIMIT}",
    weight=1,
    parse=parse_snapshot,
)
_AUDIT = audit_poll(_SNAPSHOT.path, _SNAPSHOT.weight, parse_snapshot)
_TICKER = Poll(
    "ticker",
    ("ticker",),
    "/api/v3/ticker/24hr?symbol={symbol}",
    weight=1,
    parse=parse_ticker,
    every_s=TICKER_EVERY_S,
)
_TIME = time_poll("/api/v3/time", mexc_limits.read_spot_time)

MEXC_SPOT = Market(
    exchange=EXCHANGE,
    market=MARKET,
    ws_url="wss://wbs-api.mexc.com",
    rest_url="https://api.mexc.com",
    routes={"": "/ws"},
    limits=Limits(
        streams_per_connection=30,
        streams_per_message=30,
        messages_per_s=20,  # the limit is 100, and what lies above it ends in a ban
        connects_per_5_min=300,
        lifetime_s=24 * 3_600,
    ),
    channels={channel.name: channel for channel in mexc_spot_streams.CHANNELS},
    polls={poll.name: poll for poll in (_INSTRUMENTS, _TIME, _SNAPSHOT, _AUDIT, _TICKER)},
    instruments=_INSTRUMENTS,
    book_channel="depth",
    book_snapshot=_SNAPSHOT,
    book_rule=mexc_spot_streams.BOOK_RULE,
    subscribe=mexc_spot_control.subscribe,
    unsubscribe=mexc_spot_control.unsubscribe,
    sort=mexc_spot_control.sort,
    rest=mexc_limits.SPOT,
    time=_TIME,
    starter=("BTC-USDT", "ETH-USDT", "SOL-USDT", "DOGE-USDT", "ADA-USDT"),
    keep_alive=mexc_spot_control.KEEP_ALIVE,
)
