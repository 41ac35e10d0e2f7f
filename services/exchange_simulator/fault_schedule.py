"""Faults by themselves: each kind so often a minute on each exchange, the same ones for the same seed.

Pure: times come in. The schedule of an exchange begins with its first connection.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from schemas.errors import SettingsError
from services.exchange_simulator import fault_orders as orders

_MINUTE_US = 60_000_000
_STALL_S = 2.0
_STATUS: tuple[Literal[429, 418, 403], ...] = (429, 418, 403)
_RECORDS = ("book_change", "trade", "quote")
_GARBAGE = ("{garbage", '{"e":', "\x00\x01", "[[[[", "null")

_ORDERS: Mapping[str, Callable[[int], orders.Fault]] = {
    "drop": lambda number: orders.Drop(kind=_RECORDS[number % 3]),
    "duplicate": lambda number: orders.Duplicate(kind=_RECORDS[number % 3]),
    "swap": lambda number: orders.Swap(kind=_RECORDS[number % 3]),
    "truncate": lambda number: orders.Truncate(kind=_RECORDS[number % 3]),
    "unchain": lambda number: orders.Unchain(kind="book_change"),
    "insert": lambda number: orders.Insert(frame=_GARBAGE[number % len(_GARBAGE)]),
    "stall": lambda number: orders.Stall(seconds=_STALL_S),
    "close": lambda number: orders.Close(count=1),
    "abort": lambda number: orders.Close(count=1, abort=True),
    "expire": lambda number: orders.Expire(),
    "refuse": lambda number: orders.Refuse(),
    "reject": lambda number: orders.Reject(status=_STATUS[number % 3]),
    "page": lambda number: orders.Page(),
    "list": lambda number: orders.Enlist(),
    "delist": lambda number: orders.Delist(),
}
"""Kind of fault -> its `number`-th order. Faults on frames befall kinds of record by turns."""

KINDS = tuple(_ORDERS)


def kinds_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds of fault named, all but listings where none is. Raises SettingsError for a name not known."""
    if unknown := [name for name in names if name not in KINDS]:
        raise SettingsError(f"fault_kinds={','.join(unknown)}: no such fault; allowed: {', '.join(KINDS)}")
    return tuple(names) or tuple(kind for kind in KINDS if kind not in ("list", "delist"))


class Schedule:
    """The faults of one exchange, spread over its markets."""

    def __init__(self, exchange: str, markets: Sequence[str], per_min: float, kinds: Sequence[str], seed: int) -> None:
        """Plan each of `kinds` every 60 / `per_min` seconds, at a moment drawn within that time."""
        self._exchange = exchange
        self._markets = markets
        self._period_us = _MINUTE_US / per_min
        self._chance = {kind: random.Random(f"{seed} {exchange} {kind}") for kind in kinds}
        self._told = dict.fromkeys(kinds, 0)
        self._next_us: dict[str, int] = {}
        self._began_us: int | None = None

    def begin(self, now_us: int) -> None:
        """Begin now, unless it has begun."""
        if self._began_us is None:
            self._began_us = now_us
            self._next_us = {kind: self._time(kind) for kind in self._told}

    def _time(self, kind: str) -> int:
        begins = (self._began_us or 0) + self._told[kind] * self._period_us
        return int(begins + self._chance[kind].random() * self._period_us)

    def due_us(self) -> int | None:
        """When the next fault is due, or None while it has not begun."""
        return min(self._next_us.values(), default=None)

    def due(self, now_us: int) -> list[orders.Fault]:
        """Return the faults due now."""
        found: list[orders.Fault] = []
        for kind in list(self._next_us):
            while self._next_us[kind] <= now_us:
                market = self._chance[kind].choice(self._markets)
                order = _ORDERS[kind](self._told[kind])
                found.append(msgspec.structs.replace(order, exchange=self._exchange, market=market))
                self._told[kind] += 1
                self._next_us[kind] = self._time(kind)
        return found
