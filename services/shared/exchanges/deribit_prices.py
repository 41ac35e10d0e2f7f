"""Deribit's tickers and candles to records: prices, open interest, funding. Markets alike."""

from __future__ import annotations

from schemas import records
from schemas.errors import BadFrame
from schemas.frames import RawFrame
from schemas.records import Instrument
from services.shared.exchanges import deribit_wire as wire
from services.shared.exchanges.declaration import Listing, Parser
from services.shared.exchanges.deribit import instrument_of, reader
from services.shared.exchanges.deribit_instruments import US
from services.shared.exchanges.deribit_numbers import Sizes, is_missing, optional, plain, statistic

RESOLUTIONS = {"1m": "1", "5m": "5", "30m": "30", "1d": "1D"}
"""Candle intervals, and the exchange's words for them. It has none of four hours."""


_read_ticker = reader(wire.Ticker, "ticker.")


def parse_ticker(frame: RawFrame, listing: Listing) -> tuple[records.Record, ...]:
    """Parse `ticker.*`: the last 24 hours, mark and index price, open interest, a perpetual's funding rate.

    Open interest in US dollars becomes base currency at the mark price. The rate is `current_funding`, for 8 hours;
    funding is paid at every moment, so there is no next time.
    """
    _, event = _read_ticker(frame)
    instrument = instrument_of(event.instrument_name, frame, listing)
    mark_price = plain(event.mark_price, "mark_price")
    amount = plain(event.open_interest, "open_interest")
    sizes = Sizes(instrument)
    quantity, contracts = sizes.of(amount, mark_price)
    dollars = instrument.contract_kind == "inverse" and instrument.market != "option"
    at = event.timestamp * US
    index = records.IndexPrice(
        exchange=frame.exchange,
        market=frame.market,
        symbol=instrument.symbol,
        timestamp=at,
        timestamp_source="push",
        received_at=frame.received_at,
        source="live",
        mark_price=mark_price,
        index_price=optional(event.index_price, "index_price"),
        settlement_price=optional(event.settlement_price, "settlement_price"),
        sent_at=at,
    )
    interest = records.OpenInterest(
        exchange=frame.exchange,
        market=frame.market,
        symbol=instrument.symbol,
        timestamp=at,
        timestamp_source="push",
        received_at=frame.received_at,
        source="live",
        open_interest=quantity,
        open_interest_value=amount if dollars else None,
        contracts=contracts,
        sent_at=at,
    )
    found: list[records.Record] = [*_statistics(event, instrument, sizes, frame), index, interest]
    if is_missing(event.current_funding):
        return tuple(found)
    funding = records.FundingRate(
        exchange=frame.exchange,
        market=frame.market,
        symbol=instrument.symbol,
        timestamp=at,
        timestamp_source="push",
        received_at=frame.received_at,
        source="live",
        rate=statistic(event.current_funding, "current_funding", signed=True),
        rate_kind="estimated",
        mark_price=mark_price,
        sent_at=at,
    )
    return (*found, funding)


def _statistics(
    event: wire.Ticker, instrument: Instrument, sizes: Sizes, frame: RawFrame
) -> tuple[records.Ticker, ...]:
    """Return the 24 h ticker, of an instrument that was ever traded. It has no open price: that is not given.

    The best bid and ask are left out while their side of the book is empty.
    """
    if is_missing(event.last_price):
        return ()
    bid_price, bid_quantity = sizes.best(event.best_bid_price, event.best_bid_amount, "best_bid")
    ask_price, ask_quantity = sizes.best(event.best_ask_price, event.best_ask_amount, "best_ask")
    stats = event.stats
    at = event.timestamp * US
    return (
        records.Ticker(
            exchange=frame.exchange,
            market=frame.market,
            symbol=instrument.symbol,
            timestamp=at,
            timestamp_source="push",
            received_at=frame.received_at,
            source="live",
            last_price=plain(event.last_price, "last_price"),
            high_price=optional(stats.high, "high"),
            low_price=optional(stats.low, "low"),
            volume=None if is_missing(stats.volume) else statistic(stats.volume, "volume"),
            quote_volume=None if is_missing(stats.volume_notional) else statistic(stats.volume_notional, "notional"),
            price_change_percent=optional(stats.price_change, "price_change", signed=True),
            bid_price=bid_price,
            bid_quantity=bid_quantity,
            ask_price=ask_price,
            ask_quantity=ask_quantity,
            sent_at=at,
        ),
    )


_read_bar = reader(wire.Bar, "chart.trades.")


def candle_parser(interval: str) -> Parser:
    """Return the parser of the candles of one of `RESOLUTIONS`."""

    def parse(frame: RawFrame, listing: Listing) -> tuple[records.CandleUpdate, ...]:
        """Parse `chart.trades.*`: the candle as it stands. Nothing says that it is final but the next one."""
        about, bar = _read_bar(frame)
        name, _, resolution = about.rpartition(".")
        if resolution != RESOLUTIONS[interval]:
            raise BadFrame(f"a candle of resolution {resolution!r} in a frame of channel {frame.channel}")
        return (
            records.CandleUpdate(
                exchange=frame.exchange,
                market=frame.market,
                symbol=instrument_of(name, frame, listing).symbol,
                timestamp=bar.tick * US,
                timestamp_source="open",
                received_at=frame.received_at,
                source="live",
                interval=interval,
                open_price=plain(bar.open, "open"),
                high_price=plain(bar.high, "high"),
                low_price=plain(bar.low, "low"),
                close_price=plain(bar.close, "close"),
                volume=statistic(bar.volume, "volume"),
                closed=False,
                quote_volume=statistic(bar.cost, "cost"),
            ),
        )

    return parse
