"""Pages of the generated exchanges' history, read by the parsers that refill: each row equals the market's own."""

from __future__ import annotations

from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

import pytest

from schemas.frames import RawFrame
from schemas.records import Candle, Instrument
from services.exchange_simulator.generator import deribit_history
from services.exchange_simulator.generator.feed import Feed
from services.shared.exchanges.declaration import Listing
from services.shared.exchanges.history import INTERVAL_US, MINUTE_US
from services.shared.exchanges.known_history import history_of
from tests.generated_market import NOW_US, build

SYMBOL = "BTC-USD-PERP"


def listing(exchange_symbol: str) -> Listing:
    item = Instrument(
        exchange="deribit",
        market="perp",
        symbol=SYMBOL,
        timestamp=1,
        timestamp_source="received",
        received_at=1,
        source="live",
        exchange_symbol=exchange_symbol,
        base="BTC",
        quote="USD",
        asset="BTC",
        multiplier="1",
        status="trading",
        contract_size="10",
        contract_kind="inverse",
    )
    return Listing([item])


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Feed:
    venue = build(tmp_path_factory.mktemp("deribit"), "deribit", symbols=("BTC",), events_per_s=20.0)["perp"]
    return next(feed for feed in venue.feeds.values() if "BTC" in feed.market.listing.wire_symbol)


@pytest.mark.parametrize("interval", ["1m", "5m", "30m"])
def test_deribits_candles_equal_the_markets(feed: Feed, interval: str) -> None:
    history = history_of("deribit", "perp", "candle", interval)
    assert history is not None
    length = INTERVAL_US[interval]
    now = NOW_US + 90 * MINUTE_US
    first, last = (now // length - 3) * length, now // length * length
    path = history.path(feed.market.listing.wire_symbol, first, last, 4)
    query = dict(parse_qsl(urlsplit(path).query))
    body = f'{{"jsonrpc":"2.0","result":{deribit_history.candles(feed, query, now)}}}'.encode()
    frame = RawFrame(
        exchange="deribit",
        market="perp",
        channel=history.name,
        symbol=SYMBOL,
        collector="c",
        connection="b",
        number=1,
        received_at=now,
        origin="backfill",
        body=body,
        requested_at=now,
    )
    found = history.parse(frame, listing(feed.market.listing.wire_symbol))
    assert [row.timestamp for row in found if isinstance(row, Candle)] == [first, first + length, first + 2 * length]
    tick, digits = feed.market.listing.tick_units, feed.market.listing.price_digits
    for row in found:
        assert isinstance(row, Candle) and (row.source, row.interval, row.closed) == ("backfill", interval, True)
        bar = feed.candles.between(row.timestamp, row.timestamp + length)
        for told, name in zip(
            (row.open_price, row.high_price, row.low_price, row.close_price),
            ("open", "high", "low", "close"),
            strict=True,
        ):
            assert Decimal(told) == Decimal(getattr(bar, name) * tick).scaleb(-digits), name
