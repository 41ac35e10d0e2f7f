"""Candles and 24 hour statistics are the aggregation of the generated trades, streamed and by REST alike."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.exchange_simulator.generator.binance_frames import Digits
from services.exchange_simulator.generator.candles import INTERVALS_US, MINUTE_US, Bar, Candles
from services.exchange_simulator.generator.many import sums_of_spans
from services.exchange_simulator.generator.market import Market, Trade
from tests.generated_market import NOW_US, SECOND_US, WIRE_SYMBOLS, build, get, messages, streams
from tests.unit.test_generator_market import markets

PREFIX = {"spot": "/api/v3", "perp": "/fapi/v1"}
ROUTE = {"spot": "/stream", "perp": "/market/stream"}


def added_up(trades: list[Trade]) -> Bar:
    return Bar(
        open=trades[0].ticks,
        high=max(trade.ticks for trade in trades),
        low=min(trade.ticks for trade in trades),
        close=trades[-1].ticks,
        volume=sum(trade.steps for trade in trades),
        value=sum(trade.steps * trade.ticks for trade in trades),
        buy_volume=sum(trade.steps for trade in trades if trade.buy),
        buy_value=sum(trade.steps * trade.ticks for trade in trades if trade.buy),
        count=sum(len(trade.fills) for trade in trades),
        first_id=trades[0].first_id,
        last_id=trades[-1].last_id,
    )


def trades_between(market: Market, start_us: int, upto_step: int) -> list[Trade]:
    return [market.trade(n) for n in range(market.first_trade_from(start_us), market.trades_upto(upto_step))]


def test_any_span_is_the_sum_of_its_trades() -> None:
    chance = random.Random(5)
    for market in markets():
        candles = Candles(market)
        for _ in range(12):
            start_us = (NOW_US - chance.randrange(86_400 * SECOND_US)) // MINUTE_US * MINUTE_US
            step = market.step_at(start_us + chance.randrange(1, 25 * MINUTE_US))
            trades = trades_between(market, start_us, step)
            if trades:
                assert candles.bar(start_us, step) == added_up(trades)


def test_a_day_is_the_sum_of_its_trades() -> None:
    market = markets(events_per_s=20.0)[-1]
    start_us = NOW_US // (1440 * MINUTE_US) * 1440 * MINUTE_US
    step = market.step_at(NOW_US)
    assert Candles(market).bar(start_us, step) == added_up(trades_between(market, start_us, step))


def test_a_window_may_begin_anywhere() -> None:
    chance = random.Random(6)
    for market in markets():
        candles = Candles(market)
        for _ in range(12):
            start_us = NOW_US - chance.randrange(MINUTE_US, 30 * MINUTE_US)
            step = market.step_at(NOW_US - chance.randrange(MINUTE_US // 2))
            assert candles.window(start_us, step) == added_up(trades_between(market, start_us, step))


def test_a_span_without_trades_repeats_the_last_price() -> None:
    market = markets()[0]
    start_us = NOW_US // MINUTE_US * MINUTE_US
    before = market.trade(market.first_trade_of(start_us) - 1)
    price = before.ticks
    step = market.step_at(start_us + market.shape.block_us) - market.shape.steps
    assert Candles(market).bar(start_us, step) == Bar(price, price, price, price, 0, 0, 0, 0, 0, -1, -1)


def test_a_candle_begins_on_a_block() -> None:
    market = markets()[0]
    with pytest.raises(ValueError, match=f"start_us={NOW_US}"):
        Candles(market).bar(NOW_US, market.step_at(NOW_US))


def totals(trades: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up streamed fills or aggregate trades into the fields of a candle."""
    prices = [Decimal(trade["p"]) for trade in trades]
    values = [Decimal(trade["p"]) * Decimal(trade["q"]) for trade in trades]
    return {
        "f": trades[0].get("f", trades[0].get("t")),
        "L": trades[-1].get("l", trades[-1].get("t")),
        "o": prices[0],
        "c": prices[-1],
        "h": max(prices),
        "l": min(prices),
        "v": sum(Decimal(trade["q"]) for trade in trades),
        "n": sum(trade["l"] - trade["f"] + 1 if "f" in trade else 1 for trade in trades),
        "q": sum(values),
        "V": sum(Decimal(trade["q"]) for trade in trades if not trade["m"]),
        "Q": sum(value for trade, value in zip(trades, values, strict=True) if not trade["m"]),
    }


@pytest.mark.parametrize("market", ["spot", "perp"])
def test_streamed_candles_equal_the_streamed_trades_and_the_rest_candles(tmp_path: Path, market: str) -> None:
    venue = build(tmp_path)[market]
    trade_stream = "trade" if market == "spot" else "aggTrade"
    start_us = NOW_US // MINUTE_US * MINUTE_US - SECOND_US
    session = venue.connect(ROUTE[market], streams(WIRE_SYMBOLS, [trade_stream, "kline_1m", "kline_5m"]), start_us)
    trades: dict[str, list[dict[str, Any]]] = {symbol: [] for symbol in WIRE_SYMBOLS}
    final: dict[tuple[str, str, int], dict[str, Any]] = {}
    running = 0
    for stream, data in messages(session, start_us, 190):
        if stream.endswith(trade_stream):
            trades[data["s"]].append(data)
            continue
        candle = data["k"]
        key = (candle["s"], candle["i"], candle["t"])
        assert key not in final, "a candle goes on after its final version"
        if candle["x"]:
            final[key] = candle
        if candle["i"] == "1m" and candle["t"] * 1000 > start_us:
            within = [one for one in trades[candle["s"]] if candle["t"] <= one["T"] <= candle["T"]]
            said = {
                name: Decimal(value) if isinstance(value, str) else value
                for name, value in candle.items()
                if name in totals(within)
            }
            assert said == totals(within)
            running += not candle["x"]
        assert candle["T"] == candle["t"] + INTERVALS_US[candle["i"]] // 1000 - 1
    assert running > 100
    ends = [key for key in final if key[1] == "1m"]
    assert len(ends) == 4 * len(WIRE_SYMBOLS)
    for (symbol, interval, open_ms), candle in final.items():
        (row,) = get(
            venue,
            f"{PREFIX[market]}/klines",
            start_us + 190 * SECOND_US,
            symbol=symbol,
            interval=interval,
            startTime=open_ms,
            limit=1,
        )
        assert row == [candle[name] for name in ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")]


@pytest.mark.parametrize(("market", "every_ms"), [("spot", 2000), ("perp", 250)])
def test_candle_updates_keep_the_exchanges_pace(tmp_path: Path, market: str, every_ms: int) -> None:
    venue = build(tmp_path)[market]
    session = venue.connect(ROUTE[market], streams(["BTCUSDT"], ["kline_1m"]), NOW_US)
    times = [data["E"] for _, data in messages(session, NOW_US, 30)]
    assert len(times) > 10
    assert {(later - times[0]) % every_ms for later in times} <= {0, 1, every_ms - 1}


def test_the_last_update_of_a_quiet_minute_is_still_final(tmp_path: Path) -> None:
    venue = build(tmp_path, symbols=("60",), events_per_s=30.0)["perp"]
    symbol = venue.symbols()[-1]
    session = venue.connect("/market/stream", streams([symbol], ["kline_1m"]), NOW_US)
    candles = [data["k"] for _, data in messages(session, NOW_US, 200)]
    assert [candle["t"] for candle in candles if candle["x"]] == [(NOW_US // MINUTE_US + n) * 60_000 for n in range(4)]


@pytest.mark.parametrize("market", ["spot", "perp"])
def test_tickers_are_the_last_24_hours(tmp_path: Path, market: str) -> None:
    venue = build(tmp_path, events_per_s=40.0)[market]
    session = venue.connect(ROUTE[market], streams(["ADAUSDT"], ["ticker"]), NOW_US)
    feed = venue.feeds["ADAUSDT"]
    _, ticker = messages(session, NOW_US, 10)[-1]
    open_us = ticker["O"] * 1000
    assert ticker["C"] - ticker["O"] == 86_400_000
    first = feed.market.first_trade_from(open_us)
    last = feed.market.trade_of_fill(ticker["L"])
    bar = added_up([feed.market.trade(number) for number in range(first, last + 1)])
    digits = Digits(feed.market.listing)
    assert (ticker["F"], ticker["L"], ticker["n"]) == (bar.first_id, bar.last_id, bar.count)
    assert [ticker[name] for name in "ohlcv"] == [
        *(digits.price(ticks) for ticks in (bar.open, bar.high, bar.low, bar.close)),
        digits.quantity(bar.volume),
    ]
    assert Decimal(ticker["q"]) == pytest.approx(Decimal(digits.value(bar.value)), abs=Decimal("0.005"))
    assert Decimal(ticker["p"]) == Decimal(ticker["c"]) - Decimal(ticker["o"])


def test_many_blocks_at_once_are_the_same_to_the_digit_as_one_by_one() -> None:
    for market in markets():
        first = market.block_at(NOW_US)
        found = sums_of_spans(market, first, 90, 3)
        assert found is not None
        for start, sums in zip(range(first, first + 270, 90), found, strict=True):
            places = range(start * market.shape.trades, (start + 90) * market.shape.trades)
            whole = added_up([market.trade(place) for place in places])
            assert sums == (
                *(whole.open, whole.high, whole.low, whole.close),
                *(whole.volume, whole.value, whole.buy_volume, whole.buy_value, whole.count),
            )
