"""A ClickHouse as backup and restore see it: which tables and spans of rows it holds, and what these contain."""

from __future__ import annotations

import io

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas import tables
from schemas.errors import Broken
from services.command_line.backup_manifest import Content, Span
from services.shared.runtime.warehouse import Warehouse

HASH = "_hash"
"""The column that a piece has beside the table's own: each row's hash."""

_ROW_HASH = "sipHash64(tuple(*))"
"""Of the values in order; a null differs from an empty value. cityHash64(*) would be null where any value is."""

_SETTINGS = "output_format_parquet_compression_method = 'zstd', output_format_parquet_string_as_string = 1"

STEPS_US = (86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000)
"""A day, an hour, a minute, a second: a span that holds too many rows is cut into the next smaller ones."""


class Source:
    """Reads spans, writes spans, and says what a span holds. `most_rows` is about how many rows a span may have."""

    def __init__(self, warehouse: Warehouse, most_rows: int) -> None:
        self._warehouse = warehouse
        self._most_rows = most_rows

    async def columns(self) -> dict[str, dict[str, str]]:
        """Return the columns and their types of every table that holds records."""
        lines = await self._rows(
            "SELECT table, name, type FROM system.columns WHERE database = {database:String} AND (database, table) IN "
            "(SELECT database, name FROM system.tables WHERE engine LIKE '%MergeTree') ORDER BY table, position",
            database=tables.DATABASE,
        )
        found: dict[str, dict[str, str]] = {}
        for table, name, kind in lines:
            found.setdefault(table, {})[name] = kind
        return {table: columns for table, columns in found.items() if "timestamp" in columns}

    async def version(self) -> str:
        """Return the server's version."""
        return (await self._rows("SELECT version()"))[0][0]

    async def spans(self, table: str) -> list[tuple[Span, Content]]:
        """Return the spans of a table in order of time, days or parts of days, and what each holds."""
        return await self._cut(table, None, 0)

    async def _cut(self, table: str, within: Span | None, level: int) -> list[tuple[Span, Content]]:
        step = STEPS_US[level]
        where = f"WHERE {_within(within)}" if within is not None else ""
        found: list[tuple[Span, Content]] = []
        for begin, rows, total in await self._rows(
            f"SELECT intDiv(toUnixTimestamp64Micro(timestamp), {step}) * {step} AS begin, count(), sum({_ROW_HASH}) "
            f"FROM {tables.DATABASE}.{table} {where} GROUP BY begin ORDER BY begin"
        ):
            span = Span(table, int(begin), int(begin) + step)
            if int(rows) > self._most_rows and level + 1 < len(STEPS_US):
                found += await self._cut(table, span, level + 1)
            else:
                found.append((span, Content(int(rows), int(total))))
        return found

    async def content(self, span: Span) -> Content:
        """Return what the rows of a span are now."""
        rows, total = (
            await self._rows(
                f"SELECT count(), sum({_ROW_HASH}) FROM {tables.DATABASE}.{span.table} WHERE {_within(span)}"
            )
        )[0]
        return Content(int(rows), int(total))

    async def read(self, span: Span) -> tuple[bytes, Content]:
        """Return the rows of a span as Parquet, and what they are.

        That is told by the rows themselves, not asked a second time: others may come in while a backup runs.
        """
        data = await self._warehouse.query(
            f"SELECT *, {_ROW_HASH} AS {HASH} FROM {tables.DATABASE}.{span.table} WHERE {_within(span)} "
            f"FORMAT Parquet SETTINGS {_SETTINGS}"
        )
        return data, content_of(data)

    async def write(self, span: Span, columns: dict[str, str], data: bytes, token: str) -> None:
        """Insert the rows of a piece; under the same token a second time nothing happens."""
        names = ", ".join(f"`{name}`" for name in columns)
        statement = f"INSERT INTO {tables.DATABASE}.{span.table} ({names}) FORMAT Parquet"
        await self._warehouse.insert(statement, data, token)

    async def _rows(self, sql: str, **params: object) -> list[list[str]]:
        answer = await self._warehouse.query(
            f"{sql} FORMAT JSONCompactEachRow SETTINGS output_format_json_quote_64bit_integers = 1", params
        )
        return [_decode(line) for line in answer.splitlines()]


_decode = msgspec.json.Decoder(list[str]).decode
"""Whole numbers of 64 bits are asked for as text."""


def _within(span: Span) -> str:
    return (
        f"timestamp >= fromUnixTimestamp64Micro({span.begin}, 'UTC') "
        f"AND timestamp < fromUnixTimestamp64Micro({span.end}, 'UTC')"
    )


def content_of(data: bytes) -> Content:
    """Return what the rows of a piece are, by the hashes that came with them. Raises Broken when it is no Parquet."""
    try:
        hashes = pq.read_table(io.BytesIO(data), columns=[HASH]).column(HASH)
    except (pa.ArrowException, OSError) as error:
        raise Broken(f"ClickHouse's answer is no Parquet file: {error}") from None
    return Content(len(hashes), pc.sum(hashes).as_py() or 0)
