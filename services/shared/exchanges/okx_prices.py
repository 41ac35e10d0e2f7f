"""OKX's trades, 24 h tickers and candles, spot and contracts alike, and the list of channels that every market has.

Sizes on contract markets are numbers of contracts: they become base currency by the size of a contract, and are kept as
`contracts` beside it.
"""

from __future__ import annotations

from schemas import records
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from schemas.records import Instrument
from services.shared.exchanges import okx_wire as wire
from services.shared.exchanges.declaration import Channel, Listing, Numbering, Parser
from services.shared.exchanges.numbers import check, product, refuse, unsigned
from services.shared.exchanges.okx import BUSINESS, INTERVALS, PUBLIC, US, instrument_of, reader
from services.shared.exchanges.okx_books import parse_books, parse_quotes
from services.shared.exchanges.okx_control import stream
from services.shared.exchanges.okx_levels import base_quantity

_two, _seven = unsigned(2), unsigned(7)


def _trade_parser(kind: type[records.Trade], channel: str) -> Parser:
    read = reader(wire.Trade, channel)

    def parse(frame: RawFrame, listing: Listing) -> tuple[records.Trade, ...]:
        """Parse trades. `tradeId` is the id of the last of `count` fills of one taker order at one price."""
        found = []
        for t in read(frame).data:
            if _two(f"{t.px} {t.sz} ") is None:
                raise refuse(px=t.px, sz=t.sz)
            instrument = instrument_of(t.instId, frame, listing)
            first = None if t.count is None else t.tradeId - t.count + 1
            if first is not None and first < 0:
                raise BadFrame(f"count is {t.count} of trade {t.tradeId}: more fills than there were")
            found.append(
                kind(
                    exchange=frame.exchange,
                    market=frame.market,
                    symbol=instrument.symbol,
                    timestamp=t.ts * US,
                    timestamp_source="match",
                    received_at=frame.received_at,
                    source="live",
                    price=t.px,
                    quantity=base_quantity(instrument, t.sz, t.px),
                    side=t.side,
                    trade_id=str(t.tradeId),
                    sequence=t.tradeId,
                    contracts=None if instrument.contract_size is None else t.sz,
                    first_trade_id=first,
                    last_trade_id=None if first is None else t.tradeId,
                    trade_count=t.count,
                )
            )
        return tuple(found)

    return parse


_read_ticker = reader(wire.Ticker, "tickers")


def parse_ticker(frame: RawFrame, listing: Listing) -> tuple[records.Ticker, ...]:
    """Parse `tickers`. What is empty stays missing; without a last price there is nothing to tell.

    Volumes: on spot `vol24h` is base and `volCcy24h` quote currency; on contracts `vol24h` is contracts and `volCcy24h`
    base currency. A contract's volume in quote currency is told where a contract is worth a sum of it (inverse).
    """
    found = []
    for t in _read_ticker(frame).data:
        instrument = instrument_of(t.instId, frame, listing)
        if not t.last:
            continue
        check(last=t.last, open24h=t.open24h or None, high24h=t.high24h or None, low24h=t.low24h or None)
        check(vol24h=t.vol24h or None, volCcy24h=t.volCcy24h or None, lastSz=t.lastSz or None)
        check(bidPx=t.bidPx or None, bidSz=t.bidSz or None, askPx=t.askPx or None, askSz=t.askSz or None)
        volume, quote_volume = _volumes(instrument, t.vol24h or None, t.volCcy24h or None)
        found.append(
            records.Ticker(
                exchange=frame.exchange,
                market=frame.market,
                symbol=instrument.symbol,
                timestamp=t.ts * US,
                timestamp_source="push",
                received_at=frame.received_at,
                source="live",
                last_price=t.last,
                open_price=t.open24h or None,
                high_price=t.high24h or None,
                low_price=t.low24h or None,
                volume=volume,
                quote_volume=quote_volume,
                last_quantity=_optional(instrument, t.lastSz, t.last),
                bid_price=t.bidPx or None,
                bid_quantity=_optional(instrument, t.bidSz, t.bidPx),
                ask_price=t.askPx or None,
                ask_quantity=_optional(instrument, t.askSz, t.askPx),
            )
        )
    return tuple(found)


def _volumes(instrument: Instrument, traded: str | None, in_currency: str | None) -> tuple[str | None, str | None]:
    """Return the volume (in base, in quote currency) of `vol24h` and `volCcy24h`."""
    if instrument.contract_size is None:
        return traded, in_currency
    if traded is None or instrument.contract_kind == "linear":
        return in_currency, None
    return in_currency, product(traded, instrument.contract_size)


def _optional(instrument: Instrument, size: str, price: str) -> str | None:
    """A checked size in base currency, or None where it or its price is not given."""
    if not size or not price:
        return None
    return base_quantity(instrument, size, price)


def _candle_parser(interval: str, channel: str) -> Parser:
    read = reader(wire.Candle, channel)

    def parse(frame: RawFrame, listing: Listing) -> tuple[records.CandleUpdate, ...]:
        """Parse `candle...`: the candle as it stands; its final version (`confirm` 1) is a closed candle too."""
        push = read(frame)
        instrument = instrument_of(push.arg.instId, frame, listing)
        found: list[records.CandleUpdate] = []
        for k in push.data:
            if _seven(f"{k.o} {k.h} {k.l} {k.c} {k.vol} {k.volCcy} {k.volCcyQuote} ") is None:
                raise refuse(o=k.o, h=k.h, l=k.l, c=k.c, vol=k.vol, volCcy=k.volCcy, volCcyQuote=k.volCcyQuote)

            def candle(kind: type[records.CandleUpdate], k: wire.Candle = k) -> records.CandleUpdate:
                return kind(
                    exchange=frame.exchange,
                    market=frame.market,
                    symbol=instrument.symbol,
                    timestamp=k.ts * US,
                    timestamp_source="open",
                    received_at=frame.received_at,
                    source="live",
                    interval=interval,
                    open_price=k.o,
                    high_price=k.h,
                    low_price=k.l,
                    close_price=k.c,
                    volume=k.vol if instrument.contract_size is None else k.volCcy,
                    closed=k.confirm == "1",
                    quote_volume=k.volCcyQuote,
                )

            found.append(candle(records.CandleUpdate))
            if k.confirm == "1":
                found.append(candle(records.Candle))
        return tuple(found)

    return parse


def common_channels() -> list[Channel]:
    """Return the channels that every market has."""
    return [
        Channel(
            "trades",
            ("trade",),
            stream("trades"),
            _trade_parser(records.Trade, "trades"),
            PUBLIC,
            numbering=Numbering.SPANS,
        ),
        Channel("books", ("book_change",), stream("books"), parse_books, PUBLIC),
        Channel("quotes", ("quote",), stream("bbo-tbt"), parse_quotes, PUBLIC),
        *(
            Channel(
                f"candles_{interval}",
                ("candle_update", "candle"),
                stream(f"candle{name}"),
                _candle_parser(interval, f"candle{name}"),
                BUSINESS,
                interval=interval,
            )
            for interval, name in INTERVALS.items()
        ),
        Channel("ticker", ("ticker",), stream("tickers"), parse_ticker, PUBLIC),
        Channel(
            "fills",
            ("fill",),
            stream("trades-all"),
            _trade_parser(records.Fill, "trades-all"),
            BUSINESS,
            default=False,
        ),
    ]
