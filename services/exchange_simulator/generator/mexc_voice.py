"""MEXC, spot and contracts, as dialects of the generator: two servers with protocols of their own.

Streams are named as `mexc_protocol` names them. Changes come as each step of the book makes them, not every 10 or
100 ms, tickers of contracts and candles every second. Silent though acknowledged are spot's small tickers, batches of
quotes and cut books, and `tickers`, `contract`, `index.price` and `fair.price` of contracts; candles of weeks and
months on both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial

from services.exchange_simulator import mexc_protocol
from services.exchange_simulator.generator import (
    mexc_perp_frames,
    mexc_perp_rest,
    mexc_rows,
    mexc_spot_frames,
    mexc_spot_rest,
)
from services.exchange_simulator.generator.candles import INTERVALS_US
from services.exchange_simulator.generator.dialect import Dialect, Heard, Speaker, Talk
from services.exchange_simulator.generator.events import Message
from services.exchange_simulator.generator.feed import Feed, Rhythm
from services.exchange_simulator.generator.mexc_figures import INTERVALS
from services.exchange_simulator.generator.mexc_listings import listings
from services.exchange_simulator.generator.source import SECOND_US
from services.exchange_simulator.venue import Answer

_SPOT = re.compile(
    r"spot@public\.(?:aggre\.(?P<kind>deals|depth|bookTicker)\.v3\.api\.pb@10{1,2}ms@(?P<symbol>[^@]+)"
    r"|kline\.v3\.api\.pb@(?P<charted>[^@]+)@(?P<interval>\w+))"
)
_SPOT_TOPICS = {"deals": "trade", "depth": "book", "bookTicker": "quote"}
_PERP_TOPICS = {
    "deal": "trade",
    "depth": "book",
    mexc_protocol.MERGED: "book",
    "depth.full": "quote",
    "ticker": "full_ticker",
    "funding.rate": "funding",
}
_VERSIONS = re.compile(rb"\x22[\x01-\x12](?P<first_sequence>\d+)\x2a[\x01-\x12]\d+\x30")
"""Field 4 of book changes, `fromVersion`, with its length; `toVersion` and the tag of field 6 follow."""
_CANDLES = frozenset(f"candle_{interval}" for interval in INTERVALS_US)


class SpotTalk(Talk):
    """One connection's side of spot's control protocol."""

    def __init__(self, control: mexc_protocol.SpotControl) -> None:
        self._control = control

    def receive(self, message: bytes, now_us: int) -> mexc_protocol.Change:
        """Take one text message. Raises Closing for one too many."""
        return self._control.receive(message, now_us)

    def streams(self) -> Sequence[str]:
        """Return the channels asked for."""
        return list(self._control.streams)

    def due_us(self) -> int | None:
        """When a connection without a subscription is cut."""
        return self._control.cut_us()

    def due(self, now_us: int) -> Sequence[bytes]:
        """Raise Closing when that time has come; nothing is said before."""
        self._control.cut(now_us)
        return ()


class ContractTalk(Talk):
    """One connection's side of contracts' control protocol."""

    def __init__(self, control: mexc_protocol.ContractControl) -> None:
        self._control = control

    def receive(self, message: bytes, now_us: int) -> mexc_protocol.Change:
        """Take one text message."""
        return self._control.receive(message, now_us)

    def streams(self) -> Sequence[str]:
        """Return the streams asked for."""
        return list(self._control.streams)

    def due_us(self) -> int | None:
        """When a client without pings is told, and cut."""
        return self._control.cut_us()

    def due(self, now_us: int) -> Sequence[bytes]:
        """Return what it is told then. Raises Closing behind that."""
        return self._control.warning(now_us)


class SpotVoice:
    """Spot's words."""

    def __init__(self, feeds: Mapping[str, Feed]) -> None:
        self._feeds = feeds
        self._encoder = mexc_spot_frames.Encoder()
        self._rest = mexc_spot_rest.GeneratedRest(feeds, self._encoder)
        self.speakers: Mapping[str, Speaker] = {}

    def connect(self, path: str, query: str, number: int, now_us: int) -> Talk:
        """Open a connection. Raises Refused for another path."""
        return SpotTalk(mexc_protocol.SpotControl(path, self._feeds, now_us))

    def heard(self, stream: str) -> Sequence[Heard]:
        """Return what a channel is about."""
        found = _SPOT.fullmatch(stream)
        if found is None:
            return ()
        if found["kind"]:
            return (Heard(found["symbol"], _SPOT_TOPICS[found["kind"]]),)
        interval = INTERVALS.get(found["interval"])
        return () if interval is None else (Heard(found["charted"], f"candle_{interval}"),)

    def payload(self, message: Message, stream: str) -> bytes:
        """Return a message as pushed on a channel, in binary."""
        return self._encoder.payload(message, stream)

    def get(self, path: str, query: Mapping[str, str], now_us: int) -> Answer:
        """Answer a GET."""
        return self._rest.get(path, query, now_us)


class ContractVoice:
    """Contracts' words."""

    def __init__(self, feeds: Mapping[str, Feed]) -> None:
        self._feeds = feeds
        self._encoder = mexc_perp_frames.Encoder(feeds)
        self._rest = mexc_perp_rest.GeneratedRest(feeds, self._encoder)
        self.speakers: Mapping[str, Speaker] = {}

    def connect(self, path: str, query: str, number: int, now_us: int) -> Talk:
        """Open a connection. Raises Refused for another path."""
        return ContractTalk(mexc_protocol.ContractControl(path, self._feeds, now_us))

    def heard(self, stream: str) -> Sequence[Heard]:
        """Return what a stream is about."""
        channel, _, about = stream.partition("@")
        symbol = about.rpartition("@")[2]
        if channel == "kline":
            interval = INTERVALS.get(about.partition("@")[0])
            return () if interval is None else (Heard(symbol, f"candle_{interval}"),)
        topic = _PERP_TOPICS.get(channel)
        return () if topic is None else (Heard(symbol, topic),)

    def payload(self, message: Message, stream: str) -> bytes:
        """Return a message as pushed on a stream."""
        return self._encoder.payload(message, stream)

    def get(self, path: str, query: Mapping[str, str], now_us: int) -> Answer:
        """Answer a GET."""
        return self._rest.get(path, query, now_us)


SPOT = Dialect(
    exchange="mexc",
    market="spot",
    keep_alive=mexc_protocol.KEEP_ALIVE,
    listings=partial(listings, "spot"),
    rhythm=Rhythm(candle_us=SECOND_US, tells_candle_ends=False, begins=_CANDLES),
    rows=mexc_rows.SPOT,
    chain=_VERSIONS,
    voice=SpotVoice,
)
PERP = Dialect(
    exchange="mexc",
    market="perp",
    keep_alive=mexc_protocol.KEEP_ALIVE,
    listings=partial(listings, "perp"),
    rhythm=Rhythm(
        candle_us=SECOND_US,
        tells_candle_ends=False,
        ticker_us=SECOND_US,
        regular_us={"funding": 60 * SECOND_US},
        begins=_CANDLES | {"quote", "full_ticker", "funding"},
    ),
    rows=mexc_rows.PERP,
    chain=re.compile(rb'"version":(?P<first_sequence>(?P<last_sequence>\d+))'),
    voice=ContractVoice,
)
