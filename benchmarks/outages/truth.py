"""What the tables must hold of a generated market, whether anybody heard it or not: trades by number, closed candles.

The rows are those that the simulator's ledger would have written, made from the market itself: neither an encoded frame
nor a parser lies between them and the price process. Numbers are decimals, times microseconds UTC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from pathlib import Path
from typing import Any, NamedTuple

from schemas.records import BY_KIND
from services.exchange_simulator import generator
from services.exchange_simulator.generator.candles import INTERVALS_US
from services.exchange_simulator.generator.dialect import Dialect, Row
from services.exchange_simulator.generator.events import CandleEvent, Event, FillEvent, TradeEvent
from services.exchange_simulator.generator.feed import Feed
from services.exchange_simulator.generator.ledger_rows import MOST_DIGITS, NUMBER, Scales, columns_of
from services.exchange_simulator.generator.venue import GeneratedVenue
from services.exchange_simulator.settings import SimulatorSettings

NOT_OF_HISTORY = frozenset({"sent_at", "closed"})
"""Columns that are not compared: the exchange's send time is told live only, and every stored candle is closed."""

_NUMBERS = {
    kind: frozenset(name for name, column in columns_of(BY_KIND[kind]).items() if column == NUMBER)
    for kind in ("trade", "candle")
}
_EXACT = Context(prec=60)

Stored = Mapping[str, Any]
"""A table's row: numbers as decimal texts, times in microseconds."""


@dataclass
class Count:
    """One series beside the market's own: rows due, stored live and refilled, and what is not as it must be."""

    due: int = 0
    live: int = 0
    refilled: int = 0
    doubled: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Instrument(NamedTuple):
    """A generated instrument and the words of its exchange."""

    dialect: Dialect
    feed: Feed


def instruments(data: Path, **settings: Any) -> dict[tuple[str, str, str], Instrument]:
    """Return a run's instruments by exchange, market and symbol, given the settings of its simulator."""
    dialects = {(one.exchange, one.market): one for one in generator.DIALECTS}
    found = {}
    for venue in generator.build(SimulatorSettings(data_dir=data, ledger=False, **settings)):
        assert isinstance(venue, GeneratedVenue)
        for feed in venue.feeds.values():
            key = (venue.exchange, venue.market, feed.market.listing.symbol)
            found[key] = Instrument(dialects[venue.exchange, venue.market], feed)
    return found


def _row(dialect: Dialect, kind: str, event: Event, of: type[Event], scales: Scales) -> Row:
    """Return the ledger's row of an event; `of` is the event that the dialect tells it of, or makes more of."""
    for made_of, rows in dialect.rows.items():
        for one in rows:
            if one.kind == kind and issubclass(made_of, of):
                row = one.row(event, scales)
                assert row is not None
                return row
    raise KeyError(f"{dialect.exchange} {dialect.market} tells no {kind} of {of.__name__}")


def differences(due: Row, stored: Stored, kind: str) -> list[str]:
    """Return the columns in which a stored row is not what it must be; of what a refilled one lacks, nothing."""
    found = []
    for name, value in due.items():
        have = stored.get(name)
        if name in NOT_OF_HISTORY or name not in stored or (have is None and stored["source"] == "backfill"):
            continue
        if name in _NUMBERS[kind] and value is not None:
            value = Decimal(value).scaleb(-MOST_DIGITS, _EXACT)
            have = None if have is None else Decimal(have)
        if have != value:
            found.append(f"{name} is {have}, not {value}")
    return found


def trades(instrument: Instrument, stored: Sequence[Stored]) -> Count:
    """Compare an instrument's numbered trades, from the first to the last that is stored (in order of `sequence`)."""
    market = instrument.feed.market
    scales = Scales(market.listing, MOST_DIGITS)
    count = _counted(stored)
    rows = {row["sequence"]: row for row in stored}
    count.doubled = len(stored) - len(rows)
    if not stored:
        return count
    first, last = stored[0]["sequence"], stored[-1]["sequence"]
    made: set[int] = set()
    for due in _due_trades(instrument, rows, scales, stored[0]["timestamp"]):
        if due["sequence"] < first:
            continue
        if due["sequence"] > last:
            break
        count.due += 1
        made.add(due["sequence"])
        have = rows.get(due["sequence"])
        if have is None:
            count.lost.append(f"trade {due['sequence']}")
        elif wrong := differences(due, have, "trade"):
            count.wrong.append(f"trade {due['sequence']}: {', '.join(wrong)}")
    count.wrong += [f"trade {number} never was" for number in rows.keys() - made]
    return count


def _due_trades(instrument: Instrument, rows: Mapping[int, Stored], scales: Scales, from_us: int) -> Iterator[Row]:
    """Yield trades as they must be stored, from a time on: those that history tells fill by fill, as their fills."""
    dialect, market = instrument.dialect, instrument.feed.market
    number = market.first_trade_from(from_us // 1_000 * 1_000)
    while True:
        trade = market.trade(number)
        number += 1
        whole = _row(dialect, "trade", TradeEvent(scales.listing, 0, trade), TradeEvent, scales)
        have = rows.get(whole["sequence"])
        merges = whole.get("trade_count") or 1
        if have is None or merges == 1 or have["source"] == "live" or have["trade_count"] == merges:
            yield whole
            continue
        for place in range(len(trade.fills)):
            yield _row(dialect, "fill", FillEvent(scales.listing, 0, trade, place), FillEvent, scales)


def candles(instrument: Instrument, interval: str, stored: Sequence[Stored], from_us: int, until_us: int) -> Count:
    """Compare closed candles: each that ended after `from_us` and well before `until_us` is there once."""
    listing, length = instrument.feed.market.listing, INTERVALS_US[interval]
    scales = Scales(listing, MOST_DIGITS)
    count = _counted(stored)
    rows = {row["timestamp"]: row for row in stored}
    count.doubled = len(stored) - len(rows)
    first = min([from_us // length * length, *rows])
    end = max([until_us // length * length, *(at + length for at in rows)])
    for open_us in range(first, end, length):
        count.due += 1
        have = rows.get(open_us)
        if have is None:
            count.lost.append(f"candle {interval} of {open_us}")
            continue
        bar = instrument.feed.candles.between(open_us, open_us + length)
        event = CandleEvent(listing, open_us + length, interval, open_us, open_us + length - 1_000, bar, True)
        due = _row(instrument.dialect, "candle_update", event, CandleEvent, scales)
        if wrong := differences(due, have, "candle"):
            count.wrong.append(f"candle {interval} of {open_us}: {', '.join(wrong)}")
    return count


def _counted(stored: Sequence[Stored]) -> Count:
    sources = Counter(row["source"] for row in stored)
    return Count(live=sources["live"], refilled=sources["backfill"])
