"""REST answers of generated markets agree with the streams and keep the limits, windows, weights and errors."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.exchange_simulator.generator.statistics import FUNDING_INTERVAL_US
from services.exchange_simulator.generator.venue import GeneratedVenue
from tests.generated_market import NOW_US, SECOND_US, build, decode, get, messages, streams

PREFIX = {"spot": "/api/v3", "perp": "/fapi/v1"}
HOUR_MS = 3_600_000
NOW_MS = NOW_US // 1000


def refusal(venue: GeneratedVenue, path: str, now_us: int = NOW_US, **query: object) -> tuple[int, int]:
    answer = venue.get(path, {name: str(value) for name, value in query.items()}, now_us)
    return answer.status, decode(answer.body)["code"]


@pytest.mark.parametrize("market", ["spot", "perp"])
def test_past_aggregate_trades_are_the_streamed_ones(tmp_path: Path, market: str) -> None:
    venue = build(tmp_path)[market]
    session = venue.connect(
        "/stream" if market == "spot" else "/market/stream", streams(["ETHUSDT"], ["aggTrade"]), NOW_US
    )
    streamed = [data for _, data in messages(session, NOW_US, 120)]
    names = [name for name in ("a", "p", "q", "f", "l", "T", "m", "M") if name in streamed[0]]
    expected = [{name: trade[name] for name in names} for trade in streamed]
    later_us = NOW_US + 3600 * SECOND_US
    path = f"{PREFIX[market]}/aggTrades"
    by_id = get(venue, path, later_us, symbol="ETHUSDT", fromId=expected[0]["a"], limit=len(expected))
    assert by_id == expected
    first_ms, last_ms = expected[0]["T"], expected[-1]["T"]
    by_time = get(venue, path, later_us, symbol="ETHUSDT", startTime=first_ms, endTime=last_ms, limit=1000)
    assert [row for row in by_time if expected[0]["a"] <= row["a"] <= expected[-1]["a"]] == expected
    assert {row["T"] for row in by_time} >= {first_ms, last_ms}
    assert all(first_ms <= row["T"] <= last_ms for row in by_time)
    fresh = build(tmp_path)[market]
    assert get(fresh, path, later_us, symbol="ETHUSDT", fromId=expected[0]["a"], limit=len(expected)) == expected
    latest = get(venue, path, later_us, symbol="ETHUSDT", limit=10)
    assert [row["a"] for row in latest] == list(range(latest[0]["a"], latest[0]["a"] + 10))
    assert later_us // 1000 - 120_000 < latest[-1]["T"] <= later_us // 1000


def test_fills_add_up_to_the_aggregate_trades(tmp_path: Path) -> None:
    venue = build(tmp_path)["spot"]
    rows = get(venue, "/api/v3/trades", symbol="BTCUSDT", limit=200)
    assert [row["id"] for row in rows] == list(range(rows[0]["id"], rows[0]["id"] + 200))
    aggregates = get(venue, "/api/v3/aggTrades", symbol="BTCUSDT", limit=300)
    by_id = {row["id"]: row for row in rows}
    checked = 0
    for one in aggregates:
        fills = [by_id.get(number) for number in range(one["f"], one["l"] + 1)]
        if all(fills):
            assert sum(Decimal(fill["qty"]) for fill in fills if fill) == Decimal(one["q"])
            assert {(fill["price"], fill["time"], fill["isBuyerMaker"]) for fill in fills if fill} == {
                (one["p"], one["T"], one["m"])
            }
            checked += 1
    assert checked > 50
    older = get(venue, "/api/v3/historicalTrades", symbol="BTCUSDT", fromId=rows[0]["id"] - 5, limit=7)
    assert [row["id"] for row in older] == list(range(rows[0]["id"] - 5, rows[0]["id"] + 2))
    assert older[5:] == rows[:2]
    for row in rows:
        assert Decimal(row["quoteQty"]) == Decimal(row["price"]) * Decimal(row["qty"])


@pytest.mark.parametrize("market", ["spot", "perp"])
def test_klines_keep_limits_and_windows(tmp_path: Path, market: str) -> None:
    venue = build(tmp_path)[market]
    path, most = f"{PREFIX[market]}/klines", 1000 if market == "spot" else 1500
    latest = get(venue, path, symbol="ADAUSDT", interval="1m")
    assert len(latest) == 500
    assert [row[0] for row in latest] == [NOW_MS // 60_000 * 60_000 - 60_000 * n for n in reversed(range(500))]
    start = NOW_MS - 10 * HOUR_MS
    rows = get(venue, path, symbol="ADAUSDT", interval="5m", startTime=start, endTime=start + HOUR_MS, limit=most)
    assert [row[0] for row in rows] == [-(-start // 300_000) * 300_000 + 300_000 * n for n in range(12)]
    assert rows == [row for row in get(venue, path, symbol="ADAUSDT", interval="5m") if row[0] in {r[0] for r in rows}]
    until = get(venue, path, symbol="ADAUSDT", interval="1h", endTime=start, limit=3)
    assert [row[0] for row in until] == [start // HOUR_MS * HOUR_MS - HOUR_MS * n for n in (2, 1, 0)]
    hours = get(venue, path, symbol="ADAUSDT", interval="1h", startTime=start // HOUR_MS * HOUR_MS, limit=1)
    minutes = get(venue, path, symbol="ADAUSDT", interval="1m", startTime=hours[0][0], limit=60)
    assert Decimal(hours[0][5]) == sum(Decimal(row[5]) for row in minutes)
    assert Decimal(hours[0][2]) == max(Decimal(row[2]) for row in minutes)
    assert (hours[0][1], hours[0][4]) == (minutes[0][1], minutes[-1][4])
    assert get(venue, path, symbol="ADAUSDT", interval="1d", endTime=NOW_MS - 40 * 24 * HOUR_MS) == []
    assert refusal(venue, path, symbol="ADAUSDT", interval="7m") == (400, -1120)
    assert refusal(venue, path, symbol="ADAUSDT") == (400, -1102)


@pytest.mark.parametrize("market", ["spot", "perp"])
def test_errors_are_the_exchanges(tmp_path: Path, market: str) -> None:
    venue, prefix = build(tmp_path)[market], PREFIX[market]
    for path in ("depth", "aggTrades", "trades", "klines"):
        assert refusal(venue, f"{prefix}/{path}", symbol="NOSUCH", interval="1m") == (400, -1121)
        assert refusal(venue, f"{prefix}/{path}", interval="1m") == (400, -1102)
        assert refusal(venue, f"{prefix}/{path}", symbol="BTCUSDT", interval="1m", limit="x") == (400, -1100)
    assert venue.get(f"{prefix}/nosuch", {}, NOW_US).status == 404


def test_futures_limits_are_strict(tmp_path: Path) -> None:
    venue = build(tmp_path)["perp"]
    assert refusal(venue, "/fapi/v1/klines", symbol="BTCUSDT", interval="1m", limit=1501) == (400, -1130)
    assert refusal(venue, "/fapi/v1/depth", symbol="BTCUSDT", limit=7) == (400, -1130)
    hour = {"startTime": NOW_MS - HOUR_MS, "endTime": NOW_MS}
    assert refusal(venue, "/fapi/v1/aggTrades", symbol="BTCUSDT", **hour) == (400, -1127)
    assert refusal(venue, "/fapi/v1/aggTrades", symbol="BTCUSDT", fromId=1, startTime=NOW_MS) == (400, -1128)


def test_weight_is_counted_then_429_then_418(tmp_path: Path) -> None:
    venue = build(tmp_path)["perp"]
    now_us = NOW_US // 60_000_000 * 60_000_000 + 15_000_000
    query = {"symbol": "BTCUSDT", "limit": "1000"}
    for n in range(1, 121):
        answer = venue.get("/fapi/v1/depth", query, now_us)
        assert (answer.status, answer.headers["X-MBX-USED-WEIGHT-1M"]) == (200, str(20 * n))
    for _ in range(10):
        answer = venue.get("/fapi/v1/depth", query, now_us)
        assert (answer.status, answer.headers["Retry-After"]) == (429, "45")
        assert decode(answer.body)["code"] == -1003
    answer = venue.get("/fapi/v1/depth", query, now_us)
    assert (answer.status, answer.headers["Retry-After"]) == (418, "120")
    assert f"banned until {now_us // 1000 + 120_000}" in decode(answer.body)["msg"]
    assert venue.get("/fapi/v1/time", {}, now_us + 119_000_000).status == 418
    assert venue.get("/fapi/v1/time", {}, now_us + 120_000_000).status == 200


def test_who_waits_after_429_is_served_in_the_next_minute(tmp_path: Path) -> None:
    venue = build(tmp_path)["spot"]
    for _ in range(25):
        answer = venue.get("/api/v3/depth", {"symbol": "BTCUSDT", "limit": "5000"}, NOW_US)
    assert answer.status == 429
    later_us = NOW_US + int(answer.headers["Retry-After"]) * SECOND_US
    assert venue.get("/api/v3/depth", {"symbol": "BTCUSDT", "limit": "5000"}, later_us).status == 200


def test_statistics_have_a_limit_of_their_own(tmp_path: Path) -> None:
    venue = build(tmp_path)["perp"]
    query = {"symbol": "BTCUSDT", "period": "5m", "limit": "1"}
    paths = ("openInterestHist", "topLongShortPositionRatio", "globalLongShortAccountRatio", "takerlongshortRatio")
    for n in range(1000):
        answer = venue.get(f"/futures/data/{paths[n % 4]}", query, NOW_US)
        assert (answer.status, answer.headers["X-MBX-USED-WEIGHT-1M"]) == (200, "0")
    assert refusal(venue, "/futures/data/openInterestHist", symbol="BTCUSDT", period="5m") == (429, -1003)
    assert venue.get("/futures/data/openInterestHist", query, NOW_US + 300 * SECOND_US).status == 200


def test_ratio_rows_stand_at_period_ends_and_come_late(tmp_path: Path) -> None:
    venue = build(tmp_path)["perp"]
    five = 300_000
    end_ms = NOW_MS // five * five
    for path in ("topLongShortPositionRatio", "globalLongShortAccountRatio", "openInterestHist"):
        url = f"/futures/data/{path}"
        rows = get(venue, url, symbol="BTCUSDT", period="5m")
        assert [row["timestamp"] for row in rows] == [end_ms - five * n for n in reversed(range(30))]
        assert rows == get(build(tmp_path)["perp"], url, symbol="BTCUSDT", period="5m", startTime=end_ms - 29 * five)
        at_once = get(venue, url, end_ms * 1000 + SECOND_US, symbol="BTCUSDT", period="5m", limit=1)
        assert at_once[0]["timestamp"] == end_ms - five
        assert refusal(venue, url, symbol="BTCUSDT", period="1m") == (400, -1130)
        old = NOW_MS - 31 * 24 * HOUR_MS
        assert refusal(venue, url, symbol="BTCUSDT", period="5m", startTime=old) == (400, -1130)
    top, every = (
        get(venue, f"/futures/data/{path}", symbol="BTCUSDT", period="5m")
        for path in ("topLongShortPositionRatio", "globalLongShortAccountRatio")
    )
    assert top != every
    for row in top:
        assert Decimal(row["longAccount"]) + Decimal(row["shortAccount"]) == 1
        quotient = Decimal(row["longAccount"]) / Decimal(row["shortAccount"])
        assert abs(Decimal(row["longShortRatio"]) - quotient) < Decimal("0.0001")


def test_settled_funding_is_what_was_last_estimated(tmp_path: Path) -> None:
    venue = build(tmp_path)["perp"]
    rows = get(venue, "/fapi/v1/fundingRate", symbol="SOLUSDT", limit=3)
    last_ms = NOW_US // FUNDING_INTERVAL_US * FUNDING_INTERVAL_US // 1000
    assert [row["fundingTime"] for row in rows] == [last_ms - 8 * HOUR_MS * n for n in (2, 1, 0)]
    eve_us = last_ms * 1000 - 500_000
    session = venue.connect("/market/stream", streams(["SOLUSDT"], ["markPrice@1s"]), eve_us)
    (_, mark), (_, after) = messages(session, eve_us, 1.6)
    assert (mark["E"], mark["r"], mark["p"]) == (last_ms, rows[-1]["fundingRate"], rows[-1]["markPrice"])
    assert (mark["T"], after["T"]) == (last_ms + 8 * HOUR_MS, last_ms + 8 * HOUR_MS)
    assert (
        len(get(venue, "/fapi/v1/fundingRate", symbol="SOLUSDT")) == 90 + NOW_MS % (24 * HOUR_MS) // (8 * HOUR_MS) + 1
    )


def test_open_interest_history_agrees_with_open_interest(tmp_path: Path) -> None:
    venue = build(tmp_path)["perp"]
    (row,) = get(venue, "/futures/data/openInterestHist", symbol="ETHUSDT", period="5m", limit=1)
    now: dict[str, Any] = get(venue, "/fapi/v1/openInterest", row["timestamp"] * 1000, symbol="ETHUSDT")
    assert Decimal(now["openInterest"]) == Decimal(row["sumOpenInterest"])
    assert now["time"] == row["timestamp"]
    price = Decimal(row["sumOpenInterestValue"]) / Decimal(row["sumOpenInterest"])
    assert abs(price / Decimal(get(venue, "/fapi/v1/premiumIndex", symbol="ETHUSDT")["markPrice"]) - 1) < Decimal(
        "0.01"
    )


@pytest.mark.parametrize("market", ["spot", "perp"])
def test_answers_for_all_symbols_and_for_one_agree(tmp_path: Path, market: str) -> None:
    venue = build(tmp_path)[market]
    paths = ["ticker/24hr", "ticker/bookTicker"] + (["premiumIndex"] if market == "perp" else [])
    for path in paths:
        rows = get(venue, f"{PREFIX[market]}/{path}")
        assert [row["symbol"] for row in rows] == list(venue.symbols())
        assert get(venue, f"{PREFIX[market]}/{path}", symbol="DOGEUSDT") == rows[3]


def test_exchange_info_lists_what_is_asked_for_on_spot(tmp_path: Path) -> None:
    venue = build(tmp_path)["spot"]
    asked = get(venue, "/api/v3/exchangeInfo", symbols='["ETHUSDT","ADAUSDT"]')
    assert [row["symbol"] for row in asked["symbols"]] == ["ETHUSDT", "ADAUSDT"]
    assert refusal(venue, "/api/v3/exchangeInfo", symbols='["NOSUCH"]') == (400, -1121)
    assert refusal(venue, "/api/v3/exchangeInfo", symbols="ETHUSDT") == (400, -1100)
    everything = get(venue, "/api/v3/exchangeInfo")
    assert [row["symbol"] for row in everything["symbols"]] == list(venue.symbols())
    assert everything["serverTime"] == NOW_MS == get(venue, "/api/v3/time")["serverTime"]
