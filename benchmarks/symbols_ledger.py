"""What was sent beside what is stored, of millions of events: hashes of whole rows, made by ClickHouse on both sides.

A hash is of the values in the types of the table, exact decimals and times, so that equal hashes are equal rows. Rows
are looked at one by one only of the symbols whose hashes do not add up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from schemas import tables
from services.command_line.sql import query
from services.embedded_clickhouse.engine import quote_text
from tests.ledger import OWN_COLUMNS, TABLE_OF

UNTIMED = ("binance", "spot", "quote")
"""Has no time on the wire: it is filed under our receive time, which no ledger can know."""


class Compared(NamedTuple):
    """One market's events of one kind. `missing` and `surplus` name those that are sent and not stored, or stored and
    not sent, by symbol."""

    sent: int
    symbols: int
    excused: int
    """Not stored, and handed out outside the time in which everything is to be there."""
    missing: Mapping[str, int]
    surplus: Mapping[str, int]


class _Side(NamedTuple):
    """Where rows of one kind come from, on one side of the comparison."""

    source: str
    columns: str
    handed_out_us: str


def compare(data: Path, from_us: int, until_us: int) -> Iterator[tuple[tuple[str, str, str], Compared]]:
    """Yield, by exchange, market and kind, what was sent beside what is stored.

    What was handed out before `from_us` or after `until_us` (us UTC) need not be stored; nothing may be stored that was
    not handed out.
    """
    prefixes = sorted({path.name.rpartition("-")[0] for path in (data / "ledger").glob("*.parquet")})
    for prefix in prefixes:
        exchange, market, kind = prefix.split(".")
        if kind in TABLE_OF:
            yield (exchange, market, kind), _compare(data, (exchange, market, kind), from_us, until_us)


def _compare(data: Path, key: tuple[str, str, str], from_us: int, until_us: int) -> Compared:
    ledger, table = _sides(data, key)
    sent = _sums(_ask_ledger(_sums_of(ledger)))
    stored = _sums(query(data, _sums_of(table), "TSV"))
    missing: Counter[str] = Counter()
    surplus: Counter[str] = Counter()
    excused = 0
    unequal = sorted(symbol for symbol in {*sent, *stored} if sent.get(symbol) != stored.get(symbol))
    if unequal:
        there = Counter(_hashes(query(data, _hashes_of(table, unequal), "TSV")))
        for symbol, digest, handed_us in _rows(_ask_ledger(_hashes_of(ledger, unequal))):
            if there[symbol, digest]:
                there[symbol, digest] -= 1
            elif not from_us <= handed_us <= until_us:
                excused += 1
            else:
                missing[symbol] += 1
        for (symbol, _), count in there.items():
            if count:
                surplus[symbol] += count
    return Compared(sum(count for count, _ in sent.values()), len(sent), excused, missing, surplus)


def _sides(data: Path, key: tuple[str, str, str]) -> tuple[_Side, _Side]:
    exchange, market, kind = key
    table = tables.BY_NAME[TABLE_OF[kind]]
    files = sorted((data / "ledger").glob(f"{exchange}.{market}.{kind}-*.parquet"))
    known = {*pq.read_schema(files[0]).names} - OWN_COLUMNS
    if key == UNTIMED:
        known -= {"timestamp", "sent_at"}
    columns = [column for column in table.columns if column.name in known]
    types = [column.type.replace("LowCardinality(String)", "String") for column in columns]
    plain = ", ".join(f"CAST({column.name} AS {kind})" for column, kind in zip(columns, types, strict=True))
    # Settled rates come by REST, on request: the ledger has what was sent unasked.
    streamed = " AND source = 'live'" + (" AND rate_kind = 'estimated'" if kind == "funding_rate" else "")
    pattern = quote_text(f"{data.resolve()}/ledger/{exchange}.{market}.{kind}-*.parquet")
    return (
        _Side(f"file({pattern}, Parquet) WHERE 1", plain, "toUnixTimestamp64Micro(handed_out_at)"),
        _Side(
            f"{tables.DATABASE}.{table.name} WHERE exchange = '{exchange}' AND market = '{market}'{streamed}",
            plain,
            "0",
        ),
    )


def _sums_of(side: _Side) -> str:
    return f"SELECT symbol, count(), sum(sipHash64(tuple({side.columns}))) FROM {side.source} GROUP BY symbol"


def _hashes_of(side: _Side, symbols: list[str]) -> str:
    names = ", ".join(f"'{symbol}'" for symbol in symbols)
    hashed = f"sipHash64(tuple({side.columns}))"
    return f"SELECT symbol, {hashed}, {side.handed_out_us} FROM {side.source} AND symbol IN ({names})"


def _ask_ledger(statement: str) -> bytes:
    import chdb  # the engine takes a second to load

    answer: bytes = chdb.query(statement, "TSV").bytes()
    return answer


def _sums(answer: bytes) -> dict[str, tuple[int, int]]:
    lines = (line.split("\t") for line in answer.decode().splitlines())
    return {symbol: (int(count), int(total)) for symbol, count, total in lines}


def _rows(answer: bytes) -> Iterator[tuple[str, int, int]]:
    for line in answer.decode().splitlines():
        symbol, digest, handed_us = line.split("\t")
        yield symbol, int(digest), int(handed_us)


def _hashes(answer: bytes) -> Iterator[tuple[str, int]]:
    return ((symbol, digest) for symbol, digest, _ in _rows(answer))
