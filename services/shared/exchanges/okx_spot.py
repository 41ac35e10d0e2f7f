"""OKX spot."""

from __future__ import annotations

from services.shared.exchanges import okx, okx_control, okx_prices
from services.shared.exchanges.declaration import Market
from services.shared.exchanges.okx_books import BOOK_RULE
from services.shared.exchanges.okx_instruments import instruments_poll

_INSTRUMENTS = instruments_poll("SPOT", lambda name: name)

OKX_SPOT = Market(
    exchange=okx.EXCHANGE,
    market="spot",
    ws_url=okx.WS_URL,
    rest_url=okx.REST_URL,
    routes=okx.ROUTES,
    limits=okx.LIMITS,
    channels={channel.name: channel for channel in okx_prices.common_channels()},
    polls={_INSTRUMENTS.name: _INSTRUMENTS},
    instruments=_INSTRUMENTS,
    book_channel="books",
    book_snapshot=None,
    book_rule=BOOK_RULE,
    subscribe=okx_control.subscribe,
    unsubscribe=okx_control.unsubscribe,
    sort=okx_control.sort,
    used_weight_header="",
    starter=("BTC-USDT", "ETH-USDT", "SOL-USDT", "DOGE-USDT", "ADA-USDT"),
    keep_alive=okx_control.KEEP_ALIVE,
)
