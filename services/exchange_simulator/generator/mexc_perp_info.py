"""MEXC contracts' `detail` for the generated listings, with the keys of the exchange's pages of 2025-11."""

from __future__ import annotations

from typing import Any

import orjson

from services.exchange_simulator.generator.figures import trimmed
from services.exchange_simulator.generator.names import Listing

_LISTED_MS = 1_609_459_200_000


def detail(listing: Listing) -> dict[str, Any]:
    """Return one contract; its figures are bare numbers with their own digits."""
    tick = trimmed(listing.tick_units, listing.price_digits)
    return {
        "symbol": listing.wire_symbol,
        "displayName": f"{listing.wire_symbol}永续",
        "displayNameEn": f"{listing.wire_symbol} PERPETUAL",
        "positionOpenType": 3,
        "baseCoin": listing.base,
        "quoteCoin": listing.quote,
        "settleCoin": listing.quote,
        "contractSize": orjson.Fragment(listing.contract_size or "1"),
        "minLeverage": 1,
        "maxLeverage": 125,
        "priceScale": listing.price_digits,
        "volScale": 0,
        "amountScale": 4,
        "priceUnit": orjson.Fragment(tick),
        "volUnit": 1,
        "minVol": 1,
        "maxVol": 1_000_000,
        "bidLimitPriceRate": 0.1,
        "askLimitPriceRate": 0.1,
        "takerFeeRate": 0.0006,
        "makerFeeRate": 0.0002,
        "maintenanceMarginRate": 0.004,
        "initialMarginRate": 0.008,
        "state": 0,
        "isNew": False,
        "isHot": False,
        "isHidden": False,
        "conceptPlate": [],
        "riskLimitType": "BY_VOLUME",
        "maxNumOrders": [200, 50],
        "marketOrderMaxLevel": 20,
        "createTime": _LISTED_MS,
        "apiAllowed": False,
    }
