"""What the dashboards' questions about one symbol and hour read of a table of 50 million rows.

`python -m benchmarks.dashboards [TABLE ...]`: trades without a name. Needs some gigabytes of disk for a while.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from schemas.tables import BY_NAME, VIEWS, create_view
from tests.clickhouse_server import ClickhouseServer, run_clickhouse
from tests.dashboard_tables import ASKED, SYMBOL_QUERIES, Size, create, estimate, fill, view

SIZE = Size(instruments=100, hours=24, rows_per_hour=20_834)
GRANULE = 8192
"""ClickHouse's own default."""
PIECES = 10
"""Instruments are filled in so many statements: one would need the memory of all."""


def main(arguments: Sequence[str]) -> int:
    """Fill each table, print what each question would read of it; 1 when one reads over 2%."""
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder, run_clickhouse(Path(folder)) as server:
        server.query("CREATE DATABASE IF NOT EXISTS tapeline")
        for table in ASKED:
            server.query(create(table, GRANULE))
        for declared in VIEWS:
            server.query(create_view(declared))
        for name in arguments or ("trades",):
            worst = max(worst, _table(server, name))
    return int(worst > 0.02)


def _table(server: ClickhouseServer, name: str) -> float:
    statement = fill(BY_NAME[name], SIZE)
    step = SIZE.rows // PIECES
    for number in range(PIECES):
        server.query(re.sub(r"numbers\(\d+\)", f"numbers({number * step}, {step})", statement))
    print(f"{name}: {server.query(f'SELECT count() FROM tapeline.{name}')} rows")
    worst = 0.0
    for query in SYMBOL_QUERIES:
        rows = estimate(server, view(SIZE).sql(query.text)).get(name)
        if rows is not None:
            worst = max(worst, rows / SIZE.rows)
            print(f"  {rows / SIZE.rows:8.4%}  {rows:>9} rows  {query}")
    server.query(f"TRUNCATE TABLE tapeline.{name}")
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
