"""What all generated exchanges have in common: one price, names that are known, up to a thousand symbols."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import SettingsError
from services.exchange_simulator import generator
from services.exchange_simulator.connection import encode
from services.exchange_simulator.generator.venue import GeneratedVenue
from services.exchange_simulator.settings import SimulatorSettings
from services.exchange_simulator.venue import Binary
from services.shared.exchanges.registry import MARKETS
from tests.generated_market import NOW_US, SECOND_US


def built(folder: Path, **settings: object) -> list[GeneratedVenue]:
    venues = generator.build(SimulatorSettings(data_dir=folder, ledger=False, start_us=NOW_US, **settings))
    return [venue for venue in venues if isinstance(venue, GeneratedVenue)]


def test_every_dialect_is_a_market_of_the_pipeline() -> None:
    spoken = [(dialect.exchange, dialect.market) for dialect in generator.DIALECTS]
    assert len(set(spoken)) == len(spoken)
    assert set(spoken) <= MARKETS.keys()


def test_exchanges_agree_on_the_price_and_are_not_equal(tmp_path: Path) -> None:
    for seconds in (0, 3_600, 86_400):
        mids: dict[str, float] = {}
        for venue in built(tmp_path, symbols=("BTC",)):
            for name, feed in venue.feeds.items():
                listing = feed.market.listing
                if venue.market == "option":
                    continue
                touch = feed.market.touch(feed.market.step_at(NOW_US + seconds * SECOND_US))
                mid = (touch.bid + touch.ask) / 2 * listing.tick
                mids[f"{venue.exchange} {name}"] = mid / (1.0 + listing.premium)
        assert len(mids) >= 6
        assert max(mids.values()) / min(mids.values()) < 1.002
        assert len(set(mids.values())) > len(mids) // 2


@pytest.mark.parametrize("exchange", generator.EXCHANGES)
def test_a_thousand_symbols_are_listed(tmp_path: Path, exchange: str) -> None:
    venues = built(tmp_path, exchanges=(exchange,), symbols=("1000",), events_per_s=300.0)
    for venue in venues:
        symbols = [feed.market.listing.symbol for feed in venue.feeds.values()]
        assert len(set(symbols)) == len(symbols) == len(venue.symbols())
    assert max(len(venue.symbols()) for venue in venues) >= 1_000


def test_an_exchange_that_is_not_spoken_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"exchanges=kraken: cannot be generated; allowed: binance, okx"):
        built(tmp_path, exchanges=("binance", "kraken"))


def test_binary_frames_are_sent_as_binary_messages() -> None:
    assert encode([b"text", Binary(b"\x08\x01")]) == b"\x81\x04text\x82\x02\x08\x01"
