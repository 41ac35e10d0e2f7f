"""Closed candles out of an exchange's history: what every exchange's rows have in common."""

from __future__ import annotations

from schemas.errors import BadFrame, UnknownSymbol
from schemas.frames import RawFrame
from schemas.records import Candle, Instrument
from services.shared.exchanges.declaration import Listing
from services.shared.exchanges.history import INTERVAL_US
from services.shared.exchanges.numbers import check


def asked_about(frame: RawFrame, listing: Listing) -> Instrument:
    """Return the instrument that an answer is about, where it names none itself. Raises UnknownSymbol."""
    found = listing.by_symbol.get(frame.symbol)
    if found is None:
        raise UnknownSymbol(f"{frame.symbol!r} is on no instrument list of {frame.exchange} {frame.market}")
    return found


def closed_candle(
    frame: RawFrame,
    symbol: str,
    interval: str,
    open_at: int,
    prices: tuple[str, str, str, str],
    volume: str,
    quote_volume: str | None = None,
) -> Candle | None:
    """Return a candle (`prices`: open, high, low, close; `open_at` in microseconds), or None while it is open.

    Whether it was closed is told by when the answer was asked for. Raises BadFrame off the interval's grid, and for
    what is no number.
    """
    length = INTERVAL_US[interval]
    if open_at % length:
        raise BadFrame(f"a candle that opens at {open_at} us is none of {interval}")
    asked_at = frame.received_at if frame.requested_at is None else frame.requested_at
    if open_at + length > asked_at:
        return None
    check(open=prices[0], high=prices[1], low=prices[2], close=prices[3], volume=volume, quote_volume=quote_volume)
    return Candle(
        exchange=frame.exchange,
        market=frame.market,
        symbol=symbol,
        timestamp=open_at,
        timestamp_source="open",
        received_at=frame.received_at,
        source="backfill",
        interval=interval,
        open_price=prices[0],
        high_price=prices[1],
        low_price=prices[2],
        close_price=prices[3],
        volume=volume,
        closed=True,
        quote_volume=quote_volume,
    )
