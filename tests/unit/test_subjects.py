"""Subjects: built and taken apart the same way, and never by a token that changes their meaning."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import subjects


def test_the_forms_of_the_contract() -> None:
    part = subjects.partition("binance", "perp", "BTC-USDT-PERP")
    assert subjects.raw("binance", "perp", "depth", "BTC-USDT-PERP") == (
        f"raw.binance.perp.depth.BTC-USDT-PERP.{part:02d}"
    )
    assert subjects.md("trade", "binance", "perp", "BTC-USDT-PERP") == "md.trade.binance.perp.BTC-USDT-PERP"
    assert subjects.md_filter("trade") == "md.trade.>"
    assert subjects.gap("binance", "perp", "BTC-USDT-PERP") == "gap.binance.perp.BTC-USDT-PERP"
    assert subjects.dead("normaliser") == "dead.normaliser"
    assert subjects.resync("binance", "spot", "BTC-USDT") == "control.resync.binance.spot.BTC-USDT"
    assert subjects.parse_md_kind("md.trade.binance.perp.X") == "trade"


def test_partitions_are_fixed_for_good() -> None:
    # These values are on disks out there: a change would move instruments to other owners.
    names = [("binance", "perp", "BTC-USDT-PERP"), ("binance", "spot", "BTC-USDT"), ("binance", "spot", "_all")]
    assert [subjects.partition(*name) for name in names] == [0, 5, 14]


@pytest.mark.parametrize("bad", ["", "BTC.USDT", "BTC USDT", "*", ">", "a>", "x\ty", "x\n"])
def test_a_token_that_would_change_the_subject_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="cannot be part of a subject"):
        subjects.md("trade", "binance", "perp", bad)


@given(st.text(min_size=1).filter(lambda text: not any(c in ".*>" or c.isspace() or c == "\0" for c in text)))
def test_any_other_symbol_survives_the_way_through_a_subject(symbol: str) -> None:
    taken = subjects.parse_raw(subjects.raw("binance", "perp", "depth", symbol))
    assert taken == ("binance", "perp", "depth", symbol, subjects.partition("binance", "perp", symbol))


@pytest.mark.parametrize("bad", ["raw.a.b.c.d", "raw.a.b.c.d.16", "raw.a.b.c.d.x", "md.a.b.c.d.01"])
def test_what_is_no_raw_subject_is_refused_by_name(bad: str) -> None:
    with pytest.raises(ValueError, match="is not the subject of a raw frame"):
        subjects.parse_raw(bad)
