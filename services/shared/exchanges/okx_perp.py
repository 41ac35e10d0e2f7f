"""OKX perpetuals (`SWAP`), linear and inverse."""

from __future__ import annotations

from services.shared.exchanges import okx, okx_contracts, okx_control, okx_limits, okx_prices
from services.shared.exchanges.declaration import Market
from services.shared.exchanges.okx_books import BOOK_RULE
from services.shared.exchanges.okx_instruments import instruments_poll
from services.shared.exchanges.server_time import time_poll

_KIND = "SWAP"
_INSTRUMENTS = instruments_poll(_KIND, lambda name: f"{name.removesuffix('-SWAP')}-PERP")
_CHANNELS = [
    *okx_prices.common_channels(),
    *okx_contracts.contract_channels(_KIND),
    okx_contracts.INDEX_PRICE,
    okx_contracts.FUNDING,
]
_TIME = time_poll("/api/v5/public/time", okx_limits.read_time)
_POLLS = (_INSTRUMENTS, _TIME, *okx_contracts.PERP_POLLS)

OKX_PERP = Market(
    exchange=okx.EXCHANGE,
    market="perp",
    ws_url=okx.WS_URL,
    rest_url=okx.REST_URL,
    routes=okx.ROUTES,
    limits=okx.LIMITS,
    channels={channel.name: channel for channel in _CHANNELS},
    polls={poll.name: poll for poll in _POLLS},
    instruments=_INSTRUMENTS,
    book_channel="books",
    book_snapshot=None,
    book_rule=BOOK_RULE,
    subscribe=okx_control.subscribe,
    unsubscribe=okx_control.unsubscribe,
    sort=okx_control.sort,
    rest=okx_limits.RULES,
    time=_TIME,
    starter=("BTC-USDT-PERP", "ETH-USDT-PERP", "SOL-USDT-PERP", "DOGE-USDT-PERP", "ADA-USDT-PERP"),
    keep_alive=okx_control.KEEP_ALIVE,
)
