"""Bybit's linear perpetual contracts, settled in USDT or USDC. A contract is one unit of the base currency."""

from __future__ import annotations

from schemas import records
from schemas.frames import RawFrame
from services.shared.exchanges import bybit, bybit_control, bybit_instruments, bybit_limits
from services.shared.exchanges import bybit_wire as wire
from services.shared.exchanges.binance import symbol_of
from services.shared.exchanges.bybit import US
from services.shared.exchanges.declaration import Channel, Limits, Listing, Market, Numbering, Poll
from services.shared.exchanges.numbers import check, inverse, product
from services.shared.exchanges.server_time import time_poll

MARKET = "perp"
RATIO_PERIOD = "5m"

_read_ticker = bybit.reader(wire.Ticker, "tickers.")
_read_liquidations = bybit.reader(list[wire.Liquidation], "allLiquidation.")
_read_funding = bybit.answer_reader(wire.Rows[wire.Funding])
_read_ratios = bybit.answer_reader(wire.Rows[wire.Ratio])


def parse_ticker(frame: RawFrame, listing: Listing) -> tuple[records.Record, ...]:
    """Parse `tickers`: prices, funding rate, open interest and 24 h statistics, as far as the frame has them.

    A snapshot has all, a delta only what has changed since, and is read merged with what came before it.
    """
    push = _read_ticker(frame)
    t, at = push.data, push.ts
    symbol = symbol_of(t.symbol, frame, listing)
    found = (
        bybit.ticker(t, symbol, at, frame),
        _index_price(t, symbol, at, frame),
        _funding_rate(t, symbol, at, frame),
        _open_interest(t, symbol, at, frame),
    )
    return tuple(record for record in found if record is not None)


def _index_price(t: wire.Ticker, symbol: str, at: int, frame: RawFrame) -> records.IndexPrice | None:
    if not t.markPrice:
        return None
    check(markPrice=t.markPrice, indexPrice=t.indexPrice or None)
    return records.IndexPrice(
        exchange=frame.exchange,
        market=frame.market,
        symbol=symbol,
        timestamp=at * US,
        timestamp_source="push",
        received_at=frame.received_at,
        source="live",
        mark_price=t.markPrice,
        index_price=t.indexPrice or None,
        sent_at=at * US,
    )


def _funding_rate(t: wire.Ticker, symbol: str, at: int, frame: RawFrame) -> records.FundingRate | None:
    if not t.fundingRate:
        return None
    check(fundingRate=t.fundingRate, markPrice=t.markPrice or None, signed=("fundingRate",))
    return records.FundingRate(
        exchange=frame.exchange,
        market=frame.market,
        symbol=symbol,
        timestamp=at * US,
        timestamp_source="push",
        received_at=frame.received_at,
        source="live",
        rate=t.fundingRate,
        rate_kind="estimated",
        next_funding_time=int(t.nextFundingTime) * US or None if t.nextFundingTime else None,
        mark_price=t.markPrice or None,
        sent_at=at * US,
    )


def _open_interest(t: wire.Ticker, symbol: str, at: int, frame: RawFrame) -> records.OpenInterest | None:
    """Return open interest of one side, as every other exchange counts it; `openInterest` counts both.

    The exchange gives one side since 2026-06; before that it is half of both.
    """
    if not t.openInterest:
        return None
    single, value = t.singleOpenInterest, t.singleOpenInterestValue
    check(openInterest=t.openInterest, openInterestValue=t.openInterestValue or None)
    check(singleOpenInterest=single or None, singleOpenInterestValue=value or None)
    if not value and t.openInterestValue:
        value = product(t.openInterestValue, "0.5")
    return records.OpenInterest(
        exchange=frame.exchange,
        market=frame.market,
        symbol=symbol,
        timestamp=at * US,
        timestamp_source="push",
        received_at=frame.received_at,
        source="live",
        open_interest=single or product(t.openInterest, "0.5"),
        open_interest_value=value or None,
        sent_at=at * US,
    )


def parse_liquidations(frame: RawFrame, listing: Listing) -> tuple[records.Liquidation, ...]:
    """Parse `allLiquidation`, at the bankruptcy price. `S` is the position's side: Buy ended a long by selling."""
    push = _read_liquidations(frame)
    found = []
    for row in push.data:
        check(p=row.p, v=row.v)
        found.append(
            records.Liquidation(
                exchange=frame.exchange,
                market=frame.market,
                symbol=symbol_of(row.s, frame, listing),
                timestamp=row.T * US,
                timestamp_source="match",
                received_at=frame.received_at,
                source="live",
                price=row.p,
                quantity=row.v,
                side="sell" if row.S == "Buy" else "buy",
                sent_at=push.ts * US,
            )
        )
    return tuple(found)


def parse_funding(frame: RawFrame, listing: Listing) -> tuple[records.FundingRate, ...]:
    """Parse REST `funding/history`: rates as they were settled; the newest comes first and is told last."""
    rows, _ = _read_funding(frame)
    found = []
    for row in reversed(rows.rows):
        check(fundingRate=row.fundingRate, signed=("fundingRate",))
        found.append(
            records.FundingRate(
                exchange=frame.exchange,
                market=frame.market,
                symbol=symbol_of(row.symbol, frame, listing),
                timestamp=int(row.fundingRateTimestamp) * US,
                timestamp_source="stamp",
                received_at=frame.received_at,
                source="live",
                rate=row.fundingRate,
                rate_kind="settled",
            )
        )
    return tuple(found)


def parse_ratios(frame: RawFrame, listing: Listing) -> tuple[records.LsrAllAccount, ...]:
    """Parse REST `account-ratio`: shares of all accounts; the newest comes first and is told last.

    The exchange gives no quotient: it is worked out, rounded half-even to 18 places. Without shorts there is none.
    """
    rows, _ = _read_ratios(frame)
    found = []
    for row in reversed(rows.rows):
        check(buyRatio=row.buyRatio, sellRatio=row.sellRatio)
        if not row.sellRatio.strip("0."):
            continue
        found.append(
            records.LsrAllAccount(
                exchange=frame.exchange,
                market=frame.market,
                symbol=symbol_of(row.symbol, frame, listing),
                timestamp=int(row.timestamp) * US,
                timestamp_source="stamp",
                received_at=frame.received_at,
                source="live",
                long_ratio=row.buyRatio,
                short_ratio=row.sellRatio,
                long_short_ratio=inverse(row.buyRatio, "1", row.sellRatio),
                period=RATIO_PERIOD,
            )
        )
    return tuple(found)


_INSTRUMENTS = Poll(
    "instruments",
    ("instrument",),
    "/v5/market/instruments-info?category=linear&limit=1000",
    weight=1,
    parse=bybit_instruments.parse_perp,
    every_s=300,
)
_TIME = time_poll("/v5/market/time", bybit_limits.read_time)
_POLLS = [
    _INSTRUMENTS,
    bybit.book_audit("linear"),
    _TIME,
    Poll(
        "funding",
        ("funding_rate",),
        "/v5/market/funding/history?category=linear&symbol={symbol}&limit=10",
        weight=1,
        parse=parse_funding,
        every_s=300,
    ),
    Poll(
        "lsr_all_accounts",
        ("lsr_all_account",),
        "/v5/market/account-ratio?category=linear&symbol={symbol}&period=5min&limit=3",
        weight=1,
        parse=parse_ratios,
        every_s=300,
    ),
]
_TRADES = Channel("trades", ("trade",), bybit.topic("publicTrade"), bybit.trade_parser(), numbering=Numbering.NONE)
_TICKER = Channel(
    "ticker",
    ("ticker", "index_price", "funding_rate", "open_interest"),
    bybit.topic("tickers"),
    parse_ticker,
    merge=bybit.merge_ticker,
)
_CHANNELS = [
    *bybit.common_channels(_TRADES, _TICKER),
    Channel("liquidations", ("liquidation",), bybit.topic("allLiquidation"), parse_liquidations),
]

BYBIT_PERP = Market(
    exchange=bybit.EXCHANGE,
    market=MARKET,
    ws_url=bybit.WS_URL,
    rest_url=bybit.REST_URL,
    routes={"": "/v5/public/linear"},
    limits=Limits(
        streams_per_connection=500,  # 21,000 characters of topics, which have up to 40
        streams_per_message=100,
        messages_per_s=10,
        connects_per_5_min=500,
        lifetime_s=24 * 3_600,
    ),
    channels={channel.name: channel for channel in _CHANNELS},
    polls={poll.name: poll for poll in _POLLS},
    instruments=_INSTRUMENTS,
    next_page=bybit_instruments.next_page_of(_INSTRUMENTS.path),
    book_channel="depth",
    book_snapshot=None,
    book_rule=bybit.BOOK_RULE,
    subscribe=bybit_control.subscribe,
    unsubscribe=bybit_control.unsubscribe,
    sort=bybit_control.sort,
    rest=bybit_limits.RULES,
    time=_TIME,
    starter=("BTC-USDT-PERP", "ETH-USDT-PERP", "SOL-USDT-PERP", "DOGE-USDT-PERP", "ADA-USDT-PERP"),
    keep_alive=bybit_control.KEEP_ALIVE,
)
