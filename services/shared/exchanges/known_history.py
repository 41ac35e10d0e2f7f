"""Every exchange market whose past can be asked for."""

from __future__ import annotations

from collections.abc import Mapping

from services.shared.exchanges.binance_history import BINANCE_HISTORY
from services.shared.exchanges.bybit_history import BYBIT_HISTORY
from services.shared.exchanges.deribit_history import DERIBIT_HISTORY
from services.shared.exchanges.gateio_history import GATEIO_HISTORY
from services.shared.exchanges.history import History
from services.shared.exchanges.mexc_history import MEXC_HISTORY
from services.shared.exchanges.okx_history import OKX_HISTORY

HISTORIES: Mapping[tuple[str, str], Mapping[str, History]] = {
    market: {history.name: history for history in found}
    for exchange in (BINANCE_HISTORY, BYBIT_HISTORY, DERIBIT_HISTORY, GATEIO_HISTORY, MEXC_HISTORY, OKX_HISTORY)
    for market, found in exchange.items()
}
"""Exchange and market -> what is served, by the channel of its answers."""


def history_of(exchange: str, market: str, kind: str, interval: str | None) -> History | None:
    """Return what serves a kind of record of a market (a candle: of one interval), or None when nothing does."""
    for history in HISTORIES.get((exchange, market), {}).values():
        if (history.kind, history.interval) == (kind, interval):
            return history
    return None
