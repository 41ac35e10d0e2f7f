"""MEXC contracts' streams to records. Contracts become base currency by the instrument's contract size, exactly.

Source: MEXC's documentation of 2025-11 and live frames of 2025-05 to 2026-09.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from schemas import records
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from schemas.records import Instrument
from services.shared.exchanges import mexc_perp_wire as wire
from services.shared.exchanges.binance import symbol_of
from services.shared.exchanges.declaration import Channel, Listing, Numbering, Parser
from services.shared.exchanges.mexc_numbers import Rows, difference, is_missing, level_texts, signed, unsigned
from services.shared.exchanges.numbers import check, contract_levels, product
from services.shared.exchanges.shared_answers import UNREADABLE

US = 1_000
"""Times are milliseconds, ours microseconds."""
SECOND = 1_000_000
"""Candles' times are seconds."""
INTERVALS = {"1m": "Min1", "5m": "Min5", "30m": "Min30", "4h": "Hour4", "1d": "Day1"}
"""Candle intervals recorded by default, and MEXC's names of them."""

T = TypeVar("T")


def _reader(data: type[T], channel: str) -> Callable[[RawFrame, Listing], tuple[wire.Push[T], Instrument]]:
    """Return a function that reads one frame of this channel, and whose it is. It raises BadFrame on any other."""
    decode = msgspec.json.Decoder(wire.Push[data]).decode  # type: ignore[valid-type]

    def read(frame: RawFrame, listing: Listing) -> tuple[wire.Push[T], Instrument]:
        try:
            push = decode(frame.body)
        except UNREADABLE as error:
            raise BadFrame(f"not a frame of channel {frame.channel}: {error}") from None
        if push.channel != channel:
            raise BadFrame(f"channel {push.channel!r} in a frame of channel {frame.channel}")
        return push, listing.by_symbol[symbol_of(push.symbol, frame, listing)]

    return read


def contract_size(item: Instrument) -> str:
    """Return how much base currency a contract is. Raises BadFrame where the instrument list did not say."""
    if item.contract_size is None:
        raise BadFrame(f"the contract size of {item.symbol} is not known")
    return item.contract_size


def side(rows: Rows, name: str, item: Instrument) -> msgspec.Raw:
    """Return a side of a book as JSON triples, best first as sent. Raises BadFrame naming the level."""
    return contract_levels(level_texts(rows, name), contract_size(item), name)


_read_deals = _reader(list[wire.Deal] | wire.Deal, "push.deal")  # type: ignore[arg-type]  # a union is a type to decode


def parse_trades(frame: RawFrame, listing: Listing) -> tuple[records.Trade, ...]:
    """Parse `push.deal`: single fills, newest first (told oldest first), or one alone. Ids rise, with holes."""
    push, item = _read_deals(frame, listing)
    data: list[wire.Deal] | wire.Deal = push.data
    found = []
    for deal in reversed(data) if isinstance(data, list) else [data]:
        contracts = unsigned(deal.v, "v")
        found.append(
            records.Trade(
                exchange=frame.exchange,
                market=frame.market,
                symbol=item.symbol,
                timestamp=deal.t * US,
                timestamp_source="match",
                received_at=frame.received_at,
                source="live",
                price=unsigned(deal.p, "p"),
                quantity=product(contracts, contract_size(item)),
                side="buy" if deal.T == 1 else "sell",
                trade_id=deal.i,
                sequence=None if deal.i is None else int(deal.i),
                contracts=contracts,
                sent_at=push.ts * US,
            )
        )
    return tuple(found)


_read_depth = _reader(wire.Depth, "push.depth")


def parse_depth(frame: RawFrame, listing: Listing) -> tuple[records.BookChange, ...]:
    """Parse `push.depth`: absolute contracts, 0 removes; a merged one says at which version it begins."""
    push, item = _read_depth(frame, listing)
    d = push.data
    first = d.version if d.begin is None else d.begin
    if d.end not in (None, d.version) or first > d.version:
        raise BadFrame(f"begin is {d.begin}, end is {d.end}; allowed is begin <= end == version, which is {d.version}")
    return (
        records.BookChange(
            exchange=frame.exchange,
            market=frame.market,
            symbol=item.symbol,
            timestamp=(push.ts if d.cts is None else d.cts) * US,
            timestamp_source="push" if d.cts is None else "match",
            received_at=frame.received_at,
            source="live",
            first_sequence=first,
            last_sequence=d.version,
            bids=side(d.bids, "bids", item),
            asks=side(d.asks, "asks", item),
            in_step=False,
            sent_at=push.ts * US,
        ),
    )


_read_full_depth = _reader(wire.Depth, "push.depth.full")


def _in_base(side: list[tuple[str, str]], size: str) -> tuple[str, str] | tuple[None, None]:
    """Return price and base quantity of a side's best level; of an empty side neither."""
    return (side[0][0], product(side[0][1], size)) if side else (None, None)


def parse_quotes(frame: RawFrame, listing: Listing) -> tuple[records.Quote, ...]:
    """Parse `push.depth.full`: its best levels are the quote, which no other stream gives with quantities."""
    push, item = _read_full_depth(frame, listing)
    d = push.data
    bids, asks = level_texts(d.bids, "bids"), level_texts(d.asks, "asks")
    size = contract_size(item)
    bid_price, bid_quantity = _in_base(bids, size)
    ask_price, ask_quantity = _in_base(asks, size)
    return (
        records.Quote(
            exchange=frame.exchange,
            market=frame.market,
            symbol=item.symbol,
            timestamp=(push.ts if d.cts is None else d.cts) * US,
            timestamp_source="push" if d.cts is None else "match",
            received_at=frame.received_at,
            source="live",
            bid_price=bid_price,
            bid_quantity=bid_quantity,
            ask_price=ask_price,
            ask_quantity=ask_quantity,
            sequence=d.version,
            sent_at=push.ts * US,
        ),
    )


def _candle_parser(interval: str) -> Parser:
    read = _reader(wire.Kline, "push.kline")

    def parse(frame: RawFrame, listing: Listing) -> tuple[records.CandleUpdate, ...]:
        """Parse `push.kline`: the candle as it stands. Nothing says that it is final but the next one's open."""
        push, item = read(frame, listing)
        k = push.data
        if k.interval != INTERVALS[interval] or k.symbol != push.symbol:
            raise BadFrame(f"candle {k.interval!r} of {k.symbol!r} in a frame of {frame.channel} of {push.symbol!r}")
        return (
            records.CandleUpdate(
                exchange=frame.exchange,
                market=frame.market,
                symbol=item.symbol,
                timestamp=k.t * SECOND,
                timestamp_source="open",
                received_at=frame.received_at,
                source="live",
                interval=interval,
                open_price=unsigned(k.o, "o"),
                high_price=unsigned(k.h, "h"),
                low_price=unsigned(k.l, "l"),
                close_price=unsigned(k.c, "c"),
                volume=product(unsigned(k.q, "q"), contract_size(item)),
                quote_volume=unsigned(k.a, "a"),
                closed=False,
                sent_at=push.ts * US,
            ),
        )

    return parse


def _optional(raw: msgspec.Raw, name: str) -> str | None:
    return None if is_missing(raw) else unsigned(raw, name)


_read_ticker = _reader(wire.Ticker, "push.ticker")


def parse_ticker(frame: RawFrame, listing: Listing) -> tuple[records.Record, ...]:
    """Parse `push.ticker`: 24 h statistics, fair (mark) and index price, open interest, funding rate; what it has."""
    push, item = _read_ticker(frame, listing)
    t = push.data
    found = (_ticker(t, item, push.ts, frame), *_statistics(t, item, push.ts, frame))
    return tuple(record for record in found if record is not None)


def _ticker(t: wire.Ticker, item: Instrument, at: int, frame: RawFrame) -> records.Ticker | None:
    """Return the 24 h statistics; None where a part of them is missing.

    The price 24 hours ago is not told, but the change since: the last price less the change is the opening price.
    """
    whole = (t.volume24, t.amount24, t.lower24Price, t.high24Price, t.riseFallValue)
    if any(is_missing(raw) for raw in whole):
        return None
    last_price, change = unsigned(t.lastPrice, "lastPrice"), signed(t.riseFallValue, "riseFallValue")
    open_price = difference(last_price, change)
    check(open_price=open_price)
    rate = None if is_missing(t.riseFallRate) else signed(t.riseFallRate, "riseFallRate")
    return records.Ticker(
        exchange=frame.exchange,
        market=frame.market,
        symbol=item.symbol,
        timestamp=at * US,
        timestamp_source="push",
        received_at=frame.received_at,
        source="live",
        last_price=last_price,
        open_price=open_price,
        high_price=unsigned(t.high24Price, "high24Price"),
        low_price=unsigned(t.lower24Price, "lower24Price"),
        volume=product(unsigned(t.volume24, "volume24"), contract_size(item)),
        quote_volume=unsigned(t.amount24, "amount24"),
        price_change=change,
        price_change_percent=None if rate is None else product(rate, "100"),
        bid_price=_optional(t.bid1, "bid1"),
        ask_price=_optional(t.ask1, "ask1"),
        sent_at=at * US,
    )


def _statistics(t: wire.Ticker, item: Instrument, at: int, frame: RawFrame) -> list[records.Record]:
    found: list[records.Record] = []
    mark_price = _optional(t.fairPrice, "fairPrice")
    if mark_price is not None:
        found.append(
            records.IndexPrice(
                exchange=frame.exchange,
                market=frame.market,
                symbol=item.symbol,
                timestamp=at * US,
                timestamp_source="push",
                received_at=frame.received_at,
                source="live",
                mark_price=mark_price,
                index_price=_optional(t.indexPrice, "indexPrice"),
                sent_at=at * US,
            )
        )
    contracts = _optional(t.holdVol, "holdVol")
    if contracts is not None:
        found.append(
            records.OpenInterest(
                exchange=frame.exchange,
                market=frame.market,
                symbol=item.symbol,
                timestamp=at * US,
                timestamp_source="push",
                received_at=frame.received_at,
                source="live",
                open_interest=product(contracts, contract_size(item)),
                contracts=contracts,
                sent_at=at * US,
            )
        )
    if not is_missing(t.fundingRate):
        rate = signed(t.fundingRate, "fundingRate")
        found.append(_funding_rate(rate, None, mark_price, item, at, frame))
    return found


def _funding_rate(
    rate: str, next_time: int | None, mark_price: str | None, item: Instrument, at: int, frame: RawFrame
) -> records.FundingRate:
    return records.FundingRate(
        exchange=frame.exchange,
        market=frame.market,
        symbol=item.symbol,
        timestamp=at * US,
        timestamp_source="push",
        received_at=frame.received_at,
        source="live",
        rate=rate,
        rate_kind="estimated",
        next_funding_time=next_time * US if next_time else None,
        mark_price=mark_price,
        sent_at=at * US,
    )


_read_funding = _reader(wire.Funding, "push.funding.rate")


def parse_funding(frame: RawFrame, listing: Listing) -> tuple[records.FundingRate, ...]:
    """Parse `push.funding.rate`: the rate as estimated, with the time of its settlement; sent seldom."""
    push, item = _read_funding(frame, listing)
    f = push.data
    rate = signed(f.fundingRate if is_missing(f.rate) else f.rate, "rate")
    return (_funding_rate(rate, f.nextSettleTime, None, item, push.ts, frame),)


def _stream(name: str) -> Callable[[str], str]:
    return lambda symbol: f"{name}@{symbol}"


CHANNELS = [
    Channel("trades", ("trade",), _stream("deal"), parse_trades, numbering=Numbering.RISING),
    Channel("depth", ("book_change",), _stream("depth"), parse_depth),
    Channel("quotes", ("quote",), _stream("depth.full"), parse_quotes),
    *(
        Channel(
            f"candles_{interval}",
            ("candle_update", "candle"),
            _stream(f"kline@{name}"),
            _candle_parser(interval),
            interval=interval,
            closes_itself=False,
        )
        for interval, name in INTERVALS.items()
    ),
    Channel("ticker", ("ticker", "index_price", "open_interest", "funding_rate"), _stream("ticker"), parse_ticker),
    Channel("funding_rate", ("funding_rate",), _stream("funding.rate"), parse_funding),
]
