"""Gate.io, spot and USDT futures, as dialects of the generator.

Streams are named as the control protocol names them: `spot.trades BTC_USDT`, `futures.candlesticks 1m_BTC_USDT`. Silent
though acknowledged are `order_book`, `obu`, `order_book_update` of 20 ms, and candles of mark and index prices.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial

from services.exchange_simulator import gateio_protocol
from services.exchange_simulator.generator import gateio_rows
from services.exchange_simulator.generator.dialect import Dialect, Heard, Speaker, Talk
from services.exchange_simulator.generator.events import Message
from services.exchange_simulator.generator.feed import Feed, Rhythm
from services.exchange_simulator.generator.gateio_frames import Encoder
from services.exchange_simulator.generator.gateio_listings import listings
from services.exchange_simulator.generator.gateio_rest import GeneratedRest
from services.exchange_simulator.generator.source import SECOND_US
from services.exchange_simulator.venue import Answer

_PROTOCOLS = {"spot": gateio_protocol.SPOT, "perp": gateio_protocol.PERP}
_TOPICS = {
    "spot.trades": "trade",
    "spot.order_book_update": "book",
    "spot.book_ticker": "quote",
    "spot.tickers": "ticker",
    "futures.trades": "trade",
    "futures.order_book_update": "book",
    "futures.book_ticker": "quote",
    "futures.tickers": "full_ticker",
    "futures.public_liquidates": "liquidation",
    "futures.contract_stats": "positions",
}
_CANDLES = ("spot.candlesticks", "futures.candlesticks")
_CHAIN = re.compile(rb'"U":(?P<first_sequence>\d+)')
_LEVELS = 100
"""Levels a side that `futures.order_book_update` keeps."""


class GateioTalk(Talk):
    """One connection's side of Gate.io's control protocol."""

    def __init__(self, control: gateio_protocol.Control) -> None:
        self._control = control

    def receive(self, message: bytes, now_us: int) -> gateio_protocol.Change:
        """Take one control message."""
        return self._control.receive(message, now_us)

    def streams(self) -> Sequence[str]:
        """Return the streams asked for."""
        return list(self._control.streams)


class GateioVoice:
    """One Gate.io market's words."""

    def __init__(self, market: str, feeds: Mapping[str, Feed]) -> None:
        self._feeds = feeds
        self._protocol = _PROTOCOLS[market]
        self._encoder = Encoder(market)
        self._rest = GeneratedRest(market, feeds, self._encoder)
        self.speakers: Mapping[str, Speaker] = {}

    def connect(self, path: str, query: str, number: int, now_us: int) -> Talk:
        """Open a connection. Raises Refused for another path."""
        return GateioTalk(gateio_protocol.Control(self._protocol, path, self._feeds, number))

    def heard(self, stream: str) -> Sequence[Heard]:
        """Return what a stream is about."""
        channel, _, about = stream.partition(" ")
        if channel in _CANDLES:
            interval, _, symbol = about.partition("_")
            return (Heard(symbol, f"candle_{interval}"),)
        topic = _TOPICS.get(channel)
        return () if topic is None else (Heard(about, topic),)

    def payload(self, message: Message, stream: str) -> bytes:
        """Return a message's frame, the same on whatever stream."""
        return self._encoder.payload(message)

    def get(self, path: str, query: Mapping[str, str], now_us: int) -> Answer:
        """Answer a GET."""
        return self._rest.get(path, query, now_us)


SPOT = Dialect(
    exchange="gateio",
    market="spot",
    keep_alive=gateio_protocol.SPOT.keep_alive,
    listings=partial(listings, "spot"),
    rhythm=Rhythm(candle_us=2 * SECOND_US, ticker_us=SECOND_US),
    rows=gateio_rows.SPOT,
    chain=_CHAIN,
    voice=partial(GateioVoice, "spot"),
)
PERP = Dialect(
    exchange="gateio",
    market="perp",
    keep_alive=gateio_protocol.PERP.keep_alive,
    listings=partial(listings, "perp"),
    rhythm=Rhythm(
        candle_us=2 * SECOND_US,
        ticker_us=SECOND_US,
        regular_us={"positions": 60 * SECOND_US},
        liquidations=True,
        book_depth=_LEVELS,
    ),
    rows=gateio_rows.PERP,
    chain=_CHAIN,
    voice=partial(GateioVoice, "perp"),
)
