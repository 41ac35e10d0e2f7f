"""Deribit's perpetuals, futures and options as dialects of the generator.

Streams are the exchange's channels. Silent though acknowledged are those that no market here speaks on: grouped books,
`agg2` but of trades, `perpetual`, `incremental_ticker`, price indices, states. A book stream keeps the best levels up
to date: a level that comes into view is `new`, one that goes out of it is deleted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from services.exchange_simulator import deribit_protocol
from services.exchange_simulator.generator import deribit_listings
from services.exchange_simulator.generator.deribit_frames import Encoder
from services.exchange_simulator.generator.deribit_history import RESOLUTIONS
from services.exchange_simulator.generator.deribit_rest import BOOK_LEVELS, GeneratedRest
from services.exchange_simulator.generator.deribit_rows import ROWS
from services.exchange_simulator.generator.deribit_speakers import SecondsOfTrades, VolatilityIndices
from services.exchange_simulator.generator.deribit_volatility import Indices
from services.exchange_simulator.generator.dialect import Dialect, Heard, Speaker, Talk
from services.exchange_simulator.generator.events import Message
from services.exchange_simulator.generator.feed import Feed, Rhythm
from services.exchange_simulator.generator.source import SECOND_US
from services.exchange_simulator.venue import Answer

_STREAM = re.compile(
    r"(?P<kind>trades|book|ticker)\.(?P<name>[^.]+)\.(?P<interval>100ms|agg2)"
    r"|quote\.(?P<quoted>[^.]+)"
    r"|chart\.trades\.(?P<charted>[^.]+)\.(?P<resolution>[0-9]+|1D)"
    r"|deribit_volatility_index\.(?P<index>[a-z]+_usd)"
)
_CHAIN = re.compile(rb'"prev_change_id":(?P<previous_sequence>(?P<first_sequence>\d+))')
_TOPICS = {("trades", "100ms"): "trade", ("book", "100ms"): "book", ("ticker", "100ms"): "full_ticker"}

_SECONDS = "agg2"
_VOLATILITY = "volatility"


class DeribitTalk(Talk):
    """One connection's side of Deribit's control protocol."""

    def __init__(self, control: deribit_protocol.Control) -> None:
        self._control = control

    def receive(self, message: bytes, now_us: int) -> deribit_protocol.Change:
        """Take one request."""
        return self._control.receive(message, now_us)

    def streams(self) -> Sequence[str]:
        """Return the channels subscribed."""
        return list(self._control.channels)

    def due_us(self) -> int | None:
        """When the client is asked for a sign of life again, if it wants to be."""
        return self._control.beat_due_us()

    def due(self, now_us: int) -> Sequence[bytes]:
        """Return that question when it is due. Raises Closing when the last one had no answer."""
        return self._control.beat(now_us)


class DeribitVoice:
    """One Deribit market's words."""

    def __init__(self, feeds: Mapping[str, Feed]) -> None:
        self._feeds = feeds
        self._encoder = Encoder(feeds)
        indices = Indices(feeds)
        self._rest = GeneratedRest(feeds, self._encoder, indices)
        self.speakers: Mapping[str, Speaker] = {
            _SECONDS: SecondsOfTrades(feeds),
            _VOLATILITY: VolatilityIndices(indices),
        }

    def connect(self, path: str, query: str, number: int, now_us: int) -> Talk:
        """Open a connection. Raises Refused for another path."""
        return DeribitTalk(deribit_protocol.Control(path, self._feeds))

    def heard(self, stream: str) -> Sequence[Heard]:
        """Return what a channel is about."""
        match = _STREAM.fullmatch(stream)
        if match is None:
            return ()
        if match["quoted"]:
            return (Heard(match["quoted"], "quote"),)
        if match["index"]:
            return (Heard(_VOLATILITY, match["index"]),)
        if match["charted"]:
            interval = RESOLUTIONS.get(match["resolution"])
            return () if interval is None else (Heard(match["charted"], f"candle_{interval}"),)
        if (match["kind"], match["interval"]) == ("trades", "agg2"):
            return (Heard(_SECONDS, match["name"]),)
        topic = _TOPICS.get((match["kind"], match["interval"]))
        return () if topic is None else (Heard(match["name"], topic),)

    def payload(self, message: Message, stream: str) -> bytes:
        """Return a message as a notification of its channel."""
        return self._encoder.payload(message, stream)

    def get(self, path: str, query: Mapping[str, str], now_us: int) -> Answer:
        """Answer a GET."""
        return self._rest.get(path, query, now_us)


_RHYTHM = Rhythm(
    candle_us=SECOND_US,
    tells_candle_ends=False,
    ticker_us=SECOND_US,
    book_depth=BOOK_LEVELS,
    begins=frozenset({"book", "quote", "full_ticker"}),
)
PERP = Dialect(
    exchange="deribit",
    market="perp",
    keep_alive=deribit_protocol.KEEP_ALIVE,
    listings=deribit_listings.perpetuals,
    rhythm=_RHYTHM,
    rows=ROWS,
    chain=_CHAIN,
    voice=DeribitVoice,
)
FUTURE = Dialect(
    exchange="deribit",
    market="future",
    keep_alive=deribit_protocol.KEEP_ALIVE,
    listings=deribit_listings.futures,
    rhythm=_RHYTHM,
    rows=ROWS,
    chain=_CHAIN,
    voice=DeribitVoice,
)
OPTION = Dialect(
    exchange="deribit",
    market="option",
    keep_alive=deribit_protocol.KEEP_ALIVE,
    listings=deribit_listings.options,
    rhythm=_RHYTHM,
    rows=ROWS,
    chain=_CHAIN,
    voice=DeribitVoice,
    prices=deribit_listings.prices,
)
