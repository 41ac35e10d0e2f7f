"""What the limits of an exchange allow: how many connections, and how soon a thousand symbols are asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.symbols_due import connections, rounds
from services.shared.exchanges.binance_perp import BINANCE_PERP
from services.shared.exchanges.binance_spot import BINANCE_SPOT
from services.shared.exchanges.rest_rules import Rate, RestRules

THOUSAND = [f"S{number}USDT" for number in range(1_000)]


def test_as_many_connections_as_a_connection_takes_streams() -> None:
    assert connections(BINANCE_SPOT, THOUSAND) == {"": 9}, "nine streams of each symbol, 1,024 on a connection"
    assert connections(BINANCE_PERP, THOUSAND) == {"public": 2, "market": 9}
    tight = replace(BINANCE_SPOT, limits=replace(BINANCE_SPOT.limits, streams_per_connection=1_000))
    assert connections(tight, [*THOUSAND, "ONEMOREUSDT"]) == {"": 10}


def test_books_go_first_and_what_is_polled_waits_for_them_where_it_shares_their_limit() -> None:
    due = {one.poll.name: one for one in rounds(BINANCE_PERP, 1_000, 0.8)}
    books, instruments, interest, audits = 20 * 1_000, 1, 1_000, 5 * 1_000
    a_minute = 2_400 * 0.8
    assert due["depth_snapshot"].weight == books
    assert due["depth_snapshot"].seconds == pytest.approx((books + instruments) / a_minute * 60)
    assert due["open_interest"].seconds == pytest.approx((books + instruments + interest) / a_minute * 60)
    assert due["depth_audit"].seconds == pytest.approx((books + instruments + interest + audits) / a_minute * 60)
    assert due["funding"].seconds == pytest.approx(1_000 / (500 * 0.8) * 300)
    ratios = {due[name].seconds for name in ("lsr_top_positions", "lsr_all_accounts")}
    assert ratios == {2 * 1_000 / (1_000 * 0.8) * 300}, "both count against one limit"
    assert due["funding"].rate == "400 of 500 funding in 300 s"


def test_a_limit_of_each_endpoint_apiece_counts_that_endpoint_alone() -> None:
    rules = RestRules(rates=(Rate("apiece", 100, 10, apiece=True, weighed=False),), refusal=BINANCE_PERP.rest.refusal)
    found = rounds(replace(BINANCE_PERP, rest=rules), 1_000, 1.0)
    assert {one.seconds for one in found} == {100.0}
