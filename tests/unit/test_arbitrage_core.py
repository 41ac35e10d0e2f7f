"""The arbitrage core, record by record: what signals, what does not and is counted, and what time does."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import pytest

from schemas.records import ArbitrageOpportunity, ArbitrageSpread, BookChange, ClockOffset, Gap, Instrument, OrderBook
from schemas.records import Quote as QuoteRecord
from services.arbitrage_signal import inputs
from services.arbitrage_signal.core import ArbitrageCore
from services.arbitrage_signal.settings import ArbitrageSignalSettings
from services.arbitrage_signal.signals import Output
from tests.arbitrage_market import SECOND, START, Listed, gap, listing, message

CHEAP = Listed("binance", "spot", "AB-USDT", "AB", "USDT")
DEAR = Listed("okx", "spot", "AB-USDC", "AB", "USDC")


class Rig:
    """A core with two instruments; `at` is our clock in seconds since the start."""

    def __init__(self, **settings: Any) -> None:
        self.core = ArbitrageCore(ArbitrageSignalSettings.load(**{"sizes": ("100", "1000"), **settings}).terms())
        self.sequence = 0
        for listed in (CHEAP, DEAR):
            self.list(listed)

    def put(self, subject: str, body: bytes) -> list[Output]:
        self.sequence += 1
        return self.core.process(self.sequence, subject, body)

    def list(self, listed: Listed, **changed: Any) -> list[Output]:
        item = listing(listed, START, **changed)
        return self.put(item.subject, item.body)

    def quote(self, listed: Listed, bid: str | None, ask: str | None, at: float, **changed: Any) -> list[Output]:
        fields = {"bid_price": bid, "bid_quantity": "500", "ask_price": ask, "ask_quantity": "500", **changed}
        item = message("quote", listed, START + round(at * SECOND), **fields)
        return self.put(item.subject, item.body)

    def book(self, listed: Listed, bids: list[list[str]], asks: list[list[str]], at: float) -> list[Output]:
        item = message("orderbook", listed, START + round(at * SECOND), sequence=1, bids=bids, asks=asks)
        return self.put(item.subject, item.body)

    def change(self, listed: Listed, bids: list[list[str]], at: float, **changed: Any) -> list[Output]:
        fields = {"first_sequence": 2, "last_sequence": 2, "in_step": True, "bids": bids, "asks": [], **changed}
        item = message("book_change", listed, START + round(at * SECOND), **fields)
        return self.put(item.subject, item.body)

    def opened(self) -> list[Output]:
        """An opportunity that is open from second 1.1 on."""
        self.quote(CHEAP, "99", "100", 1)
        return self.quote(DEAR, "102", "103", 1.1)


def events(told: list[Output]) -> list[tuple[str, float, str | None]]:
    """(event, second, reason) of the opportunities told."""
    return [
        (record.event, (record.timestamp - START) / SECOND, record.reason)
        for record in told
        if isinstance(record, ArbitrageOpportunity)
    ]


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_an_opportunity_says_what_a_trade_costs_and_brings(rig: Rig) -> None:
    (record,) = rig.opened()
    assert isinstance(record, ArbitrageOpportunity)
    assert (record.exchange, record.symbol, record.sell_exchange, record.sell_symbol) == (
        "binance",
        "AB-USDT",
        "okx",
        "AB-USDC",
    )
    # 10 AB for 1000 and 1020; 0.1% of both.
    assert (record.size, record.quantity, record.cost, record.proceeds) == ("1000", "10", "1000", "1020")
    assert (record.gross, record.fees, record.slippage, record.net) == ("20", "2.02", "0", "17.98")
    assert (record.gross_percent, record.net_percent) == ("2", "1.798")
    assert record.sizes == [
        ("100", "1", "100", "102", "0.202", "0", "1.798", "1.798"),
        ("1000", "10", "1000", "1020", "2.02", "0", "17.98", "1.798"),
    ]
    assert (record.buy_age_us, record.sell_age_us) == (120_000, 20_000)
    assert record.opportunity_id == f"{START + 1_100_000}.4-binance.spot.AB-USDT-okx.spot.AB-USDC"


def test_books_are_walked_and_the_walk_is_the_slippage(rig: Rig) -> None:
    rig.book(CHEAP, [["99", "9"]], [["100", "4"], ["101", "10"]], 1)
    (record,) = rig.book(DEAR, [["103", "2"], ["102", "100"]], [["104", "1"]], 1.1)
    assert isinstance(record, ArbitrageOpportunity)
    # 4 at 100 and 5.94 at 101, the steps of the coarser market; sold 2 at 103 and the rest at 102.
    assert (record.quantity, record.cost, record.proceeds) == ("9.94", "999.94", "1015.88")
    assert (record.gross, record.slippage) == ("29.82", "13.88")
    assert record.net == "13.92418"


def test_its_life_is_told_with_the_times_at_which_things_were_due(rig: Rig) -> None:
    told = rig.opened()
    for tenth in range(20, 70, 5):
        told += rig.quote(CHEAP, "99", "100", tenth / 10)
        told += rig.quote(DEAR, "102" if tenth < 40 else "101.5", "103", tenth / 10 + 0.1)
    told += rig.quote(DEAR, "100", "103", 7.3)
    assert events(told) == [
        ("open", 1.1, None),
        ("update", 4.1, None),
        ("confirmed", 6.1, None),
        ("closed", 7.3, "spread"),
    ]
    closed = told[-1]
    assert isinstance(closed, ArbitrageOpportunity)
    assert (closed.peak_net, (closed.peak_at - START) / SECOND, closed.net) == ("17.98", 1.1, "12.985")
    assert (closed.net_after_100ms, closed.net_after_1s, closed.net_after_5s) == ("17.98", "17.98", "12.985")
    assert (closed.confirmed_at, closed.duration_us) == (START + 6_100_000, 6_200_000)


def test_one_that_ends_early_is_not_confirmed_and_has_nothing_left_later(rig: Rig) -> None:
    told = rig.opened() + rig.quote(DEAR, "100", "103", 1.9)
    assert events(told) == [("open", 1.1, None), ("closed", 1.9, "spread")]
    closed = told[-1]
    assert isinstance(closed, ArbitrageOpportunity)
    assert (closed.net_after_100ms, closed.net_after_1s, closed.confirmed_at) == ("17.98", None, None)


def test_a_side_that_says_nothing_ends_it_at_the_age_limit(rig: Rig) -> None:
    rig.opened()
    told = rig.quote(DEAR, "102", "103", 2.9) + rig.quote(DEAR, "102", "103", 3.5)
    # The quote of second 1 was true 20 ms before; it is too old one microsecond after 2.98.
    assert events(told) == [("closed", 2.980001, "stale")]
    assert rig.core.counters["stale"] == 1


def test_ages_are_by_the_exchanges_clock(rig: Rig) -> None:
    offset = message("clock_offset", DEAR._replace(symbol="_all"), START, offset_us=-30 * SECOND)
    rig.put(offset.subject, offset.body)
    rig.quote(CHEAP, "99", "100", 1)
    # Its clock is half a minute behind ours: what it stamps 30 s ago is new, and what it stamps now is wrong.
    late = {"timestamp": START + 1_100_000 - 30 * SECOND - 20_000}
    assert events(rig.quote(DEAR, "102", "103", 1.1)) == []
    (record,) = rig.quote(DEAR, "102", "103", 1.1, **late)
    assert isinstance(record, ArbitrageOpportunity)
    assert record.sell_age_us == 20_000


def test_a_receive_time_is_on_our_own_clock(rig: Rig) -> None:
    offset = message("clock_offset", DEAR._replace(symbol="_all"), START, offset_us=-30 * SECOND)
    rig.put(offset.subject, offset.body)
    rig.quote(CHEAP, "99", "100", 1)
    own = {"timestamp": START + 1_100_000, "timestamp_source": "received"}
    assert len(rig.quote(DEAR, "102", "103", 1.1, **own)) == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"bid": "0"}, "bad_level"),
        ({"bid": "-102"}, "bad_level"),
        ({"bid_quantity": "0"}, "bad_level"),
        ({"bid": "x"}, "bad_level"),
        ({"bid": "1.0000000000000000001"}, "bad_level"),
        ({"bid": "104"}, "crossed"),
        ({"bid": 102}, "undecodable"),
        ({"source": "backfill"}, "not_live"),
        ({"timestamp": START + 5 * SECOND}, "stale"),
        ({"timestamp": START - 5 * SECOND}, "stale"),
        ({"bid": "150", "ask": "151"}, "apart"),
    ],
)
def test_bad_input_gives_no_signal_and_is_counted(rig: Rig, fields: dict[str, Any], reason: str) -> None:
    rig.quote(CHEAP, "99", "100", 1)
    fields = {"bid": "102", "ask": "103", **fields}
    assert events(rig.quote(DEAR, at=1.1, **fields)) == []
    assert rig.core.counters[reason] == 1
    # And it goes on.
    assert events(rig.quote(DEAR, "102", "103", 1.2)) == [("open", 1.2, None)]


def test_an_empty_side_gives_no_signal(rig: Rig) -> None:
    rig.quote(CHEAP, "99", "100", 1)
    assert rig.quote(DEAR, None, "103", 1.1) == []
    assert rig.book(DEAR, [], [["103", "1"]], 1.2) == []
    assert rig.core.counters["empty_side"] == 2
    assert events(rig.quote(DEAR, "102", "103", 1.3)) == [("open", 1.3, None)]
    assert events(rig.quote(DEAR, None, "103", 1.4)) == [("closed", 1.4, "spread")]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"asset": ""}, "left_out_asset"),
        ({"status": "halted"}, "left_out_not_trading"),
        ({"multiplier": "3"}, "left_out_multiplier"),
        ({"multiplier": "0"}, "left_out_multiplier"),
        ({"quantity_step": "0"}, "left_out_quantity_step"),
    ],
)
def test_an_instrument_that_cannot_be_compared_is_left_out(rig: Rig, changed: dict[str, str], reason: str) -> None:
    rig.opened()
    assert events(rig.list(DEAR, **changed)) == [("closed", 1.1, "instrument")]
    assert rig.core.counters[reason] == 1
    assert rig.quote(DEAR, "102", "103", 1.2) == []
    assert rig.core.counters["unknown_instrument"] == 1
    rig.list(DEAR)
    assert events(rig.quote(DEAR, "102", "103", 1.3)) == [("open", 1.3, None)]


def test_an_instrument_that_is_told_again_changes_nothing(rig: Rig) -> None:
    rig.opened()
    assert rig.list(DEAR) == []
    assert len(rig.core.signals.open) == 1


def test_an_unknown_fee_tier_leaves_the_exchange_out() -> None:
    rig = Rig(fee_tiers={"okx": "platinum"})
    assert rig.opened() == []
    assert rig.core.counters["left_out_fee"] == 1


def test_quotes_in_currencies_that_are_not_comparable_make_no_pair() -> None:
    rig = Rig(comparable_quotes=("USD=EUR",))
    assert rig.opened() == []
    assert rig.core.signals.pairs == {}


def test_one_ticker_of_two_coins_makes_no_pair() -> None:
    rig = Rig(different_coins=("AB:okx=binance",))
    assert rig.opened() == []
    assert rig.core.counters["different_coin"] == 1


def test_units_are_compared_not_contracts() -> None:
    rig = Rig()
    thousand = Listed("bybit", "perp", "1000AB-USDT-PERP", "AB", "USDT", 1000, "0.001")
    rig.list(thousand)
    rig.quote(CHEAP, "99", "100", 1)
    (record,) = rig.quote(thousand, "102000", "103000", 1.1, bid_quantity="0.5")
    assert isinstance(record, ArbitrageOpportunity)
    assert (record.quantity, record.cost, record.proceeds) == ("10", "1000", "1020")
    assert record.fees == "1.561"  # 0.1% of 1000 and 0.055% of 1020


def test_a_clock_that_jumps_back_forgets_everything(rig: Rig) -> None:
    rig.opened()
    assert events(rig.quote(DEAR, "102", "103", -60)) == [("closed", 1.1, "clock")]
    assert rig.core.counters["clock_back"] == 1
    assert events(rig.quote(CHEAP, "99", "100", -59.9)) == [("open", -59.9, None)]


def test_a_clock_that_jumps_ahead_makes_everything_stale(rig: Rig) -> None:
    rig.opened()
    assert events(rig.quote(DEAR, "102", "103", 4_000)) == [("closed", 2.980001, "stale")]
    assert rig.core.counters["clock_forward"] == 1


def test_a_record_that_comes_late_does_not_turn_the_clock_back(rig: Rig) -> None:
    rig.quote(DEAR, "102", "103", 1.5)
    assert events(rig.quote(CHEAP, "99", "100", 1)) == [("open", 1.5, None)]


def test_pairs_that_stay_apart_are_suspended_until_they_were_near_for_as_long(rig: Rig) -> None:
    def suspensions() -> list[tuple[bool, float]]:
        return [(one.suspended, (one.at - START) / SECOND) for one in rig.core.signals.suspensions]

    told: list[Output] = []
    for second in range(1, 62):
        told += rig.quote(CHEAP, "99", "100", second)
        told += rig.quote(DEAR, "150", "151", second + 0.1)
    assert (events(told), suspensions()) == ([], [(True, 61.1)])
    assert rig.core.signals.suspended == {"binance.spot.AB-USDT-okx.spot.AB-USDC"}
    for second in range(62, 124):
        told += rig.quote(CHEAP, "99", "100", second)
        told += rig.quote(DEAR, "102", "103", second + 0.1)
    assert (events(told), suspensions()) == ([("open", 122.1, None)], [(True, 61.1), (False, 122.1)])


def test_a_pair_that_was_apart_for_a_moment_is_trusted_again_at_once(rig: Rig) -> None:
    rig.quote(CHEAP, "99", "100", 1)
    assert rig.quote(DEAR, "150", "151", 1.1) == []
    assert events(rig.quote(DEAR, "102", "103", 1.2)) == [("open", 1.2, None)]
    assert rig.core.signals.suspensions == []


def test_a_book_out_of_step_is_left_out_until_the_next_book(rig: Rig) -> None:
    asks = [["103", "50"]]
    rig.book(DEAR, [["102", "50"]], asks, 0.9)
    rig.quote(CHEAP, "99", "100", 1)
    rig.quote(DEAR, "102", "103", 1.1)
    missing = gap(DEAR, START + 1_200_000)
    assert events(rig.put(missing.subject, missing.body)) == [("closed", 1.1, "out_of_step")]
    assert rig.change(DEAR, [["102", "60"]], 1.3, in_step=False) == []
    assert rig.quote(DEAR, "102", "103", 1.4) == []
    assert events(rig.book(DEAR, [["102", "50"]], asks, 1.5)) == [("open", 1.5, None)]


def test_of_quote_and_book_the_newer_one_by_the_exchanges_time_leads(rig: Rig) -> None:
    rig.quote(CHEAP, "99", "100", 1)
    rig.book(DEAR, [["100.1", "50"], ["100", "9"]], [["103", "50"]], 1)
    assert events(rig.quote(DEAR, "102", "103", 1.1)) == [("open", 1.1, None)]
    # A change that was made before the quote, and comes after it, does not take the quote's place.
    assert rig.change(DEAR, [["100.1", "60"]], 1.2, timestamp=START + 1_050_000) == []
    assert events(rig.change(DEAR, [["100.2", "60"]], 1.3)) == [("closed", 1.3, "spread")]
    # Where the exchange gives a quote no time, only the order of receipt can tell.
    received = {"timestamp": START + 1_310_000, "timestamp_source": "received"}
    assert events(rig.quote(DEAR, "102", "103", 1.31, **received)) == [("open", 1.31, None)]
    late = {"timestamp": START + 1_305_000, "last_sequence": 3}
    assert events(rig.change(DEAR, [["100.3", "60"]], 1.32, **late)) == [("closed", 1.32, "spread")]


def test_a_book_that_lost_a_side_does_not_lead_over_a_quote(rig: Rig) -> None:
    rig.quote(DEAR, "99.9", "100.1", 1)
    rig.book(CHEAP, [["99.9", "9"]], [["100.1", "9"]], 1)
    # The price leaves the levels that were told: what there is to buy is known, the best bid only by the quote.
    assert events(rig.quote(CHEAP, "97", "97.1", 1.1)) == [("open", 1.1, None)]
    assert rig.change(CHEAP, [["99.9", "0"], ["97", "9"]], 1.2, asks=[["97.1", "9"]]) == []
    assert len(rig.core.signals.open) == 1


def test_without_both_sides_nobody_can_tell_whether_it_is_the_same_coin(rig: Rig) -> None:
    rig.quote(CHEAP, "99", "100", 1)
    rig.quote(DEAR, "150", "151", 1.1)
    assert rig.quote(DEAR, "150", None, 1.2) == []
    assert rig.quote(DEAR, "102", None, 1.3) == []
    assert events(rig.quote(DEAR, "102", "103", 1.4)) == [("open", 1.4, None)]


def test_an_old_change_that_is_told_late_is_passed_over(rig: Rig) -> None:
    rig.quote(CHEAP, "99", "100", 1)
    assert len(rig.book(DEAR, [["102", "50"]], [["103", "50"]], 1.1)) == 1
    assert rig.change(DEAR, [["102", "0"]], 1.2, in_step=False, last_sequence=1, first_sequence=1) == []
    assert events(rig.change(DEAR, [["102", "0"], ["101.9", "3"]], 1.3)) == [("closed", 1.3, "spread")]


def test_what_lies_behind_a_snapshot_is_not_known(rig: Rig) -> None:
    rig.quote(CHEAP, "99", "100", 1)
    (record,) = rig.book(DEAR, [["103", "1"], ["102", "2"]], [["104", "1"]], 1.1)
    assert isinstance(record, ArbitrageOpportunity)
    assert [row[0] for row in record.sizes] == ["100"]
    # 101.5 is behind the worst level known: there may be better ones that nobody told of.
    rig.change(DEAR, [["101.5", "100"]], 1.2)
    assert [len(route.opportunity.offers) for route in rig.core.signals.open.values() if route.opportunity] == [1]


def test_one_that_no_known_levels_fill_any_more_ends_for_its_depth(rig: Rig) -> None:
    rig.opened()
    assert events(rig.quote(CHEAP, "99", "100", 1.5, ask_quantity="0.5")) == [("closed", 1.5, "depth")]


def test_spreads_are_told_once_a_second_as_they_stood_at_its_end(rig: Rig) -> None:
    # An asset's seconds begin at a moment of its own.
    late_us = crc32(b"AB") % SECOND
    late = late_us / SECOND
    rig.quote(CHEAP, "99", "100", 1 + late)
    rig.quote(DEAR, "99.5", "100.5", 1.1 + late)
    rig.quote(DEAR, "100.6", "101", 1.9 + late)
    told = rig.quote(CHEAP, "98", "99", 2.2 + late) + rig.quote(DEAR, "98", "99", 2.3 + late)
    (spread,) = [record for record in told if isinstance(record, ArbitrageSpread)]
    assert (spread.exchange, spread.other_exchange, spread.timestamp) == (
        "binance",
        "okx",
        START + 2 * SECOND + late_us,
    )
    assert (spread.bid_price, spread.ask_price, spread.other_bid_price, spread.other_ask_price) == (
        "99",
        "100",
        "100.6",
        "101",
    )
    assert (spread.percent, spread.net_percent) == ("0.6", "0.3994")
    assert (spread.reverse_percent, spread.reverse_net_percent) == ("-1.98019802", "-2.17821782")
    assert (spread.age_us, spread.other_age_us, spread.suspended) == (1_020_000, 120_000, False)


def test_the_inputs_are_fields_of_the_records() -> None:
    for read, record in (
        (inputs.QuoteInput, QuoteRecord),
        (inputs.OrderBookInput, OrderBook),
        (inputs.BookChangeInput, BookChange),
        (inputs.InstrumentInput, Instrument),
        (inputs.ClockOffsetInput, ClockOffset),
        (inputs.GapInput, Gap),
    ):
        assert set(read.__struct_fields__) <= set(record.__struct_fields__), read
