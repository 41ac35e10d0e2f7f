"""Windows of mispricing in the generated markets: who is off, by how much, and since when."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from schemas.errors import SettingsError
from services.exchange_simulator.generator import build
from services.exchange_simulator.generator.market import EPOCH_US
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


@pytest.mark.parametrize("text", ["BTC:okx:3:20:10", "BTC:okx.spot:x:20:10", "BTC:okx.spot:3:20:0", "BTC"])
def test_a_window_that_cannot_be_read_is_refused_by_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="mispricings"):
        build(SimulatorSettings.load(data_dir=tmp_path, exchanges=("binance",), symbols=("1",), mispricings=(text,)))
