"""Windows of mispricing in the generated markets: who is off, by how much, and since when."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from schemas.errors import SettingsError
from services.exchange_simulator.generator import build
from services.exchange_simulator.generator.candles import MINUTE_US, Candles
from services.exchange_simulator.generator.market import EPOCH_US, Market
from services.exchange_simulator.generator.mispricing import Mispriced, Window, Windows
from services.exchange_simulator.settings import SimulatorSettings

SECOND = 1_000_000
BEGIN = EPOCH_US + 1_000_003 * SECOND


class Flat:
    """A price that stays."""

    def at(self, time_us: int) -> float:
        return 100.0

    index_at = at


def test_the_price_is_off_in_its_window_and_the_index_never() -> None:
    prices = Mispriced(Flat(), [Window("BTC", "okx", "spot", 2.0, BEGIN, 10 * SECOND)])
    found = [round(prices.at(BEGIN + at), 6) for at in (-1, 0, 10 * SECOND - 1, 10 * SECOND)]
    assert found == [100.0, 102.0, 102.0, 100.0]
    assert prices.index_at(BEGIN) == 100.0


def test_only_the_market_that_is_named_is_off() -> None:
    windows = Windows(["BTC:okx.spot:-1.5:20:10"], BEGIN)
    flat = Flat()
    assert windows.on(flat, "BTC", "okx", "perp") is flat
    assert windows.on(flat, "ETH", "okx", "spot") is flat
    assert round(windows.on(flat, "BTC", "okx", "spot").at(BEGIN + 20 * SECOND), 6) == 98.5


def test_the_ledger_tells_when_the_market_itself_takes_it_up(tmp_path: Path) -> None:
    settings = SimulatorSettings.load(
        data_dir=tmp_path,
        exchanges=("binance", "okx"),
        symbols=("BTC",),
        start_us=BEGIN,
        mispricings=("BTC:okx.spot:3:20:10",),
    )
    venues = build(settings)
    (row,) = json.loads((tmp_path / "ledger" / "mispricings.json").read_text())
    assert (row["symbol"], row["percent"]) == ("BTC-USDT", 3.0)
    # The run begins 3 s behind a block of 10 s: the window takes hold with the block 27 s in, for one block.
    assert (row["start_us"] - BEGIN, row["end_us"] - BEGIN) == (27 * SECOND, 37 * SECOND)
    markets = {(venue.exchange, venue.market): next(iter(venue.feeds.values())).market for venue in venues}  # type: ignore[attr-defined]
    off = markets["okx", "spot"]
    fair, shifted = (off.price_at(BEGIN + at * SECOND) for at in (17, 27))
    assert 1.02 < shifted / fair < 1.04
    assert 0.99 < markets["binance", "spot"].price_at(BEGIN + 27 * SECOND) / fair < 1.01


def test_blocks_as_short_as_is_set_take_a_window_up_at_its_second_and_candles_still_add_up(tmp_path: Path) -> None:
    settings = SimulatorSettings.load(
        data_dir=tmp_path,
        exchanges=("okx",),
        markets=("spot",),
        symbols=("BTC",),
        start_us=BEGIN,
        block_s=1,
        mispricings=("BTC:okx.spot:3:20:2", "BTC:okx.spot:-3:25:1"),
    )
    (venue,) = build(settings)
    rows = json.loads((tmp_path / "ledger" / "mispricings.json").read_text())
    found = [(row["start_us"] - BEGIN, row["end_us"] - BEGIN) for row in rows]
    assert found == [(20 * SECOND, 22 * SECOND), (25 * SECOND, 26 * SECOND)]
    (feed,) = venue.feeds.values()  # type: ignore[attr-defined]
    market: Market = feed.market
    fair = market.price_at(BEGIN + 19 * SECOND)
    off = [market.block(market.block_at(BEGIN + at * SECOND)).bid * market.listing.tick / fair for at in range(19, 27)]
    assert [round(share, 2) for share in off] == [1.0, 1.03, 1.03, 1.0, 1.0, 1.0, 0.97, 1.0]
    minute = BEGIN // MINUTE_US * MINUTE_US
    for begin, end in ((minute, minute + MINUTE_US), (minute - 60 * MINUTE_US, minute + 2 * MINUTE_US)):
        trades = [market.trade(one) for one in range(market.first_trade_of(begin), market.first_trade_of(end))]
        bar = Candles(market).between(begin, end)
        assert (bar.high, bar.low) == (max(one.ticks for one in trades), min(one.ticks for one in trades))
        assert (bar.volume, bar.value) == (
            sum(one.steps for one in trades),
            sum(one.steps * one.ticks for one in trades),
        )
        assert bar.count == sum(len(one.fills) for one in trades)


@pytest.mark.parametrize("text", ["BTC:okx:3:20:10", "BTC:okx.spot:x:20:10", "BTC:okx.spot:3:20:0", "BTC"])
def test_a_window_that_cannot_be_read_is_refused_by_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="mispricings"):
        build(SimulatorSettings.load(data_dir=tmp_path, exchanges=("binance",), symbols=("1",), mispricings=(text,)))


def test_a_block_that_does_not_divide_a_minute_is_refused_by_name() -> None:
    assert SimulatorSettings.load(block_s="1").block_s == 1
    with pytest.raises(SettingsError, match=r"BLOCK_S is '7'.*divisors of 60"):
        SimulatorSettings.load(block_s="7")
