"""What is Gate.io's own among the generated markets: contracts, pages of history, statistics, limits and refusals."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.exchange_simulator.generator.gateio_listings import listings
from services.exchange_simulator.generator.names import assets
from services.exchange_simulator.generator.venue import GeneratedVenue
from tests.generated_market import NOW_US, SECOND_US, build, decode, get

NOW_S = NOW_US // SECOND_US
HOUR_S = 3_600
PREFIX = {"spot": "/api/v4/spot", "perp": "/api/v4/futures/usdt"}
NAMED = {"spot": {"currency_pair": "BTC_USDT"}, "perp": {"contract": "BTC_USDT"}}


@pytest.fixture(scope="module")
def venues(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, GeneratedVenue]:
    return build(tmp_path_factory.mktemp("gateio"), "gateio", symbols=("BTC", "ETH"), events_per_s=60.0)


def test_a_thousand_assets_have_names_of_their_own_and_contracts_worth_some_dollars() -> None:
    chosen = assets(1, 1_000)
    for market in ("spot", "perp"):
        listed = listings(market, chosen, 1_000.0, NOW_US)
        assert len({listing.wire_symbol for listing in listed}) == len({listing.symbol for listing in listed}) == 1_000
        for listing in listed:
            assert listing.base_ticks >= 900, listing.wire_symbol
            assert Decimal(listing.tick_size).as_tuple().exponent == -listing.price_digits or listing.tick_size == "1"
    worth = {one.wire_symbol: one.step_value for one in listings("perp", chosen, 1_000.0, NOW_US)}
    assert all(0.1 <= value <= 200.0 for value in worth.values()), {
        n: v for n, v in worth.items() if not 0.1 <= v <= 200
    }


@pytest.mark.parametrize("market", ["spot", "perp"])
def test_pages_of_trades_go_back_without_a_hole_or_a_double(venues: Mapping[str, GeneratedVenue], market: str) -> None:
    span: dict[str, Any] = {"from": NOW_S - 600, "to": NOW_S - 1, **NAMED[market]}
    path = f"{PREFIX[market]}/trades"
    whole = get(venues[market], path, limit=1000, **span)
    assert 100 < len(whole) < 1000
    assert [int(row["id"]) for row in whole] == sorted({int(row["id"]) for row in whole}, reverse=True)
    assert all(NOW_S - 600 <= float(row["create_time"]) < NOW_S for row in whole)
    if market == "spot":
        pages = [get(venues[market], path, limit=50, page=page, **span) for page in range(1, len(whole) // 50 + 2)]
    else:
        pages = [get(venues[market], path, limit=50, offset=place, **span) for place in range(0, len(whole) + 1, 50)]
    assert [row for page in pages for row in page] == whole


@pytest.mark.parametrize("market", ["spot", "perp"])
def test_candles_are_asked_for_by_number_or_time_and_the_last_one_runs(
    venues: Mapping[str, GeneratedVenue], market: str
) -> None:
    path, name = f"{PREFIX[market]}/candlesticks", NAMED[market]
    times = lambda rows: [int(row[0] if market == "spot" else row["t"]) for row in rows]  # noqa: E731 - two forms of rows
    newest = get(venues[market], path, interval="5m", limit=4, **name)
    running = NOW_S // 300 * 300
    assert times(newest) == [running - 900, running - 600, running - 300, running]
    between = get(venues[market], path, interval="5m", **name, **{"from": running - 900, "to": running})
    assert between == newest
    if market == "spot":
        assert [row[7] for row in newest] == ["true", "true", "true", "false"]
    assert times(get(venues[market], path, interval="1m", **name)) == list(
        range(NOW_S // 60 * 60 - 99 * 60, NOW_S // 60 * 60 + 1, 60)
    )


def test_funding_is_settled_every_eight_hours_newest_first(venues: Mapping[str, GeneratedVenue]) -> None:
    path = f"{PREFIX['perp']}/funding_rate"
    rows = get(venues["perp"], path, limit=3, **NAMED["perp"])
    last = NOW_S // (8 * HOUR_S) * 8 * HOUR_S
    assert [row["t"] for row in rows] == [last, last - 8 * HOUR_S, last - 16 * HOUR_S]
    assert all(abs(Decimal(row["r"])) < Decimal("0.001") for row in rows)
    window = {"from": last - 8 * HOUR_S, "to": last - 1}
    assert get(venues["perp"], path, **NAMED["perp"], **window) == [rows[1]]


def test_statistics_are_of_finished_periods_and_of_both_ratios(venues: Mapping[str, GeneratedVenue]) -> None:
    venue, path = venues["perp"], f"{PREFIX['perp']}/contract_stats"
    rows = get(venue, path, interval="5m", limit=3, **NAMED["perp"])
    assert [row["time"] for row in rows] == [NOW_S // 300 * 300 - back for back in (600, 300, 0)]
    feed = venue.feeds["BTC_USDT"]
    for row in rows:
        at_us = row["time"] * SECOND_US
        assert row["open_interest"] == feed.statistics.open_interest(at_us)
        assert row["top_lsr_size"] * 10_000 == pytest.approx(feed.statistics.ratio("top_positions", at_us).quotient)
        assert row["lsr_account"] * 10_000 == pytest.approx(feed.statistics.ratio("all_accounts", at_us).quotient)
    assert len({row["top_lsr_size"] for row in rows} | {row["lsr_account"] for row in rows}) == 6
    since = get(venue, path, interval="1h", limit=2, **NAMED["perp"], **{"from": NOW_S - 5 * HOUR_S})
    first = -(-(NOW_S - 5 * HOUR_S) // HOUR_S) * HOUR_S
    assert [row["time"] for row in since] == [first, first + HOUR_S]


def test_liquidated_orders_are_those_of_the_statistics(venues: Mapping[str, GeneratedVenue]) -> None:
    venue = venues["perp"]
    end = NOW_S // 300 * 300
    orders = get(
        venue, f"{PREFIX['perp']}/liq_orders", limit=1000, **NAMED["perp"], **{"from": end - 300, "to": end - 1}
    )
    assert orders == sorted(orders, key=lambda row: -row["time"])
    (row,) = get(venue, f"{PREFIX['perp']}/contract_stats", interval="5m", limit=1, **NAMED["perp"])
    assert row["long_liq_size"] == sum(order["size"] for order in orders if order["size"] > 0) > 0
    assert row["short_liq_size"] == -sum(order["size"] for order in orders if order["size"] < 0)
    assert all(order["size"] == -order["order_size"] for order in orders)


@pytest.mark.parametrize(
    ("market", "path", "query", "label"),
    [
        ("spot", "trades", {}, "MISSING_REQUIRED_PARAM"),
        ("spot", "trades", {"currency_pair": "NOPE_USDT"}, "INVALID_CURRENCY_PAIR"),
        ("perp", "trades", {"contract": "NOPE_USDT"}, "CONTRACT_NOT_FOUND"),
        ("spot", "trades", {"currency_pair": "BTC_USDT", "limit": "1001"}, "INVALID_PARAM_VALUE"),
        ("perp", "candlesticks", {"contract": "BTC_USDT", "interval": "2m"}, "INVALID_PARAM_VALUE"),
        ("perp", "candlesticks", {"contract": "BTC_USDT", "limit": "5", "from": "1"}, "INVALID_PARAM_VALUE"),
        ("spot", "candlesticks", {"currency_pair": "BTC_USDT", "interval": "1m", "from": "1"}, "INVALID_PARAM_VALUE"),
        ("perp", "contract_stats", {"contract": "BTC_USDT", "interval": "2m"}, "INVALID_PARAM_VALUE"),
        ("perp", "liq_orders", {"contract": "BTC_USDT", "from": "1", "to": "9000"}, "INVALID_PARAM_VALUE"),
        ("perp", "funding_rate", {"contract": "BTC_USDT", "from": "yesterday"}, "INVALID_PARAM_VALUE"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_the_exchanges_words(
    venues: Mapping[str, GeneratedVenue], market: str, path: str, query: dict[str, str], label: str
) -> None:
    answer = venues[market].get(f"{PREFIX[market]}/{path}", query, NOW_US)
    assert (answer.status, decode(answer.body)["label"]) == (400, label)


def test_an_endpoint_answers_two_hundred_times_in_ten_seconds(tmp_path: Path) -> None:
    venue = build(tmp_path, "gateio", symbols=("BTC",))["spot"]
    path = f"{PREFIX['spot']}/order_book"

    def asked(now_us: int) -> int:
        return venue.get(path, {"currency_pair": "BTC_USDT", "limit": "1"}, now_us).status

    assert [asked(NOW_US) for _ in range(201)] == [200] * 200 + [429]
    assert venue.get("/api/v4/spot/time", {}, NOW_US).status == 200
    assert asked(NOW_US + 11 * SECOND_US) == 200
