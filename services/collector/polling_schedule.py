"""When each symbol is asked for: soon after it is collected, then once in every period, the symbols spread evenly.

Pure: times come in, in seconds of a clock that never steps.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from heapq import heapify, heappop, heappush
from math import floor

from services.shared.exchanges.declaration import Poll
from services.shared.exchanges.rest_rules import RestRules

FIRST_ROUND_SHARE = 0.7
"""Of what an exchange allows of an endpoint, so much goes to a first round; the rest is for what else is asked."""
NOT_YET_S = 1.0
"""A symbol that cannot be asked for yet is looked at again after so long."""
AGAIN_S = 10.0
"""What failed is asked for again after so long, twice as long with each failure in a row, and a period at most."""
_GOLDEN = 0.6180339887498949
"""The fractions of its whole multiples fill an interval evenly, however many there are."""
_ROUNDING = 1e-9
"""Of a period: a turn that is now has passed, however the last digit of its time came out."""


def first_spacing_s(poll: Poll, rules: RestRules) -> float:
    """Return how many seconds lie between the requests of a first round, as the exchange's limits have it."""
    costs = (
        (poll.weight if rate.weighed else 1) * rate.window_s / rate.units
        for rate in rules.rates
        if rate.counts(poll.endpoint)
    )
    return max(costs, default=0.0) / FIRST_ROUND_SHARE


class Schedule:
    """One endpoint's symbols, each asked for once in `every_s` at a place of its own in it.

    Symbols that are new, all of them at start, are asked for first, `spacing_s` apart and within one period. No symbol
    waits longer than a period for its next turn, and none is moved when others come or go. But where the exchange
    allows too little for that, those that have not been answered once go before those that have.
    """

    def __init__(self, every_s: float, spacing_s: float) -> None:
        self._every_s = every_s
        self._spacing_s = spacing_s
        self._phases: dict[str, float] = {}
        """Where in each period a symbol's turn is, seconds; those that are collected."""
        self._came = 0
        """How many symbols have come so far."""
        self._due: list[tuple[float, str]] = []
        self._free_at = 0.0
        """When the next new symbol may be asked for."""
        self._failures: dict[str, int] = {}
        """In a row, by symbol."""
        self._first: set[str] = set()
        """Asked for the first time, and neither answered nor failed: the others' turns wait for them."""
        self._new: set[str] = set()
        """Not asked for yet, or in vain."""

    def collect(self, symbols: Collection[str], now: float) -> None:
        """Ask for these from now on, and for no others."""
        wanted = set(symbols)
        self._phases = {symbol: phase for symbol, phase in self._phases.items() if symbol in wanted}
        self._failures = {symbol: count for symbol, count in self._failures.items() if symbol in wanted}
        self._due = [item for item in self._due if item[1] in wanted]
        heapify(self._due)
        self._first &= wanted
        self._new &= wanted
        new = [symbol for symbol in dict.fromkeys(symbols) if symbol not in self._phases]
        spacing_s = min(self._spacing_s, self._every_s / max(1, len(new)))
        for symbol in new:
            self._phases[symbol] = self._came * _GOLDEN % 1.0 * self._every_s
            self._came += 1
            self._new.add(symbol)
            at = max(now, self._free_at)
            self._free_at = at + spacing_s
            heappush(self._due, (at, symbol))

    def next_due(self) -> float | None:
        """Return when the next symbol is to be asked for; None: there is none."""
        return self._due[0][0] if self._due else None

    def take(self, now: float, may: Callable[[str], bool] = lambda _: True) -> Iterator[str]:
        """Yield what is to be asked for by now, each symbol once however late it is; it has its next turn then.

        One that `may` not be asked for yet, with what was yielded before it, is looked at again a little later.
        """
        while self._due and self._due[0][0] <= now:
            _, symbol = heappop(self._due)
            if (symbol in self._new or not self._first) and may(symbol):
                heappush(self._due, (self._turn_after(symbol, now), symbol))
                if symbol in self._new:
                    self._new.remove(symbol)
                    self._first.add(symbol)
                yield symbol
            else:
                heappush(self._due, (now + NOT_YET_S, symbol))

    def answered(self, symbol: str) -> None:
        """There is an answer to what was asked: its next turn is as it has one."""
        self._failures.pop(symbol, None)
        self._first.discard(symbol)

    def failed(self, symbol: str, now: float) -> None:
        """There is none: ask again before its next turn."""
        if symbol not in self._phases:
            return
        if symbol in self._first:
            self._first.remove(symbol)
            self._new.add(symbol)
        failures = self._failures[symbol] = self._failures.get(symbol, 0) + 1
        again = now + min(AGAIN_S * 2.0 ** min(failures - 1, 32), self._every_s)
        turn = next(at for at, name in self._due if name == symbol)
        if again < turn:
            self._due.remove((turn, symbol))
            heapify(self._due)
            heappush(self._due, (again, symbol))

    def _turn_after(self, symbol: str, now: float) -> float:
        phase, every_s = self._phases[symbol], self._every_s
        passed = floor((now - phase) / every_s + _ROUNDING)
        return (passed + 1) * every_s + phase


class Settling:
    """Which symbols have been as they should for `for_s` seconds, as far as was looked."""

    def __init__(self, for_s: float) -> None:
        self._for_s = for_s
        self._since: dict[str, float] = {}

    def settled(self, symbol: str, as_it_should: bool, now: float) -> bool:
        """Take what a look has found; return whether it has been so for long enough."""
        if not as_it_should:
            self._since.pop(symbol, None)
            return False
        return now - self._since.setdefault(symbol, now) >= self._for_s
