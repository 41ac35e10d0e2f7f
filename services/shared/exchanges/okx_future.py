"""OKX's dated futures, linear and inverse. Their names are ours: `BTC-USD-261225`."""

from __future__ import annotations

from services.shared.exchanges import okx, okx_contracts, okx_control, okx_prices
from services.shared.exchanges.declaration import Market
from services.shared.exchanges.okx_books import BOOK_RULE
from services.shared.exchanges.okx_instruments import instruments_poll

_KIND = "FUTURES"
_INSTRUMENTS = instruments_poll(_KIND, lambda name: name)
_CHANNELS = [*okx_prices.common_channels(), *okx_contracts.contract_channels(_KIND)]


OKX_FUTURE = Market(
    exchange=okx.EXCHANGE,
    market="future",
    ws_url=okx.WS_URL,
    rest_url=okx.REST_URL,
    routes=okx.ROUTES,
    limits=okx.LIMITS,
    channels={channel.name: channel for channel in _CHANNELS},
    polls={_INSTRUMENTS.name: _INSTRUMENTS},
    instruments=_INSTRUMENTS,
    book_channel="books",
    book_snapshot=None,
    book_rule=BOOK_RULE,
    subscribe=okx_control.subscribe,
    unsubscribe=okx_control.unsubscribe,
    sort=okx_control.sort,
    used_weight_header="",
    keep_alive=okx_control.KEEP_ALIVE,
)
