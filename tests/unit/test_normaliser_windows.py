"""Longer candles built from those of a minute: whole windows only, equal to those built from the trades."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from schemas import records
from schemas.errors import SettingsError
from services.normaliser.candle_lane import CandleLane
from services.normaliser.desk import CoreOptions, Desk
from services.normaliser.lanes import make_lane
from services.normaliser.settings import NormaliserSettings
from services.normaliser.windows import Windows, length_us
from services.shared.exchanges.binance_perp import BINANCE_PERP
from services.shared.exchanges.declaration import Market
from tests.normaliser_rig import Rig

MINUTE = 60_000_000
DAY = 1_700_006_400_000_000
"""A midnight."""

Trade = tuple[int, str, str, bool]
"""Minute since midnight, price, quantity, whether the taker bought."""


def candle_of(trades: Sequence[Trade], start: int, minutes: int, interval: str) -> records.Candle:
    """A candle made of trades alone, in plain decimals."""
    own = [trade for trade in trades if start <= trade[0] < start + minutes]
    prices = [Decimal(price) for _, price, _, _ in own]
    return records.Candle(
        exchange="x",
        market="perp",
        symbol="BTC-USDT-PERP",
        timestamp=DAY + start * MINUTE,
        timestamp_source="open",
        received_at=DAY + (start + minutes) * MINUTE + 5,
        source="live",
        interval=interval,
        open_price=own[0][1],
        high_price=str(max(prices)),
        low_price=str(min(prices)),
        close_price=own[-1][1],
        volume=format(sum(Decimal(quantity) for _, _, quantity, _ in own), "f"),
        quote_volume=format(sum(Decimal(price) * Decimal(quantity) for _, price, quantity, _ in own), "f"),
        taker_buy_volume=format(sum(Decimal(q) for _, _, q, buy in own if buy), "f"),
        trade_count=len(own),
        first_trade_id=trades.index(own[0]),
        last_trade_id=trades.index(own[-1]),
        closed=True,
    )


def some_trades(minutes: int) -> list[Trade]:
    """At least one of either side a minute, no two alike."""
    chance = random.Random(5)
    sides = [(minute, n, n % 2 == 0) for minute in range(minutes) for n in range(chance.randrange(2, 5))]
    return [
        (minute, f"{chance.randrange(9_000, 11_000)}.{minute:04d}{n}", f"0.{chance.randrange(1, 999):03d}", buy)
        for minute, n, buy in sides
    ]


def same(one: records.Candle, other: records.Candle) -> bool:
    """Equal, numbers as numbers: `1.10` is `1.1`."""

    def plain(candle: records.Candle) -> dict[str, object]:
        return {
            name: Decimal(value) if name.endswith(("price", "volume")) and value is not None else value
            for name in candle.__struct_fields__
            for value in [getattr(candle, name)]
        }

    return plain(one) == plain(other)


@pytest.mark.parametrize(
    ("interval", "minutes"), [("3m", 3), ("5m", 5), ("30m", 30), ("2h", 120), ("4h", 240), ("1d", 1_440)]
)
def test_windows_equal_those_built_from_the_trades(interval: str, minutes: int) -> None:
    assert length_us(interval) == minutes * MINUTE
    trades = some_trades(1_440)
    windows = Windows([interval])
    found = [longer for minute in range(1_440) for longer in windows.take(candle_of(trades, minute, 1, "1m"))]
    assert len(found) == 1_440 // minutes
    for number, longer in enumerate(found):
        assert same(longer, candle_of(trades, number * minutes, minutes, interval))


def test_a_window_with_a_missing_minute_is_not_put_out() -> None:
    trades = some_trades(20)
    windows = Windows(["5m", "3m"])
    seen = [minute for minute in range(2, 20) if minute != 12]  # it begins in the middle of one, too
    found = [longer for minute in seen for longer in windows.take(candle_of(trades, minute, 1, "1m"))]
    starts = [(longer.interval, (longer.timestamp - DAY) // MINUTE) for longer in found]
    assert sorted(starts) == [("3m", 3), ("3m", 6), ("3m", 9), ("3m", 15), ("5m", 5), ("5m", 15)]


def test_what_one_minute_does_not_say_the_window_does_not_say() -> None:
    trades = some_trades(3)
    minutes = [candle_of(trades, minute, 1, "1m") for minute in range(3)]
    bare = records.Candle(**{n: getattr(minutes[1], n) for n in minutes[1].__struct_fields__} | {"quote_volume": None})
    windows = Windows(["3m"])
    [longer] = [item for minute in (minutes[0], bare, minutes[2]) for item in windows.take(minute)]
    assert (longer.quote_volume, longer.trade_count) == (None, len(trades))


@pytest.mark.parametrize("interval", ["1m", "7m", "3", "0m", "2w", "25h", "", "-3m", "1.5h", "2d"])
def test_intervals_that_do_not_divide_a_day_are_refused(interval: str) -> None:
    with pytest.raises(ValueError, match="no interval to build"):
        length_us(interval)


def test_a_wrong_interval_in_the_settings_is_named() -> None:
    assert NormaliserSettings.load(candle_intervals="3m,2h").candle_intervals == ("3m", "2h")
    with pytest.raises(SettingsError, match="7m"):
        NormaliserSettings.load(candle_intervals="3m,7m")


def kline(minute: int, closed: bool, at: float) -> dict[str, object]:
    values = {"o": "1.0", "h": f"{minute}.9", "l": "0.1", "c": "2.0", "v": "1.5", "n": 2, "f": 1, "L": 2}
    volumes = {"q": "3.0", "V": "0.5", "Q": "1.0", "B": "0"}
    ms = (DAY + minute * MINUTE) // 1000
    k = {"t": ms, "T": ms + 59_999, "s": "BTCUSDT", "i": "1m", "x": closed, **values, **volumes}
    return {"e": "kline", "E": ms + round(at * 1000), "s": "BTCUSDT", "k": k}


@pytest.mark.parametrize("restarts", [False, True])
def test_the_core_builds_the_intervals_of_its_settings(restarts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rig, "restarts", restarts)
    rig = Rig(options=CoreOptions(candle_intervals=("3m", "5m")))
    found = []
    for minute in range(6):
        found += rig.ws("candles_1m", kline(minute, False, 1), at=60 * minute + 1)
        found += rig.ws("candles_1m", kline(minute, True, 60), at=60 * minute + 60)
    longer = [item for item in found if item["_to"] == "md.candle" and item["interval"] != "1m"]
    assert [(item["interval"], item["timestamp"]) for item in longer] == [("3m", DAY), ("3m", DAY + 3 * MINUTE)]
    assert [(item["high_price"], item["volume"], item["trade_count"]) for item in longer] == [
        ("2.9", "4.5", 6),
        ("5.9", "4.5", 6),
    ]
    assert len([item for item in found if item["_to"] == "md.candle"]) == 6 + 2


def test_what_the_exchange_offers_itself_is_not_built() -> None:
    def built(market: Market, intervals: tuple[str, ...] = ()) -> list[str]:
        desk = Desk(CoreOptions(candle_intervals=intervals))
        lane = make_lane(desk, market, "BTC-USDT-PERP", BINANCE_PERP.channels["candles_1m"])
        return list(lane.windows.intervals) if isinstance(lane, CandleLane) else []

    assert built(BINANCE_PERP) == []
    assert built(BINANCE_PERP, ("5m", "3m", "4h")) == ["3m"]
    channels = {name: channel for name, channel in BINANCE_PERP.channels.items() if channel.interval != "4h"}
    assert built(replace(BINANCE_PERP, channels=channels)) == ["4h"]
