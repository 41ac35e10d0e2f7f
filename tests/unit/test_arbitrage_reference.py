"""The signal against a market whose windows of mispricing are known, and against a reference in fractions."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest

from schemas.records import ArbitrageOpportunity
from services.arbitrage_signal.core import ArbitrageCore
from services.arbitrage_signal.settings import ArbitrageSignalSettings
from tests.arbitrage_market import SECOND, Listed, Plan, Window, market
from tests.arbitrage_reference import Found, Reference

SIZES = ("50", "500", "5000")
FEES = {("binance", "spot"): "0.001", ("okx", "spot"): "0.001", ("bybit", "perp"): "0.00055"}
ASSETS, WINDOWS = 20, 12
SETTINGS = {
    "sizes": SIZES,
    "threshold_percent": "0.5",
    "different_coins": tuple(f"A{number}:mexc" for number in range(ASSETS)),
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return market(ASSETS, WINDOWS)


@pytest.fixture(scope="module")
def told(plan: Plan) -> list[ArbitrageOpportunity]:
    """Everything the core tells of opportunities."""
    core = ArbitrageCore(ArbitrageSignalSettings.load(**SETTINGS).terms())
    found = []
    for sequence, item in enumerate(plan.messages, 1):
        found += core.process(sequence, item.subject, item.body)
    assert core.counters["apart"] and core.counters["stale"] and core.counters["different_coin"] == 4 * ASSETS
    return [record for record in found if isinstance(record, ArbitrageOpportunity)]


@pytest.fixture(scope="module")
def reference(plan: Plan) -> Reference:
    made = Reference(SIZES, "0.005", FEES, 2 * SECOND, {"mexc"})
    for item in plan.messages:
        made.feed(item)
    return made


Key = tuple[tuple[str, str, str], tuple[str, str, str], int]


def key(record: ArbitrageOpportunity) -> Key:
    buy = (record.exchange, record.market, record.symbol)
    return buy, (record.sell_exchange, record.sell_market, record.sell_symbol), record.opened_at


def key_of(found: Found) -> Key:
    return found.buy.name, found.sell.name, found.opened_at


def test_it_finds_what_the_reference_finds_and_nothing_else(
    told: list[ArbitrageOpportunity], reference: Reference
) -> None:
    opened = [key(record) for record in told if record.event == "open"]
    assert Counter(opened) == Counter(map(key_of, reference.found))
    closed = {key(record): record.timestamp for record in told if record.event == "closed"}
    assert closed == {key_of(one): one.closed_at for one in reference.found if one.closed_at is not None}
    assert len(opened) > 200


def test_every_size_nets_what_the_reference_nets(told: list[ArbitrageOpportunity], reference: Reference) -> None:
    by_key = {key_of(one): one for one in reference.found}
    compared = 0
    for record in told:
        steps = by_key[key(record)].steps
        if record.event == "closed":
            possible = steps[-1:]
        elif record.event == "open":
            possible = steps[:1]
        else:
            # What is due at a moment comes before what is received at it; what was due long ago comes with a record.
            possible = [step for step in steps if step[0] < record.timestamp][-1:]
            possible += [step for step in steps if step[0] == record.timestamp]
        sizes = {Fraction(row[0]): Fraction(row[6]) for row in record.sizes}
        assert sizes in [made for _, made in possible], record
        best = max(
            (row for row in record.sizes if Fraction(row[7]) >= Fraction("0.5")), key=lambda row: Fraction(row[6])
        )
        assert (record.size, record.net, record.net_percent) == (best[0], best[6], best[7])
        compared += len(sizes)
    assert compared > 2_000


def test_peak_and_what_was_left_are_those_of_the_reference(
    told: list[ArbitrageOpportunity], reference: Reference
) -> None:
    by_key = {key_of(one): one for one in reference.found}
    for record in told:
        if record.event != "closed":
            continue
        steps = by_key[key(record)].steps
        assert Fraction(record.peak_net) == max(max(sizes.values()) for _, sizes in steps)
        for after, left in ((100_000, record.net_after_100ms), (SECOND, record.net_after_1s)):
            at = record.opened_at + after
            if at > record.timestamp:
                assert left is None
            elif at < record.timestamp:
                assert left is not None
                assert Fraction(left) == max([sizes for when, sizes in steps if when < at][-1].values())


def concerns(window: Window, record: ArbitrageOpportunity) -> bool:
    """Whether an opportunity is of this window: one of its sides is off, during it, and in the right direction."""
    buy, sell, at = key(record)
    side = buy if window.percent < 0 else sell
    return side == window.where.name and window.start <= at < window.start + window.length


def others(window: Window, plan: Plan) -> list[Listed]:
    """The instruments that are the same coin and not off."""
    same = [one for one in plan.listed if one.asset == window.where.asset and one.exchange not in ("mexc", "gateio")]
    return [one for one in same if one != window.where]


def test_precision_and_recall_over_the_windows_are_one(plan: Plan, told: list[ArbitrageOpportunity]) -> None:
    assert len(plan.windows) >= 200
    lasting = {key(record) for record in told if record.event == "confirmed"}
    confirmed = [record for record in told if record.event == "closed" and key(record) in lasting]
    right = 0
    for window in plan.windows:
        mine = [record for record in confirmed if concerns(window, record)]
        if window.kind != "true":
            assert mine == [], window
            continue
        right += len(mine)
        partners = Counter((record.sell_exchange if window.percent < 0 else record.exchange) for record in mine)
        assert partners == Counter(one.exchange for one in others(window, plan)), window
        for record in mine:
            # Instruments speak every 0.9 s at the latest, so that is how near to the truth both ends must be.
            assert 0 <= record.opened_at - window.start < 900_000, (window, record)
            assert 0 <= record.timestamp - (window.start + window.length) < 900_000, (window, record)
    assert right == len(confirmed), "an opportunity outside of every window"
    assert right >= 150
    short = [record for record in told if record.event == "open" and key(record) not in lasting]
    assert {window.kind for window in plan.windows for record in short if concerns(window, record)} == {"short"}
