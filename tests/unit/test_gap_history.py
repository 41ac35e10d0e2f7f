"""What exchanges tell of the past: the paths that are asked for, and rows equal to the live ones, by value."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from schemas.errors import BadFrame
from schemas.frames import RawFrame
from schemas.records import Instrument
from services.shared.exchanges.declaration import Listing
from services.shared.exchanges.history import MINUTE_US
from services.shared.exchanges.known_history import HISTORIES, history_of
from services.shared.exchanges.registry import MARKETS

START = 1_790_000_000_000_000 // (1_440 * MINUTE_US) * (1_440 * MINUTE_US)
NOW = START + 3 * 1_440 * MINUTE_US
NAMES = {
    "gateio": "BTC_USDT",
    "mexc": "BTCUSDT",
    "binance": "BTCUSDT",
    "bybit": "BTCUSDT",
    "okx": "BTC-USDT-SWAP",
    "deribit": "BTC-PERPETUAL",
}


def listing(exchange: str, market: str, contract_size: str | None = None) -> Listing:
    return Listing(
        [
            Instrument(
                exchange=exchange,
                market=market,
                symbol="BTC-USDT-PERP",
                timestamp=1,
                timestamp_source="received",
                received_at=1,
                source="live",
                exchange_symbol=NAMES[exchange],
                base="BTC",
                quote="USDT",
                asset="BTC",
                multiplier="1",
                status="trading",
                contract_size=contract_size,
                contract_kind=None if contract_size is None else "linear",
            )
        ]
    )


def rows(
    exchange: str, kind: str, interval: str | None, body: Any, contract_size: str | None = None, market: str = "perp"
) -> list[Any]:
    history = history_of(exchange, market, kind, interval)
    assert history is not None
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields: dict[str, Any] = {
        "channel": history.name,
        "symbol": "BTC-USDT-PERP",
        "collector": "c",
        "connection": "b",
        "number": 1,
    }
    frame = RawFrame(
        exchange=exchange, market=market, received_at=NOW, origin="backfill", body=raw, requested_at=NOW - 5, **fields
    )
    found = history.parse(frame, listing(exchange, market, contract_size))
    assert all(row.source == "backfill" and row.received_at == NOW for row in found)  # type: ignore[union-attr]
    return list(found)


def plain(row: Any, *names: str) -> tuple[Any, ...]:
    return tuple(msgspec.structs.asdict(row)[name] for name in names)


CANDLE = ("timestamp", "interval", "open_price", "high_price", "low_price", "close_price", "volume", "quote_volume")


def test_binance_trades_and_candles() -> None:
    (trade,) = rows(
        "binance",
        "trade",
        None,
        [{"a": 7, "p": "61.50", "q": "0.2", "f": 3, "l": 5, "T": 1_790_000_000_123, "m": True}],
    )
    assert plain(trade, "sequence", "trade_id", "price", "quantity", "side", "timestamp", "trade_count") == (
        *(7, "7", "61.50", "0.2", "sell"),
        1_790_000_000_123_000,
        3,
    )
    ms, minute = START // 1000, MINUTE_US // 1000
    bar = ["1.0", "3.0", "0.5", "2.0", "10.0"]
    (candle,) = rows("binance", "candle", "1m", [[ms, *bar, ms + minute - 1, "20.0", 4, "6.0", "12.0", "0"]])
    assert plain(candle, *CANDLE) == (START, "1m", "1.0", "3.0", "0.5", "2.0", "10.0", "20.0")
    assert plain(candle, "closed", "trade_count", "taker_buy_volume", "timestamp_source") == (True, 4, "6.0", "open")
    last = NOW // 1000 // minute * minute
    assert rows("binance", "candle", "1m", [[last, *bar, last + minute - 1, "20.0", 4, "6.0", "12.0", "0"]]) == []
    with pytest.raises(BadFrame, match="is none of 1m"):
        rows("binance", "candle", "1m", [[ms, *bar, ms + 5 * minute - 1, "20.0", 4, "6.0", "12.0", "0"]])


def test_binance_statistics_of_five_minutes() -> None:
    stamp = START // 1000
    (interest,) = rows(
        "binance",
        "open_interest",
        "5m",
        [{"symbol": "BTCUSDT", "sumOpenInterest": "5.5", "sumOpenInterestValue": "330.1", "timestamp": str(stamp)}],
    )
    assert plain(interest, "timestamp", "open_interest", "open_interest_value") == (START, "5.5", "330.1")
    ratio = {"symbol": "BTCUSDT", "longShortRatio": "2", "longAccount": "0.6667", "shortAccount": "0.3333"}
    (top,) = rows("binance", "lsr_top_position", "5m", [{**ratio, "timestamp": stamp}])
    assert plain(top, "timestamp", "long_short_ratio", "period", "long_ratio") == (
        START,
        "2",
        "5m",
        "0.6667",
    )


def test_okx_trades_are_single_fills_in_base_currency() -> None:
    data = [
        {"instId": "BTC-USDT-SWAP", "tradeId": "12", "px": "100", "sz": "3", "side": "buy", "ts": "1790000000001"},
        {"instId": "BTC-USDT-SWAP", "tradeId": "11", "px": "99.9", "sz": "1", "side": "sell", "ts": "1790000000000"},
    ]
    found = rows("okx", "trade", None, {"code": "0", "msg": "", "data": data}, "0.01")
    assert [plain(one, "sequence", "quantity", "contracts", "side", "trade_count") for one in found] == [
        (12, "0.03", "3", "buy", 1),
        (11, "0.01", "1", "sell", 1),
    ]
    bar = [str(START // 1000), "1", "3", "0.5", "2", "300", "3", "6", "1"]
    (candle,) = rows("okx", "candle", "1m", {"code": "0", "msg": "", "data": [bar]}, "0.01")
    assert plain(candle, *CANDLE) == (START, "1m", "1", "3", "0.5", "2", "3", "6")
    with pytest.raises(BadFrame, match="error 51001"):
        rows("okx", "trade", None, {"code": "51001", "msg": "no such instrument", "data": []})


def test_bybit_candles() -> None:
    bar = [str(START // 1000), "1", "3", "0.5", "2", "10", "20"]
    answer = {"retCode": 0, "retMsg": "OK", "result": {"symbol": "BTCUSDT", "list": [bar]}, "time": 1}
    (candle,) = rows("bybit", "candle", "5m", answer)
    assert plain(candle, *CANDLE) == (START, "5m", "1", "3", "0.5", "2", "10", "20")
    with pytest.raises(BadFrame, match="retCode 10001"):
        rows("bybit", "candle", "5m", {"retCode": 10001, "retMsg": "params error", "result": {}, "time": 1})


def test_gateio_candles_of_contracts_in_base_currency_and_settled_funding() -> None:
    bar = {"t": START // 1_000_000, "o": "1", "h": "3", "l": "0.5", "c": "2", "v": 300, "sum": "6.5"}
    (candle,) = rows("gateio", "candle", "1m", [bar], "0.01")
    assert plain(candle, *CANDLE) == (START, "1m", "1", "3", "0.5", "2", "3.00", "6.5")
    funding = rows("gateio", "funding_rate", "settled", [{"t": START // 1_000_000, "r": "-0.0001"}], "0.01")
    assert [plain(one, "timestamp", "rate", "rate_kind") for one in funding] == [(START, "-0.0001", "settled")]


@pytest.mark.parametrize(
    ("exchange", "row"),
    [
        ("gateio", [str(START // 1_000_000), "20", "2", "3", "0.5", "1", "10", "true"]),
        ("mexc", [START // 1000, "1", "3", "0.5", "2", "10", START // 1000 + 60_000, "20"]),
    ],
)
def test_spot_candles_whose_columns_stand_in_another_order(exchange: str, row: list[Any]) -> None:
    (candle,) = rows(exchange, "candle", "1m", [row], market="spot")
    assert plain(candle, *CANDLE) == (START, "1m", "1", "3", "0.5", "2", "10", "20")


@pytest.mark.parametrize(
    ("exchange", "kind", "interval", "first", "last", "path"),
    [
        ("binance", "trade", None, 5, 7, "/fapi/v1/aggTrades?symbol=S&fromId=5&limit=3"),
        (
            *("binance", "lsr_all_account", "5m", START, START + 10 * MINUTE_US),
            f"/futures/data/globalLongShortAccountRatio?symbol=S&period=5m&startTime={START // 1000}"
            f"&endTime={START // 1000 + 600_000}&limit=3",
        ),
        ("okx", "trade", None, 5, 7, "/api/v5/market/history-trades?instId=S&type=1&after=8&before=4&limit=3"),
        (
            *("okx", "candle", "1m", START, START + 2 * MINUTE_US),
            f"/api/v5/market/history-candles?instId=S&bar=1m&after={START // 1000 + 120_001}"
            f"&before={START // 1000 - 1}&limit=3",
        ),
        (
            *("bybit", "candle", "1d", START, START + 2 * 1_440 * MINUTE_US),
            f"/v5/market/kline?category=linear&symbol=S&interval=D&start={START // 1000}"
            f"&end={START // 1000 + 172_800_000}&limit=3",
        ),
        (
            *("gateio", "candle", "1m", START, START + 2 * MINUTE_US),
            f"/api/v4/futures/usdt/candlesticks?contract=S&interval=1m&from={START // 1_000_000}"
            f"&to={START // 1_000_000 + 120}",
        ),
        (
            *("deribit", "trade", None, 5, 7),
            "/api/v2/public/get_last_trades_by_instrument?instrument_name=S&start_seq=5&end_seq=7&count=3&sorting=asc",
        ),
    ],
)
def test_a_page_is_asked_for_with_both_bounds_inside(
    exchange: str, kind: str, interval: str | None, first: int, last: int, path: str
) -> None:
    history = history_of(exchange, "perp", kind, interval)
    assert history is not None and history.path("S", first, last, 3) == path


def test_every_history_is_of_a_market_that_is_known_and_each_series_has_one() -> None:
    assert set(HISTORIES) <= set(MARKETS)
    for histories in HISTORIES.values():
        series = [(history.kind, history.interval) for history in histories.values()]
        assert len(series) == len(set(series))
        assert all(history.most > 0 and history.weight(history.most) > 0 for history in histories.values())
    assert history_of("bybit", "perp", "trade", None) is None, "UUIDs are no pages"
