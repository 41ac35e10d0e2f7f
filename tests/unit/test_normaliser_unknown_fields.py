"""A field that no parser was written for is tolerated, counted and named; of what is recorded, none is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from services.normaliser.desk import Counters
from services.normaliser.metrics import Meter
from services.shared.exchanges.known_fields import KNOWN_FIELDS
from tests import known_fields
from tests.normaliser_rig import Rig, kinds, trade


def wrapped(number: int, at: float, **more: object) -> dict[str, object]:
    return {"stream": "btcusdt@aggTrade", "data": trade(number, at) | more}


def test_a_new_field_is_counted_once_a_minute_and_the_trade_told_all_the_same() -> None:
    rig = Rig()
    found = rig.ws("trades", wrapped(1, 1, zz=[{"q": 1}], m=True), at=1)
    found += rig.ws("trades", wrapped(2, 2, zz=3), at=2)
    found += rig.ws("trades", wrapped(3, 30, yy=3), at=30)
    assert rig.core.counters.unknown_fields == Counter(
        {"binance perp trades data.zz": 1, "binance perp trades data.zz[].q": 1}
    )
    found += rig.ws("trades", wrapped(4, 62, zz=3), at=62)
    assert rig.core.counters.unknown_fields["binance perp trades data.zz"] == 2
    assert kinds(found) == ["md.trade"] * 4


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b'{"stream":' + b"[" * 5_000, b"7"])
def test_what_cannot_be_read_has_no_fields_and_is_refused_as_ever(body: bytes) -> None:
    rig = Rig()
    assert kinds(rig.ws("trades", body, at=1)) == ["dead.normaliser"]
    assert not rig.core.counters.unknown_fields


def test_each_field_is_named_once_and_counted_by_its_channel() -> None:
    counters, meter = Counters(), Meter(3)
    counters.unknown_fields["binance perp named_once data.a"] = 2
    assert meter.report(counters, 0) == ["binance perp named_once data.a"]
    counters.unknown_fields["binance perp named_once data.a"] = 3
    counters.unknown_fields["binance perp named_once data.b"] = 1
    assert meter.report(counters, 0) == ["binance perp named_once data.b"]
    assert Meter(4).report(counters, 0) == [], "another partition's is no news"
    labels = {"exchange": "binance", "market": "perp", "channel": "named_once"}
    assert REGISTRY.get_sample_value("normaliser_fields_unknown_total", labels) == 4 + 4


def test_everything_that_is_recorded_is_known(recordings: Path) -> None:
    found = known_fields.gather(recordings)
    assert {key: found[key] - KNOWN_FIELDS.get(key, frozenset()) for key in found} == {key: set() for key in found}
    assert len(found) >= 40
