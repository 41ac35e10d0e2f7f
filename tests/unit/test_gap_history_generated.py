"""Pages of every generated exchange's history, read by the parsers that refill: each row equals the market's own.

What is due is the simulator's ledger row, made from the market and not from the answer.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from benchmarks.outages import truth
from schemas.frames import RawFrame
from schemas.records import FundingRate, LongShortRatio, OpenInterest, Record
from services.exchange_simulator.generator.statistics import FUNDING_INTERVAL_US, RATIO_DIGITS
from services.shared.exchanges.declaration import Listing
from services.shared.exchanges.history import INTERVAL_US, History
from services.shared.exchanges.known_history import HISTORIES
from services.shared.exchanges.registry import MARKETS
from tests.generated_market import NOW_US, build
from tests.generated_parsed import listing_of

EVENTS_PER_S = 20.0
HOUR_US = INTERVAL_US["1h"]
ROWS = 3
RATIOS = {"lsr_top_position": "top_positions", "lsr_all_account": "all_accounts"}
FUNDING_SCALE = {"deribit": (125, 11)}
"""Of the rate of eight hours, in 10^-8, an exchange tells so much, in 10^-n: Deribit an eighth, every hour."""


class Rig(NamedTuple):
    """A generated market to be asked, and its truth."""

    exchange: str
    market: str
    venue: Any
    listing: Listing
    instrument: truth.Instrument
    symbol: str

    def ask(self, history: History, first: int, last: int, count: int) -> list[Record]:
        """Ask for a page as gap-backfill does, and parse it."""
        path = history.path(self.listing.by_symbol[self.symbol].exchange_symbol, first, last, count)
        split = urlsplit(path)
        answer = self.venue.get(split.path, dict(parse_qsl(split.query)), NOW_US)
        assert answer.status == 200, (path, answer.body)
        fields: dict[str, Any] = {"collector": "c", "connection": "b", "number": 1, "origin": "backfill"}
        frame = RawFrame(
            exchange=self.exchange,
            market=self.market,
            channel=history.name,
            symbol=self.symbol,
            received_at=NOW_US,
            body=answer.body,
            requested_at=NOW_US,
            **fields,
        )
        found = [row for row in history.parse(frame, self.listing) if isinstance(row, Record)]
        assert {(row.source, row.symbol, row.received_at) for row in found} <= {("backfill", self.symbol, NOW_US)}
        return sorted(found, key=lambda row: row.timestamp)


@pytest.fixture(scope="module", params=sorted(key for key in HISTORIES if key[1] in ("spot", "perp")), ids=".".join)
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Rig:
    exchange, market = request.param
    folder = tmp_path_factory.mktemp(exchange)
    settings = {"symbols": ("BTC",), "events_per_s": EVENTS_PER_S, "markets": (market,)}
    venue = build(folder, exchange, **settings)[market]
    known = truth.instruments(folder, exchanges=(exchange,), **settings)
    listing = listing_of(venue, MARKETS[exchange, market])
    symbol = min(key[2] for key in known)
    return Rig(exchange, market, venue, listing, known[exchange, market, symbol], symbol)


def histories(rig: Rig, kind: str) -> list[History]:
    return [one for one in HISTORIES[rig.exchange, rig.market].values() if one.kind == kind]


def stored(rows: list[Record]) -> list[dict[str, Any]]:
    """Return rows as a table has them."""
    return [msgspec.structs.asdict(row) for row in rows]


def test_trades(rig: Rig) -> None:
    for history in histories(rig, "trade"):
        market = rig.instrument.feed.market
        number = market.first_trade_from(NOW_US - 60_000_000)
        ends = market.trade(number), market.trade(number + 20)
        first, last = (ends[0].first_id, ends[1].last_id) if history.spans else (number, number + 20)
        rows = rig.ask(history, first, last, last - first + 1)
        rows.sort(key=lambda row: history.key(row))
        assert [history.key(row) for row in rows] == list(range(first, last + 1))
        count = truth.trades(rig.instrument, stored(rows))
        assert (count.lost, count.wrong, count.doubled) == ([], [], 0)
        assert count.due == count.refilled == last - first + 1


def test_candles_of_every_interval(rig: Rig) -> None:
    assert histories(rig, "candle")
    for history in histories(rig, "candle"):
        assert history.interval is not None
        length = INTERVAL_US[history.interval]
        end = NOW_US // length * length
        rows = rig.ask(history, end - ROWS * length, end, ROWS + 1)
        assert [row.timestamp for row in rows] == [end - back * length for back in (3, 2, 1)], "closed ones only"
        count = truth.candles(rig.instrument, history.interval, stored(rows), end - ROWS * length, end)
        assert (count.due, count.lost, count.wrong) == (ROWS, [], [])
        assert all(row.quote_volume is not None for row in rows)  # type: ignore[attr-defined]


def test_settled_funding(rig: Rig) -> None:
    for history in histories(rig, "funding_rate"):
        period = history.step_us if history.keyed == "grid" else FUNDING_INTERVAL_US
        end = NOW_US // period * period
        rows = [row for row in rig.ask(history, end - 2 * period, end, 3) if isinstance(row, FundingRate)]
        assert [row.timestamp for row in rows] == [end - 2 * period, end - period, end]
        share, digits = FUNDING_SCALE.get(rig.exchange, (1, 8))
        for row in rows:
            rate = rig.instrument.feed.statistics.funding_rate(row.timestamp) * share
            due = Decimal(rate).scaleb(-digits)
            places = Decimal(row.rate).as_tuple().exponent
            assert isinstance(places, int) and row.rate_kind == "settled"
            assert abs(Decimal(row.rate) - due) * 2 <= Decimal(1).scaleb(places), "rounded by the exchange at most"
            assert places <= -6


def test_statistics_of_five_minutes(rig: Rig) -> None:
    period = INTERVAL_US["5m"]
    end = (NOW_US - period) // period * period
    told = rig.instrument.feed.statistics
    for history in (*histories(rig, "lsr_top_position"), *histories(rig, "lsr_all_account")):
        rows = [one for one in rig.ask(history, end - 2 * period, end, 3) if isinstance(one, LongShortRatio)]
        assert [row.timestamp for row in rows if row.timestamp <= end] == [end - 2 * period, end - period, end]
        for row in rows:
            due = told.ratio(RATIOS[history.kind], row.timestamp)
            said = {"long_ratio": due.long, "short_ratio": due.short, "long_short_ratio": due.quotient}
            have = {name: getattr(row, name) for name in said if getattr(row, name) is not None}
            assert have and row.period == "5m"
            # Bybit tells no quotient: of its shares it has more digits than others tell.
            assert {name: int(Decimal(value).scaleb(RATIO_DIGITS)) for name, value in have.items()} == {
                name: said[name] for name in have
            }


def test_open_interest_of_five_minutes(rig: Rig) -> None:
    period = INTERVAL_US["5m"]
    end = (NOW_US - period) // period * period
    told, listing = rig.instrument.feed.statistics, rig.instrument.feed.market.listing
    for history in histories(rig, "open_interest"):
        rows = [one for one in rig.ask(history, end - 2 * period, end, 3) if isinstance(one, OpenInterest)]
        assert [row.timestamp for row in rows] == [end - 2 * period, end - period, end]
        for row in rows:
            steps = told.open_interest(row.timestamp) * listing.step_units
            assert Decimal(row.open_interest) == Decimal(steps).scaleb(-listing.quantity_digits)
