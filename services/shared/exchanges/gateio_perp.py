"""Gate.io USDT futures: perpetual contracts, linear. Sizes on the wire count contracts of `quanto_multiplier` each."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas import records
from schemas.frames import RawFrame
from schemas.records import Instrument
from services.shared.exchanges import gateio, gateio_control, gateio_limits
from services.shared.exchanges import gateio_wire as wire
from services.shared.exchanges.declaration import Channel, Listing, Market, Parser, Poll
from services.shared.exchanges.gateio import US, head, instrument_asked, instrument_of, pushed, reader
from services.shared.exchanges.gateio_control import stream
from services.shared.exchanges.gateio_instruments import parse_contracts
from services.shared.exchanges.gateio_numbers import (
    direction,
    micros,
    minus,
    number,
    optional,
    signed,
    triples,
    unsigned_or_none,
)
from services.shared.exchanges.numbers import product
from services.shared.exchanges.server_time import time_poll
from services.shared.exchanges.shared_answers import audit_poll

MARKET = "perp"
RATIO_PERIOD = "5m"

_read_trades = reader(list[wire.PerpTrade], "futures.trades")
_read_quote = reader(wire.BookTicker, "futures.book_ticker")
_read_candles = reader(list[wire.PerpCandle], "futures.candlesticks")
_read_depth = reader(wire.PerpDepth, "futures.order_book_update")
_read_tickers = reader(list[wire.PerpTicker], "futures.tickers")
_read_liquidations = reader(list[wire.PublicLiquidation], "futures.public_liquidates")
_read_funding = gateio.answer_reader(list[wire.FundingRow])
_read_statistics = gateio.answer_reader(list[wire.StatisticsRow])


def base(contracts: str, instrument: Instrument) -> str:
    """Return contracts in base currency, exactly."""
    return product(contracts, instrument.contract_size or "1")


def parse_trades(frame: RawFrame, listing: Listing) -> tuple[records.Trade, ...]:
    """Parse `futures.trades`: the sign of `size` is the taker's side; ids count up within a contract."""
    event = _read_trades(frame)
    found = []
    for t in event.result:
        instrument = instrument_of(t.contract, frame, listing)
        sells, contracts = direction(t.size, "size")
        found.append(
            records.Trade(
                **head(frame, instrument, micros(t.create_time_ms, "create_time_ms"), "match"),
                price=number(t.price, "price"),
                quantity=base(contracts, instrument),
                contracts=contracts,
                side="sell" if sells else "buy",
                trade_id=str(t.id),
                sequence=t.id,
                sent_at=event.sent_at,
            )
        )
    return tuple(found)


def parse_quotes(frame: RawFrame, listing: Listing) -> tuple[records.Quote, ...]:
    """Parse `futures.book_ticker`, quantities to base currency; a side may be empty."""
    event = _read_quote(frame)
    q = event.result
    instrument = instrument_of(q.s, frame, listing)
    sides = [
        unsigned_or_none(q.b, "b"),
        base(number(q.B, "B"), instrument),
        unsigned_or_none(q.a, "a"),
        base(number(q.A, "A"), instrument),
    ]
    return gateio.quote_record(frame, instrument, q.t * US, event.sent_at, q.u, sides)


def _volumes(k: wire.PerpCandle, instrument: Instrument) -> tuple[str | None, str | None]:
    return base(number(k.v, "v"), instrument), unsigned_or_none(k.a, "a")


def _candle_parser(interval: str) -> Parser:
    def parse(frame: RawFrame, listing: Listing) -> list[records.CandleUpdate]:
        """Parse `futures.candlesticks`: `v` is contracts, `a` the quote volume, `w` says that it is closed."""
        event = _read_candles(frame)
        found = (gateio.candle_records(frame, listing, interval, event.sent_at, k, _volumes) for k in event.result)
        return [record for rows in found for record in rows]

    return parse


def parse_tickers(frame: RawFrame, listing: Listing) -> list[records.Record]:
    """Parse `futures.tickers`: 24 h statistics, mark and index price, the coming funding rate, and open interest."""
    event = _read_tickers(frame)
    found: list[records.Record] = []
    for t in event.result:
        instrument = instrument_of(t.contract, frame, listing)
        own = pushed(frame, instrument, t.t * US, event.sent_at)
        found.append(_statistics(t, instrument, own))
        mark_price = number(t.mark_price, "mark_price")
        index_price = unsigned_or_none(t.index_price, "index_price")
        found.append(records.IndexPrice(**own, mark_price=mark_price, index_price=index_price))
        if optional(t.funding_rate, "funding_rate") is not None:
            found.append(
                records.FundingRate(
                    **own,
                    rate=signed(t.funding_rate, "funding_rate"),
                    rate_kind="estimated",
                    next_funding_time=t.funding_next_apply * 1_000_000 if t.funding_next_apply else None,
                    mark_price=mark_price,
                )
            )
        contracts = number(t.total_size, "total_size")
        found.append(records.OpenInterest(**own, open_interest=base(contracts, instrument), contracts=contracts))
    return found


def _statistics(t: wire.PerpTicker, instrument: Instrument, own: dict[str, Any]) -> records.Ticker:
    """Return the 24 h ticker. The open price is the last one less its change, which older frames do not have."""
    last_price = number(t.last, "last")
    change = optional(t.change_price, "change_price") if t.change_from == "24h" else None
    return records.Ticker(
        **own,
        last_price=last_price,
        open_price=None if change is None else minus(last_price, change, "open_price"),
        high_price=unsigned_or_none(t.high_24h, "high_24h"),
        low_price=unsigned_or_none(t.low_24h, "low_24h"),
        volume=base(number(t.volume_24h, "volume_24h"), instrument),
        quote_volume=unsigned_or_none(t.volume_24h_quote, "volume_24h_quote"),
        price_change=change,
        price_change_percent=optional(t.change_percentage, "change_percentage"),
    )


def parse_liquidations(frame: RawFrame, listing: Listing) -> tuple[records.Liquidation, ...]:
    """Parse `futures.public_liquidates`: at most one a second and contract. A negative size sells: it ends a long."""
    event = _read_liquidations(frame)
    found = []
    for o in event.result:
        instrument = instrument_of(o.contract, frame, listing)
        sells, contracts = direction(o.size, "size")
        found.append(
            records.Liquidation(
                **head(frame, instrument, o.time_ms * US, "match"),
                price=number(o.price, "price"),
                quantity=base(contracts, instrument),
                contracts=contracts,
                side="sell" if sells else "buy",
                sent_at=event.sent_at,
            )
        )
    return tuple(found)


def parse_funding(frame: RawFrame, listing: Listing) -> tuple[records.FundingRate, ...]:
    """Parse `funding_rate`: rates as they were settled, put oldest first; the answer names no contract."""
    instrument = instrument_asked(frame, listing)
    rows = sorted(_read_funding(frame), key=lambda row: row.t)
    return tuple(
        records.FundingRate(
            **head(frame, instrument, row.t * 1_000_000, "stamp"), rate=signed(row.r, "r"), rate_kind="settled"
        )
        for row in rows
    )


def _ratio_parser(kind: type[records.LongShortRatio], field: str) -> Parser:
    def parse(frame: RawFrame, listing: Listing) -> tuple[records.LongShortRatio, ...]:
        """Parse one of the ratios of `contract_stats`, oldest first; the exchange gives the quotient alone."""
        instrument = instrument_asked(frame, listing)
        found = []
        for row in sorted(_read_statistics(frame), key=lambda row: row.time):
            ratio = unsigned_or_none(getattr(row, field), field)
            if ratio is None:
                continue
            found.append(
                kind(
                    **head(frame, instrument, row.time * 1_000_000, "stamp"),
                    long_short_ratio=ratio,
                    period=RATIO_PERIOD,
                )
            )
        return tuple(found)

    return parse


def _side(raw: msgspec.Raw, name: str, instrument: Instrument) -> msgspec.Raw:
    return triples(raw, name, instrument.contract_size or "1")


_INSTRUMENTS = Poll(
    "instruments",
    ("instrument",),
    "/api/v4/futures/usdt/contracts",
    weight=1,
    parse=parse_contracts,
    every_s=3_600,
)
_SNAPSHOT = Poll(
    "depth_snapshot",
    (),
    f"/api/v4/futures/usdt/order_book?contract={{symbol}}&limit={gateio.SNAPSHOT_LIMIT}&with_id=true",
    weight=1,
    parse=gateio.snapshot_parser(_side),
)
_AUDIT = audit_poll(_SNAPSHOT.path, _SNAPSHOT.weight, _SNAPSHOT.parse)
_STATISTICS = f"/api/v4/futures/usdt/contract_stats?contract={{symbol}}&interval={RATIO_PERIOD}&limit=3"
_TIME = time_poll("/api/v4/spot/time", gateio_limits.read_time)
_POLLS = [
    _INSTRUMENTS,
    _TIME,
    _SNAPSHOT,
    _AUDIT,
    Poll(
        "funding",
        ("funding_rate",),
        "/api/v4/futures/usdt/funding_rate?contract={symbol}&limit=10",
        weight=1,
        parse=parse_funding,
        every_s=300,
    ),
    Poll(
        "lsr_top_positions",
        ("lsr_top_position",),
        _STATISTICS,
        weight=1,
        parse=_ratio_parser(records.LsrTopPosition, "top_lsr_size"),
        every_s=300,
    ),
    Poll(
        "lsr_all_accounts",
        ("lsr_all_account",),
        _STATISTICS,
        weight=1,
        parse=_ratio_parser(records.LsrAllAccount, "lsr_account"),
        every_s=300,
    ),
]
_CHANNELS = [
    Channel("trades", ("trade",), stream("futures.trades"), parse_trades),
    Channel("depth", ("book_change",), stream("futures.order_book_update"), gateio.depth_parser(_read_depth, _side)),
    Channel("quotes", ("quote",), stream("futures.book_ticker"), parse_quotes),
    *(
        Channel(
            f"candles_{interval}",
            ("candle_update", "candle"),
            stream("futures.candlesticks", interval),
            _candle_parser(interval),
            interval=interval,
            closes_itself=False,
        )
        for interval in gateio.INTERVALS
    ),
    Channel(
        "ticker",
        ("ticker", "index_price", "funding_rate", "open_interest"),
        stream("futures.tickers"),
        parse_tickers,
    ),
    Channel("liquidations", ("liquidation",), stream("futures.public_liquidates"), parse_liquidations),
]

GATEIO_PERP = Market(
    exchange=gateio.EXCHANGE,
    market=MARKET,
    ws_url="wss://fx-ws.gateio.ws",
    rest_url="https://api.gateio.ws",
    routes={"": "/v4/ws/usdt"},
    headers=gateio_control.HEADERS,
    stamp=gateio_control.stamp,
    limits=gateio_control.LIMITS,
    channels={channel.name: channel for channel in _CHANNELS},
    polls={poll.name: poll for poll in _POLLS},
    instruments=_INSTRUMENTS,
    book_channel="depth",
    book_snapshot=_SNAPSHOT,
    book_rule=gateio.BOOK_RULE,
    subscribe=gateio_control.subscribe,
    unsubscribe=gateio_control.unsubscribe,
    sort=gateio_control.sort,
    rest=gateio_limits.RULES,
    time=_TIME,
    starter=("BTC-USDT-PERP", "ETH-USDT-PERP", "SOL-USDT-PERP", "DOGE-USDT-PERP", "ADA-USDT-PERP"),
)
