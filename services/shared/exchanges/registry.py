"""Every exchange market that tapeline knows, one line each."""

from __future__ import annotations

from collections.abc import Mapping

from services.shared.exchanges.binance_perp import BINANCE_PERP
from services.shared.exchanges.binance_spot import BINANCE_SPOT
from services.shared.exchanges.bybit_perp import BYBIT_PERP
from services.shared.exchanges.bybit_spot import BYBIT_SPOT
from services.shared.exchanges.bybit_v2 import BYBIT_V2
from services.shared.exchanges.declaration import Market
from services.shared.exchanges.deribit_market import DERIBIT_FUTURE, DERIBIT_OPTION
from services.shared.exchanges.deribit_perp import DERIBIT_PERP
from services.shared.exchanges.gateio_perp import GATEIO_PERP
from services.shared.exchanges.gateio_spot import GATEIO_SPOT
from services.shared.exchanges.mexc_perp import MEXC_PERP
from services.shared.exchanges.mexc_spot import MEXC_SPOT
from services.shared.exchanges.okx_future import OKX_FUTURE
from services.shared.exchanges.okx_perp import OKX_PERP
from services.shared.exchanges.okx_spot import OKX_SPOT

MARKETS: Mapping[tuple[str, str], Market] = {
    (market.exchange, market.market): market
    for market in (
        BINANCE_SPOT,
        BINANCE_PERP,
        BYBIT_SPOT,
        BYBIT_PERP,
        BYBIT_V2,
        DERIBIT_PERP,
        DERIBIT_FUTURE,
        DERIBIT_OPTION,
        GATEIO_SPOT,
        GATEIO_PERP,
        OKX_SPOT,
        OKX_PERP,
        OKX_FUTURE,
        MEXC_SPOT,
        MEXC_PERP,
    )
}

DEFAULT_EXCHANGES = tuple(dict.fromkeys(market.exchange for market in MARKETS.values() if not market.withdrawn))
"""What is collected where nothing else is said: every exchange whose protocol is served today."""
