"""What the tables hold of the core's inputs, as the messages they once were."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from schemas import records, subjects, tables
from services.shared.runtime.warehouse import Warehouse

_SETTINGS = "SETTINGS output_format_json_quote_64bit_integers=0, output_format_json_quote_decimals=1"


def messages(answer: bytes, kind: str) -> Iterator[tuple[str, bytes]]:
    """Yield (subject, body) of rows in JSONEachRow that hold an instrument's name and the fields of a record."""
    for line in answer.splitlines():
        row = orjson.loads(line)
        yield subjects.md(kind, row["exchange"], row["market"], row["symbol"]), line


async def instruments(warehouse: Warehouse, before: int | None = None) -> list[tuple[str, bytes]]:
    """Return each instrument's latest terms, those of MD sequences below `before` where that is given.

    Raises Busy, Broken, BadRecord.
    """
    known = "" if before is None else "AND stream_sequence < {before:Int64} "
    answer = await warehouse.query(
        "SELECT exchange, market, symbol, asset, toString(multiplier) AS multiplier, quote, status, source, "
        "toString(quantity_step) AS quantity_step "
        f"FROM {tables.DATABASE}.instruments WHERE source = 'live' {known}"
        "ORDER BY ifNull(stream_sequence, 0) DESC, received_at DESC LIMIT 1 BY exchange, market, symbol "
        f"FORMAT JSONEachRow {_SETTINGS}",
        None if before is None else {"before": before},
    )
    return list(messages(answer, records.Instrument.KIND))
