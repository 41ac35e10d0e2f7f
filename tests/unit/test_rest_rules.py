"""What each exchange's answers are taken for, and what its limits count."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schemas.control import Priority
from services.collector.budget import Ask, Pool
from services.shared.exchanges import binance_limits
from services.shared.exchanges.declaration import Market
from services.shared.exchanges.registry import MARKETS
from services.shared.exchanges.rest_rules import Outcome, Rate, tiered

NOW_S = 1_790_000_000.0
EVERY = pytest.mark.parametrize("market", MARKETS.values(), ids=[".".join(key) for key in MARKETS])


def judge(market: tuple[str, str], status: int, body: bytes, **headers: str) -> Outcome:
    rules = MARKETS[market].rest
    said = rules.said((name.replace("_", "-"), value) for name, value in headers.items())
    return rules.judge(status, said, body, NOW_S)


ERRORS = [
    # (market, status, body, error, pause in seconds, worth asking again): bodies are those of the fact sheets.
    ("binance.spot", 400, b'{"code":-1121,"msg":"Invalid symbol."}', "status 400, -1121: Invalid symbol.", None, False),
    ("binance.perp", 429, b'{"code":-1003,"msg":"Too many."}', "status 429, -1003: Too many.", 60, True),
    ("binance.perp", 503, b'{"code":-1008,"msg":"Overloaded"}', "status 503, -1008: Overloaded", None, True),
    ("okx.perp", 200, b'{"code":"50011","data":[],"msg":"Too Many"}', "status 200, 50011: Too Many", 2, True),
    ("okx.spot", 200, b'{"code":"51001","data":[],"msg":"No such"}', "status 200, 51001: No such", None, False),
    ("okx.spot", 200, b'{"code":"50013","data":[],"msg":"Busy"}', "status 200, 50013: Busy", None, True),
    ("bybit.perp", 200, b'{"retCode":10001,"retMsg":"bad","result":{}}', "status 200, retCode 10001: bad", None, False),
    ("bybit.perp", 200, b'{"retCode":10006,"retMsg":"many"}', "status 200, retCode 10006: many", 5, True),
    ("bybit.spot", 403, b"access too frequent", "status 403 (no JSON): access too frequent", 600, True),
    ("gateio.spot", 429, b'{"label":"TOO_MANY_REQUESTS"}', "status 429, TOO_MANY_REQUESTS: ", 10, True),
    ("gateio.perp", 400, b'{"label":"X","message":"y"}', "status 400, X: y", None, False),
    ("gateio.perp", 503, b'{"label":"TOO_BUSY","message":"y"}', "status 503, TOO_BUSY: y", None, True),
    ("mexc.spot", 400, b'{"code":10007,"msg":"bad symbol"}', "status 400, 10007: bad symbol", None, False),
    ("mexc.perp", 200, b'{"success":false,"code":510,"message":"slow"}', "status 200, 510: slow", 2, True),
    ("mexc.perp", 200, b'{"success":false,"code":1001}', "status 200, 1001: ", None, False),
    (
        "deribit.perp",
        400,
        b'{"jsonrpc":"2.0","error":{"message":"too_many_requests","code":10028}}',
        "status 400, 10028: too_many_requests",
        5,
        True,
    ),
    (
        "deribit.perp",
        400,
        b'{"error":{"message":"Invalid params","data":{"param":"x"},"code":-32602}}',
        'status 400, -32602: Invalid params {"param":"x"}',
        None,
        False,
    ),
]


@pytest.mark.parametrize(("name", "status", "body", "error", "pause_s", "again"), ERRORS)
def test_an_error_is_told_in_the_exchanges_own_words(
    name: str, status: int, body: bytes, error: str, pause_s: float | None, again: bool
) -> None:
    exchange, market = name.split(".")
    assert judge((exchange, market), status, body) == Outcome(error, pause_s, again)


DATA = {
    "binance": b'{"serverTime":1}',
    "okx": b'{"code":"0","msg":"","data":[]}',
    "bybit_v2": b'{"ret_code":0,"ret_msg":"OK","result":[]}',
    "bybit": b'{"retCode":0,"retMsg":"OK","result":{}}',
    "gateio": b'{"server_time":1}',
    "mexc": b'{"success":true,"code":0,"data":1}',
    "deribit": b'{"jsonrpc":"2.0","result":1}',
}


@EVERY
def test_data_is_data_and_a_page_is_none(market: Market) -> None:
    key = (market.exchange, market.market)
    assert judge(key, 200, DATA[market.exchange]) == Outcome()
    assert judge(key, 200, b' \n[{"a":1}]') == Outcome()
    page = judge(key, 200, b"<html><h1>Maintenance</h1>")
    assert page == Outcome("status 200 (no JSON): <html><h1>Maintenance</h1>", None, True)
    assert judge(key, 502, b"<html>").again
    assert judge(key, 404, b"nothing here") == Outcome("status 404 (no JSON): nothing here", None, False)
    assert judge(key, 200, b"").error == "status 200 (no JSON): "
    nested = judge(key, 200, b'{"a":' * 100_000)
    assert nested == Outcome(), "it may be anything: its reader refuses it"


@EVERY
def test_too_many_and_shut_out_always_pause_and_the_exchange_says_how_long(market: Market) -> None:
    key = (market.exchange, market.market)
    for status in (429, 403):
        assert judge(key, status, b"slow down").pause_s in (2.0, 5.0, 10.0, 60.0, 600.0)
        assert judge(key, status, b"slow down", retry_after="37").pause_s == 37.0
    assert judge(key, 429, b"{}", Retry_After="99999999").pause_s == 3 * 24 * 3_600


def test_a_reset_header_says_when_it_goes_on() -> None:
    gate = ("gateio", "spot")
    stamp = str(int(NOW_S) + 7)
    assert judge(gate, 429, b"{}", X_Gate_RateLimit_Reset_Timestamp=stamp).pause_s == 7.0
    past = str(int(NOW_S) - 7)
    assert judge(gate, 429, b"{}", X_Gate_RateLimit_Reset_Timestamp=past).pause_s == 10.0
    bybit = ("bybit", "perp")
    millis = str((int(NOW_S) + 3) * 1_000)
    assert judge(bybit, 429, b"{}", X_Bapi_Limit_Reset_Timestamp=millis).pause_s == 3.0


def test_what_the_exchange_counts_is_read_from_its_headers() -> None:
    [weight, *_] = MARKETS["binance", "perp"].rest.rates
    assert weight.used({"x-mbx-used-weight-1m": "123"}) == 123
    assert weight.used({"x-mbx-used-weight-1m": "many"}) is None
    [endpoint] = MARKETS["gateio", "spot"].rest.rates
    left = {"x-gate-ratelimit-requests-remain": "150"}
    assert endpoint.used(left) == 50
    assert endpoint.used({**left, "x-gate-ratelimit-limit": "300"}) == 150


def test_which_requests_a_limit_counts() -> None:
    rules = MARKETS["binance", "perp"].rest
    counted = {
        path: [rate.name for rate in rules.rates if rate.counts(path)]
        for path in ("/fapi/v1/depth", "/fapi/v1/fundingRate", "/futures/data/topLongShortPositionRatio")
    }
    assert list(counted.values()) == [["weight"], ["funding"], ["statistics"]]
    rate = Rate("x", 1, 1, paths=("/a", "/b/"))
    assert [rate.counts(path) for path in ("/a", "/ab", "/a/b", "/b/c", "/b")] == [True, False, False, True, False]


def test_an_endpoint_with_the_symbol_in_its_path_is_one_endpoint() -> None:
    pool = Pool(replace(MARKETS["mexc", "perp"].rest, in_flight=100), 1.0)
    for name in range(21):
        pool.add(Priority.POLL, f"/api/v1/contract/depth/S{name}_USDT", 1, lambda: None)
    taken = [pool.take(0) for _ in range(21)]
    assert [isinstance(item, Ask) for item in taken] == [True] * 20 + [False]


@EVERY
def test_every_declared_request_is_counted_and_fits(market: Market) -> None:
    pool = Pool(market.rest, 0.8)
    assert market.time is not None and market.time.name in market.polls
    for poll in market.polls.values():
        assert poll.weight >= 1, poll.name
        assert any(rate.counts(poll.endpoint) for rate in market.rest.rates), poll.name
        pool.add(Priority.POLL, poll.endpoint, poll.weight, lambda: None)  # raises when it never fits
    same = [other.rest for other in MARKETS.values() if other.exchange == market.exchange]
    assert all(rules is market.rest for rules in same if rules.pool == market.rest.pool), (
        "one pool has one set of rules"
    )


def test_a_book_weighs_what_its_depth_does() -> None:
    assert [binance_limits.spot_depth_weight(limit) for limit in (5, 100, 101, 1_000, 5_000)] == [5, 5, 25, 50, 250]
    assert [binance_limits.futures_depth_weight(limit) for limit in (50, 100, 500, 1_000)] == [2, 5, 10, 20]
    with pytest.raises(ValueError, match="a limit of 1001 is above what the endpoint allows, 1000"):
        tiered(1_001, ((500, 10), (1_000, 20)))


@EVERY
def test_minutes_of_polls_fit_into_the_limits_for_twenty_symbols(market: Market) -> None:
    for rate in market.rest.rates:
        for poll in market.polls.values():
            if poll.every_s is None or not rate.counts(poll.endpoint):
                continue
            asked = rate.window_s / poll.every_s * (20 if poll.per_symbol else 1)
            assert asked * (poll.weight if rate.weighed else 1) <= 0.8 * max(rate.units, 2), (poll.name, rate.name)
