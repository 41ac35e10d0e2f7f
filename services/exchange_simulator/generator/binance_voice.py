"""Binance, spot and USD-M futures, as dialects of the generator."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial

from services.exchange_simulator import binance_protocol
from services.exchange_simulator.generator import binance_rows
from services.exchange_simulator.generator.binance_frames import Encoder
from services.exchange_simulator.generator.binance_listings import listings
from services.exchange_simulator.generator.binance_rest import GeneratedRest
from services.exchange_simulator.generator.dialect import EVERY, Dialect, Heard, Speaker, Talk
from services.exchange_simulator.generator.events import Bundle, Event, MarkEvent, Message
from services.exchange_simulator.generator.feed import Feed, Rhythm
from services.exchange_simulator.generator.source import SECOND_US
from services.exchange_simulator.venue import Answer

_PROTOCOLS = {"spot": binance_protocol.SPOT, "perp": binance_protocol.PERP}
_TOPICS = {
    "aggTrade": "trade",
    "trade": "fill",
    "depth@100ms": "book",
    "bookTicker": "quote",
    "ticker": "ticker",
    "miniTicker": "short_ticker",
    "markPrice@1s": "mark",
    "markPrice": "mark_slow",
    "forceOrder": "liquidation",
}
_ONLY_SPOT = frozenset({"trade"})
_KLINE = "kline_"
_MARK_ARRAY = "!markPrice@arr"
_MARK_ARRAYS = {"!markPrice@arr@1s": "mark", "!markPrice@arr": "mark_slow"}
_FORCE_ORDERS = "!forceOrder@arr"


class MarkArray:
    """The all-market mark price streams: every second, or third second, one message for all symbols."""

    topics = frozenset(_MARK_ARRAYS.values())

    def __init__(self, feeds: Mapping[str, Feed]) -> None:
        self._feeds = feeds
        self._running = False
        self._next_us = 0

    @property
    def due_us(self) -> int | None:
        """When the next message falls due, or None while nobody hears it."""
        return self._next_us if self._running else None

    def hear(self, topics: Collection[str], now_us: int) -> None:
        """Begin with the next full second, or stop."""
        if topics and not self._running:
            self._next_us = (now_us // SECOND_US + 1) * SECOND_US
        self._running = bool(topics)

    def beginning(self, topic: str, now_us: int) -> Message | None:
        """Nothing: the first message comes with the next second."""
        return None

    def take(self, heard: Collection[str]) -> Iterator[tuple[str, Message]]:
        """Yield what falls due next."""
        due_us = self._next_us
        third = due_us // SECOND_US % 3 == 0
        wanted = [topic for topic in heard if third or topic == "mark"]
        if wanted:
            marks: list[Event] = [
                MarkEvent(feed.market.listing, due_us, feed.statistics.mark(due_us)) for feed in self._feeds.values()
            ]
            bundle = Bundle(events=marks)
            yield from ((topic, bundle) for topic in wanted)
        self._next_us += SECOND_US


class BinanceTalk(Talk):
    """One connection's side of Binance's control protocol."""

    def __init__(self, control: binance_protocol.Control) -> None:
        self._control = control

    def receive(self, message: bytes, now_us: int) -> binance_protocol.Change:
        """Take one control message. Raises Closing above the message limit."""
        return self._control.receive(message, now_us)

    def streams(self) -> Sequence[str]:
        """Return the subscribed streams that this connection's route can serve."""
        return self._control.audible()

    def heard(self, now_us: int) -> None:
        """Count a ping or pong of the client. Raises Closing above the message limit."""
        self._control.heard(now_us)

    def wrap(self, stream: str, payload: bytes) -> bytes:
        """Return the payload, with its stream's name on combined connections."""
        return binance_protocol.wrap(stream, payload) if self._control.combined else payload


class BinanceVoice:
    """One Binance market's words."""

    def __init__(self, market: str, feeds: Mapping[str, Feed]) -> None:
        self._market = market
        self._protocol = _PROTOCOLS[market]
        self._encoder = Encoder()
        self._rest = GeneratedRest(market, feeds, self._encoder)
        self.speakers: Mapping[str, Speaker] = {_MARK_ARRAY: MarkArray(feeds)} if market == "perp" else {}

    def connect(self, path: str, query: str, number: int, now_us: int) -> Talk:
        """Open a connection; streams named in the URL are subscribed at once. Raises Refused."""
        return BinanceTalk(binance_protocol.Control(self._protocol, path, query))

    def heard(self, stream: str) -> Sequence[Heard]:
        """Return what a stream is about; the exchange acknowledges any name, and says nothing on wrong ones."""
        if self._market == "perp":
            if stream == _FORCE_ORDERS:
                return (Heard(EVERY, "liquidation"),)
            if stream in _MARK_ARRAYS:
                return (Heard(_MARK_ARRAY, _MARK_ARRAYS[stream]),)
        symbol, _, name = stream.partition("@")
        topic = f"candle_{name.removeprefix(_KLINE)}" if name.startswith(_KLINE) else _TOPICS.get(name)
        if topic is None or (name in _ONLY_SPOT and self._market != "spot"):
            return ()
        return (Heard(symbol.upper(), topic),)

    def payload(self, message: Message, stream: str) -> bytes:
        """Return a message's bare payload, the same on whatever stream."""
        return self._encoder.payload(message)

    def get(self, path: str, query: Mapping[str, str], now_us: int) -> Answer:
        """Answer a GET."""
        return self._rest.get(path, query, now_us)


SPOT = Dialect(
    exchange="binance",
    market="spot",
    keep_alive=binance_protocol.SPOT.keep_alive,
    listings=partial(listings, "spot"),
    rhythm=Rhythm(candle_us=2 * SECOND_US, ticker_us=SECOND_US),
    rows=binance_rows.SPOT,
    chain=re.compile(rb'"U":(?P<first_sequence>\d+)'),
    voice=partial(BinanceVoice, "spot"),
)
PERP = Dialect(
    exchange="binance",
    market="perp",
    keep_alive=binance_protocol.PERP.keep_alive,
    listings=partial(listings, "perp"),
    rhythm=Rhythm(
        candle_us=SECOND_US // 4,
        ticker_us=2 * SECOND_US,
        regular_us={"mark": SECOND_US, "mark_slow": 3 * SECOND_US},
        liquidations=True,
    ),
    rows=binance_rows.PERP,
    chain=re.compile(rb'"pu":(?P<previous_sequence>\d+)'),
    voice=partial(BinanceVoice, "perp"),
)
