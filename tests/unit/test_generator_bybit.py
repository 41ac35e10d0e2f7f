"""What is Bybit's own among the generated markets: control protocol, ticker deltas, pages of history, refusals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.exchange_simulator.bybit_protocol import LINEAR, MOST_CHARACTERS, SPOT, Control
from services.exchange_simulator.generator.bybit_listings import listings
from services.exchange_simulator.generator.names import assets
from services.exchange_simulator.generator.venue import GeneratedVenue
from services.exchange_simulator.venue import Refused
from tests.generated_market import NOW_US, SECOND_US, build, get, play

HOUR_US = 3_600 * SECOND_US
LINEAR_BTC: dict[str, Any] = {"category": "linear", "symbol": "BTCUSDT"}


@pytest.fixture(scope="module")
def venues(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, GeneratedVenue]:
    return build(tmp_path_factory.mktemp("bybit"), "bybit", symbols=("BTC", "PEPE", "SHIB"), events_per_s=60.0)


def test_a_thousand_assets_have_names_of_their_own_and_fine_prices() -> None:
    chosen = assets(1, 1_000)
    for market in ("spot", "perp"):
        listed = listings(market, chosen, 1_000.0, NOW_US)
        assert len({listing.wire_symbol for listing in listed}) == len({listing.symbol for listing in listed}) == 1_000
        assert all(listing.base_ticks >= 900 for listing in listed)
        assert all(listing.contract_size is None for listing in listed)


def test_small_coins_are_perpetuals_by_the_thousand() -> None:
    found = {
        (market, one.wire_symbol): one.multiplier
        for market in ("spot", "perp")
        for one in listings(market, assets(1, ("PEPE", "SHIB")), 100.0, NOW_US)
    }
    assert found == {
        ("spot", "PEPEUSDT"): 1,
        ("spot", "SHIBUSDT"): 1,
        ("perp", "1000PEPEUSDT"): 1_000,
        ("perp", "SHIB1000USDT"): 1_000,
    }


def said(control: Control, message: object) -> dict[str, Any]:
    (reply,) = control.receive(json.dumps(message).encode()).replies
    found: dict[str, Any] = json.loads(reply)
    assert found.pop("conn_id")
    return found


def test_one_answer_to_each_request_in_the_markets_own_words() -> None:
    spot, linear = Control(SPOT, SPOT.path, {"BTCUSDT"}, 1), Control(LINEAR, LINEAR.path, {"BTCUSDT"}, 2)
    asked = {"req_id": "7", "op": "subscribe", "args": ["tickers.BTCUSDT", "orderbook.1.BTCUSDT"]}
    assert said(spot, asked) == {"success": True, "ret_msg": "subscribe", "req_id": "7", "op": "subscribe"}
    assert said(linear, asked) == {"success": True, "ret_msg": "", "req_id": "7", "op": "subscribe"}
    assert list(spot.topics) == list(linear.topics) == asked["args"]
    assert said(linear, {"op": "ping"}) == {"success": True, "ret_msg": "pong", "req_id": "", "op": "ping"}
    change = linear.receive(json.dumps({"op": "unsubscribe", "args": ["tickers.BTCUSDT", "kline.1.BTCUSDT"]}).encode())
    assert change.removed == ("tickers.BTCUSDT",)
    assert linear.receive(json.dumps(asked).encode()).added == ("tickers.BTCUSDT",)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["tickers.BTCUSDT", "tickers.NOPEUSDT"], "Invalid symbol :[tickers.NOPEUSDT]"),
        (["orderbook.500.BTCUSDT"], "Invalid symbol :[orderbook.500.BTCUSDT]"),
        (["allLiquidation.BTCUSDT"], "Invalid symbol :[allLiquidation.BTCUSDT]"),
        ([f"kline.{name}.BTCUSDT" for name in "1 3 5 15 30 60 120 240 360 720 D".split()], "args size >10"),
        ([], "Params Error"),
        ([1], "Params Error"),
    ],
)
def test_one_bad_topic_fails_the_whole_request(args: list[Any], text: str) -> None:
    control = Control(SPOT, SPOT.path, {"BTCUSDT"}, 1)
    answer = said(control, {"req_id": "1", "op": "subscribe", "args": args})
    assert (answer["success"], answer["ret_msg"]) == (False, text)
    assert not control.topics


def test_topics_of_a_connection_have_so_many_characters_together() -> None:
    symbols = [f"COIN{number:04d}USDT" for number in range(1_000)]
    control = Control(LINEAR, LINEAR.path, set(symbols), 1)
    topics = [f"publicTrade.{symbol}" for symbol in symbols]
    fitting = MOST_CHARACTERS // len(topics[0])
    assert said(control, {"op": "subscribe", "args": topics[:fitting]})["success"]
    assert not said(control, {"op": "subscribe", "args": topics[fitting : fitting + 1]})["success"]
    assert len(control.topics) == fitting


def test_what_is_no_request_is_refused_and_another_path_is_not_served() -> None:
    control = Control(SPOT, SPOT.path, {"BTCUSDT"}, 1)
    for message in (b"{", b"[]", b'{"op":"auth"}'):
        (reply,) = control.receive(message).replies
        assert json.loads(reply)["success"] is False
    with pytest.raises(Refused, match="/v5/public/linear"):
        Control(SPOT, LINEAR.path, {"BTCUSDT"}, 1)


def test_ticker_deltas_make_the_whole_that_every_hearer_has(venues: Mapping[str, GeneratedVenue]) -> None:
    """Who comes later begins with what was told last, and hears the same changes from there on."""
    venue = venues["perp"]
    early = venue.connect("/v5/public/linear", "", NOW_US)
    early.receive(b'{"op":"subscribe","args":["tickers.BTCUSDT"]}', NOW_US)
    first = list(play(early, NOW_US, 10))
    late = venue.connect("/v5/public/linear", "", NOW_US + 10_500_000)
    late.receive(b'{"op":"subscribe","args":["tickers.BTCUSDT"]}', NOW_US + 10_500_000)
    rest = list(play(early, NOW_US + 10_500_000, 20))
    wholes: list[dict[str, str]] = []
    for frames in ([*first, *rest], list(play(late, NOW_US + 10_500_000, 20))):
        whole: dict[str, str] = {}
        kinds = []
        for _, body in frames:
            frame = json.loads(body)
            kinds.append(frame["type"])
            whole |= frame["data"]
        assert kinds == ["snapshot"] + ["delta"] * (len(kinds) - 1)
        assert len(kinds) > 5
        wholes.append(whole)
    assert wholes[0] == wholes[1]
    row = get(venue, "/v5/market/tickers", NOW_US + 30_400_000, **LINEAR_BTC)["result"]["list"][0]
    assert row.keys() == wholes[0].keys()
    assert row["openInterest"] == format(2 * Decimal(row["singleOpenInterest"]), "f")
    early.close(NOW_US)
    late.close(NOW_US)


def test_contracts_are_listed_in_pages(venues: Mapping[str, GeneratedVenue]) -> None:
    path = "/v5/market/instruments-info"
    query: dict[str, Any] = {"category": "linear", "limit": 2}
    first = get(venues["perp"], path, **query)["result"]
    second = get(venues["perp"], path, cursor=first["nextPageCursor"], **query)["result"]
    assert second["nextPageCursor"] == ""
    names = [row["symbol"] for page in (first, second) for row in page["list"]]
    assert names == ["BTCUSDT", "1000PEPEUSDT", "SHIB1000USDT"]
    assert "nextPageCursor" not in get(venues["spot"], path, category="spot", limit=2)["result"]


def test_statistics_come_newest_first_and_page_by_page(venues: Mapping[str, GeneratedVenue]) -> None:
    path = "/v5/market/account-ratio"
    query: dict[str, Any] = {**LINEAR_BTC, "period": "5min"}
    span: dict[str, Any] = {"startTime": (NOW_US - HOUR_US) // 1_000, "endTime": NOW_US // 1_000}
    whole = get(venues["perp"], path, limit=500, **query, **span)["result"]
    assert len(whole["list"]) == 12
    assert whole["nextPageCursor"] == ""
    times = [int(row["timestamp"]) for row in whole["list"]]
    assert times == sorted(times, reverse=True)
    assert all(Decimal(row["buyRatio"]) + Decimal(row["sellRatio"]) == 1 for row in whole["list"])
    pages, cursor = [], ""
    for _ in range(3):
        page = get(venues["perp"], path, limit=5, cursor=cursor, **query, **span)["result"]
        pages += page["list"]
        cursor = page["nextPageCursor"]
    assert cursor == ""
    assert pages == whole["list"]
    rates = get(venues["perp"], "/v5/market/funding/history", limit=3, **LINEAR_BTC)["result"]["list"]
    assert [int(row["fundingRateTimestamp"]) % (8 * 3_600_000) for row in rates] == [0, 0, 0]


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("tickers", {"category": "spot"}, 10001),
        ("tickers", {"category": "linear", "symbol": "NOPEUSDT"}, 10001),
        ("kline", {**LINEAR_BTC, "interval": "7"}, 10001),
        ("kline", {**LINEAR_BTC, "interval": "1", "limit": "x"}, 10001),
        ("account-ratio", {**LINEAR_BTC, "period": "2min"}, 10001),
        ("funding/history", {**LINEAR_BTC, "startTime": "1"}, 10001),
    ],
)
def test_refusals_have_status_200(
    venues: Mapping[str, GeneratedVenue], path: str, query: dict[str, str], code: int
) -> None:
    answer = venues["perp"].get(f"/v5/market/{path}", query, NOW_US)
    assert (answer.status, json.loads(answer.body)["retCode"]) == (200, code)
    assert venues["perp"].get("/v5/market/nothing", {}, NOW_US).status == 404


def test_who_asks_too_much_is_shut_out(tmp_path: Path) -> None:
    venue = build(tmp_path, "bybit", symbols=("BTC",))["spot"]
    asked = [venue.get("/v5/market/time", {}, NOW_US + number).status for number in range(601)]
    assert asked == [200] * 600 + [403]
    assert venue.get("/v5/market/time", {}, NOW_US + 5_000_000).status == 200
