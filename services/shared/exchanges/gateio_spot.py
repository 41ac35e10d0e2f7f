"""Gate.io spot."""

from __future__ import annotations

import re

import msgspec

from schemas import records
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from schemas.records import Instrument
from services.shared.exchanges import gateio, gateio_control, gateio_limits
from services.shared.exchanges import gateio_wire as wire
from services.shared.exchanges.declaration import Channel, Listing, Market, Numbering, Parser, Poll
from services.shared.exchanges.gateio import US, head, instrument_of, pushed, reader
from services.shared.exchanges.gateio_control import stream
from services.shared.exchanges.gateio_instruments import parse_pairs
from services.shared.exchanges.gateio_numbers import micros, number, optional, unsigned_or_none
from services.shared.exchanges.numbers import levels
from services.shared.exchanges.server_time import time_poll
from services.shared.exchanges.shared_answers import audit_poll

MARKET = "spot"

_read_trade = reader(wire.SpotTrade, "spot.trades")
_read_quote = reader(wire.BookTicker, "spot.book_ticker")
_read_candle = reader(wire.SpotCandle, "spot.candlesticks")
_read_ticker = reader(wire.SpotTicker, "spot.tickers")
_read_depth = reader(wire.SpotDepth, "spot.order_book_update")
_range = re.compile(r"([0-9]{1,18})-([0-9]{1,18})").fullmatch


def parse_trades(frame: RawFrame, listing: Listing) -> tuple[records.Trade, ...]:
    """Parse `spot.trades`: the taker's side; `range` holds the first and last market id of what the row merges.

    Market ids are contiguous within a market; the `id` of 2021 was shared by all markets and numbers nothing.
    """
    event = _read_trade(frame)
    t = event.result
    first, last = _merged(t)
    return (
        records.Trade(
            **head(
                frame,
                instrument_of(t.currency_pair, frame, listing),
                micros(t.create_time_ms, "create_time_ms"),
                "match",
            ),
            price=number(t.price, "price"),
            quantity=number(t.amount, "amount"),
            side=t.side,
            trade_id=str(t.id),
            sequence=t.id_market if last is None else last,
            first_trade_id=first,
            last_trade_id=last,
            trade_count=None if first is None or last is None else last - first + 1,
            sent_at=event.sent_at,
        ),
    )


def _merged(t: wire.SpotTrade) -> tuple[int | None, int | None]:
    if t.range is None:
        return None, None
    match = _range(t.range)
    if match is None or int(match[2]) < int(match[1]):
        raise BadFrame(f"range is {t.range!r}; allowed is FIRST-LAST")
    return int(match[1]), int(match[2])


def parse_quotes(frame: RawFrame, listing: Listing) -> tuple[records.Quote, ...]:
    """Parse `spot.book_ticker`; a side may be empty."""
    event = _read_quote(frame)
    q = event.result
    sides = [unsigned_or_none(raw, name) for raw, name in ((q.b, "b"), (q.B, "B"), (q.a, "a"), (q.A, "A"))]
    instrument = instrument_of(q.s, frame, listing)
    return gateio.quote_record(frame, instrument, q.t * US, event.sent_at, q.u, sides)


def _volumes(k: wire.SpotCandle, instrument: Instrument) -> tuple[str | None, str | None]:
    """Return base and quote volume; a frame of 2021 tells the quote volume alone."""
    return unsigned_or_none(k.a, "a"), number(k.v, "v")


def _candle_parser(interval: str) -> Parser:
    def parse(frame: RawFrame, listing: Listing) -> list[records.CandleUpdate]:
        """Parse `spot.candlesticks`: `v` is the quote volume, `a` the base volume, `w` says that it is closed."""
        event = _read_candle(frame)
        return gateio.candle_records(frame, listing, interval, event.sent_at, event.result, _volumes)

    return parse


def parse_tickers(frame: RawFrame, listing: Listing) -> tuple[records.Ticker, ...]:
    """Parse `spot.tickers`: filed under its frame's time, having none of its own; it gives no open price."""
    event = _read_ticker(frame)
    t = event.result
    percent = optional(t.change_percentage, "change_percentage")
    return (
        records.Ticker(
            **pushed(frame, instrument_of(t.currency_pair, frame, listing), 0, event.sent_at),
            last_price=number(t.last, "last"),
            high_price=unsigned_or_none(t.high_24h, "high_24h"),
            low_price=unsigned_or_none(t.low_24h, "low_24h"),
            volume=number(t.base_volume, "base_volume"),
            quote_volume=number(t.quote_volume, "quote_volume"),
            price_change_percent=percent,
            bid_price=unsigned_or_none(t.highest_bid, "highest_bid"),
            ask_price=unsigned_or_none(t.lowest_ask, "lowest_ask"),
        ),
    )


def _side(raw: msgspec.Raw, name: str, instrument: Instrument) -> msgspec.Raw:
    return levels(raw, name)


_INSTRUMENTS = Poll(
    "instruments",
    ("instrument",),
    "/api/v4/spot/currency_pairs",
    weight=1,
    parse=parse_pairs,
    every_s=3_600,
)
_SNAPSHOT = Poll(
    "depth_snapshot",
    (),
    f"/api/v4/spot/order_book?currency_pair={{symbol}}&limit={gateio.SNAPSHOT_LIMIT}&with_id=true",
    weight=1,
    parse=gateio.snapshot_parser(_side),
)
_AUDIT = audit_poll(_SNAPSHOT.path, _SNAPSHOT.weight, _SNAPSHOT.parse)
_CHANNELS = [
    Channel("trades", ("trade",), stream("spot.trades"), parse_trades, numbering=Numbering.SPANS),
    Channel("depth", ("book_change",), stream("spot.order_book_update"), gateio.depth_parser(_read_depth, _side)),
    Channel("quotes", ("quote",), stream("spot.book_ticker"), parse_quotes),
    *(
        Channel(
            f"candles_{interval}",
            ("candle_update", "candle"),
            stream("spot.candlesticks", interval),
            _candle_parser(interval),
            interval=interval,
            closes_itself=False,
        )
        for interval in gateio.INTERVALS
    ),
    Channel("ticker", ("ticker",), stream("spot.tickers"), parse_tickers),
]
_TIME = time_poll("/api/v4/spot/time", gateio_limits.read_time)

GATEIO_SPOT = Market(
    exchange=gateio.EXCHANGE,
    market=MARKET,
    ws_url="wss://api.gateio.ws",
    rest_url="https://api.gateio.ws",
    routes={"": "/ws/v4/"},
    headers=gateio_control.HEADERS,
    stamp=gateio_control.stamp,
    limits=gateio_control.LIMITS,
    channels={channel.name: channel for channel in _CHANNELS},
    polls={poll.name: poll for poll in (_INSTRUMENTS, _TIME, _SNAPSHOT, _AUDIT)},
    instruments=_INSTRUMENTS,
    book_channel="depth",
    book_snapshot=_SNAPSHOT,
    book_rule=gateio.BOOK_RULE,
    subscribe=gateio_control.subscribe,
    unsubscribe=gateio_control.unsubscribe,
    sort=gateio_control.sort,
    rest=gateio_limits.RULES,
    time=_TIME,
    starter=("BTC-USDT", "ETH-USDT", "SOL-USDT", "DOGE-USDT", "ADA-USDT"),
)
