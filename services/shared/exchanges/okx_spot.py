"""OKX spot."""

from __future__ import annotations

from services.shared.exchanges import okx, okx_control, okx_limits, okx_prices
from services.shared.exchanges.declaration import Market
from services.shared.exchanges.okx_books import BOOK_RULE
from services.shared.exchanges.okx_instruments import instruments_poll
from services.shared.exchanges.server_time import time_poll

_INSTRUMENTS = instruments_poll("SPOT", lambda name: name)
_TIME = time_poll("/api/v5/public/time", okx_limits.read_time)

OKX_SPOT = Market(
    exchange=okx.EXCHANGE,
    market="spot",
    ws_url=okx.WS_URL,
    rest_url=okx.REST_URL,
    routes=okx.ROUTES,
    limits=okx.LIMITS,
    channels={channel.name: channel for channel in okx_prices.common_channels()},
    polls={poll.name: poll for poll in (_INSTRUMENTS, _TIME)},
    instruments=_INSTRUMENTS,
    book_channel="books",
    book_snapshot=None,
    book_rule=BOOK_RULE,
    subscribe=okx_control.subscribe,
    unsubscribe=okx_control.unsubscribe,
    sort=okx_control.sort,
    rest=okx_limits.RULES,
    time=_TIME,
    starter=("BTC-USDT", "ETH-USDT", "SOL-USDT", "DOGE-USDT", "ADA-USDT"),
    keep_alive=okx_control.KEEP_ALIVE,
)
