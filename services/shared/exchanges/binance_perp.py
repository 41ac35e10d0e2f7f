"""Binance USD-M futures: perpetual contracts. A contract is one unit of the base currency."""

from __future__ import annotations

from schemas import records
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from schemas.records import Instrument
from services.shared.exchanges import binance, binance_control, binance_forms, binance_limits
from services.shared.exchanges import binance_wire as wire
from services.shared.exchanges.binance import US, answer_reader, reader, stream, symbol_of
from services.shared.exchanges.binance_instruments import PERPETUAL, instruments_parser, steps
from services.shared.exchanges.declaration import (
    APPLY,
    BROKEN,
    IGNORE,
    BookRule,
    Channel,
    Limits,
    Listing,
    Market,
    Parser,
    Poll,
    Verdict,
)
from services.shared.exchanges.names import asset_of, is_token
from services.shared.exchanges.numbers import check
from services.shared.exchanges.server_time import time_poll
from services.shared.exchanges.shared_answers import AUDIT_LIMIT, audit_poll

MARKET = "perp"
SNAPSHOT_LIMIT = 1_000
"""Levels a side, the most there is."""

RATIO_PERIOD = "5m"

_read_mark_price = reader(wire.MarkPrice, "@markPrice@1s", "@markPrice", "!markPrice@arr", "!markPrice@arr@1s")
_read_liquidation = reader(wire.Liquidation, "@forceOrder", "!forceOrder@arr")


def parse_mark_price(frame: RawFrame, listing: Listing) -> tuple[records.Record, ...]:
    """Parse `markPriceUpdate`: prices, and the funding rate as estimated now (`r` is empty where there is none)."""
    m = _read_mark_price(frame)
    if m.st == binance.COIN_M:
        return ()
    check(p=m.p, i=m.i, ap=m.ap, P=m.P)
    symbol = symbol_of(m.s, frame, listing)
    index = records.IndexPrice(
        exchange=frame.exchange,
        market=frame.market,
        symbol=symbol,
        timestamp=m.E * US,
        timestamp_source="push",
        received_at=frame.received_at,
        source="live",
        mark_price=m.p,
        index_price=m.i,
        mark_price_average=m.ap,
        settlement_price=m.P,
        sent_at=m.E * US,
    )
    if not m.r:
        return (index,)
    check(r=m.r, signed=("r",))
    funding = records.FundingRate(
        exchange=frame.exchange,
        market=frame.market,
        symbol=symbol,
        timestamp=m.E * US,
        timestamp_source="push",
        received_at=frame.received_at,
        source="live",
        rate=m.r,
        rate_kind="estimated",
        next_funding_time=m.T * US if m.T else None,
        mark_price=m.p,
        sent_at=m.E * US,
    )
    return index, funding


def parse_liquidations(frame: RawFrame, listing: Listing) -> tuple[records.Liquidation, ...]:
    """Parse `forceOrder`: filled quantity at its average price. `S` is the order's own side: SELL ended a long."""
    event = _read_liquidation(frame)
    o = event.o
    if o.st == binance.COIN_M:
        return ()
    check(ap=o.ap, z=o.z, p=o.p, q=o.q, l=o.l)
    return (
        records.Liquidation(
            exchange=frame.exchange,
            market=frame.market,
            symbol=symbol_of(o.s, frame, listing),
            timestamp=o.T * US,
            timestamp_source="match",
            received_at=frame.received_at,
            source="live",
            price=o.ap,
            quantity=o.z,
            side="sell" if o.S == "SELL" else "buy",
            order_price=o.p,
            order_quantity=o.q,
            last_quantity=o.l,
            status=o.X.lower(),
            sent_at=event.E * US,
        ),
    )


_read_open_interest = answer_reader(wire.OpenInterest)
_read_funding = answer_reader(list[wire.Funding])
_read_ratios = answer_reader(list[wire.Ratio])


def parse_open_interest(frame: RawFrame, listing: Listing) -> tuple[records.OpenInterest, ...]:
    """Parse `openInterest`: base currency, at the exchange's own stamp."""
    answer = _read_open_interest(frame)
    check(openInterest=answer.openInterest)
    return (
        records.OpenInterest(
            exchange=frame.exchange,
            market=frame.market,
            symbol=symbol_of(answer.symbol, frame, listing),
            timestamp=answer.time * US,
            timestamp_source="stamp",
            received_at=frame.received_at,
            source="live",
            open_interest=answer.openInterest,
        ),
    )


def parse_funding(frame: RawFrame, listing: Listing) -> tuple[records.FundingRate, ...]:
    """Parse `fundingRate`: rates as they were settled, oldest first; the mark price is missing in old rows."""
    rows = []
    for row in _read_funding(frame):
        mark_price = row.markPrice or None
        check(fundingRate=row.fundingRate, markPrice=mark_price, signed=("fundingRate",))
        rows.append(
            records.FundingRate(
                exchange=frame.exchange,
                market=frame.market,
                symbol=symbol_of(row.symbol, frame, listing),
                timestamp=row.fundingTime * US,
                timestamp_source="stamp",
                received_at=frame.received_at,
                source="live",
                rate=row.fundingRate,
                rate_kind="settled",
                mark_price=mark_price,
            )
        )
    return tuple(rows)


def _ratio_parser(kind: type[records.LongShortRatio]) -> Parser:
    def parse(frame: RawFrame, listing: Listing) -> tuple[records.LongShortRatio, ...]:
        """Parse a long/short ratio: shares of positions or of accounts, by endpoint, whatever the keys are called."""
        rows = []
        for row in _read_ratios(frame):
            check(longShortRatio=row.longShortRatio, longAccount=row.longAccount, shortAccount=row.shortAccount)
            rows.append(
                kind(
                    exchange=frame.exchange,
                    market=frame.market,
                    symbol=symbol_of(row.symbol, frame, listing),
                    timestamp=_stamp(row.timestamp),
                    timestamp_source="stamp",
                    received_at=frame.received_at,
                    source="live",
                    long_ratio=row.longAccount,
                    short_ratio=row.shortAccount,
                    long_short_ratio=row.longShortRatio,
                    period=RATIO_PERIOD,
                )
            )
        return tuple(rows)

    return parse


def _stamp(stamp: int | str) -> int:
    """Return microseconds; this endpoint gives its milliseconds as a number or as text."""
    if isinstance(stamp, str):
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 13):
            raise BadFrame(f"timestamp is {stamp!r}; allowed are milliseconds")
        return int(stamp) * US
    return stamp * US


def _instrument(symbol: wire.SymbolInfo, frame: RawFrame) -> Instrument | None:
    name = f"{symbol.baseAsset}-{symbol.quoteAsset}-PERP"
    if symbol.contractType != PERPETUAL or not is_token(name):
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
        settle=symbol.marginAsset,
        tick_size=tick_size,
        quantity_step=quantity_step,
        contract_size="1",
        contract_kind="linear",
        listed_at=None if symbol.onboardDate is None else symbol.onboardDate * US,
    )


def first_change(snapshot: int, first: int, last: int, previous: int | None) -> Verdict:
    """Judge the first change after a snapshot: it must cover the snapshot's id or follow right behind it.

    The documented rule is `U` <= id <= `u`; a change with `pu` == id is met as well. Both, and an id between `pu` and
    `U`, say that the change begins in what the snapshot holds.
    """
    if last < snapshot:
        return IGNORE
    return APPLY if (first if previous is None else min(first, previous)) <= snapshot else BROKEN


def later_change(book: int, first: int, last: int, previous: int | None) -> Verdict:
    """Judge a later change: only `pu` == the last change's `u` proves that nothing is missing; `U` proves nothing."""
    if previous == book:
        return APPLY
    return IGNORE if last <= book else BROKEN


_INSTRUMENTS = Poll(
    "instruments",
    ("instrument",),
    "/fapi/v1/exchangeInfo",
    weight=1,
    parse=instruments_parser(_instrument),
    every_s=3_600,
)
_SNAPSHOT = Poll(
    "depth_snapshot",
    (),
    f"/fapi/v1/depth?symbol={{symbol}}&limit={SNAPSHOT_LIMIT}",
    weight=binance_limits.futures_depth_weight(SNAPSHOT_LIMIT),
    parse=binance.snapshot_parser(SNAPSHOT_LIMIT),
)
_AUDIT = audit_poll(
    f"/fapi/v1/depth?symbol={{symbol}}&limit={AUDIT_LIMIT}",
    binance_limits.futures_depth_weight(AUDIT_LIMIT),
    binance.snapshot_parser(AUDIT_LIMIT),
)
_TIME = time_poll("/fapi/v1/time", binance_limits.read_time)
_POLLS = [
    _INSTRUMENTS,
    _TIME,
    _SNAPSHOT,
    _AUDIT,
    Poll(
        "open_interest",
        ("open_interest",),
        "/fapi/v1/openInterest?symbol={symbol}",
        weight=1,
        parse=parse_open_interest,
        every_s=60,
    ),
    Poll(
        "funding",
        ("funding_rate",),
        "/fapi/v1/fundingRate?symbol={symbol}&limit=10",
        weight=1,
        parse=parse_funding,
        every_s=300,
    ),
    Poll(
        "lsr_top_positions",
        ("lsr_top_position",),
        f"/futures/data/topLongShortPositionRatio?symbol={{symbol}}&period={RATIO_PERIOD}&limit=3",
        weight=1,
        parse=_ratio_parser(records.LsrTopPosition),
        every_s=300,
    ),
    Poll(
        "lsr_all_accounts",
        ("lsr_all_account",),
        f"/futures/data/globalLongShortAccountRatio?symbol={{symbol}}&period={RATIO_PERIOD}&limit=3",
        weight=1,
        parse=_ratio_parser(records.LsrAllAccount),
        every_s=300,
    ),
]
_CHANNELS = [
    *binance.common_channels("public", "market", binance_forms.DEPTH, binance_forms.QUOTES),
    Channel("mark_price", ("index_price", "funding_rate"), stream("markPrice@1s"), parse_mark_price, "market"),
    Channel("liquidations", ("liquidation",), stream("forceOrder"), parse_liquidations, "market"),
]

BINANCE_PERP = Market(
    exchange=binance.EXCHANGE,
    market=MARKET,
    ws_url="wss://fstream.binance.com",
    rest_url="https://fapi.binance.com",
    routes={"public": "/public/stream", "market": "/market/stream"},
    limits=Limits(
        streams_per_connection=1_024,
        streams_per_message=200,
        messages_per_s=10,
        connects_per_5_min=300,
        lifetime_s=24 * 3_600,
    ),
    channels={channel.name: channel for channel in _CHANNELS},
    polls={poll.name: poll for poll in _POLLS},
    instruments=_INSTRUMENTS,
    book_channel="depth",
    book_snapshot=_SNAPSHOT,
    book_rule=BookRule(first_change, later_change),
    subscribe=binance_control.subscribe,
    unsubscribe=binance_control.unsubscribe,
    sort=binance_control.sort,
    rest=binance_limits.FUTURES,
    time=_TIME,
    starter=("BTC-USDT-PERP", "ETH-USDT-PERP", "SOL-USDT-PERP", "DOGE-USDT-PERP", "ADA-USDT-PERP"),
)
