"""Binance's exchangeInfo of 2026, spot and USD-M futures, for the generated listings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.exchange_simulator.generator.figures import text_of
from services.exchange_simulator.generator.names import Listing

_LISTED_MS = 1_569_398_400_000
_PERPETUAL_UNTIL_MS = 4_133_404_800_000
_SPOT_DIGITS = 8
_TIF = ["GTC", "IOC", "FOK", "GTX", "GTD"]


def exchange_info(market: str, listings: Sequence[Listing], now_us: int) -> dict[str, Any]:
    """Return the whole answer; on futures its `serverTime` is stale, as the exchange's is."""
    if market == "spot":
        return {
            "timezone": "UTC",
            "serverTime": now_us // 1000,
            "rateLimits": [
                _rate("REQUEST_WEIGHT", "MINUTE", 1, 6000),
                _rate("ORDERS", "SECOND", 10, 100),
                _rate("ORDERS", "DAY", 1, 200_000),
                _rate("RAW_REQUESTS", "MINUTE", 5, 61_000),
            ],
            "exchangeFilters": [],
            "symbols": [_spot_symbol(listing) for listing in listings],
        }
    return {
        "timezone": "UTC",
        "serverTime": now_us // 1000 // 86_400_000 * 86_400_000,
        "futuresType": "U_MARGINED",
        "rateLimits": [
            _rate("REQUEST_WEIGHT", "MINUTE", 1, 2400),
            _rate("ORDERS", "MINUTE", 1, 1200),
            _rate("ORDERS", "SECOND", 10, 300),
        ],
        "exchangeFilters": [],
        "assets": [
            {"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"},
            {"asset": "BTC", "marginAvailable": True, "autoAssetExchange": "-0.10000000"},
        ],
        "symbols": [_perp_symbol(listing) for listing in listings],
    }


def _rate(kind: str, interval: str, number: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}


def _spot_symbol(listing: Listing) -> dict[str, Any]:
    tick, step = text_of(listing.tick_units, _SPOT_DIGITS), text_of(listing.step_units, _SPOT_DIGITS)
    top = text_of(listing.base_ticks * listing.tick_units * 12, _SPOT_DIGITS)
    most = text_of(listing.step_units * 10**8, _SPOT_DIGITS)
    return {
        "symbol": listing.wire_symbol,
        "status": "TRADING",
        "baseAsset": listing.base,
        "baseAssetPrecision": 8,
        "quoteAsset": "USDT",
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": [
            "LIMIT",
            "LIMIT_MAKER",
            "MARKET",
            "STOP_LOSS",
            "STOP_LOSS_LIMIT",
            "TAKE_PROFIT",
            "TAKE_PROFIT_LIMIT",
        ],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "opoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "pegInstructionsAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": True,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": top, "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": most, "stepSize": step},
            {"filterType": "ICEBERG_PARTS", "limit": 100},
            {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": most, "stepSize": "0.00000000"},
            {
                "filterType": "TRAILING_DELTA",
                "minTrailingAboveDelta": 10,
                "maxTrailingAboveDelta": 2000,
                "minTrailingBelowDelta": 10,
                "maxTrailingBelowDelta": 2000,
            },
            {
                "filterType": "PERCENT_PRICE_BY_SIDE",
                "bidMultiplierUp": "5",
                "bidMultiplierDown": "0.2",
                "askMultiplierUp": "5",
                "askMultiplierDown": "0.2",
                "avgPriceMins": 5,
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": "5.00000000",
                "applyMinToMarket": True,
                "maxNotional": "9000000.00000000",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
            {"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": 20},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
            {"filterType": "MAX_NUM_ORDER_AMENDS", "maxNumOrderAmends": 10},
        ],
        "permissions": [],
        "permissionSets": [["SPOT", "MARGIN"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT"],
    }


def _perp_symbol(listing: Listing) -> dict[str, Any]:
    most = text_of(listing.step_units * 10**6, listing.quantity_digits)
    top = text_of(listing.base_ticks * listing.tick_units * 12, listing.price_digits)
    return {
        "symbol": listing.wire_symbol,
        "pair": listing.wire_symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": _PERPETUAL_UNTIL_MS,
        "onboardDate": _LISTED_MS,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": listing.base,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": listing.price_digits,
        "quantityPrecision": listing.quantity_digits,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": [
            {
                "minPrice": text_of(listing.tick_units, listing.price_digits),
                "maxPrice": top,
                "filterType": "PRICE_FILTER",
                "tickSize": listing.tick_size,
            },
            {"stepSize": listing.step_size, "filterType": "LOT_SIZE", "maxQty": most, "minQty": listing.step_size},
            {
                "stepSize": listing.step_size,
                "filterType": "MARKET_LOT_SIZE",
                "maxQty": most,
                "minQty": listing.step_size,
            },
            {"limit": 200, "filterType": "MAX_NUM_ORDERS"},
            {"limit": 10, "filterType": "MAX_NUM_ALGO_ORDERS"},
            {"notional": "5", "filterType": "MIN_NOTIONAL"},
            {
                "multiplierDown": "0.9500",
                "multiplierUp": "1.0500",
                "multiplierDecimal": "4",
                "filterType": "PERCENT_PRICE",
            },
            {"positionControlSide": "NONE", "filterType": "POSITION_RISK_CONTROL"},
        ],
        "orderTypes": [
            "LIMIT",
            "MARKET",
            "STOP",
            "STOP_MARKET",
            "TAKE_PROFIT",
            "TAKE_PROFIT_MARKET",
            "TRAILING_STOP_MARKET",
        ],
        "timeInForce": _TIF,
        "permissionSets": ["GRID", "COPY", "DCA", "RPI"],
    }
