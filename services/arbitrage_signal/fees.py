"""Taker fees of accounts without a discount, as shares of the traded amount: defaults, to be replaced by your own.

Fees differ by account, region and promotion (`fees`, `fee_tiers`). Read 2026-11 from public comparisons of the
exchanges' fee pages, not from the pages themselves; for Deribit and Gate.io from one source only.
"""

from __future__ import annotations

DEFAULT_FEES: dict[str, dict[str, str]] = {
    "binance.spot": {"regular": "0.001"},
    "binance.perp": {"regular": "0.0005", "vip1": "0.0004", "vip2": "0.00035"},
    "okx.spot": {"regular": "0.001"},
    "okx.perp": {"regular": "0.0005", "vip1": "0.0004", "vip2": "0.00035"},
    "deribit.perp": {"regular": "0.0005"},
    "gateio.spot": {"regular": "0.002"},
    "gateio.perp": {"regular": "0.0005"},
    "mexc.spot": {"regular": "0.0005"},
    "mexc.perp": {"regular": "0.0002"},
    "bybit.spot": {"regular": "0.001"},
    "bybit.perp": {"regular": "0.00055", "vip1": "0.0004", "vip2": "0.000375"},
}
