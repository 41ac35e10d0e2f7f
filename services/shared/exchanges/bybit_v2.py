"""Bybit's protocol of 2021, v2, withdrawn since: perpetuals settled in USDT and, on a path of their own, in coins.

Linear contracts count in base currency, inverse ones in US dollars. Source: the session recorded on 2021-04-17, where
ids and times are texts on the one path and numbers on the other, and Bybit's v2 page of that year.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from schemas import records
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from services.shared.exchanges import bybit
from services.shared.exchanges import bybit_wire as wire
from services.shared.exchanges import declaration as declared
from services.shared.exchanges.binance import symbol_of
from services.shared.exchanges.declaration import BookSnapshot, Channel, Listing, Numbering, Poll
from services.shared.exchanges.heads import head
from services.shared.exchanges.names import asset_of, is_token
from services.shared.exchanges.numbers import check, inverse, inverse_levels, levels
from services.shared.exchanges.refusals import refusal_reader
from services.shared.exchanges.rest_rules import Rate, Refusal, RestRules
from services.shared.exchanges.server_time import time_poll
from services.shared.exchanges.shared_answers import UNREADABLE, answer_reader, frame_reader, read_once

DEPTH = 25  # levels a side that the stream keeps by itself: what moves into sight is told
_NOTHING = msgspec.Raw(b"")


class _Row(msgspec.Struct, gc=False):
    """A level, or a trade. `Raw` is a text or a number, whose digits are kept; what is gone has no size."""

    price: msgspec.Raw
    symbol: str
    side: wire.Side
    size: msgspec.Raw = _NOTHING


class _Parts(msgspec.Struct, gc=False):
    """The whole book of a linear contract (of an inverse one it is the bare list), or what has changed of any."""

    order_book: list[_Row] | None = None
    delete: list[_Row] | None = None
    update: list[_Row] | None = None
    insert: list[_Row] | None = None


class _Book(msgspec.Struct, gc=False):
    topic: str
    type: Literal["snapshot", "delta"]
    data: list[_Row] | _Parts
    cross_seq: wire.Id
    timestamp_e6: Annotated[int, msgspec.Meta(ge=0, le=10**16)]


class _Fill(_Row, kw_only=True, gc=False):
    trade_time_ms: wire.Millis
    trade_id: Annotated[str, msgspec.Meta(min_length=1)]


class _Trades(msgspec.Struct, gc=False):
    data: list[_Fill]


class _Request(msgspec.Struct, gc=False):
    op: str
    args: list[str] | None = None


class _Any(msgspec.Struct, gc=False):
    """The keys by which any frame is told apart; `request` repeats what was asked for."""

    topic: str | None = None
    success: bool | None = None
    ret_msg: str = ""
    request: _Request | None = None


class _Listed(msgspec.Struct, gc=False):
    name: str
    status: str
    base_currency: str
    quote_currency: str
    price_filter: dict[str, msgspec.Raw]
    lot_size_filter: dict[str, msgspec.Raw]


class _Answer(msgspec.Struct, gc=False):
    ret_code: int
    ret_msg: str = ""
    time_now: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,10}\.[0-9]{6}$")] = ""
    result: list[_Listed] | dict[str, str] | None = None


_read_book, _read_trades, _read_answer = frame_reader(_Book), frame_reader(_Trades), answer_reader(_Answer)
_decode_any, _decode_answer = msgspec.json.Decoder(_Any).decode, msgspec.json.Decoder(_Answer).decode
_encode = msgspec.json.Encoder().encode


def _text(number: msgspec.Raw) -> str:
    """Return a number's own digits, however it is told."""
    return bytes(number).decode(errors="replace").strip('"')


def _sides(rows: Sequence[_Row], gone: Sequence[_Row], item: records.Instrument) -> list[msgspec.Raw]:
    """Return bids and asks as a book wants them; what is gone has quantity 0."""
    if any(row.symbol != item.exchange_symbol for row in (*rows, *gone)):
        raise BadFrame(f"a level of another symbol in a book of {item.exchange_symbol}")
    found = []
    for side in ("Buy", "Sell"):
        pairs = [(_text(row.price), "0") for row in gone if row.side == side]
        pairs += [(_text(row.price), _text(row.size)) for row in rows if row.side == side]
        linear = msgspec.Raw(_encode(pairs))
        found.append(levels(linear, side) if item.contract_kind == "linear" else inverse_levels(pairs, "1", side))
    return found


def parse_book(frame: RawFrame, listing: Listing) -> tuple[records.BookChange | BookSnapshot, ...]:
    """Parse `orderBookL2_25`: the best 25 levels a side at first, then what becomes of them: absolute sizes."""
    push = _read_book(frame)
    item = listing.by_symbol[symbol_of(push.topic.removeprefix("orderBookL2_25."), frame, listing)]
    at = push.timestamp_e6
    parts = push.data if isinstance(push.data, _Parts) else _Parts(order_book=push.data)
    if push.type == "snapshot" and parts.order_book is not None:
        bids, asks = _sides(parts.order_book, (), item)
        return (BookSnapshot(item.symbol, push.cross_seq, bids, asks, DEPTH + 1, at, "push", at),)
    if push.type == "snapshot" or parts.delete is None or parts.update is None or parts.insert is None:
        raise BadFrame(f"a {push.type} without its levels in a frame of channel {frame.channel}")
    bids, asks = _sides([*parts.update, *parts.insert], parts.delete, item)
    return (
        records.BookChange(
            **head(frame, item.symbol, at, "push"),
            first_sequence=push.cross_seq,
            last_sequence=push.cross_seq,
            bids=bids,
            asks=asks,
            in_step=False,
            sent_at=at,
        ),
    )


def parse_trades(frame: RawFrame, listing: Listing) -> tuple[records.Trade, ...]:
    """Parse `trade`: single fills, oldest first, with ids that say nothing of what was missed."""
    found = []
    for row in _read_trades(frame).data:
        item = listing.by_symbol[symbol_of(row.symbol, frame, listing)]
        price, size = _text(row.price), _text(row.size)
        check(price=price, size=size)
        found.append(
            records.Trade(
                **head(frame, item.symbol, row.trade_time_ms * bybit.US, "match"),
                price=price,
                quantity=size if item.contract_kind == "linear" else inverse(size, "1", price),
                side="buy" if row.side == "Buy" else "sell",
                trade_id=row.trade_id,
                contracts=None if item.contract_kind == "linear" else size,
            )
        )
    return tuple(found)


def _instruments(frame: RawFrame) -> tuple[records.Instrument, ...]:
    """Read `symbols`; dated contracts are called otherwise than their two currencies, and left out."""
    found = []
    if not isinstance(listed := _read_answer(frame).result, list):
        raise BadFrame(f"no list in an answer of {frame.channel}")
    for row in listed:
        base, quote = row.base_currency, row.quote_currency
        if row.name != base + quote or not is_token(f"{base}-{quote}-PERP"):
            continue
        asset, multiplier = asset_of(base)
        tick_size = _text(row.price_filter.get("tick_size", _NOTHING))
        step = _text(row.lot_size_filter.get("qty_step", _NOTHING))
        check(tick_size=tick_size, qty_step=step)
        found.append(
            records.Instrument(
                **head(frame, f"{base}-{quote}-PERP", frame.received_at, "received"),
                exchange_symbol=row.name,
                base=base,
                quote=quote,
                asset=asset,
                multiplier=multiplier,
                status=row.status.lower(),
                settle=base if quote == "USD" else quote,
                tick_size=tick_size,
                quantity_step=None if quote == "USD" else step,
                contract_size="1",
                contract_kind="inverse" if quote == "USD" else "linear",
            )
        )
    return tuple(found)


def sort(frame: bytes) -> declared.StreamName | declared.Reply | declared.Pong:
    """Say what a frame is about: a topic's data, the answer to a request, or to a ping. Raises BadFrame."""
    try:
        found = _decode_any(frame)
    except UNREADABLE as error:
        raise BadFrame(f"not a frame of Bybit: {error}") from None
    if found.topic is not None:
        return declared.StreamName(found.topic)
    if found.success is None or found.request is None:
        raise BadFrame(f"neither data nor an answer: {frame[:100]!r}")
    if found.request.op == "ping":
        return declared.Pong()
    return declared.Reply(None, None if found.success else found.ret_msg or "refused", tuple(found.request.args or ()))


def _later(book: int, first: int, last: int, previous: int | None) -> declared.Verdict:
    """Judge a change: `cross_seq` rises with holes that mean nothing, no loss can be seen by it."""
    return declared.APPLY if last > book else declared.IGNORE


def _route(symbol: str) -> str:
    return "linear" if symbol.endswith("USDT") else "inverse"


_SYMBOLS = Poll("instruments", ("instrument",), "/v2/public/symbols", 1, read_once(_instruments), every_s=300)
_REFUSAL = refusal_reader(_Answer, lambda it: Refusal(f"ret_code {it.ret_code}", it.ret_msg) if it.ret_code else None)
_TIME = time_poll("/v2/public/time", lambda body: int(_decode_answer(body).time_now.replace(".", "")))

BYBIT_V2 = declared.Market(
    exchange="bybit_v2",
    market="perp",
    ws_url="wss://stream.bybit.com",
    rest_url="https://api.bybit.com",
    routes={"linear": "/realtime_public", "inverse": "/realtime"},
    limits=declared.Limits(100, 10, messages_per_s=10, connects_per_5_min=500, lifetime_s=24 * 3_600),
    channels={
        "trades": Channel("trades", ("trade",), bybit.topic("trade"), parse_trades, _route, numbering=Numbering.NONE),
        "depth": Channel("depth", ("book_change",), bybit.topic("orderBookL2_25"), parse_book, _route),
    },
    polls={poll.name: poll for poll in (_SYMBOLS, _TIME)},
    instruments=_SYMBOLS,
    book_channel="depth",
    book_snapshot=None,
    book_rule=declared.BookRule(_later, _later),
    subscribe=lambda topics, request_id: _encode({"op": "subscribe", "args": topics}),
    unsubscribe=lambda topics, request_id: _encode({"op": "unsubscribe", "args": topics}),
    sort=sort,
    rest=RestRules((Rate("address", 50, 1, weighed=False),), _REFUSAL),
    time=_TIME,
    keep_alive=declared.KeepAlive(30, lambda request_id: _encode({"op": "ping"})),
    withdrawn=True,
)
