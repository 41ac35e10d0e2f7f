"""Deribit's instrument rows of 2025 for the generated listings; keys and order are those of a live answer."""

from __future__ import annotations

from typing import Any

from services.exchange_simulator.generator.deribit_listings import OptionListing
from services.exchange_simulator.generator.names import Listing
from services.exchange_simulator.generator.noise import key_of

_LISTED_MS = 1_598_918_400_000
_NEVER_MS = 32_503_708_800_000
"""When a perpetual expires."""
_LISTED_BEFORE_EXPIRY_MS = 90 * 86_400_000


def instrument(listing: Listing) -> dict[str, Any]:
    """Return one row of `get_instruments`. Numbers that are prices or sizes are floats, as the exchange's are."""
    option = isinstance(listing, OptionListing)
    reversed_ = listing.inverse or option
    expires_ms = _NEVER_MS if listing.expires_us is None else listing.expires_us // 1_000
    listed_ms = _LISTED_MS if listing.expires_us is None else expires_ms - _LISTED_BEFORE_EXPIRY_MS
    settlement = listing.base if reversed_ else listing.quote
    size = float(listing.contract_size or "1")
    row: dict[str, Any] = {
        "price_index": f"{listing.base}_{'usd' if reversed_ else listing.quote}".lower(),
        "kind": "option" if option else "future",
        "instrument_name": listing.wire_symbol,
        **({} if option else {"max_leverage": 50}),
        "maker_commission": 0.0,
        "taker_commission": 0.0005,
        "instrument_type": "reversed" if reversed_ else "linear",
        "expiration_timestamp": expires_ms,
        "creation_timestamp": listed_ms,
        "is_active": True,
        "tick_size": listing.tick,
        "contract_size": size,
        "instrument_id": key_of(listing.wire_symbol) % 1_000_000,
        "min_trade_amount": float(listing.step_size) * size,
        **({} if option else {"future_type": "reversed" if reversed_ else "linear"}),
        **({} if option else {"max_liquidation_commission": 0.0075, "max_non_default_leverage": 5}),
        "block_trade_commission": 0.00025,
        "block_trade_min_trade_amount": 200_000 if listing.inverse else 25,
        "block_trade_tick_size": 0.01,
        "settlement_currency": settlement,
        "settlement_period": "perpetual" if listing.market == "perp" else "month",
        "base_currency": listing.base,
        "counter_currency": "USD" if reversed_ else listing.quote,
        "quote_currency": listing.quote,
        "tick_size_steps": [],
    }
    if isinstance(listing, OptionListing):
        row |= {"option_type": "call" if listing.call else "put", "strike": listing.strike}
    return row
