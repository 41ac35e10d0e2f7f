"""Candles of intervals that an exchange does not offer, built from its closed candles of one minute.

A window is put out when its last minute closes and none of its minutes is missing: the open of the first, the close of
the last, the extremes, and exact sums, as if it had been built from the trades. Windows begin at whole multiples of
their length since the epoch, UTC.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Context, Decimal
from typing import TypeVar

import msgspec

from schemas import records

BASE = "1m"
"""The interval that others are built from."""

STANDARD = ("5m", "30m", "4h", "1d")
"""The intervals that every market has, built or offered."""

_MINUTE_US = 60_000_000
_DAY_MINUTES = 1_440
_UNITS = {"m": 1, "h": 60, "d": _DAY_MINUTES}
_form = re.compile(r"([1-9][0-9]{0,3})([mhd])").fullmatch
_EXACT = Context(prec=80)
T = TypeVar("T")


def length_us(interval: str) -> int:
    """Return the length of an interval such as `3m`, `2h` or `1d` in microseconds. Raises ValueError."""
    found = _form(interval)
    minutes = int(found[1]) * _UNITS[found[2]] if found else 0
    if minutes < 2 or _DAY_MINUTES % minutes:
        raise ValueError(
            f"{interval!r} is no interval to build; allowed are those that divide a day, such as 3m, 2h, 1d"
        )
    return minutes * _MINUTE_US


class Windows:
    """The windows of one instrument that are open, and until when minutes were seen without a hole."""

    def __init__(self, intervals: Iterable[str]) -> None:
        self._lengths = {interval: length_us(interval) for interval in intervals}
        self.open: dict[str, records.Candle] = {}
        self.seen_until = 0

    @property
    def intervals(self) -> tuple[str, ...]:
        """What is built."""
        return tuple(self._lengths)

    def take(self, minute: records.Candle) -> list[records.Candle]:
        """Take the next closed minute; return the candles that it completes."""
        if minute.timestamp != self.seen_until:
            self.open.clear()
        self.seen_until = minute.timestamp + _MINUTE_US
        complete = []
        for interval, length in self._lengths.items():
            begun = self.open.pop(interval, None)
            if minute.timestamp % length == 0:
                window = msgspec.structs.replace(minute, interval=interval)
            elif begun is not None:
                window = _joined(begun, minute)
            else:
                continue
            if self.seen_until % length == 0:
                complete.append(window)
            else:
                self.open[interval] = window
        return complete


def _joined(window: records.Candle, minute: records.Candle) -> records.Candle:
    return msgspec.structs.replace(
        window,
        received_at=minute.received_at,
        sent_at=minute.sent_at,
        high_price=max(window.high_price, minute.high_price, key=Decimal),
        low_price=min(window.low_price, minute.low_price, key=Decimal),
        close_price=minute.close_price,
        volume=_both(_sum, window.volume, minute.volume),
        quote_volume=_both(_sum, window.quote_volume, minute.quote_volume),
        taker_buy_volume=_both(_sum, window.taker_buy_volume, minute.taker_buy_volume),
        taker_buy_quote_volume=_both(_sum, window.taker_buy_quote_volume, minute.taker_buy_quote_volume),
        trade_count=_both(int.__add__, window.trade_count, minute.trade_count),
        first_trade_id=window.first_trade_id if window.first_trade_id is not None else minute.first_trade_id,
        last_trade_id=minute.last_trade_id if minute.last_trade_id is not None else window.last_trade_id,
    )


def _sum(one: str, other: str) -> str:
    return format(_EXACT.add(Decimal(one), Decimal(other)), "f")


def _both(join: Callable[[T, T], T], one: T | None, other: T | None) -> T | None:
    return None if one is None or other is None else join(one, other)
