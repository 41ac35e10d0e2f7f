"""Gate.io's instrument lists of 2026, spot pairs and USDT futures, for the generated listings.

Keys and order are those of the recorded lists (2021, 2023); `trade_status`, `status`, `launch_time` and the other keys
that have come since are those of the exchange's pages of 2026-06.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.exchange_simulator.generator.feed import Feed
from services.exchange_simulator.generator.figures import text_of, trimmed
from services.exchange_simulator.generator.gateio_figures import RATE_DIGITS, mark_units, rate_units
from services.exchange_simulator.generator.names import Listing
from services.exchange_simulator.generator.source import lag_us
from services.exchange_simulator.generator.statistics import FUNDING_INTERVAL_US

_LISTED_S = 1_609_459_200
_MOST_CONTRACTS = 1_000_000


def currency_pair(listing: Listing) -> dict[str, Any]:
    """Return one row of `spot/currency_pairs`."""
    return {
        "id": listing.wire_symbol,
        "base": listing.base,
        "base_name": listing.base,
        "quote": listing.quote,
        "quote_name": "Tether",
        "fee": "0.2",
        "min_base_amount": listing.step_size,
        "min_quote_amount": "3",
        "amount_precision": listing.quantity_digits,
        "precision": listing.price_digits,
        "trade_status": "tradable",
        "sell_start": _LISTED_S,
        "buy_start": _LISTED_S,
        "delisting_time": 0,
        "type": "normal",
        "trade_url": f"https://www.gate.com/trade/{listing.wire_symbol}",
        "st_tag": False,
    }


def contracts(feeds: Sequence[Feed], now_us: int) -> list[dict[str, Any]]:
    """Return `futures/usdt/contracts` as of a time."""
    return [contract(feed, now_us) for feed in feeds]


def contract(feed: Feed, now_us: int) -> dict[str, Any]:
    """Return one contract as of a time."""
    market, listing = feed.market, feed.market.listing
    mark = feed.statistics.mark(now_us // 1_000_000 * 1_000_000)
    step = market.step_at(now_us - lag_us(market))
    last = market.trade(market.trades_upto(step) - 1)
    tick = trimmed(listing.tick_units, listing.price_digits)
    rate = trimmed(rate_units(mark.rate), RATE_DIGITS)
    return {
        "funding_rate_indicative": rate,
        "mark_price_round": tick,
        "funding_offset": 0,
        "in_delisting": False,
        "risk_limit_base": "500000",
        "interest_rate": "0.0003",
        "index_price": text_of(mark_units(listing, mark.index), listing.price_digits),
        "order_price_round": tick,
        "order_size_min": 1,
        "ref_rebate_rate": "0.2",
        "name": listing.wire_symbol,
        "ref_discount_rate": "0",
        "order_price_deviate": "0.1",
        "maintenance_rate": "0.005",
        "mark_type": "index",
        "funding_interval": FUNDING_INTERVAL_US // 1_000_000,
        "type": "direct",
        "risk_limit_step": "500000",
        "enable_bonus": True,
        "enable_credit": True,
        "enable_decimal": False,
        "leverage_min": "1",
        "funding_rate": rate,
        "last_price": text_of(last.ticks * listing.tick_units, listing.price_digits),
        "mark_price": text_of(mark_units(listing, mark.mark), listing.price_digits),
        "order_size_max": _MOST_CONTRACTS,
        "funding_next_apply": mark.next_funding_us // 1_000_000,
        "short_users": 1_000,
        "config_change_time": _LISTED_S,
        "create_time": _LISTED_S,
        "launch_time": _LISTED_S,
        "trade_size": market.trades_upto(step),
        "position_size": feed.statistics.open_interest(now_us),
        "long_users": 1_200,
        "quanto_multiplier": listing.contract_size,
        "funding_impact_value": "5000",
        "leverage_max": "100",
        "risk_limit_max": "5000000",
        "maker_fee_rate": "-0.0001",
        "taker_fee_rate": "0.00075",
        "orders_limit": 100,
        "trade_id": last.aggregate_id,
        "orderbook_id": market.last_update_id(step),
        "status": "trading",
    }
