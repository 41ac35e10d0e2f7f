"""OKX, spot, perpetuals and dated futures, as dialects of the generator.

Mark prices come every second instead of every 200 ms; else intervals are the exchange's own. Silent though acknowledged
are `books5`, `price-limit`, `instruments`, `status`, and candles of mark and index prices.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial

from services.exchange_simulator import okx_protocol
from services.exchange_simulator.generator import okx_rows
from services.exchange_simulator.generator.candles import INTERVALS_US
from services.exchange_simulator.generator.dialect import EVERY, Dialect, Heard, Speaker, Talk
from services.exchange_simulator.generator.events import Message
from services.exchange_simulator.generator.feed import Feed, Rhythm
from services.exchange_simulator.generator.okx_figures import KINDS
from services.exchange_simulator.generator.okx_frames import Encoder
from services.exchange_simulator.generator.okx_listings import listings
from services.exchange_simulator.generator.okx_rest import BARS, GeneratedRest
from services.exchange_simulator.generator.source import SECOND_US
from services.exchange_simulator.venue import Answer

_TOPICS = {
    "trades": "trade",
    "trades-all": "fill",
    "books": "book",
    "bbo-tbt": "quote",
    "tickers": "ticker",
    "mark-price": "mark",
    "funding-rate": "funding",
    "open-interest": "open_interest",
}
_CANDLE = "candle"
_LIQUIDATIONS = "liquidation-orders"
_INDICES = "index-tickers"
_BOOK_LEVELS = 400
_BEGINS = frozenset(
    {"book", "quote", "ticker", "mark", "index", "funding", "open_interest"}
    | {f"candle_{interval}" for interval in INTERVALS_US}
)


class OkxTalk(Talk):
    """One connection's side of OKX's control protocol."""

    def __init__(self, control: okx_protocol.Control) -> None:
        self._control = control

    def receive(self, message: bytes, now_us: int) -> okx_protocol.Change:
        """Take one text message. Raises Closing for one that is too large."""
        return self._control.receive(message, now_us)

    def streams(self) -> Sequence[str]:
        """Return the streams asked for."""
        return list(self._control.streams)


class _Known:
    """The instruments and indices that may be named in a request."""

    def __init__(self, feeds: Mapping[str, Feed]) -> None:
        self._feeds = feeds

    def __contains__(self, name: object) -> bool:
        return name in self._feeds or any(name == index_of(feed) for feed in self._feeds.values())


def index_of(feed: Feed) -> str:
    """Return the name of the index that an instrument follows."""
    return f"{feed.market.listing.base}-{feed.market.listing.quote}"


class OkxVoice:
    """One OKX market's words."""

    def __init__(self, market: str, feeds: Mapping[str, Feed]) -> None:
        self._market = market
        self._feeds = feeds
        self._known = _Known(feeds)
        self._encoder = Encoder()
        self._rest = GeneratedRest(market, feeds, self._encoder)
        self.speakers: Mapping[str, Speaker] = {}

    def connect(self, path: str, query: str, number: int, now_us: int) -> Talk:
        """Open a connection on the exchange's path. Raises Refused."""
        return OkxTalk(okx_protocol.Control(path, self._known, now_us))

    def heard(self, stream: str) -> Sequence[Heard]:
        """Return what a stream `<channel>:<instrument, index or type>` is about."""
        channel, _, about = stream.partition(":")
        if channel == _LIQUIDATIONS:
            return (Heard(EVERY, "liquidation"),) if about == KINDS[self._market] else ()
        if channel == _INDICES:
            # An index is told once, by the first instrument that follows it.
            named = (name for name, feed in self._feeds.items() if index_of(feed) == about)
            return tuple(Heard(name, "index") for name in list(named)[:1])
        if channel.startswith(_CANDLE):
            interval = BARS.get(channel.removeprefix(_CANDLE))
            return () if interval is None else (Heard(about, f"candle_{interval}"),)
        topic = _TOPICS.get(channel)
        return () if topic is None else (Heard(about, topic),)

    def payload(self, message: Message, stream: str) -> bytes:
        """Return a message as pushed on a stream."""
        return self._encoder.payload(message, stream)

    def get(self, path: str, query: Mapping[str, str], now_us: int) -> Answer:
        """Answer a GET."""
        return self._rest.get(path, query, now_us)


_REGULAR_US = {"mark": SECOND_US, "index": SECOND_US, "open_interest": 3 * SECOND_US}
SPOT, PERP, FUTURE = (
    Dialect(
        exchange="okx",
        market=market,
        keep_alive=okx_protocol.KEEP_ALIVE,
        listings=partial(listings, market),
        rhythm=Rhythm(
            candle_us=SECOND_US,
            ticker_us=SECOND_US,
            regular_us=regular_us,
            liquidations=market != "spot",
            book_depth=_BOOK_LEVELS,
            begins=_BEGINS,
        ),
        rows=okx_rows.SPOT if market == "spot" else okx_rows.CONTRACTS,
        chain=re.compile(rb'"prevSeqId":(?P<previous_sequence>\d+)'),
        voice=partial(OkxVoice, market),
    )
    for market, regular_us in (
        ("spot", dict[str, int]()),
        ("perp", {**_REGULAR_US, "funding": 60 * SECOND_US}),
        ("future", _REGULAR_US),
    )
)
