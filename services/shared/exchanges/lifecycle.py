"""What an instrument's status says of its life. The words are the exchanges' own in lower case, but for `trading`."""

from __future__ import annotations

TRADING = "trading"
"""It trades now: every module translates its exchange's word into this one."""

ENDED = frozenset({"close", "closed", "delisted", "delivered", "expired", "settled", "settling"})
"""It will not trade again. Any other word (halt, break, suspend, ...) may be followed by `trading`.

Among them Binance's SETTLING and CLOSE, Bybit's Closed, OKX's expired, Deribit's closed and settled, Gate.io's
delisted.
"""
