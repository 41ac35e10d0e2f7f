"""A wrong setting of the collector is named, with its value and what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.errors import SettingsError
from services.collector.service import pick
from services.collector.settings import CollectorSettings
from services.shared.exchanges.registry import MARKETS


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"exchanges": ("binanse",)}, ["TAPELINE_COLLECTOR_EXCHANGES", "'binanse' does not exist", "binance"]),
        ({"markets": ("swap",)}, ["TAPELINE_COLLECTOR_MARKETS", "'swap' does not exist", "perp, spot"]),
        ({"channels": ("trade",)}, ["TAPELINE_COLLECTOR_CHANNELS", "'trade' does not exist", "trades"]),
        ({"ws_urls": {"binance": "ws://x"}}, ["TAPELINE_COLLECTOR_WS_URLS", "'binance' does not exist"]),
        ({"rest_urls": {"binance.spot": "ws://x"}}, ["TAPELINE_COLLECTOR_REST_URLS", "must begin with http://"]),
        ({"name": "a b"}, ["TAPELINE_COLLECTOR_NAME", "'a b'"]),
        ({"universe": "all"}, ["TAPELINE_COLLECTOR_UNIVERSE", "'all'", "'starter'"]),
        ({"dead_after_s": 0}, ["TAPELINE_COLLECTOR_DEAD_AFTER_S", "greater than 0"]),
    ],
)
def test_a_wrong_setting_is_named(values: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(SettingsError) as raised:
        CollectorSettings.load(**values)
    for word in words:
        assert word in str(raised.value)


def test_markets_are_picked_by_exchange_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPELINE_COLLECTOR_EXCHANGES", "binance")
    monkeypatch.setenv("TAPELINE_COLLECTOR_WS_URLS", '{"binance.perp": "ws://127.0.0.1:1/x"}')
    settings = CollectorSettings.load()
    assert settings.ws_urls == {"binance.perp": "ws://127.0.0.1:1/x"}
    assert [(m.exchange, m.market) for m in pick(settings, MARKETS)] == [("binance", "spot"), ("binance", "perp")]
    only = CollectorSettings.load(markets=("perp",))
    assert [m.market for m in pick(only, MARKETS)] == ["perp"]
    with pytest.raises(SettingsError, match=r"leave nothing to collect; there are binance\.spot"):
        pick(only, {key: market for key, market in MARKETS.items() if market.market == "spot"})
