"""The simulator's ledger beside the tables: every event sent is stored once and equal."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from schemas import tables
from tests.pipeline import at_rest

TABLE_OF = {table.record.KIND: table.name for table in tables.TABLES}
OWN_COLUMNS = {"connection", "handed_out_at", "fault"}
"""What the ledger knows beyond the event itself."""
OF_A_CONNECTION = {"book_change", "candle_update"}
"""Kinds of which every one sent is stored."""

UNREADABLE = {"drop", "truncate"}
"""What faults do to frames that nobody can read then."""

Event = tuple[tuple[str, Any], ...]


def plain(value: Any) -> Any:
    """One form for a value, whichever of the two it was read from."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"
    if isinstance(value, Decimal):
        return value.normalize()
    if isinstance(value, dict):
        return tuple(plain(part) for part in value.values())
    if isinstance(value, list | tuple):
        return tuple(plain(part) for part in value)
    return value


def sent(data: Path) -> dict[tuple[str, str, str], Counter[Event]]:
    """Return the ledger's events by exchange, market and kind, but for those that a fault kept from being read."""
    heard: dict[tuple[str, str, str], dict[int, Counter[Event]]] = {}
    for path in sorted((data / "ledger").glob("*.parquet")):
        exchange, market, kind = path.name.split("-")[0].split(".")
        if kind not in TABLE_OF:
            continue
        table = pq.read_table(path)
        columns = [name for name in table.schema.names if name not in OWN_COLUMNS]
        if (exchange, market, kind) == ("binance", "spot", "quote"):
            # Binance spot gives its quotes no time: they are filed under our receive time, which no ledger can know.
            columns = [name for name in columns if name not in ("timestamp", "sent_at")]
        events = heard.setdefault((exchange, market, kind), {})
        for row in table.to_pylist():
            if row["fault"] not in UNREADABLE:
                event = tuple((name, plain(row[name])) for name in columns)
                events.setdefault(row["connection"], Counter())[event] += 1
    return {key: _merged(key[2], list(events.values())) for key, events in heard.items()}


def _merged(kind: str, connections: list[Counter[Event]]) -> Counter[Event]:
    """What was said on several connections is one event, but for those that are known by their connection."""
    merge = Counter.__add__ if kind in OF_A_CONNECTION else Counter.__or__
    return reduce(merge, connections, Counter())


def stored(data: Path, exchange: str, market: str, kind: str, like: Event) -> Counter[Event]:
    """Return a table's rows of one market in the form of the ledger's event `like`."""
    names = [name for name, _ in like]
    # Settled rates and what is refilled come by REST, on request: the ledger has what was sent unasked.
    streamed = " AND source = 'live'" + (" AND rate_kind = 'estimated'" if kind == "funding_rate" else "")
    rows = at_rest(
        data,
        f"SELECT {', '.join(names)} FROM tapeline.{TABLE_OF[kind]} WHERE exchange = '{exchange}' AND market = "
        f"'{market}'{streamed} SETTINGS output_format_json_quote_decimals = 1",
    )
    types = {column.name: column.type for column in tables.BY_NAME[TABLE_OF[kind]].columns}
    return Counter(tuple((name, value_of(row[name], types[name])) for name in names) for row in rows)


def value_of(value: Any, column_type: str) -> Any:
    if value is None or "Decimal" not in column_type:
        return value
    if isinstance(value, list):
        return tuple(value_of(part, column_type) for part in value)
    return Decimal(value).normalize()


def compare(data: Path) -> dict[str, tuple[int, int, int]]:
    """Return per exchange, market and kind: events sent, of these not stored, and stored oftener or otherwise."""
    result: dict[str, tuple[int, int, int]] = {}
    for (exchange, market, kind), events in sorted(sent(data).items()):
        rows = stored(data, exchange, market, kind, next(iter(events)))
        result[f"{exchange} {market} {kind}"] = (events.total(), (events - rows).total(), (rows - events).total())
    return result
