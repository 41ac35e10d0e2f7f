"""Candles: exactly the aggregation of a market's trades, over any span, without walking through them.

A block's sums follow from its pattern; larger spans are sums of kept nodes (a minute, ten minutes, an hour, a day).
Spans begin on a block boundary, which every minute is.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.exchange_simulator.generator.many import sums_of_spans
from services.exchange_simulator.generator.market import EPOCH_US, Market

MINUTE_US = 60_000_000
INTERVALS_US: dict[str, int] = {
    "1m": MINUTE_US,
    "3m": 3 * MINUTE_US,
    "5m": 5 * MINUTE_US,
    "15m": 15 * MINUTE_US,
    "30m": 30 * MINUTE_US,
    "1h": 60 * MINUTE_US,
    "2h": 120 * MINUTE_US,
    "4h": 240 * MINUTE_US,
    "6h": 360 * MINUTE_US,
    "8h": 480 * MINUTE_US,
    "12h": 720 * MINUTE_US,
    "1d": 1440 * MINUTE_US,
}
"""The candle intervals that are generated. Binance's 1s, 3d, 1w and 1M are not."""

_NODES_US = (1440 * MINUTE_US, 60 * MINUTE_US, 10 * MINUTE_US, MINUTE_US)
_AT_ONCE = 60
"""From so many blocks on they are summed at once."""

_MOST_KEPT = 40_000

_Sums = tuple[int, int, int, int, int, int, int, int, int]
"""Open, high, low, close (ticks), volume (steps), value (ticks x steps), taker-buy volume and value, fills."""


@dataclass(frozen=True, slots=True)
class Bar:
    """The trades of a span: prices in ticks, volumes in steps, values in ticks x steps, first and last fill id.

    Where nothing traded, the prices are the last price before and both ids are -1.
    """

    open: int
    high: int
    low: int
    close: int
    volume: int
    value: int
    buy_volume: int
    buy_value: int
    count: int
    first_id: int
    last_id: int


class Candles:
    """Sums of one market's trades."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._block_us = market.shape.block_us
        self._kept: dict[tuple[int, int], _Sums] = {}
        self._running: dict[int, tuple[int, _Sums | None]] = {}

    def bar(self, start_us: int, upto_step: int) -> Bar:
        """Sum the trades from a block boundary up to and including a step's. Raises ValueError off the boundary."""
        first, rest = divmod(start_us - EPOCH_US, self._block_us)
        if rest:
            raise ValueError(f"start_us={start_us}: candles begin on a multiple of {self._block_us} us")
        steps = self._market.shape.steps
        last, index = divmod(upto_step, steps)
        trades = self._market.block(last).pattern.trades_upto[index] if last >= first else 0
        if trades == self._market.shape.trades:
            last, trades = last + 1, 0
        whole = self._until(first, last) if last > first else None
        part = self._block_sums(last, trades) if trades and last >= first else None
        return self._made(first, last, trades, _joined(whole, part))

    def window(self, start_us: int, upto_step: int) -> Bar:
        """Sum the trades from any time up to and including a step's; the first block's are walked through."""
        number = -(-(start_us - EPOCH_US) // self._block_us)
        rest = self.bar(EPOCH_US + number * self._block_us, upto_step)
        shape = self._market.shape
        trades = [self._market.trade(a) for a in range(self._market.first_trade_from(start_us), number * shape.trades)]
        if not trades:
            return rest
        sums: _Sums | None = None
        for trade in trades:
            value = trade.steps * trade.ticks
            bought = (trade.steps, value) if trade.buy else (0, 0)
            price = trade.ticks
            sums = _joined(sums, (price, price, price, price, trade.steps, value, *bought, len(trade.fills)))
        if rest.count:
            sums = _joined(
                sums,
                (
                    rest.open,
                    rest.high,
                    rest.low,
                    rest.close,
                    rest.volume,
                    rest.value,
                    rest.buy_volume,
                    rest.buy_value,
                    rest.count,
                ),
            )
        assert sums is not None
        return Bar(*sums, trades[0].first_id, rest.last_id if rest.count else trades[-1].last_id)

    def between(self, start_us: int, end_us: int) -> Bar:
        """Sum the trades of a finished span [start_us, end_us), both on block boundaries."""
        return self.bar(start_us, (end_us - EPOCH_US) // self._block_us * self._market.shape.steps - 1)

    def _made(self, first: int, last: int, trades: int, sums: _Sums | None) -> Bar:
        shape = self._market.shape
        if sums is None:
            close = self._market.trade(first * shape.trades - 1).ticks
            return Bar(close, close, close, close, 0, 0, 0, 0, 0, -1, -1)
        opened = self._market.trade(first * shape.trades)
        closed = self._market.trade(last * shape.trades + trades - 1)
        return Bar(*sums, opened.first_id, closed.last_id)

    def _until(self, first: int, last: int) -> _Sums | None:
        """Sum whole blocks, going on from where the last answer for the same start ended."""
        reached, sums = self._running.get(first, (first, None))
        if reached > last:
            reached, sums = first, None
        while reached < last:
            length = self._longest_node(reached, last)
            self._learn(reached, length, last)
            sums = _joined(sums, self._node(reached, length))
            reached += length
        if len(self._running) > len(INTERVALS_US) * 4:
            self._running.clear()
        self._running[first] = (reached, sums)
        return sums

    def _longest_node(self, first: int, last: int) -> int:
        for length_us in _NODES_US:
            length = length_us // self._block_us
            if first % length == 0 and first + length <= last:
                return length
        return 1

    def _learn(self, first: int, length: int, last: int) -> None:
        """Sum the nodes of this length that come next and are not known yet at once, where they are long."""
        start, kept = first, self._kept
        while length >= _AT_ONCE and (start, length) not in kept and self._longest_node(start, last) == length:
            start += length
        found = sums_of_spans(self._market, first, length, (start - first) // length) if start > first else None
        if found is not None:
            self._make_room()
            kept.update(((first + place * length, length), sums) for place, sums in enumerate(found))

    def _make_room(self) -> None:
        if len(self._kept) > _MOST_KEPT:
            self._kept.clear()

    def _node(self, first: int, length: int) -> _Sums:
        if length == 1:
            return self._block_sums(first, self._market.shape.trades)
        held = self._kept.get((first, length))
        if held is None:
            found = sums_of_spans(self._market, first, length, 1) if length >= _AT_ONCE else None
            sums = self._in_parts(first, length) if found is None else found[0]
            self._make_room()
            held = self._kept[(first, length)] = sums
        return held

    def _in_parts(self, first: int, length: int) -> _Sums:
        shorter = next((us for us in _NODES_US if us // self._block_us < length), self._block_us) // self._block_us
        sums: _Sums | None = None
        for start in range(first, first + length, shorter):
            sums = _joined(sums, self._node(start, shorter))
        assert sums is not None
        return sums

    def _block_sums(self, number: int, trades: int) -> _Sums:
        """Sum the first trades of a block from its pattern's sums."""
        market = self._market
        block = market.block(number)
        drawn, sums = block.pattern.trades, block.pattern.sums[trades]
        bid, spread, unit = block.bid, block.spread, market.unit
        lot = market.lot * block.factor
        first, last = drawn[0], drawn[trades - 1]
        return (
            bid + unit * first.touch + (spread if first.buy else 0),
            bid + max(unit * sums.sell_high, unit * sums.buy_high + spread),
            bid + min(unit * sums.sell_low, unit * sums.buy_low + spread),
            bid + unit * last.touch + (spread if last.buy else 0),
            lot * sums.lots,
            lot * (bid * sums.lots + unit * sums.moved + spread * sums.buy_lots),
            lot * sums.buy_lots,
            lot * ((bid + spread) * sums.buy_lots + unit * sums.buy_moved),
            sums.fills,
        )


def _joined(a: _Sums | None, b: _Sums | None) -> _Sums | None:
    if a is None or b is None:
        return a or b
    return (
        a[0],
        max(a[1], b[1]),
        min(a[2], b[2]),
        b[3],
        a[4] + b[4],
        a[5] + b[5],
        a[6] + b[6],
        a[7] + b[7],
        a[8] + b[8],
    )
