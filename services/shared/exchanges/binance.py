"""Binance's streams to records, spot and USD-M futures alike; what only one market has is in its own module.

Source: Binance's spot and derivatives documentation of 2026-07, recorded sessions of 2021, live frames of 2026.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from schemas import records
from schemas.errors import BadFrame, UnknownSymbol
from schemas.frames import RawFrame
from schemas.subjects import ALL
from services.shared.exchanges import binance_forms
from services.shared.exchanges import binance_wire as wire
from services.shared.exchanges.declaration import BookSnapshot, Channel, Listing, Parser
from services.shared.exchanges.forms import Forms
from services.shared.exchanges.numbers import ZERO, check, levels, refuse, unsigned

EXCHANGE = "binance"
COIN_M = 2
"""Value of `st` on COIN-M events, which all-market streams mix in since 2026-06-30: another market, left out."""

INTERVALS = ("1m", "5m", "30m", "4h", "1d")
"""Candle intervals recorded by default."""

US = 1_000
"""Binance's times are milliseconds; ours are microseconds."""

T = TypeVar("T")
_two, _four, _eight = unsigned(2), unsigned(4), unsigned(8)


class _Wrapped(msgspec.Struct, Generic[T], gc=False):
    """The envelope of combined connections."""

    stream: str
    data: T


def reader(event: type[T], *suffixes: str) -> Callable[[RawFrame], T]:
    """Return a function that reads one event, bare or in its envelope.

    It raises BadFrame when the bytes are not this event, or when the envelope names a stream that does not end in one
    of `suffixes` (partial books look like book changes: only the stream's name tells them apart).
    """
    wrapped = msgspec.json.Decoder(_Wrapped[event]).decode  # type: ignore[valid-type]
    bare = msgspec.json.Decoder(event).decode

    def read(frame: RawFrame) -> T:
        body = frame.body
        try:
            if not body.startswith(b'{"stream"'):
                return bare(body)
            envelope = wrapped(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadFrame(f"not a frame of channel {frame.channel}: {error}") from None
        if not envelope.stream.endswith(suffixes):
            raise BadFrame(f"stream {envelope.stream!r} in a frame of channel {frame.channel}")
        return envelope.data

    return read


def answer_reader(answer: type[T]) -> Callable[[RawFrame], T]:
    """Return a function that reads one REST answer. It raises BadFrame when the bytes are not that answer."""
    decode = msgspec.json.Decoder(answer).decode

    def read(frame: RawFrame) -> T:
        try:
            return decode(frame.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadFrame(f"not an answer of {frame.channel}: {error}") from None

    return read


def symbol_of(name: str, frame: RawFrame, listing: Listing) -> str:
    """Return our symbol for the exchange's. Raises UnknownSymbol, or BadFrame if the frame is filed under another."""
    instrument = listing.by_exchange_symbol.get(name)
    if instrument is None:
        raise UnknownSymbol(f"{name!r} is on no instrument list of {frame.exchange} {frame.market}")
    symbol = instrument.symbol
    if symbol != frame.symbol and frame.symbol != ALL:
        raise BadFrame(f"a frame about {symbol} filed under {frame.symbol}")
    return symbol


_read_trade = reader(wire.AggTrade, "@aggTrade")


def parse_trades(frame: RawFrame, listing: Listing) -> tuple[records.Trade, ...]:
    """Parse `aggTrade`: fills of one taker order at one price. `m` true: the buyer was the maker, so the taker sold."""
    t = _read_trade(frame)
    if t.st == COIN_M:
        return ()
    if _two(f"{t.p} {t.q} ") is None:
        raise refuse(p=t.p, q=t.q)
    if t.nq is not None:
        check(nq=t.nq)
    return (
        records.Trade(
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
            trade_id=str(t.a),
            sequence=t.a,
            first_trade_id=t.f,
            last_trade_id=t.l,
            trade_count=t.l - t.f + 1,
            quantity_without_rpi=t.nq,
            sent_at=t.E * US,
        ),
    )


_read_depth = reader(wire.Depth, "@depth@100ms", "@depth@500ms", "@depth")


def parse_depth(frame: RawFrame, listing: Listing) -> tuple[records.BookChange, ...]:
    """Parse `depthUpdate`: absolute quantities, 0 removes. Futures give the matching time, spot the push time only."""
    d = _read_depth(frame)
    if d.st == COIN_M:
        return ()
    if d.u < d.U:
        raise BadFrame(f"u is {d.u}, before U, which is {d.U}")
    return (
        records.BookChange(
            exchange=frame.exchange,
            market=frame.market,
            symbol=symbol_of(d.s, frame, listing),
            timestamp=(d.E if d.T is None else d.T) * US,
            timestamp_source="push" if d.T is None else "match",
            received_at=frame.received_at,
            source="live",
            first_sequence=d.U,
            last_sequence=d.u,
            previous_sequence=d.pu,
            bids=levels(d.b, "b"),
            asks=levels(d.a, "a"),
            in_step=False,
            sent_at=d.E * US,
        ),
    )


_read_quote = reader(wire.BookTicker, "@bookTicker")


def parse_quotes(frame: RawFrame, listing: Listing) -> tuple[records.Quote, ...]:
    """Parse `bookTicker`. Spot gives no time at all: it is filed under our receive time. An empty side has price 0."""
    q = _read_quote(frame)
    if q.st == COIN_M:
        return ()
    if _four(f"{q.b} {q.B} {q.a} {q.A} ") is None:
        raise refuse(b=q.b, B=q.B, a=q.a, A=q.A)
    bid, ask = q.b.strip(ZERO), q.a.strip(ZERO)
    return (
        records.Quote(
            exchange=frame.exchange,
            market=frame.market,
            symbol=symbol_of(q.s, frame, listing),
            timestamp=frame.received_at if q.T is None else q.T * US,
            timestamp_source="received" if q.T is None else "match",
            received_at=frame.received_at,
            source="live",
            bid_price=q.b if bid else None,
            bid_quantity=q.B if bid else None,
            ask_price=q.a if ask else None,
            ask_quantity=q.A if ask else None,
            sequence=q.u,
            sent_at=None if q.E is None else q.E * US,
        ),
    )


def _id(number: int) -> int | None:
    """A first or last trade id; -1 means that nothing traded and stays missing."""
    return None if number < 0 else number


def _candle_parser(interval: str) -> Parser:
    read = reader(wire.Kline, f"@kline_{interval}")

    def parse(frame: RawFrame, listing: Listing) -> tuple[records.CandleUpdate, ...]:
        """Parse `kline`: the candle as it stands; its final version (`x`) is a closed candle too."""
        event = read(frame)
        if event.st == COIN_M:
            return ()
        k = event.k
        if k.i != interval or k.s != event.s:
            raise BadFrame(f"candle {k.i} of {k.s!r} in a frame of channel {frame.channel} of {event.s!r}")
        if _eight(f"{k.o} {k.h} {k.l} {k.c} {k.v} {k.q} {k.V} {k.Q} ") is None:
            raise refuse(o=k.o, h=k.h, l=k.l, c=k.c, v=k.v, q=k.q, V=k.V, Q=k.Q)
        symbol = symbol_of(event.s, frame, listing)

        def candle(kind: type[records.CandleUpdate]) -> records.CandleUpdate:
            return kind(
                exchange=frame.exchange,
                market=frame.market,
                symbol=symbol,
                timestamp=k.t * US,
                timestamp_source="open",
                received_at=frame.received_at,
                source="live",
                interval=interval,
                open_price=k.o,
                high_price=k.h,
                low_price=k.l,
                close_price=k.c,
                volume=k.v,
                closed=k.x,
                quote_volume=k.q,
                trade_count=k.n,
                taker_buy_volume=k.V,
                taker_buy_quote_volume=k.Q,
                first_trade_id=_id(k.f),
                last_trade_id=_id(k.L),
                sent_at=event.E * US,
            )

        update = candle(records.CandleUpdate)
        return (update, candle(records.Candle)) if k.x else (update,)

    return parse


_read_ticker = reader(wire.Ticker, "@ticker", "!ticker@arr")


def parse_ticker(frame: RawFrame, listing: Listing) -> tuple[records.Ticker, ...]:
    """Parse `24hrTicker`; the best bid and ask are in it on spot only."""
    t = _read_ticker(frame)
    if t.st == COIN_M:
        return ()
    check(p=t.p, P=t.P, signed=("p", "P"))
    check(w=t.w, c=t.c, Q=t.Q, o=t.o, h=t.h, l=t.l, v=t.v, q=t.q, b=t.b, B=t.B, a=t.a, A=t.A)
    return (
        records.Ticker(
            exchange=frame.exchange,
            market=frame.market,
            symbol=symbol_of(t.s, frame, listing),
            timestamp=t.E * US,
            timestamp_source="push",
            received_at=frame.received_at,
            source="live",
            last_price=t.c,
            open_price=t.o,
            high_price=t.h,
            low_price=t.l,
            volume=t.v,
            quote_volume=t.q,
            price_change=t.p,
            price_change_percent=t.P,
            weighted_average_price=t.w,
            last_quantity=t.Q,
            bid_price=t.b,
            bid_quantity=t.B,
            ask_price=t.a,
            ask_quantity=t.A,
            trade_count=t.n,
            first_trade_id=_id(t.F),
            last_trade_id=_id(t.L),
            window_open_at=t.O * US,
            window_close_at=t.C * US,
            sent_at=t.E * US,
        ),
    )


_read_snapshot = answer_reader(wire.DepthAnswer)


def snapshot_parser(limit: int) -> Parser:
    """Return the parser of REST `depth` answers that were asked for with this limit a side."""

    def parse(frame: RawFrame, listing: Listing) -> tuple[BookSnapshot, ...]:
        """Parse a whole book. The answer names no symbol: the frame is filed under the one it was asked for."""
        if frame.symbol not in listing.by_symbol:
            raise UnknownSymbol(f"{frame.symbol!r} is on no instrument list of {frame.exchange} {frame.market}")
        answer = _read_snapshot(frame)
        bids, asks = levels(answer.bids, "bids"), levels(answer.asks, "asks")
        return (BookSnapshot(frame.symbol, answer.lastUpdateId, bids, asks, limit),)

    return parse


def stream(suffix: str) -> Callable[[str], str]:
    """Return what makes a stream's name of the exchange's symbol: lower case, `@`, and the suffix."""
    return lambda symbol: f"{symbol.lower()}@{suffix}"


def common_channels(depth_route: str, market_route: str, depth: Forms, quotes: Forms) -> list[Channel]:
    """Return the channels that both markets have; futures serve books and quotes on a route of their own."""
    return [
        Channel("trades", ("trade",), stream("aggTrade"), parse_trades, market_route, form=binance_forms.TRADES),
        Channel("depth", ("book_change",), stream("depth@100ms"), parse_depth, depth_route, form=depth),
        Channel("quotes", ("quote",), stream("bookTicker"), parse_quotes, depth_route, form=quotes),
        *(
            Channel(
                f"candles_{interval}",
                ("candle_update", "candle"),
                stream(f"kline_{interval}"),
                _candle_parser(interval),
                market_route,
                interval=interval,
                form=binance_forms.candles(interval),
            )
            for interval in INTERVALS
        ),
        Channel("ticker", ("ticker",), stream("ticker"), parse_ticker, market_route),
    ]
