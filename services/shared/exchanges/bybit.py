"""Bybit v5's streams to records, spot and linear contracts alike; what only one market has is in its own module.

Sizes are in base currency on both. Source: Bybit's documentation of 2026-07 and live frames of 2026-08.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from schemas import records
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from services.shared.exchanges import bybit_wire as wire
from services.shared.exchanges.binance import symbol_of
from services.shared.exchanges.declaration import (
    APPLY,
    BROKEN,
    IGNORE,
    BookRule,
    BookSnapshot,
    Channel,
    Listing,
    Parser,
    Poll,
    Verdict,
)
from services.shared.exchanges.numbers import check, levels, product, refuse, unsigned
from services.shared.exchanges.shared_answers import UNREADABLE, audit_poll

EXCHANGE = "bybit"
WS_URL = "wss://stream.bybit.com"
REST_URL = "https://api.bybit.com"
US = 1_000
"""Bybit's times are milliseconds; ours are microseconds."""

INTERVALS = {"1m": "1", "5m": "5", "30m": "30", "4h": "240", "1d": "D"}
"""Candle intervals recorded by default, and their names in topics."""

BOOK_DEPTH = 1_000
"""Levels a side of the book that is kept. Only its update ids are those of REST's `orderbook`, for audits."""

T = TypeVar("T")
_two, _four, _six = unsigned(2), unsigned(4), unsigned(6)


def reader(data: type[T], topic: str) -> Callable[[RawFrame], wire.Push[T]]:
    """Return a function that reads one frame whose topic begins with `topic`. It raises BadFrame on any other."""
    decode = msgspec.json.Decoder(wire.Push[data]).decode  # type: ignore[valid-type]

    def read(frame: RawFrame) -> wire.Push[T]:
        try:
            push = decode(frame.body)
        except UNREADABLE as error:
            raise BadFrame(f"not a frame of channel {frame.channel}: {error}") from None
        if not push.topic.startswith(topic):
            raise BadFrame(f"topic {push.topic!r} in a frame of channel {frame.channel}")
        return push

    return read


def answer_reader(result: type[T]) -> Callable[[RawFrame], tuple[T, int]]:
    """Return a function that reads one REST answer: its result, and its time in milliseconds.

    It raises BadFrame when the bytes are not that answer, or when the exchange says in it what went wrong (its HTTP
    status is 200 all the same).
    """
    decode = msgspec.json.Decoder(wire.Answer).decode
    decode_result = msgspec.json.Decoder(result).decode

    def read(frame: RawFrame) -> tuple[T, int]:
        try:
            answer = decode(frame.body)
            if answer.retCode:
                raise BadFrame(f"retCode {answer.retCode} in an answer of {frame.channel}: {answer.retMsg}")
            return decode_result(answer.result), answer.time
        except UNREADABLE as error:
            raise BadFrame(f"not an answer of {frame.channel}: {error}") from None

    return read


def _no_sequence(trade_id: str) -> int | None:
    """On derivatives an id is a UUID: it tells trades apart, and nothing of what was missed."""
    return None


def trade_parser(number: Callable[[str], int | None] = _no_sequence) -> Parser:
    """Return the parser of `publicTrade`; `number` makes the contiguous number of an id, where there is one."""
    read = reader(list[wire.PublicTrade], "publicTrade.")

    def parse(frame: RawFrame, listing: Listing) -> tuple[records.Trade, ...]:
        """Parse `publicTrade`: single fills, oldest first; `S` is the taker's side."""
        push = read(frame)
        found = []
        for t in push.data:
            if _two(f"{t.p} {t.v} ") is None:
                raise refuse(p=t.p, v=t.v)
            found.append(
                records.Trade(
                    exchange=frame.exchange,
                    market=frame.market,
                    symbol=symbol_of(t.s, frame, listing),
                    timestamp=t.T * US,
                    timestamp_source="match",
                    received_at=frame.received_at,
                    source="live",
                    price=t.p,
                    quantity=t.v,
                    side="buy" if t.S == "Buy" else "sell",
                    trade_id=t.i,
                    sequence=number(t.i),
                    sent_at=push.ts * US,
                )
            )
        return tuple(found)

    return parse


_BEST = "orderbook.1."
_read_book = reader(wire.Book, "orderbook.")


def _matched(push: wire.Push[wire.Book]) -> tuple[int, records.TimestampSource]:
    """Return the matching time of a book, or the push time where the frame has none."""
    return (push.ts * US, "push") if push.cts is None else (push.cts * US, "match")


def parse_book(frame: RawFrame, listing: Listing) -> tuple[records.BookChange | BookSnapshot, ...]:
    """Parse `orderbook.<depth>`: a snapshot replaces the book, at any time; a delta has absolute sizes, 0 removes.

    The exchange keeps the depth by itself: what moves into it is sent, so nothing within it is unknown, and the
    snapshot's limit lies above what it can hold.
    """
    push = _read_book(frame)
    if push.topic.startswith(_BEST):
        raise BadFrame(f"topic {push.topic!r} in a frame of channel {frame.channel}")
    d = push.data
    symbol = symbol_of(d.s, frame, listing)
    bids, asks = levels(d.b, "b"), levels(d.a, "a")
    timestamp, source = _matched(push)
    if push.type == "snapshot":
        return (BookSnapshot(symbol, d.u, bids, asks, BOOK_DEPTH + 1, timestamp, source, push.ts * US),)
    return (
        records.BookChange(
            exchange=frame.exchange,
            market=frame.market,
            symbol=symbol,
            timestamp=timestamp,
            timestamp_source=source,
            received_at=frame.received_at,
            source="live",
            first_sequence=d.u,
            last_sequence=d.u,
            bids=bids,
            asks=asks,
            in_step=False,
            sent_at=push.ts * US,
        ),
    )


def _change(book: int, first: int, last: int, previous: int | None) -> Verdict:
    """Judge a change: update ids rise by one; a snapshot, which may begin anew at 1, comes as such and replaces."""
    if last <= book:
        return IGNORE
    return APPLY if first == book + 1 else BROKEN


BOOK_RULE = BookRule(first=_change, following=_change)

_read_quote = reader(wire.Book, _BEST)
_decode_side = msgspec.json.Decoder(list[tuple[str, str]]).decode


def parse_quotes(frame: RawFrame, listing: Listing) -> tuple[records.Quote, ...]:
    """Parse `orderbook.1`: snapshots only, the same one again when nothing changes; a side may be empty."""
    push = _read_quote(frame)
    if push.type != "snapshot":
        raise BadFrame(f"type is {push.type!r} in a frame of channel {frame.channel}; allowed is 'snapshot'")
    d = push.data
    symbol = symbol_of(d.s, frame, listing)
    try:
        bids, asks = _decode_side(d.b), _decode_side(d.a)
    except UNREADABLE as error:
        raise BadFrame(f"b or a is not a list of [price, size]: {error}") from None
    bid_price, bid_quantity = bids[0] if bids else (None, None)
    ask_price, ask_quantity = asks[0] if asks else (None, None)
    timestamp, source = _matched(push)
    if _four(f"{bid_price} {bid_quantity} {ask_price} {ask_quantity} ") is None:
        check(bid_price=bid_price, bid_size=bid_quantity, ask_price=ask_price, ask_size=ask_quantity)
    return (
        records.Quote(
            exchange=frame.exchange,
            market=frame.market,
            symbol=symbol,
            timestamp=timestamp,
            timestamp_source=source,
            received_at=frame.received_at,
            source="live",
            bid_price=bid_price,
            bid_quantity=bid_quantity,
            ask_price=ask_price,
            ask_quantity=ask_quantity,
            sequence=d.u,
            sent_at=push.ts * US,
        ),
    )


def _candle_parser(interval: str) -> Parser:
    topic = f"kline.{INTERVALS[interval]}."
    read = reader(list[wire.Kline], topic)

    def parse(frame: RawFrame, listing: Listing) -> tuple[records.CandleUpdate, ...]:
        """Parse `kline`: the candle as it stands; its final version (`confirm`) is a closed candle too."""
        push = read(frame)
        symbol = symbol_of(push.topic.removeprefix(topic), frame, listing)
        found: list[records.CandleUpdate] = []
        for k in push.data:
            if k.interval != INTERVALS[interval]:
                raise BadFrame(f"candle {k.interval!r} in a frame of channel {frame.channel}")
            if _six(f"{k.open} {k.high} {k.low} {k.close} {k.volume} {k.turnover} ") is None:
                raise refuse(open=k.open, high=k.high, low=k.low, close=k.close, volume=k.volume, turnover=k.turnover)
            for kind in (records.CandleUpdate, records.Candle) if k.confirm else (records.CandleUpdate,):
                found.append(
                    kind(
                        exchange=frame.exchange,
                        market=frame.market,
                        symbol=symbol,
                        timestamp=k.start * US,
                        timestamp_source="open",
                        received_at=frame.received_at,
                        source="live",
                        interval=interval,
                        open_price=k.open,
                        high_price=k.high,
                        low_price=k.low,
                        close_price=k.close,
                        volume=k.volume,
                        quote_volume=k.turnover,
                        closed=k.confirm,
                        sent_at=push.ts * US,
                    )
                )
        return tuple(found)

    return parse


def ticker(t: wire.Ticker, symbol: str, at: int, frame: RawFrame) -> records.Ticker | None:
    """Return the 24 h statistics as of `at`, milliseconds; None where a part of them is missing, as in deltas.

    The change is a fraction in the exchange's words (-0.00506) and percent in ours.
    """
    if not (t.lastPrice and t.prevPrice24h and t.highPrice24h and t.lowPrice24h and t.volume24h and t.turnover24h):
        return None
    check(last=t.lastPrice, prev=t.prevPrice24h, high=t.highPrice24h, low=t.lowPrice24h)
    check(volume=t.volume24h, turnover=t.turnover24h, change=t.price24hPcnt or None, signed=("change",))
    check(bid=t.bid1Price or None, bid_size=t.bid1Size or None, ask=t.ask1Price or None, ask_size=t.ask1Size or None)
    return records.Ticker(
        exchange=frame.exchange,
        market=frame.market,
        symbol=symbol,
        timestamp=at * US,
        timestamp_source="push",
        received_at=frame.received_at,
        source="live",
        last_price=t.lastPrice,
        open_price=t.prevPrice24h,
        high_price=t.highPrice24h,
        low_price=t.lowPrice24h,
        volume=t.volume24h,
        quote_volume=t.turnover24h,
        price_change_percent=product(t.price24hPcnt, "100") if t.price24hPcnt else None,
        bid_price=t.bid1Price or None,
        bid_quantity=t.bid1Size or None,
        ask_price=t.ask1Price or None,
        ask_quantity=t.ask1Size or None,
        sent_at=at * US,
    )


_read_whole_book = answer_reader(wire.Book)


def parse_book_answer(frame: RawFrame, listing: Listing) -> tuple[BookSnapshot, ...]:
    """Parse REST `orderbook`; its update ids are those of the stream of as many levels."""
    d, _ = _read_whole_book(frame)
    return (BookSnapshot(symbol_of(d.s, frame, listing), d.u, levels(d.b, "b"), levels(d.a, "a"), BOOK_DEPTH),)


def book_audit(category: str) -> Poll:
    """Return the poll of books to compare ours with."""
    path = f"/v5/market/orderbook?category={category}&symbol={{symbol}}&limit={BOOK_DEPTH}"
    return audit_poll(path, 1, parse_book_answer)


_decode_parts = msgspec.json.Decoder(wire.Push[dict[str, msgspec.Raw]]).decode
_encode = msgspec.json.Encoder().encode


def merge_ticker(whole: bytes | None, frame: bytes) -> bytes:
    """Put what a `tickers` delta tells into the whole before it; a snapshot begins anew. A push's time is its own."""
    try:
        push = _decode_parts(frame)
        if push.type == "delta" and whole is not None:
            push.data = _decode_parts(whole).data | push.data
            return _encode(push)
    except UNREADABLE as error:
        raise BadFrame(f"not a frame of channel ticker: {error}") from None
    return frame


def topic(prefix: str) -> Callable[[str], str]:
    """Return what makes a topic of the exchange's symbol."""
    return lambda symbol: f"{prefix}.{symbol}"


def common_channels(trades: Channel, ticker: Channel) -> list[Channel]:
    """Return the channels that both markets have; what trades' ids and tickers tell differs."""
    return [
        trades,
        Channel("depth", ("book_change",), topic(f"orderbook.{BOOK_DEPTH}"), parse_book),
        Channel("quotes", ("quote",), topic("orderbook.1"), parse_quotes),
        *(
            Channel(
                f"candles_{interval}",
                ("candle_update", "candle"),
                topic(f"kline.{name}"),
                _candle_parser(interval),
                interval=interval,
            )
            for interval, name in INTERVALS.items()
        ),
        ticker,
    ]
