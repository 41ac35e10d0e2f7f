"""OKX's books: the whole book at first, then changes, chained by ids; and the rule of that chain. Best bid and ask."""

from __future__ import annotations

import msgspec

from schemas import records
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from services.shared.exchanges import okx_wire as wire
from services.shared.exchanges.declaration import APPLY, BROKEN, IGNORE, BookRule, BookSnapshot, Listing, Verdict
from services.shared.exchanges.numbers import check, unsigned
from services.shared.exchanges.okx import US, instrument_of, reader
from services.shared.exchanges.okx_levels import base_quantity, levels

_LATE = 1_000_000
"""Ids are given at thousands a second and instrument: a change further back than this is no late one."""

_WHOLE = 1_000
"""Not the number of levels in a snapshot of `books` (400): the channel tells every change of the best 400 levels, those
that come into sight with it, so nothing of them is ever unknown."""

_NO_LEVEL: list[str | None] = [None, None]

_four = unsigned(4)

_decode_book = msgspec.json.Decoder(wire.BookPush, strict=False).decode


def parse_books(frame: RawFrame, listing: Listing) -> tuple[records.BookChange | BookSnapshot, ...]:
    """Parse `books`: the whole book at first, then changes: absolute sizes, 0 removes.

    Frames of 2022-05 have no ids; their push time, which rises with every frame of an instrument, takes their
    place. The sign of life of a quiet market, an empty change with `seqId` == `prevSeqId`, is no change.
    """
    try:
        push = _decode_book(frame.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"not a frame of channel {frame.channel}: {error}") from None
    if push.arg.channel != "books":
        raise BadFrame(f"channel {push.arg.channel!r} in a frame of channel {frame.channel}")
    instrument = instrument_of(push.arg.instId, frame, listing)
    found: list[records.BookChange | BookSnapshot] = []
    for b in push.data:
        sequence = b.ts if b.seqId is None else b.seqId
        bids, asks = levels(b.bids, "bids", instrument), levels(b.asks, "asks", instrument)
        if push.action == "snapshot":
            found.append(BookSnapshot(instrument.symbol, sequence, bids, asks, _WHOLE, timestamp=b.ts * US))
            continue
        if b.seqId is not None and b.seqId == b.prevSeqId and bytes(bids) == bytes(asks) == b"[]":
            continue
        found.append(
            records.BookChange(
                exchange=frame.exchange,
                market=frame.market,
                symbol=instrument.symbol,
                timestamp=b.ts * US,
                timestamp_source="push",
                received_at=frame.received_at,
                source="live",
                first_sequence=sequence,
                last_sequence=sequence,
                previous_sequence=b.prevSeqId,
                bids=bids,
                asks=asks,
                in_step=False,
            )
        )
    return tuple(found)


def later_change(book: int, first: int, last: int, previous: int | None) -> Verdict:
    """Judge a change: its `prevSeqId` is the `seqId` of the one before, also when the exchange begins to count
    anew. A change from far below the book is therefore no late one, but comes behind a lost beginning.

    Without ids (frames of 2022) the order of the push times is all there is: no loss can be seen.
    """
    if previous is None:
        return APPLY if last > book else IGNORE
    if previous == book:
        return APPLY
    return IGNORE if book - _LATE < last <= book else BROKEN


BOOK_RULE = BookRule(later_change, later_change)

_read_top = reader(wire.Top, "bbo-tbt", "books5")


def parse_quotes(frame: RawFrame, listing: Listing) -> tuple[records.Quote, ...]:
    """Parse `bbo-tbt` (or `books5`, of the same form): the best level of each side, which may be empty."""
    push = _read_top(frame)
    instrument = instrument_of(push.arg.instId, frame, listing)
    found = []
    for top in push.data:
        bid, bid_size, *_ = top.bids[0] if top.bids else _NO_LEVEL
        ask, ask_size, *_ = top.asks[0] if top.asks else _NO_LEVEL
        if _four(f"{bid} {bid_size} {ask} {ask_size} ") is None:
            check(bid_price=bid, bid_size=bid_size, ask_price=ask, ask_size=ask_size)
        found.append(
            records.Quote(
                exchange=frame.exchange,
                market=frame.market,
                symbol=instrument.symbol,
                timestamp=top.ts * US,
                timestamp_source="push",
                received_at=frame.received_at,
                source="live",
                bid_price=bid,
                bid_quantity=None if bid is None or bid_size is None else base_quantity(instrument, bid_size, bid),
                ask_price=ask,
                ask_quantity=None if ask is None or ask_size is None else base_quantity(instrument, ask_size, ask),
                sequence=top.seqId,
            )
        )
    return tuple(found)
