"""What the tables hold of the core's inputs and of what it told, as the messages they once were."""

from __future__ import annotations

import heapq
import re
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from schemas import records, subjects, tables
from schemas.errors import Broken
from services.arbitrage_signal.terms import MEMORY_US, SECOND
from services.shared.runtime.migrations import retentions
from services.shared.runtime.warehouse import Warehouse

SLICE = 200_000
"""How many MD sequences are asked for at once: what a replay holds in memory, at most."""

DAY_US = 86_400 * SECOND
_DB = tables.DATABASE
_FORMAT = (
    "FORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers=0, output_format_json_quote_decimals=1, "
    "output_format_json_named_tuples_as_objects=0"
)
_TIMES = (
    "toUnixTimestamp64Micro(timestamp) AS timestamp, timestamp_source, "
    "toUnixTimestamp64Micro(received_at) AS received_at, source"
)
_TERMS = "asset, toString(multiplier) AS multiplier, quote, status, source, toString(quantity_step) AS quantity_step"
_LEVELS = (
    "arrayMap(level -> arrayMap(number -> toString(number), level), bids) AS bids, "
    "arrayMap(level -> arrayMap(number -> toString(number), level), asks) AS asks"
)
_NAME = "exchange, market, symbol"
_ORDER = (
    "timestamp",
    "input_sequence",
    "opportunity_id",
    "exchange",
    "market",
    "symbol",
    "other_exchange",
    "other_market",
)


class _Input(NamedTuple):
    table: str
    kind: str
    columns: str
    timed: bool
    """Whether its receive time is the core's clock."""


_INPUTS = (
    _Input(
        "quotes",
        records.Quote.KIND,
        f"{_TIMES}, toString(bid_price) AS bid_price, toString(bid_quantity) AS bid_quantity, "
        "toString(ask_price) AS ask_price, toString(ask_quantity) AS ask_quantity",
        timed=True,
    ),
    _Input("orderbooks", records.OrderBook.KIND, f"{_TIMES}, sequence, {_LEVELS}", timed=True),
    _Input("book_deltas", records.BookChange.KIND, f"{_TIMES}, last_sequence, in_step, {_LEVELS}", timed=True),
    _Input("instruments", records.Instrument.KIND, _TERMS, timed=False),
    _Input("clock_offsets", records.ClockOffset.KIND, "offset_us", timed=False),
    _Input("gap_events", records.Gap.KIND, "kind, status, interval", timed=False),
)


class SpanRefused(Broken):
    """A span of time that cannot be replayed as it was lived."""


class Message(NamedTuple):
    """A message as MD held it."""

    sequence: int
    subject: str
    body: bytes


def _messages(answer: bytes, kind: str) -> Iterator[Message]:
    for line in answer.splitlines():
        row = orjson.loads(line)
        names = row["exchange"], row["market"], row["symbol"]
        subject = subjects.gap(*names) if kind == records.Gap.KIND else subjects.md(kind, *names)
        yield Message(row["stream_sequence"], subject, line)


async def instruments(warehouse: Warehouse, before: int | None = None) -> list[Message]:
    """Return each instrument's latest terms, those of MD sequences below `before` where that is given.

    Raises Busy, Broken, BadRecord.
    """
    known = "" if before is None else "AND stream_sequence < {before:Int64} "
    answer = await warehouse.query(
        f"SELECT {_NAME}, {_TERMS}, ifNull(stream_sequence, 0) AS stream_sequence "
        f"FROM {_DB}.instruments WHERE source = 'live' {known}"
        "ORDER BY stream_sequence DESC, received_at DESC LIMIT 1 BY exchange, market, symbol "
        f"{_FORMAT}",
        None if before is None else {"before": before},
    )
    return sorted(_messages(answer, records.Instrument.KIND))


async def clock_offsets(warehouse: Warehouse, before: int) -> list[Message]:
    """Return each market's latest clock offset of MD sequences below `before`. Raises Busy, Broken, BadRecord.

    An exchange is asked its time before it is connected to, so the first offset comes before any market record.
    """
    answer = await warehouse.query(
        f"SELECT {_NAME}, offset_us, stream_sequence FROM {_DB}.clock_offsets WHERE source = 'live' "
        "AND stream_sequence < {before:Int64} "
        f"ORDER BY stream_sequence DESC LIMIT 1 BY exchange, market {_FORMAT}",
        {"before": before},
    )
    return sorted(_messages(answer, records.ClockOffset.KIND))


async def bounds(warehouse: Warehouse, begin: int, end: int) -> tuple[int, int] | None:
    """Return the first and last MD sequence received from `begin` up to but without `end`; None when there is none.

    Raises SpanRefused when rows of that span do not know their sequence.
    """
    parts = " UNION ALL ".join(
        f"SELECT min(stream_sequence) AS first, max(stream_sequence) AS last, countIf(stream_sequence IS NULL) AS bare "
        f"FROM {_DB}.{item.table} WHERE source = 'live' AND received_at >= fromUnixTimestamp64Micro({begin:d}, 'UTC') "
        f"AND received_at < fromUnixTimestamp64Micro({end:d}, 'UTC')"
        for item in _INPUTS
        if item.timed
    )
    answer = await warehouse.query(
        f"SELECT min(first) AS first, max(last) AS last, sum(bare) AS bare FROM ({parts}) {_FORMAT}"
    )
    found = orjson.loads(answer)
    if found["bare"]:
        raise SpanRefused(f"{found['bare']} rows of the span do not know their place in the stream: they are older")
    return None if found["first"] is None else (found["first"], found["last"])


async def replay(
    warehouse: Warehouse, first: int, last: int, reached: Callable[[float], None] = lambda share: None
) -> AsyncIterator[Message]:
    """Yield every live input from MD sequence `first` to `last`, in order. Raises Busy, Broken, BadRecord.

    `reached` is told now and then which share of them was handed out.
    """
    for begin in range(first, last + 1, SLICE):
        reached((begin - first) / (last + 1 - first))
        end = min(begin + SLICE, last + 1)
        parts = []
        for item in _INPUTS:
            answer = await warehouse.query(
                f"SELECT {_NAME}, {item.columns}, stream_sequence FROM {_DB}.{item.table} WHERE source = 'live' "
                f"AND stream_sequence >= {begin:d} AND stream_sequence < {end:d} ORDER BY stream_sequence {_FORMAT}"
            )
            parts.append(_messages(answer, item.kind))
        for message in heapq.merge(*parts):
            yield message


async def refuse_if_cut(warehouse: Warehouse, begin: int, now: int) -> None:
    """Raise SpanRefused when retention has taken, or is free to take, inputs of a span that begins at `begin`."""
    kept = await retentions(warehouse)
    for item in _INPUTS:
        found = re.search(r"toIntervalDay\((\d+)\)", kept.get(item.table) or "")
        if found is None or not item.timed:
            continue
        oldest = now - int(found[1]) * DAY_US
        if begin - MEMORY_US < oldest:
            raise SpanRefused(
                f"{item.table} are kept for {found[1]} d: what is left begins at {moment(oldest + MEMORY_US)}, with "
                f"{MEMORY_US // SECOND} s before it to warm up, and the span at {moment(begin)}"
            )


def moment(at: int) -> str:
    """Return a time as a person reads it, UTC."""
    return datetime.fromtimestamp(at / SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def signals(warehouse: Warehouse, name: str, begin: int, end: int) -> list[dict[str, Any]]:
    """Return what the live service told from `begin` up to but without `end`, as it was on the wire, in order.

    `name` is one of the two tables of signals. Of opportunities, those that were opened from `begin` on.
    """
    table = tables.BY_NAME[name]
    since = "opened_at" if table.record is records.ArbitrageOpportunity else "timestamp"
    columns = ", ".join(_read_back(column) for column in table.columns)
    order = ", ".join(column for column in _ORDER if column in table.record.__struct_fields__)
    answer = await warehouse.query(
        f"SELECT {columns} FROM {_DB}.{name} AS t WHERE t.{since} >= fromUnixTimestamp64Micro({begin:d}, 'UTC') "
        f"AND t.timestamp < fromUnixTimestamp64Micro({end:d}, 'UTC') ORDER BY {order} {_FORMAT}"
    )
    rows = (orjson.loads(line) for line in answer.splitlines())
    return [{column: value for column, value in row.items() if value is not None} for row in rows]


async def nearest_spreads(warehouse: Warehouse, begin: int, end: int, most: int) -> dict[str, list[tuple[int, float]]]:
    """Return the best net spread of each minute, percent, of the pairs and ways that came nearest to a profit.

    By pair, the nearest first: (minutes behind `begin`, percent). Worked out where the rows are: a day has a row for
    each pair and second. Suspended pairs are left out.
    """
    here, there = (f"concat({of}exchange, '.', {of}market, '.', {of}symbol)" for of in ("", "other_"))
    told = (
        f"FROM {_DB}.arbitrage_spreads ARRAY JOIN [(concat(asset, ': ', {here}, ' > ', {there}), net_percent), "
        f"(concat(asset, ': ', {there}, ' > ', {here}), reverse_net_percent)] AS way WHERE NOT suspended "
        f"AND timestamp >= fromUnixTimestamp64Micro({begin:d}, 'UTC') "
        f"AND timestamp < fromUnixTimestamp64Micro({end:d}, 'UTC')"
    )
    answer = await warehouse.query(
        f"SELECT way.1 AS pair, intDiv(toUnixTimestamp64Micro(timestamp) - {begin:d}, {60 * SECOND}) AS minute, "
        f"toFloat64(max(way.2)) AS best {told} AND way.1 IN "
        f"(SELECT way.1 {told} GROUP BY way.1 ORDER BY max(way.2) DESC, way.1 LIMIT {most:d}) "
        f"GROUP BY pair, minute ORDER BY pair, minute {_FORMAT}"
    )
    found: dict[str, list[tuple[int, float]]] = {}
    for line in answer.splitlines():
        row = orjson.loads(line)
        found.setdefault(row["pair"], []).append((row["minute"], row["best"]))
    return dict(sorted(found.items(), key=lambda item: (-max(best for _, best in item[1]), item[0])))


def _read_back(column: tables.Column) -> str:
    """Return the expression that gives a column as it was on the wire."""
    name = column.name
    if "DateTime64" in column.type:
        return f"toUnixTimestamp64Micro(t.{name}) AS {name}"
    if "Array" in column.type:
        return f"arrayMap(row -> arrayMap(number -> toString(number), row), t.{name}) AS {name}"
    return f"toString(t.{name}) AS {name}" if "Decimal" in column.type else f"t.{name} AS {name}"
