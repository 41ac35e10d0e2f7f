"""Every ClickHouse table, declared once: its record, sort key, partitions, retention and batch policy.

The columns follow from the record's fields (`schemas.records`). `clickhouse/migrations/` creates these tables; a test
holds the two together. `create_table` is where a new migration's text comes from.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass, field
from functools import cached_property

import msgspec

from schemas import records, subjects

DATABASE = "tapeline"

DEDUPLICATION_WINDOW = 10_000
"""How many insert tokens a table remembers (ClickHouse's own default is 0: a repeated batch would be stored twice)."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: name, ClickHouse type, codec, and its type while a row is read from JSON."""

    name: str
    type: str
    codec: str
    input_type: str
    expression: str | None
    """How the inserted value is made of what was read, where that differs."""


@dataclass(frozen=True, slots=True)
class Batch:
    """When a batch is due: by rows, bytes, or the age of its oldest row. Behind a backlog it grows to `max_rows`."""

    rows: int
    age_s: float
    max_rows: int = 50_000
    max_bytes: int = 32 * 1024**2


@dataclass(frozen=True)
class Table:
    """One table and the subjects whose records it stores."""

    name: str
    record: type[records.Record]
    order_by: tuple[str, ...]
    partition_by: str
    ttl: str | None
    batch: Batch
    subject: str
    description: str = field(default="")

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns, in the order of the record's fields."""
        return _columns(self.record)

    @property
    def keeps_sequence(self) -> bool:
        """Whether each row keeps its message's MD sequence, in `stream_sequence`."""
        return issubclass(self.record, records.Sequenced)

    @property
    def input_structure(self) -> str:
        """The structure of `input(...)`: what ClickHouse reads from a record's JSON, times still integers."""
        return ", ".join(f"{column.name} {column.input_type}" for column in self.columns)

    @property
    def insert_statement(self) -> str:
        """The statement that stores records as JSON objects, one a line, parsed by ClickHouse itself.

        Times arrive as integers, and an unquoted integer read straight into DateTime64 is taken for seconds; a null
        would become 1970 or 0. So times are read as Int64 and converted, and nulls are refused where a column has none
        (`insert_null_as_default` is what would otherwise turn them into 0 behind a SELECT).
        """
        return f"{self._insertion} {_INPUT_SETTINGS} FORMAT JSONEachRow"

    @property
    def mend_statement(self) -> str:
        """The same for the rows that are not in the table yet, all their columns compared.

        `{least}` and `{greatest}` in it stand for those of the rows' `timestamp`s, microseconds.
        """
        names = ", ".join(column.name for column in self.columns)
        within = " AND ".join(
            f"timestamp {sign} fromUnixTimestamp64Micro({bound}, 'UTC')"
            for sign, bound in ((">=", "{least}"), ("<=", "{greatest}"))
        )
        return (
            f"{self._insertion} WHERE toString(tuple({self._values})) NOT IN "
            f"(SELECT toString(tuple({names})) FROM {DATABASE}.{self.name} WHERE {within}) "
            f"{_INPUT_SETTINGS} FORMAT JSONEachRow"
        )

    @property
    def _values(self) -> str:
        return ", ".join(column.expression or column.name for column in self.columns)

    @property
    def _insertion(self) -> str:
        names = ", ".join(column.name for column in self.columns)
        source = f"input('{self.input_structure}')"
        return f"INSERT INTO {DATABASE}.{self.name} ({names}) SELECT {self._values} FROM {source}"


_INPUT_SETTINGS = "SETTINGS input_format_null_as_default=0, insert_null_as_default=0"
_TIME_CODEC = "CODEC(Delta, ZSTD(1))"
_PLAIN_CODEC = "CODEC(ZSTD(1))"


def _columns(record: type[records.Record]) -> tuple[Column, ...]:
    hints = typing.get_type_hints(record, include_extras=True)
    return tuple(_column(info.name, hints[info.name], info.default) for info in msgspec.structs.fields(record))


def _column(name: str, hint: object, default: object) -> Column:
    """Declare one column. Every value is read as Nullable, so that a missing one is refused instead of becoming 0."""
    inner, nullable = without_none(hint)
    tags = typing.get_args(inner)[1:] if typing.get_origin(inner) is typing.Annotated else ()
    if "micros" in tags:
        stored = _maybe("DateTime64(6, 'UTC')", nullable)
        return Column(name, stored, _TIME_CODEC, "Nullable(Int64)", f"fromUnixTimestamp64Micro({name}, 'UTC')")
    if "levels" in tags:
        kind = "Array(Array(Decimal(38, 18)))"
        return Column(name, kind, _PLAIN_CODEC, kind, None)
    if "token" in tags or typing.get_origin(inner) is typing.Literal:
        stored = "LowCardinality(Nullable(String))" if nullable else "LowCardinality(String)"
        return Column(name, stored, _PLAIN_CODEC, "Nullable(String)", None)
    kind, codec = _PLAIN_TYPES["number" if "number" in tags else typing.cast(type, inner)]
    expression = f"ifNull({name}, {default})" if isinstance(default, int) else None
    return Column(name, _maybe(kind, nullable), codec, f"Nullable({kind})", expression)


def without_none(hint: object) -> tuple[object, bool]:
    """Return a field's type without `| None`, and whether it had it."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        rest = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        if len(rest) == 1:
            return rest[0], True
    return hint, False


def _maybe(kind: str, nullable: bool) -> str:
    return f"Nullable({kind})" if nullable else kind


_PLAIN_TYPES: dict[object, tuple[str, str]] = {
    "number": ("Decimal(38, 18)", _PLAIN_CODEC),
    bool: ("Bool", _PLAIN_CODEC),
    int: ("Int64", _TIME_CODEC),
    str: ("String", _PLAIN_CODEC),
}

_BY_DAY = "toDate(timestamp)"
_BY_MONTH = "toYYYYMM(timestamp)"
_INSTRUMENT = ("exchange", "market", "symbol")
_FAST = Batch(rows=1_000, age_s=1)
_BOOKS = Batch(rows=500, age_s=2)
_CANDLES = Batch(rows=100, age_s=5)
_SLOW = Batch(rows=50, age_s=10)
_PROMPT = Batch(rows=50, age_s=1)


def _days(count: int) -> str:
    return f"toDateTime(timestamp) + toIntervalDay({count})"


def _table(
    name: str,
    record: type[records.Record],
    *,
    ttl: str | None,
    batch: Batch,
    order: tuple[str, ...] = (),
    partition_by: str = _BY_DAY,
    subject: str | None = None,
    description: str = "",
) -> Table:
    return Table(
        name=name,
        record=record,
        order_by=(*_INSTRUMENT, *(order or ("timestamp",))),
        partition_by=partition_by,
        ttl=ttl,
        batch=batch,
        subject=subject or subjects.md_filter(record.KIND),
        description=description,
    )


CANDLE_RETENTION_DAYS = {"1m": 30, "5m": 90, "30m": 180, "4h": 365}
"""How long a closed candle of an interval is kept; the others are kept for ever."""

_CANDLE_TTL = ", ".join(
    f"toDateTime(timestamp) + toIntervalDay({days}) WHERE interval = '{interval}'"
    for interval, days in CANDLE_RETENTION_DAYS.items()
)

TABLES: tuple[Table, ...] = (
    _table(
        "trades",
        records.Trade,
        ttl=_days(7),
        batch=_FAST,
        order=("timestamp", "sequence", "trade_id"),
        description="Every trade; on Binance, aggregates of one taker order's fills at one price.",
    ),
    _table(
        "fills",
        records.Fill,
        ttl=_days(7),
        batch=_FAST,
        order=("timestamp", "sequence", "trade_id"),
        description="Single fills where trades are aggregates; off by default.",
    ),
    _table(
        "orderbooks",
        records.OrderBook,
        ttl=_days(3),
        batch=_BOOKS,
        order=("timestamp", "sequence"),
        description="The top of each book as it stood at the end of each second.",
    ),
    _table(
        "book_deltas",
        records.BookChange,
        ttl=_days(3),
        batch=_BOOKS,
        order=("timestamp", "last_sequence"),
        description="Every book change as sent; quantity 0 removes a level.",
    ),
    _table(
        "quotes",
        records.Quote,
        ttl=_days(1),
        batch=_FAST,
        order=("timestamp", "sequence"),
        description="Best bid and ask, every change.",
    ),
    _table("tickers", records.Ticker, ttl=_days(1), batch=_SLOW, description="Statistics of the last 24 hours."),
    _table(
        "candles",
        records.Candle,
        ttl=_CANDLE_TTL,
        batch=_CANDLES,
        order=("interval", "timestamp"),
        partition_by=_BY_MONTH,
        description="Closed candles, one row each; timestamp is the open time.",
    ),
    _table(
        "candle_updates",
        records.CandleUpdate,
        ttl=_days(1),
        batch=_CANDLES,
        order=("interval", "timestamp", "sent_at"),
        description="Every candle update as sent.",
    ),
    _table(
        "funding_rates",
        records.FundingRate,
        ttl=_days(90),
        batch=_SLOW,
        order=("rate_kind", "timestamp"),
        partition_by=_BY_MONTH,
        description="Funding rates, estimated and settled.",
    ),
    _table(
        "open_interests",
        records.OpenInterest,
        ttl=_days(90),
        batch=_SLOW,
        partition_by=_BY_MONTH,
        description="Open interest in base currency.",
    ),
    _table(
        "index_prices",
        records.IndexPrice,
        ttl=_days(90),
        batch=_SLOW,
        description="Mark and index prices of derivatives.",
    ),
    _table(
        "liquidations",
        records.Liquidation,
        ttl=_days(30),
        batch=_SLOW,
        partition_by=_BY_MONTH,
        description="Forced orders; on Binance a sample, at most one per symbol and second.",
    ),
    _table(
        "lsr_top_positions",
        records.LsrTopPosition,
        ttl=_days(90),
        batch=_SLOW,
        order=("period", "timestamp"),
        partition_by=_BY_MONTH,
        description="Long/short ratio of top traders' positions.",
    ),
    _table(
        "lsr_all_accounts",
        records.LsrAllAccount,
        ttl=_days(90),
        batch=_SLOW,
        order=("period", "timestamp"),
        partition_by=_BY_MONTH,
        description="Long/short ratio of all accounts.",
    ),
    _table(
        "volatility_indices",
        records.VolatilityIndex,
        ttl=_days(90),
        batch=_SLOW,
        order=("resolution", "timestamp"),
        partition_by=_BY_MONTH,
        description="Volatility indices, percent a year.",
    ),
    _table(
        "instruments",
        records.Instrument,
        ttl=None,
        batch=_SLOW,
        partition_by=_BY_MONTH,
        description="Every change of an instrument's terms or status.",
    ),
    _table(
        "connections",
        records.Connection,
        ttl=_days(90),
        batch=_SLOW,
        partition_by=_BY_MONTH,
        description="Connections opened, subscribed, silent and closed.",
    ),
    _table(
        "clock_offsets",
        records.ClockOffset,
        ttl=_days(90),
        batch=_SLOW,
        partition_by=_BY_MONTH,
        description="How far each exchange's clock is from ours.",
    ),
    _table(
        "coverage_counts",
        records.Coverage,
        ttl=None,
        batch=_SLOW,
        partition_by=_BY_MONTH,
        order=("kind", "timestamp"),
        description="Frames received and records made by kind and minute of our receive clock; rows add up.",
    ),
    _table(
        "arbitrage_opportunities",
        records.ArbitrageOpportunity,
        ttl=_days(90),
        batch=_PROMPT,
        order=("timestamp", "opportunity_id"),
        partition_by=_BY_MONTH,
        subject=subjects.signal_filter(subjects.ARBITRAGE),
        description="What happened to each arbitrage opportunity: open, confirmed, update, closed.",
    ),
    _table(
        "arbitrage_spreads",
        records.ArbitrageSpread,
        ttl=_days(7),
        batch=_PROMPT,
        subject=subjects.signal_filter(subjects.ARBITRAGE_SPREAD),
        description="Spread of each pair of instruments of one asset, each second in which one of them changed.",
    ),
    _table(
        "book_audits",
        records.BookAudit,
        ttl=_days(90),
        batch=_SLOW,
        partition_by=_BY_MONTH,
        description="Local books compared with fresh snapshots at the same update id.",
    ),
    _table(
        "gap_events",
        records.Gap,
        ttl=None,
        batch=_PROMPT,
        order=("kind", "gap_id", "received_at"),
        partition_by=_BY_MONTH,
        subject=subjects.GAP_ALL,
        description="Every change of state of every gap; the view gap_detection_log has each gap's latest.",
    ),
    _table(
        "dead_letters",
        records.DeadLetter,
        ttl=_days(30),
        batch=_PROMPT,
        order=("service", "timestamp", "stream_sequence"),
        subject=subjects.DEAD_ALL,
        description="Refused messages, with reason and bytes.",
    ),
)

BY_NAME: dict[str, Table] = {table.name: table for table in TABLES}


@dataclass(frozen=True, slots=True)
class View:
    """A view: a question asked so often that it has a name."""

    name: str
    query: str


CANDLE_INTERVALS = ("1m", "5m", "30m", "4h", "1d")

_IDS = {"last_sequence": ("first_sequence", "last_sequence"), "sequence": ("sequence", "sequence")}
_SERIES = ("interval", "rate_kind", "period", "resolution")
"""The columns that tell apart what a kind has several series of."""


def _coverage(table: Table) -> str:
    """Return the part of `coverage_1m` that is about one table."""
    names = {column.name for column in table.columns}
    series = next((name for name in _SERIES if name in names), None)
    first, last = next((columns for name, columns in _IDS.items() if name in names), ("NULL", "NULL"))
    return (
        f"SELECT exchange, market, symbol, '{table.record.KIND}' AS kind, "
        f"{f'toString({series})' if series else chr(39) * 2} AS interval, "
        "toStartOfInterval(timestamp, toIntervalMinute(1)) AS minute, count() AS rows_stored, "
        "countIf(source = 'backfill') AS rows_refilled, "
        f"toNullable(min({first})) AS first_id, toNullable(max({last})) AS last_id, "
        f"min(received_at) AS first_received_at, max(received_at) AS last_received_at FROM {DATABASE}.{table.name} "
        "GROUP BY exchange, market, symbol, kind, interval, minute"
    )


def _received(table: Table) -> str:
    """Return the part of `coverage_by_receipt` that counts the rows of one table."""
    return (
        f"SELECT exchange, market, symbol, '{table.record.KIND}' AS kind, toStartOfInterval(received_at, "
        "toIntervalMinute(1)) AS minute, 0 AS frames, 0 AS records, count() AS rows_stored, NULL AS first_id, "
        f"NULL AS last_id FROM {DATABASE}.{table.name} GROUP BY exchange, market, symbol, minute"
    )


_NOT_COVERED = ("fill", "instrument", "connection", "book_audit", "clock_offset", "coverage")
"""Off by default, or not said by an exchange about its market."""

_COVERED = [
    table for table in TABLES if table.record in records.MARKET_RECORDS and table.record.KIND not in _NOT_COVERED
]

VIEWS: tuple[View, ...] = (
    *(
        View(f"candles_{interval}", f"SELECT * FROM {DATABASE}.candles WHERE interval = '{interval}'")
        for interval in CANDLE_INTERVALS
    ),
    View(
        "gap_detection_log",
        f"SELECT * FROM (SELECT * FROM {DATABASE}.gap_events ORDER BY received_at DESC, attempts DESC "
        "LIMIT 1 BY exchange, market, symbol, kind, gap_id) WHERE status != 'merged'",
    ),
    View(
        "coverage_1m",
        "SELECT minute AS timestamp, * EXCEPT (minute) FROM (\n"
        + "\nUNION ALL ".join(_coverage(table) for table in _COVERED)
        + "\n)",
    ),
    View(
        "coverage_by_receipt",
        "SELECT exchange, market, symbol, kind, timestamp, sum(frames) AS frames, sum(records) AS records, "
        "sum(rows_stored) AS rows_stored, min(first_id) AS first_id, max(last_id) AS last_id FROM (\n"
        "SELECT exchange, market, symbol, kind, timestamp, frames, records, 0 AS rows_stored, first_id, last_id "
        f"FROM {DATABASE}.coverage_counts"
        + "".join(f"\nUNION ALL {_received(table)}" for table in _COVERED)
        + "\n) GROUP BY exchange, market, symbol, kind, timestamp",
    ),
)


def create_table(table: Table) -> str:
    """Return the CREATE TABLE statement of a declared table, as it stands in a migration."""
    width = max(len(column.name) for column in table.columns)
    lines = ",\n".join(f"    {column.name:<{width}} {column.type} {column.codec}" for column in table.columns)
    settings = [f"non_replicated_deduplication_window = {DEDUPLICATION_WINDOW}"]
    if any("Nullable" in column.type for column in table.columns if column.name in table.order_by):
        settings.append("allow_nullable_key = 1")
    return (
        f"CREATE TABLE IF NOT EXISTS {DATABASE}.{table.name}\n(\n{lines}\n)\n"
        f"ENGINE = MergeTree\nPARTITION BY {table.partition_by}\nORDER BY ({', '.join(table.order_by)})\n"
        + (f"TTL {table.ttl}\n" if table.ttl else "")
        + f"SETTINGS {', '.join(settings)}\nCOMMENT '{table.description.replace(chr(39), chr(39) * 2)}'"
    )


def create_view(view: View) -> str:
    """Return the CREATE VIEW statement of a declared view."""
    return f"CREATE OR REPLACE VIEW {DATABASE}.{view.name} AS\n{view.query}"
