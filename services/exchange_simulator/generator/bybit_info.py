"""Bybit's `instruments-info` for the generated listings, with the keys of the exchange's pages of 2026-07."""

from __future__ import annotations

from typing import Any

from services.exchange_simulator.generator.names import Listing
from services.exchange_simulator.generator.statistics import FUNDING_INTERVAL_US

_LISTED_MS = 1_609_459_200_000
_FUNDING_MINUTES = FUNDING_INTERVAL_US // 60_000_000


def pair(listing: Listing) -> dict[str, Any]:
    """Return one row of spot."""
    return {
        "symbol": listing.wire_symbol,
        "baseCoin": listing.base,
        "quoteCoin": listing.quote,
        "innovation": "0",
        "status": "Trading",
        "marginTrading": "both",
        "stTag": "0",
        "lotSizeFilter": {
            "basePrecision": listing.step_size,
            "quotePrecision": "0.00000001",
            "minOrderQty": listing.step_size,
            "maxOrderQty": "1000000",
            "minOrderAmt": "5",
            "maxOrderAmt": "4000000",
        },
        "priceFilter": {"tickSize": listing.tick_size},
        "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
        "symbolType": "",
    }


def contract(listing: Listing) -> dict[str, Any]:
    """Return one row of linear contracts."""
    return {
        "symbol": listing.wire_symbol,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": listing.base,
        "quoteCoin": listing.quote,
        "launchTime": str(_LISTED_MS),
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(listing.price_digits),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "priceFilter": {"minPrice": listing.tick_size, "maxPrice": "1999999.80", "tickSize": listing.tick_size},
        "lotSizeFilter": {
            "maxOrderQty": "1000000",
            "minOrderQty": listing.step_size,
            "qtyStep": listing.step_size,
            "postOnlyMaxOrderQty": "1000000",
            "maxMktOrderQty": "100000",
            "minNotionalValue": "5",
        },
        "unifiedMarginTrade": True,
        "fundingInterval": _FUNDING_MINUTES,
        "settleCoin": listing.quote,
        "copyTrading": "both",
        "upperFundingRate": "0.005",
        "lowerFundingRate": "-0.005",
        "isPreListing": False,
        "preListingInfo": None,
        "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
        "displayName": "",
        "symbolType": "",
    }
