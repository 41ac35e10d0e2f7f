"""OKX's `instruments` of 2025, one row for each listing; keys in the exchange's order."""

from __future__ import annotations

from typing import Any

from services.exchange_simulator.generator.names import Listing
from services.exchange_simulator.generator.okx_figures import KINDS

_LISTED_MS = "1609459200000"


def instrument(listing: Listing, now_us: int) -> dict[str, Any]:
    """Return one row; a future is `expired` from its expiry on."""
    index = f"{listing.base}-{listing.quote}"
    spot = listing.market == "spot"
    expired = listing.expires_us is not None and listing.expires_us <= now_us
    row: dict[str, Any] = {
        "alias": "" if listing.expires_us is None else "this_quarter",
        "auctionEndTime": "",
        "baseCcy": listing.base if spot else "",
        "category": "1",
        **({} if spot else {"contTdSwTime": ""}),
        "ctMult": "" if spot else "1",
        "ctType": "" if spot else "inverse" if listing.inverse else "linear",
        "ctVal": listing.contract_size or "",
        "ctValCcy": "" if spot else listing.quote if listing.inverse else listing.base,
        "expTime": "" if listing.expires_us is None else str(listing.expires_us // 1000),
    }
    row |= {
        "instFamily": "" if spot else index,
        "instId": listing.wire_symbol,
        "instType": KINDS[listing.market],
        "lever": "10" if spot else "100",
        "listTime": _LISTED_MS,
        "lotSz": listing.step_size,
        "maxIcebergSz": "9999999999.0000000000000000",
        "maxLmtAmt": "20000000",
        "maxLmtSz": "9999999999",
        "maxMktAmt": "1000000" if spot else "",
        "maxMktSz": "1000000",
        "maxStopSz": "1000000",
        "maxTriggerSz": "9999999999.0000000000000000",
        "maxTwapSz": "9999999999.0000000000000000",
        "minSz": listing.step_size,
        "optType": "",
        "quoteCcy": listing.quote if spot else "",
        "ruleType": "normal",
        "settleCcy": "" if spot else listing.base if listing.inverse else listing.quote,
        "state": "expired" if expired else "live",
        "stk": "",
        "tickSz": listing.tick_size,
        "uly": "" if spot else index,
    }
    return row
