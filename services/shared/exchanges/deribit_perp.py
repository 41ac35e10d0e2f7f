"""Deribit's perpetuals, inverse (BTC-PERPETUAL) and linear (BTC_USDC-PERPETUAL), and the volatility indices."""

from __future__ import annotations

from schemas import records
from schemas.errors import BadFrame, UnknownSymbol
from schemas.frames import RawFrame
from services.shared.exchanges import deribit_rest
from services.shared.exchanges import deribit_wire as wire
from services.shared.exchanges.declaration import Channel, Listing, Market, Poll
from services.shared.exchanges.deribit import reader, stream
from services.shared.exchanges.deribit_control import INTERVAL
from services.shared.exchanges.deribit_instruments import US
from services.shared.exchanges.deribit_market import common_channels, market
from services.shared.exchanges.deribit_numbers import plain
from services.shared.exchanges.deribit_prices import parse_ticker

WITH_VOLATILITY = ("BTC-PERPETUAL", "ETH-PERPETUAL")
"""The currencies that have a volatility index are filed under their inverse perpetual."""

_read_volatility = reader(wire.Volatility, "deribit_volatility_index.")


def _index_of(base: str) -> str:
    return f"{base.lower()}_usd"


def volatility_stream(symbol: str) -> str:
    """Return the stream of the volatility index of a perpetual's currency; empty where there is none."""
    if symbol not in WITH_VOLATILITY:
        return ""
    return f"deribit_volatility_index.{_index_of(symbol.partition('-')[0])}"


def parse_volatility(frame: RawFrame, listing: Listing) -> tuple[records.VolatilityIndex, ...]:
    """Parse `deribit_volatility_index.*`: one value, in percent a year, for the next 30 days."""
    instrument = listing.by_symbol.get(frame.symbol)
    if instrument is None:
        raise UnknownSymbol(f"{frame.symbol!r} is on no instrument list of {frame.exchange} {frame.market}")
    name, event = _read_volatility(frame)
    if not (name == event.index_name == _index_of(instrument.base)):
        raise BadFrame(f"index {event.index_name!r} of channel {name!r} filed under {frame.symbol}")
    value = plain(event.volatility, "volatility")
    return (
        records.VolatilityIndex(
            exchange=frame.exchange,
            market=frame.market,
            symbol=frame.symbol,
            timestamp=event.timestamp * US,
            timestamp_source="push",
            received_at=frame.received_at,
            source="live",
            open=value,
            high=value,
            low=value,
            close=value,
            resolution="tick",
            sent_at=event.timestamp * US,
        ),
    )


_CHANNELS = [
    *common_channels(),
    Channel(
        "ticker",
        ("ticker", "index_price", "open_interest", "funding_rate"),
        stream(f"ticker.{{}}.{INTERVAL}"),
        parse_ticker,
    ),
    Channel("volatility_index", ("volatility_index",), volatility_stream, parse_volatility),
]
_POLLS = [
    Poll(
        "funding",
        ("funding_rate",),
        f"{deribit_rest.PUBLIC}/get_funding_rate_history?instrument_name={{symbol}}{deribit_rest.RANGE}",
        weight=1,
        parse=deribit_rest.parse_funding,
        every_s=600,
        span_s=6 * 3_600,
    ),
]

DERIBIT_PERP: Market = market(
    "perp",
    "future",
    _CHANNELS,
    _POLLS,
    starter=("BTC-USD-PERP", "ETH-USD-PERP", "BTC-USDC-PERP", "ETH-USDC-PERP"),
)
