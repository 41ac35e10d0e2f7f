"""What the tables are asked: which rows of a series are there, and where between two of them some are missing."""

from __future__ import annotations

from schemas import tables
from schemas.records import Candle, FundingRate, LsrAllAccount, LsrTopPosition, VolatilityIndex
from services.gap_backfill.series import DAY_US, Series, table_of
from services.shared.exchanges.history import History

_INTERVAL_COLUMN = {
    Candle.KIND: "interval",
    FundingRate.KIND: "rate_kind",
    LsrTopPosition.KIND: "period",
    LsrAllAccount.KIND: "period",
    VolatilityIndex.KIND: "resolution",
}
"""The column that a gap calls `interval`, where a kind has several series."""

_PLACE_IN_STREAM = "stream_sequence"
"""Of the row, not of the record: the next state of a gap has a place of its own."""

_MICROS = "toUnixTimestamp64Micro(timestamp)"
_FIRST_OF_SPAN = "sequence - ifNull(trade_count, 1) + 1"
"""Where a trade merges several ids its number is the last of them."""


def _where(series: Series) -> str:
    parts = [f"{name} = {{{name}:String}}" for name in ("exchange", "market", "symbol")]
    column = _INTERVAL_COLUMN.get(series.kind)
    if column is not None and series.interval is not None:
        parts.append(f"{column} = {{interval:String}}")
    return " AND ".join(parts)


def params(series: Series, first: int, last: int) -> dict[str, object]:
    """Return the parameters of a question about a series' keys from `first` to `last`."""
    found: dict[str, object] = {
        "exchange": series.exchange,
        "market": series.market,
        "symbol": series.symbol,
        "first": first,
        "last": last,
    }
    if series.interval is not None:
        found["interval"] = series.interval
    return found


def there(series: Series, history: History) -> str:
    """Return the question which keys from {first} to {last} are in the table: runs `first<TAB>last`, one a line.

    Numbers are joined to runs by ClickHouse, since there may be millions; times are few enough to come one by one.
    """
    table = f"{tables.DATABASE}.{table_of(series.kind).name}"
    if history.keyed == "id":
        return (
            "SELECT min(low), max(high) FROM (SELECT low, high, sum(fresh) OVER (ORDER BY low, high) AS run FROM ("
            "SELECT low, high, ifNull(low > 1 + max(high) OVER (ORDER BY low, high ROWS BETWEEN UNBOUNDED PRECEDING "
            f"AND 1 PRECEDING), 1) AS fresh FROM ({_numbers(table, series, history)} AND sequence BETWEEN "
            "{first:Int64} AND {last:Int64}))) GROUP BY run ORDER BY 1 FORMAT TSV"
        )
    return (
        f"SELECT DISTINCT {_MICROS} AS at, at FROM {table} WHERE {_where(series)} AND timestamp BETWEEN "
        "fromUnixTimestamp64Micro({first:Int64}) AND fromUnixTimestamp64Micro({last:Int64}) ORDER BY at FORMAT TSV"
    )


def _numbers(table: str, series: Series, history: History) -> str:
    low = _FIRST_OF_SPAN if history.spans else "sequence"
    return f"SELECT {low} AS low, sequence AS high FROM {table} WHERE {_where(series)}"


def holes(kind: str, history: History, *, one_symbol: bool = False) -> str:
    """Return the question where rows of a kind are missing in a market, or of {symbol}, since {since} (microseconds).

    One line for each hole between two rows: symbol, key and time of the row before it, key and time of the row behind
    it. A hole in numbers is one to the number; on a grid, two rows more than one step apart; else one that is longer
    than the usual distance by half.
    """
    table = f"{tables.DATABASE}.{table_of(kind).name}"
    column = _INTERVAL_COLUMN.get(kind)
    extra = f" AND {column} = {{interval:String}}" if column is not None and history.interval is not None else ""
    if one_symbol:
        extra += " AND symbol = {symbol:String}"
    if history.keyed == "id":
        low, high = (_FIRST_OF_SPAN if history.spans else "sequence"), "sequence"
    else:
        low = high = _MICROS
    rows = (
        f"SELECT symbol, {low} AS low, {high} AS high, {_MICROS} AS at FROM {table} WHERE exchange = "
        f"{{exchange:String}} AND market = {{market:String}}{extra} AND timestamp >= "
        "fromUnixTimestamp64Micro({since:Int64})" + (" AND sequence IS NOT NULL" if history.keyed == "id" else "")
    )
    before = "OVER (PARTITION BY symbol ORDER BY low, high ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    pairs = (
        f"SELECT symbol, max(high) {before} AS before, argMax(at, high) {before} AS before_at, low, at, "
        f"count() {before} AS nth FROM ({rows})"
    )
    if history.keyed == "time":
        # A rate is settled every 1, 4 or 8 hours, as the instrument has it: the least distance says which.
        usual = "min(if(nth = 0 OR low <= before, NULL, low - before)) OVER (PARTITION BY symbol)"
        pairs = f"SELECT *, {usual} AS usual FROM ({pairs})"
        wide = "low - before > 1.5 * usual"
    else:
        wide = f"low - before > {history.step_us if history.keyed == 'grid' else 1}"
    return (
        f"SELECT symbol, before, before_at, low, at FROM ({pairs}) WHERE nth > 0 AND {wide} "
        "ORDER BY symbol, low FORMAT TSV"
    )


def symbols(kind: str) -> str:
    """Return the question which symbols of a market have rows of a kind since {since} (microseconds), one a line."""
    return (
        f"SELECT DISTINCT symbol FROM {tables.DATABASE}.{table_of(kind).name} WHERE exchange = {{exchange:String}} "
        "AND market = {market:String} AND timestamp >= fromUnixTimestamp64Micro({since:Int64}) "
        "ORDER BY symbol FORMAT TSV"
    )


OPEN_GAPS_SINCE_US = 60 * DAY_US
"""How far back the log is read at start: beyond it nothing can be refilled any more, and nothing is looked for."""


def log_of_gaps() -> str:
    """Return the question for the latest states of gaps found since {since} (microseconds), as JSON lines.

    Each gap twice at most: as its finder told it last, and as this service did.
    """
    columns = ", ".join(
        f"{_MICROS.replace('timestamp)', column.name + ')')} AS {column.name}"
        if "DateTime64" in column.type
        else column.name
        for column in table_of("gap").columns
        if column.name != _PLACE_IN_STREAM
    )
    return (
        f"SELECT {columns} FROM (SELECT * FROM {tables.DATABASE}.gap_events WHERE detection_time >= "
        "fromUnixTimestamp64Micro({since:Int64}) ORDER BY received_at DESC, attempts DESC "
        "LIMIT 1 BY exchange, market, symbol, kind, gap_id, source) "
        "FORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers = 0"
    )


def instruments() -> str:
    """Return the question for the newest terms of every instrument, as JSON lines."""
    table = table_of("instrument")
    columns = ", ".join(
        f"toUnixTimestamp64Micro({column.name}) AS {column.name}" if "DateTime64" in column.type else column.name
        for column in table.columns
        if column.name != _PLACE_IN_STREAM
    )
    return (
        f"SELECT {columns} FROM (SELECT * FROM {tables.DATABASE}.instruments ORDER BY received_at DESC "
        "LIMIT 1 BY exchange, market, symbol) FORMAT JSONEachRow SETTINGS "
        "output_format_json_quote_64bit_integers = 0, output_format_json_quote_decimals = 1"
    )
