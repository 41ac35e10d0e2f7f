"""The simulation of capital, by hand: one trade from signal to money that is back, limits, and what goes wrong."""

from __future__ import annotations

from typing import Any

from services.arbitrage_signal.capital import YEAR_US, Capital, CapitalRules
from services.arbitrage_signal.core import ArbitrageCore
from services.arbitrage_signal.settings import ArbitrageSignalSettings
from tests.arbitrage_market import SECOND, START, Listed, listing, message

HERE = Listed("binance", "spot", "AB-USDT", "AB", "USDT")
THERE = Listed("okx", "spot", "AB-USDT", "AB", "USDT")


class Rig:
    """A core with two instruments and a capital beside it."""

    def __init__(self, **rules: Any) -> None:
        settings = ArbitrageSignalSettings.load(sizes=("100", "1000"), age_limit_s="60")
        self.core = ArbitrageCore(settings.terms())
        given = {"balances": {"binance": "5000", "okx": "5000"}, "transfer_us": 10 * SECOND, "capital_rate": "0"}
        self.capital = Capital(self.core, CapitalRules(**{**given, **rules}))
        self.sequence = 0
        for listed in (HERE, THERE):
            item = listing(listed)
            self.core.process(0, item.subject, item.body)

    def quote(self, listed: Listed, bid: str, ask: str, at: float, quantity: str = "500") -> None:
        self.sequence += 1
        fields = {"bid_price": bid, "bid_quantity": quantity, "ask_price": ask, "ask_quantity": quantity}
        item = message("quote", listed, START + round(at * SECOND), **fields)
        for record in self.core.process(self.sequence, item.subject, item.body):
            self.capital.heard(record)

    def signalled(self) -> None:
        self.quote(HERE, "99", "100", 1)
        self.quote(THERE, "102", "103", 1.1)


def test_a_trade_from_the_signal_to_the_money_that_is_back() -> None:
    rig = Rig(transfer_cost="2")
    rig.signalled()
    rig.quote(THERE, "101.5", "103", 1.15)  # 100 ms after the signal this is what can be sold at
    rig.quote(THERE, "101.5", "103", 5)
    (trade,) = rig.capital.trades
    assert (trade.at - START, trade.quantity, trade.cost, trade.proceeds) == (1_200_000, "10", "1000", "1015")
    assert (trade.fees, trade.net, trade.signalled_net) == ("2.015", "12.985", "17.98")
    (bought,) = rig.capital.balances
    # 1000 and its fee are spent here, 1000 are bound there; all of it, and what was won, is still ours.
    assert (bought.free, bought.total) == ({"binance": "3999", "okx": "4000"}, "10012.985")
    rig.quote(THERE, "101.5", "103", 12)
    assert rig.capital.balances[-1].free == {"binance": "3999", "okx": "5010.985"}
    rig.quote(THERE, "101.5", "103", 22)
    last = rig.capital.balances[-1]
    assert (last.at - START, last.free, last.total) == (
        21_200_000,
        {"binance": "4998", "okx": "5010.985"},
        "10008.985",
    )
    result = rig.capital.result(START, START + YEAR_US // 365)
    assert (result.capital, result.profit, result.transfer_costs) == ("10000", "8.985", "4")
    assert (result.return_percent, result.annualised_percent) == ("0.08985", "32.79525")
    assert result.drawdown_percent == "0.03994813"  # 4 of 10012.985


def test_the_capital_costs_its_rate_for_the_whole_span() -> None:
    result = Rig(capital_rate="0.1").capital.result(START, START + YEAR_US)
    assert (result.capital_cost, result.profit, result.return_percent) == ("1000", "-1000", "-10")


def test_orders_and_positions_stay_within_their_limits_and_the_money() -> None:
    for rules, cost in (
        ({"order_limit": "300"}, "300"),
        ({"position_limit": "200"}, "200"),
        ({"balances": {"binance": "500.5", "okx": "5000"}}, "500"),
        ({"balances": {"binance": "5000", "okx": "400"}}, "400"),
    ):
        rig = Rig(**rules)
        rig.signalled()
        rig.quote(THERE, "102", "103", 2)
        assert [trade.cost for trade in rig.capital.trades] == [cost], rules


def test_what_is_bound_by_one_trade_is_not_there_for_the_next_until_it_is_settled() -> None:
    rig = Rig(position_limit="1000")
    rig.signalled()
    rig.quote(THERE, "100", "103", 3)
    rig.quote(THERE, "102", "103", 4)
    rig.quote(THERE, "100", "103", 5)
    assert (len(rig.capital.trades), rig.capital.missed) == (1, {"no_money": 1})
    rig.quote(THERE, "102", "103", 12)
    rig.quote(THERE, "102", "103", 13)
    assert len(rig.capital.trades) == 2


def test_what_is_not_to_be_had_after_the_delay_is_missed() -> None:
    rig = Rig()
    rig.signalled()
    rig.quote(THERE, "102", "103", 1.15, quantity="0.5")
    rig.quote(THERE, "102", "103", 2)
    assert (rig.capital.trades, rig.capital.missed) == ([], {"not_filled": 1})


def test_orders_may_wait_for_the_confirmation_and_go_without_delay() -> None:
    rig = Rig(enter_on="confirmed", delay_us=0)
    rig.signalled()
    rig.quote(THERE, "102", "103", 5)
    assert rig.capital.trades == []
    rig.quote(THERE, "102", "103", 6.5)
    assert [trade.at - START for trade in rig.capital.trades] == [6_500_000]


def test_an_exchange_without_money_does_not_trade() -> None:
    rig = Rig(balances={"binance": "5000"})
    rig.signalled()
    rig.quote(THERE, "102", "103", 2)
    assert rig.capital.missed == {"no_money": 1}
