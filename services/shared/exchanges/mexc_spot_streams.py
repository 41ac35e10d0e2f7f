"""MEXC spot's streams to records. A data frame is binary: one protobuf message, `schemas/proto/mexc.proto`.

Source: MEXC's documentation of 2025-11 and its protobuf definitions of 2026-06; live frames of 2026-09. Fields of
default value are absent from a frame, and a message of another schema decodes to them: what must be there is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from google.protobuf.message import DecodeError

from schemas import records
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from schemas.proto import mexc_pb2 as pb
from services.shared.exchanges.binance import symbol_of
from services.shared.exchanges.declaration import (
    APPLY,
    BROKEN,
    IGNORE,
    BookRule,
    Channel,
    Listing,
    Numbering,
    Parser,
    Verdict,
)
from services.shared.exchanges.numbers import check, levels, refuse, unsigned

US = 1_000
"""Times are milliseconds, ours microseconds."""
SECOND = 1_000_000
"""Candles' windows are seconds."""
_LATEST_MS = 10_000_000_000_000
"""The year 2286: a stray microsecond value is refused instead of being stored as a far future."""

DEALS = "spot@public.aggre.deals.v3.api.pb@100ms@"
DEPTH = "spot@public.aggre.depth.v3.api.pb@100ms@"
QUOTES = "spot@public.aggre.bookTicker.v3.api.pb@10ms@"
KLINE = "spot@public.kline.v3.api.pb@"
INTERVALS = {"1m": "Min1", "5m": "Min5", "30m": "Min30", "4h": "Hour4", "1d": "Day1"}
"""Candle intervals recorded by default, and MEXC's names of them."""

_SIDES: dict[int, records.Side] = {1: "buy", 2: "sell"}
_two, _four, _six = unsigned(2), unsigned(4), unsigned(6)
_encode = msgspec.json.Encoder().encode


def _read(frame: RawFrame, body: str, *prefixes: str) -> pb.PushDataV3ApiWrapper:
    """Return the message of a frame that has this body, of a channel that begins with one of `prefixes`."""
    try:
        push = pb.PushDataV3ApiWrapper.FromString(frame.body)
    except DecodeError as error:
        raise BadFrame(f"not a frame of channel {frame.channel}: {error}") from None
    if push.WhichOneof("body") != body:
        raise BadFrame(f"body {push.WhichOneof('body')} in a frame of channel {frame.channel}; allowed is {body}")
    if not push.channel.startswith(prefixes):
        raise BadFrame(f"channel {push.channel!r} in a frame of channel {frame.channel}")
    return push


def _symbol(push: pb.PushDataV3ApiWrapper, frame: RawFrame, listing: Listing) -> str:
    name = push.symbol or next((part for part in push.channel.split("@")[2:] if part in listing.by_exchange_symbol), "")
    return symbol_of(name, frame, listing)


def _millis(value: int, name: str) -> int:
    """Return microseconds of a time that must be there. Raises BadFrame."""
    if not 0 < value <= _LATEST_MS:
        raise BadFrame(f"{name} is {value}; allowed are milliseconds")
    return value * US


def _pushed(push: pb.PushDataV3ApiWrapper, frame: RawFrame) -> tuple[int, records.TimestampSource, int | None]:
    """Return (timestamp, where it is from, send time) of a frame; which of the two times it has depends on its kind."""
    stamp = push.sendTime or push.createTime
    if not stamp:
        return frame.received_at, "received", None
    at = _millis(stamp, "sendTime")
    return at, "push", at


def _version(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadFrame(f"{name} is {text!r}; allowed is a whole number of up to 18 digits")
    return int(text)


def parse_trades(frame: RawFrame, listing: Listing) -> tuple[records.Trade, ...]:
    """Parse aggregated deals: single fills, `tradeType` is the taker's side. Their ids count nothing, or are absent."""
    push = _read(frame, "publicAggreDeals", "spot@public.aggre.deals.v3.api.pb@")
    symbol = _symbol(push, frame, listing)
    sent_at = _pushed(push, frame)[2]
    if not push.publicAggreDeals.deals:
        raise BadFrame("a frame of deals without a deal")
    found = []
    for deal in push.publicAggreDeals.deals:
        if _two(f"{deal.price} {deal.quantity} ") is None:
            raise refuse(price=deal.price, quantity=deal.quantity)
        if deal.tradeType not in _SIDES:
            raise BadFrame(f"tradeType is {deal.tradeType}; allowed are 1 (buy) and 2 (sell)")
        found.append(
            records.Trade(
                exchange=frame.exchange,
                market=frame.market,
                symbol=symbol,
                timestamp=_millis(deal.time, "time"),
                timestamp_source="match",
                received_at=frame.received_at,
                source="live",
                price=deal.price,
                quantity=deal.quantity,
                side=_SIDES[deal.tradeType],
                trade_id=deal.tradeId or None,
                sent_at=sent_at,
            )
        )
    return tuple(found)


def _side(items: Sequence[pb.LevelV3Api], name: str) -> msgspec.Raw:
    return levels(msgspec.Raw(_encode([(item.price, item.quantity) for item in items])), name)


def parse_depth(frame: RawFrame, listing: Listing) -> tuple[records.BookChange, ...]:
    """Parse book changes: absolute quantities, 0 removes; an untouched side is absent."""
    push = _read(frame, "publicAggreDepths", "spot@public.aggre.depth.v3.api.pb@")
    depth = push.publicAggreDepths
    first, last = _version(depth.fromVersion, "fromVersion"), _version(depth.toVersion, "toVersion")
    if last < first:
        raise BadFrame(f"toVersion is {last}, before fromVersion, which is {first}")
    timestamp, source, sent_at = _pushed(push, frame)
    return (
        records.BookChange(
            exchange=frame.exchange,
            market=frame.market,
            symbol=_symbol(push, frame, listing),
            timestamp=timestamp,
            timestamp_source=source,
            received_at=frame.received_at,
            source="live",
            first_sequence=first,
            last_sequence=last,
            bids=_side(depth.bids, "bids"),
            asks=_side(depth.asks, "asks"),
            in_step=False,
            sent_at=sent_at,
        ),
    )


def parse_quotes(frame: RawFrame, listing: Listing) -> tuple[records.Quote, ...]:
    """Parse the best bid and ask; a side may be empty. Versions are those of the book changes."""
    push = _read(frame, "publicAggreBookTicker", "spot@public.aggre.bookTicker.v3.api.pb@")
    q = push.publicAggreBookTicker
    symbol = _symbol(push, frame, listing)
    sequence = _version(q.version, "version")
    bid_price, bid_quantity = (q.bidPrice, q.bidQuantity) if q.bidPrice else (None, None)
    ask_price, ask_quantity = (q.askPrice, q.askQuantity) if q.askPrice else (None, None)
    if _four(f"{bid_price} {bid_quantity} {ask_price} {ask_quantity} ") is None:
        check(bidPrice=bid_price, bidQuantity=bid_quantity, askPrice=ask_price, askQuantity=ask_quantity)
    timestamp, source, sent_at = _pushed(push, frame)
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
            sequence=sequence,
            sent_at=sent_at,
        ),
    )


def _candle_parser(interval: str) -> Parser:
    def parse(frame: RawFrame, listing: Listing) -> tuple[records.CandleUpdate, ...]:
        """Parse `kline`: the candle as it stands. Nothing says that it is final but the next one's open."""
        push = _read(frame, "publicSpotKline", KLINE)
        k = push.publicSpotKline
        if k.interval != INTERVALS[interval]:
            raise BadFrame(f"candle {k.interval!r} in a frame of channel {frame.channel}")
        if not 0 < k.windowStart <= _LATEST_MS // 1_000:
            raise BadFrame(f"windowStart is {k.windowStart}; allowed are seconds")
        values = f"{k.openingPrice} {k.highestPrice} {k.lowestPrice} {k.closingPrice} {k.volume} {k.amount} "
        if _six(values) is None:
            raise refuse(
                openingPrice=k.openingPrice,
                highestPrice=k.highestPrice,
                lowestPrice=k.lowestPrice,
                closingPrice=k.closingPrice,
                volume=k.volume,
                amount=k.amount,
            )
        return (
            records.CandleUpdate(
                exchange=frame.exchange,
                market=frame.market,
                symbol=_symbol(push, frame, listing),
                timestamp=k.windowStart * SECOND,
                timestamp_source="open",
                received_at=frame.received_at,
                source="live",
                interval=interval,
                open_price=k.openingPrice,
                high_price=k.highestPrice,
                low_price=k.lowestPrice,
                close_price=k.closingPrice,
                volume=k.volume,
                quote_volume=k.amount,
                closed=False,
                sent_at=_pushed(push, frame)[2],
            ),
        )

    return parse


def first_change(snapshot: int, first: int, last: int, previous: int | None) -> Verdict:
    """Judge the first change after a snapshot: it must reach past it, and begin at or before its next version."""
    if last <= snapshot:
        return IGNORE
    return APPLY if first <= snapshot + 1 else BROKEN


def later_change(book: int, first: int, last: int, previous: int | None) -> Verdict:
    """Judge a later change: it begins one past the last one's end; anything else means to start over."""
    if last <= book:
        return IGNORE
    return APPLY if first == book + 1 else BROKEN


BOOK_RULE = BookRule(first_change, later_change)


def _stream(prefix: str, suffix: str = "") -> Callable[[str], str]:
    return lambda symbol: f"{prefix}{symbol}{suffix}"


CHANNELS = [
    Channel("trades", ("trade",), _stream(DEALS), parse_trades, numbering=Numbering.NONE),
    Channel("depth", ("book_change",), _stream(DEPTH), parse_depth),
    Channel("quotes", ("quote",), _stream(QUOTES), parse_quotes),
    *(
        Channel(
            f"candles_{interval}",
            ("candle_update", "candle"),
            _stream(KLINE, f"@{name}"),
            _candle_parser(interval),
            interval=interval,
            closes_itself=False,
        )
        for interval, name in INTERVALS.items()
    ),
]
