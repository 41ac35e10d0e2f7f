"""Generated tables of any size, and how much of them a dashboard's question would read."""

from __future__ import annotations

import json
import re
import urllib.request
from dataclasses import dataclass

from schemas.tables import DATABASE, TABLES, Table, create_table
from tests import grafana
from tests.clickhouse_server import ClickhouseServer

ABOUT_NO_SYMBOL = (
    *("Clocks", "Dead letters by reason", "Volatility index"),
    *("What happened to connections", "Events of connections"),
)
"""Panels of small tables that are of an exchange market, or of all."""

SYMBOL_QUERIES = [
    query
    for query in grafana.queries()
    if query.is_sql and query.panel not in ABOUT_NO_SYMBOL and not query.panel.startswith("variable")
]

ASKED = tuple(table for table in TABLES if table.name != "fills")
"""The tables that dashboards ask, through views or not."""

DAY_S = 86_400
SERIES = {"interval": "1m", "rate_kind": "estimated", "period": "5m", "resolution": "60"}


@dataclass(frozen=True)
class Size:
    """How large each table is: the same number of rows for every instrument and hour."""

    instruments: int
    hours: int
    rows_per_hour: int

    @property
    def rows(self) -> int:
        return self.instruments * self.hours * self.rows_per_hour


def begin() -> int:
    """The first second of the tables, a midnight: the same in every run, so tables are made without their retention."""
    return 1_750_000_000 // DAY_S * DAY_S


def create(table: Table, granule: int) -> str:
    """Return the statement that makes a table with granules of so many rows, and without retention."""
    statement = re.sub(r"\nTTL .*", "", create_table(table))
    return statement.replace("SETTINGS ", f"SETTINGS index_granularity = {granule}, ")


def fill(table: Table, size: Size) -> str:
    """Return the statement that fills a table: keys and times as wanted, every other column its type's default."""
    second = f"{begin()} + number % {size.hours * size.rows_per_hour} * {3600 / size.rows_per_hour}"
    values = {
        "exchange": "'binance'",
        "market": "'perp'",
        "symbol": f"concat('S', leftPad(toString(intDiv(number, {size.hours * size.rows_per_hour})), 4, '0'))",
        "timestamp": f"fromUnixTimestamp64Micro(toInt64(({second}) * 1000000), 'UTC')",
        "received_at": f"fromUnixTimestamp64Micro(toInt64(({second}) * 1000000), 'UTC')",
    }
    values |= {name: f"'{value}'" for name, value in SERIES.items() if name in {one.name for one in table.columns}}
    return (
        f"INSERT INTO {DATABASE}.{table.name} ({', '.join(values)}) SELECT {', '.join(values.values())} "
        f"FROM numbers({size.rows}) SETTINGS max_partitions_per_insert_block = 1000"
    )


def view(size: Size) -> grafana.View:
    """One symbol in the middle, and an hour in the middle."""
    start = begin() + size.hours // 2 * 3600
    chosen = {"exchange": ("binance",), "market": ("perp",), "interval": ("1m",)}
    return grafana.View(start, start + 3599, 15, {**chosen, "symbol": (f"S{size.instruments // 2:04}",)})


def estimate(server: ClickhouseServer, statement: str) -> dict[str, int]:
    """Return the rows that the engine would read of each table."""
    url = f"{server.url}/?default_format=JSONEachRow"
    with urllib.request.urlopen(url, data=f"EXPLAIN ESTIMATE {statement}".encode(), timeout=60) as answer:
        rows = [json.loads(line) for line in answer.read().splitlines()]
    return {row["table"]: int(row["rows"]) for row in rows}
