"""What is stored: bytes a row beside Snappy Parquet, and ten questions users ask of 50 million rows.

`python -m benchmarks storage [--seconds 60] [--events-per-s 2000] [--million 50]`. The sizes are those of rows that a
simulated market has sent through the whole pipeline, after a merge, as after a day. The questions are asked of rows
that ClickHouse makes itself, a day of a hundred instruments with 30 days of candles, since their number is what counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from schemas import tables
from tests.clickhouse_server import ClickhouseServer, run_clickhouse
from tests.pipeline import TAPELINE, run_pipeline

SYMBOLS = 100
BTC = "exchange = 'binance' AND market = 'perp' AND symbol = 'S00-USDT-PERP'"
DAY_US = 86_400_000_000

QUESTIONS: tuple[tuple[str, str], ...] = (
    (
        "30 days of 5m candles of a symbol (freqtrade)",
        "SELECT timestamp, open_price, high_price, low_price, close_price, volume FROM tapeline.candles_5m "
        f"WHERE {BTC} AND timestamp > now() - INTERVAL 30 DAY ORDER BY timestamp",
    ),
    (
        "the last 100 candles of a minute",
        f"SELECT * FROM tapeline.candles_1m WHERE {BTC} ORDER BY timestamp DESC LIMIT 100",
    ),
    (
        "trades of an hour",
        f"SELECT * FROM tapeline.trades WHERE {BTC} AND timestamp BETWEEN now() - INTERVAL 7 HOUR AND now() - INTERVAL "
        "6 HOUR ORDER BY timestamp",
    ),
    (
        "volume by side over a day",
        f"SELECT side, count(), sum(quantity) FROM tapeline.trades WHERE {BTC} GROUP BY side",
    ),
    (
        "spread of a symbol by minute over a day",
        "SELECT toStartOfMinute(timestamp) AS minute, avg(ask_price - bid_price) FROM tapeline.quotes "
        f"WHERE {BTC} GROUP BY minute ORDER BY minute",
    ),
    (
        "best bid and ask at a moment",
        f"SELECT bid_price, ask_price FROM tapeline.quotes WHERE {BTC} AND timestamp <= now() - INTERVAL 5 HOUR "
        "ORDER BY timestamp DESC LIMIT 1",
    ),
    (
        "the latest quote of every symbol",
        "SELECT symbol, argMax(bid_price, timestamp), argMax(ask_price, timestamp) FROM tapeline.quotes "
        "WHERE timestamp > now() - INTERVAL 10 MINUTE GROUP BY symbol",
    ),
    (
        "rows a minute by exchange over an hour",
        "SELECT exchange, toStartOfMinute(timestamp) AS minute, count() FROM tapeline.quotes "
        "WHERE timestamp > now() - INTERVAL 1 HOUR GROUP BY exchange, minute ORDER BY minute",
    ),
    (
        "the ten symbols with most turnover in a day",
        "SELECT symbol, sum(price * toDecimal64(quantity, 4)) AS turnover FROM tapeline.trades GROUP BY symbol "
        "ORDER BY turnover DESC LIMIT 10",
    ),
    ("rows of every symbol in a day", "SELECT symbol, count() FROM tapeline.quotes GROUP BY symbol"),
)


def main(arguments: list[str]) -> int:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser("python -m benchmarks storage", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=60, help="of simulated market (default: %(default)s)")
    parser.add_argument("--events-per-s", type=float, default=2_000, help="its events a second (default: %(default)s)")
    parser.add_argument("--million", type=float, default=50, help="million rows to ask (default: %(default)s)")
    given = parser.parse_args(arguments)
    print("\n".join(run(given.seconds, given.events_per_s, given.million)), flush=True)
    return 0


def run(seconds: float = 60, events_per_s: float = 2_000, million: float = 50) -> list[str]:
    """Return the benchmark's lines of Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        sizes = _sizes(Path(folder) / "simulated", seconds, events_per_s)
        times = _times(Path(folder) / "made", round(million * 1e6))
    return [
        "## Storage: bytes a row",
        "",
        f"Rows of {seconds:g} s of a simulated Binance at {events_per_s:g} events/s, merged; Parquet of the same rows "
        "in the same order, as ClickHouse writes it.",
        "",
        "| table | rows | bytes a row | Snappy Parquet | share |",
        "|---|---|---|---|---|",
        *sizes,
        "",
        "## Storage: ten questions",
        "",
        "| question | ms, first | ms, best of 3 | rows read |",
        "|---|---|---|---|",
        *times,
    ]


def _sizes(data: Path, seconds: float, events_per_s: float) -> list[str]:
    environment = {
        "TAPELINE_EXCHANGE_SIMULATOR_EVENTS_PER_S": str(events_per_s),
        "TAPELINE_EXCHANGE_SIMULATOR_LEDGER": "false",
    }
    with run_pipeline(data, "--simulate", "--symbols", "20", "--for", str(seconds), **environment) as pipeline:
        pipeline.wait()
    lines = []
    with run_clickhouse(data) as server:
        for table in tables.TABLES:
            name = f"{tables.DATABASE}.{table.name}"
            count = int(server.query(f"SELECT count() FROM {name}"))
            if not count:
                continue
            server.query(f"OPTIMIZE TABLE {name} FINAL")
            stored = int(
                server.query(
                    f"SELECT sum(bytes_on_disk) FROM system.parts WHERE database = '{tables.DATABASE}' AND "
                    f"table = '{table.name}' AND active"
                )
            )
            parquet = len(
                _ask(
                    server,
                    f"SELECT * FROM {name} ORDER BY {', '.join(table.order_by)} FORMAT Parquet "
                    "SETTINGS output_format_parquet_compression_method = 'snappy'",
                )
            )
            each, other = stored / count, parquet / count
            lines.append(f"| {table.name} | {count:,} | {each:,.0f} | {other:,.0f} | {each / other:.0%} |")
    return lines


def _times(data: Path, rows: int) -> list[str]:
    with run_clickhouse(data) as server:
        environment = {**os.environ, "TAPELINE_CLICKHOUSE_URL": server.url, "TAPELINE_DATA_DIR": str(data)}
        subprocess.run([TAPELINE, "migrate", "--no-retention"], env=environment, check=True, stdout=subprocess.DEVNULL)
        _fill(server, rows)
        held = int(server.query("SELECT sum(rows) FROM system.parts WHERE database = 'tapeline' AND active"))
        return [*(_line(server, *question) for question in QUESTIONS), f"| rows held | | | {held:,} |"]


def _line(server: ClickhouseServer, name: str, sql: str) -> str:
    took = []
    for _ in range(4):
        began = time.perf_counter()
        answer: dict[str, Any] = json.loads(_ask(server, f"{sql} FORMAT JSON"))
        took.append((time.perf_counter() - began) * 1000)
    return f"| {name} | {took[0]:,.0f} | {min(took[1:]):,.0f} | {answer['statistics']['rows_read']:,} |"


def _fill(server: ClickhouseServer, rows: int) -> None:
    """Make the rows: a fortieth part candles of 30 days, the rest a day of quotes and trades, ten to two."""
    quotes, trades = rows * 10 // 12 // SYMBOLS, rows * 2 // 12 // SYMBOLS
    symbol = "concat('S', leftPad(toString(intDiv(number, {each})), 2, '0'), '-USDT-PERP')"
    who = f"'binance' AS exchange, 'perp' AS market, {symbol}"
    ago = f"toUnixTimestamp64Micro(now64(6)) - {DAY_US} + (number % {{each}}) * {{step}}"
    when = f"fromUnixTimestamp64Micro({ago}, 'UTC')"
    common = (
        f"{who} AS symbol, {when} AS timestamp, 'push' AS timestamp_source, timestamp AS received_at, 'live' AS source"
    )
    price = "toDecimal128(60000 + intHash32(intDiv(number, 4)) % 500, 18)"
    size = "toDecimal128(1 + intHash32(number) % 90, 18)"
    for table, each, columns in (
        (
            "quotes",
            quotes,
            f"{price} AS bid_price, {size} AS bid_quantity, bid_price + 1 AS ask_price, {size} AS ask_quantity, "
            "number AS sequence, timestamp AS sent_at",
        ),
        (
            "trades",
            trades,
            f"{price} AS price, {size} AS quantity, if(intHash32(number) % 2, 'buy', 'sell') AS side, "
            "toString(number) AS trade_id, number AS sequence, timestamp AS sent_at",
        ),
    ):
        _insert(server, table, f"{common.format(each=each, step=DAY_US // each)}, {columns}", each)
    for interval, minutes in (("1m", 1), ("5m", 5)):
        each = 30 * 24 * 60 // minutes
        open_time = f"now64(6) - toIntervalMinute({minutes} * (number % {each}))"
        stamp = f"toDateTime64(toStartOfInterval({open_time}, INTERVAL {minutes} MINUTE), 6, 'UTC')"
        columns = f"'{interval}' AS interval, {price} AS open_price, open_price + 9 AS high_price, open_price - 9 AS "
        columns += f"low_price, open_price + 1 AS close_price, {size} AS volume, true AS closed"
        told = common.format(each=each, step=1).replace(when.format(each=each, step=1), stamp)
        _insert(server, "candles", f"{told}, {columns}", each)


def _insert(server: ClickhouseServer, table: str, columns: str, each: int) -> None:
    names = ", ".join(part.rsplit(" AS ", 1)[1] for part in _split(columns))
    _ask(
        server,
        f"INSERT INTO tapeline.{table} ({names}) SELECT {columns} FROM numbers({each * SYMBOLS}) "
        "SETTINGS max_partitions_per_insert_block = 0",
    )


def _split(columns: str) -> list[str]:
    """Split at the commas outside brackets."""
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(columns):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            parts.append(columns[start:place])
            start = place + 1
    return [*parts, columns[start:]]


def _ask(server: ClickhouseServer, sql: str) -> bytes:
    with urllib.request.urlopen(f"{server.url}/", data=sql.encode(), timeout=900) as answer:
        body: bytes = answer.read()
        return body


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
