"""Binance spot."""

from __future__ import annotations

from schemas import records
from schemas.frames import RawFrame
from schemas.records import Instrument
from services.shared.exchanges import binance, binance_control, binance_forms, binance_limits
from services.shared.exchanges import binance_wire as wire
from services.shared.exchanges.binance import US, reader, stream, symbol_of
from services.shared.exchanges.binance_instruments import instruments_parser, steps
from services.shared.exchanges.declaration import (
    APPLY,
    BROKEN,
    IGNORE,
    BookRule,
    Channel,
    Limits,
    Listing,
    Market,
    Poll,
    Verdict,
)
from services.shared.exchanges.names import asset_of, is_token
from services.shared.exchanges.numbers import check
from services.shared.exchanges.server_time import time_poll
from services.shared.exchanges.shared_answers import AUDIT_LIMIT, audit_poll

MARKET = "spot"
SNAPSHOT_LIMIT = 1_000
"""Levels a side. 5,000 cost five times the weight (250 of 6,000 a minute: 24 books a minute instead of 120); a book of
which the top 20 are published needs them only when the price runs through a thousand levels between two snapshots."""

_read_fill = reader(wire.SingleTrade, "@trade")


def parse_fills(frame: RawFrame, listing: Listing) -> tuple[records.Fill, ...]:
    """Parse `trade`: one single fill. `m` true: the buyer was the maker, so the taker sold."""
    t = _read_fill(frame)
    check(p=t.p, q=t.q)
    return (
        records.Fill(
            exchange=frame.exchange,
            market=frame.market,
            symbol=symbol_of(t.s, frame, listing),
            timestamp=t.T * US,
            timestamp_source="match",
            received_at=frame.received_at,
            source="live",
            price=t.p,
            quantity=t.q,
            side="sell" if t.m else "buy",
            trade_id=str(t.t),
            sequence=t.t,
            sent_at=t.E * US,
        ),
    )


def _instrument(symbol: wire.SymbolInfo, frame: RawFrame) -> Instrument | None:
    name = f"{symbol.baseAsset}-{symbol.quoteAsset}"
    if not is_token(name):
        return None
    asset, multiplier = asset_of(symbol.baseAsset)
    tick_size, quantity_step = steps(symbol)
    return Instrument(
        exchange=frame.exchange,
        market=frame.market,
        symbol=name,
        timestamp=frame.received_at,
        timestamp_source="received",
        received_at=frame.received_at,
        source="live",
        exchange_symbol=symbol.symbol,
        base=symbol.baseAsset,
        quote=symbol.quoteAsset,
        asset=asset,
        multiplier=multiplier,
        status=symbol.status.lower(),
        tick_size=tick_size,
        quantity_step=quantity_step,
    )


def first_change(snapshot: int, first: int, last: int, previous: int | None) -> Verdict:
    """Judge the first change after a snapshot: it must begin at or before the snapshot's next id and end past it."""
    if last <= snapshot:
        return IGNORE
    return APPLY if first <= snapshot + 1 else BROKEN


def later_change(book: int, first: int, last: int, previous: int | None) -> Verdict:
    """Judge a later change: `U` past the book's next id means that changes were lost."""
    if last <= book:
        return IGNORE
    return APPLY if first <= book + 1 else BROKEN


_INSTRUMENTS = Poll(
    "instruments",
    ("instrument",),
    "/api/v3/exchangeInfo",
    weight=20,
    parse=instruments_parser(_instrument),
    every_s=3_600,
)
_SNAPSHOT = Poll(
    "depth_snapshot",
    (),
    f"/api/v3/depth?symbol={{symbol}}&limit={SNAPSHOT_LIMIT}",
    weight=binance_limits.spot_depth_weight(SNAPSHOT_LIMIT),
    parse=binance.snapshot_parser(SNAPSHOT_LIMIT),
)
_AUDIT = audit_poll(
    f"/api/v3/depth?symbol={{symbol}}&limit={AUDIT_LIMIT}",
    binance_limits.spot_depth_weight(AUDIT_LIMIT),
    binance.snapshot_parser(AUDIT_LIMIT),
)
_CHANNELS = [
    *binance.common_channels("", "", binance_forms.SPOT_DEPTH, binance_forms.SPOT_QUOTES),
    Channel("fills", ("fill",), stream("trade"), parse_fills, default=False),
]
_TIME = time_poll("/api/v3/time", binance_limits.read_time)

BINANCE_SPOT = Market(
    exchange=binance.EXCHANGE,
    market=MARKET,
    ws_url="wss://stream.binance.com:9443",
    rest_url="https://api.binance.com",
    routes={"": "/stream"},
    limits=Limits(
        streams_per_connection=1_024,
        streams_per_message=200,
        messages_per_s=5,
        connects_per_5_min=300,
        lifetime_s=24 * 3_600,
    ),
    channels={channel.name: channel for channel in _CHANNELS},
    polls={poll.name: poll for poll in (_INSTRUMENTS, _TIME, _SNAPSHOT, _AUDIT)},
    instruments=_INSTRUMENTS,
    book_channel="depth",
    book_snapshot=_SNAPSHOT,
    book_rule=BookRule(first_change, later_change),
    subscribe=binance_control.subscribe,
    unsubscribe=binance_control.unsubscribe,
    sort=binance_control.sort,
    rest=binance_limits.SPOT,
    time=_TIME,
    starter=("BTC-USDT", "ETH-USDT", "SOL-USDT", "DOGE-USDT", "ADA-USDT"),
)
