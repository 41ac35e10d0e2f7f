"""Bybit v5, spot and linear perpetuals, as dialects of the generator.

Streams are the exchange's topics. Tickers come every second instead of every 50 or 100 ms; the best bid and ask is not
repeated when nothing changes. Silent though acknowledged are books of other depths, `priceLimit`, `adlAlert`,
`insurance`, and candles of weeks and months.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial

from services.exchange_simulator import bybit_protocol
from services.exchange_simulator.generator import bybit_rows
from services.exchange_simulator.generator.bybit_figures import INTERVALS
from services.exchange_simulator.generator.bybit_frames import Encoder
from services.exchange_simulator.generator.bybit_listings import listings
from services.exchange_simulator.generator.bybit_rest import GeneratedRest
from services.exchange_simulator.generator.candles import INTERVALS_US
from services.exchange_simulator.generator.dialect import Dialect, Heard, Speaker, Talk
from services.exchange_simulator.generator.events import Message
from services.exchange_simulator.generator.feed import Feed, Rhythm
from services.exchange_simulator.generator.source import SECOND_US
from services.exchange_simulator.venue import Answer

_PROTOCOLS = {"spot": bybit_protocol.SPOT, "perp": bybit_protocol.LINEAR}
_LEVELS = 1_000
"""Levels a side of the deepest book stream."""
_TOPICS = {
    "publicTrade": "trade",
    "orderbook.1": "quote",
    f"orderbook.{_LEVELS}": "book",
    "allLiquidation": "liquidation",
    **{f"kline.{wire}": f"candle_{interval}" for wire, interval in INTERVALS.items()},
}
_TICKERS = {"spot": "ticker", "perp": "changed_ticker"}


class BybitTalk(Talk):
    """One connection's side of Bybit's control protocol."""

    def __init__(self, control: bybit_protocol.Control) -> None:
        self._control = control

    def receive(self, message: bytes, now_us: int) -> bybit_protocol.Change:
        """Take one control message."""
        return self._control.receive(message)

    def streams(self) -> Sequence[str]:
        """Return the topics asked for."""
        return list(self._control.topics)


class BybitVoice:
    """One Bybit market's words."""

    def __init__(self, market: str, feeds: Mapping[str, Feed]) -> None:
        self._feeds = feeds
        self._protocol = _PROTOCOLS[market]
        self._topics = {**_TOPICS, "tickers": _TICKERS[market]}
        self._encoder = Encoder(market)
        self._rest = GeneratedRest(market, feeds, self._encoder)
        self.speakers: Mapping[str, Speaker] = {}

    def connect(self, path: str, query: str, number: int, now_us: int) -> Talk:
        """Open a connection on the market's own path. Raises Refused."""
        return BybitTalk(bybit_protocol.Control(self._protocol, path, self._feeds, number))

    def heard(self, stream: str) -> Sequence[Heard]:
        """Return what a topic is about."""
        kind, _, symbol = stream.rpartition(".")
        topic = self._topics.get(kind)
        return () if topic is None else (Heard(symbol, topic),)

    def payload(self, message: Message, stream: str) -> bytes:
        """Return a message as pushed on a topic."""
        return self._encoder.payload(message, stream)

    def get(self, path: str, query: Mapping[str, str], now_us: int) -> Answer:
        """Answer a GET."""
        return self._rest.get(path, query, now_us)


SPOT, PERP = (
    Dialect(
        exchange="bybit",
        market=market,
        keep_alive=bybit_protocol.KEEP_ALIVE,
        listings=partial(listings, market),
        rhythm=Rhythm(
            candle_us=SECOND_US,
            ticker_us=SECOND_US,
            liquidations=market != "spot",
            book_depth=_LEVELS,
            begins=frozenset({"book", "quote", _TICKERS[market]} | {f"candle_{name}" for name in INTERVALS_US}),
        ),
        rows=bybit_rows.SPOT if market == "spot" else bybit_rows.PERP,
        chain=re.compile(rb'"u":(?P<first_sequence>(?P<last_sequence>\d+))'),
        voice=partial(BybitVoice, market),
    )
    for market in ("spot", "perp")
)
