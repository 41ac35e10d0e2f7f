"""A question about one symbol and hour reads that symbol's hour, and never 2% of a large table, whatever the panel.

The tables here are small, and their granules are small in the same proportion. What a question reads is what the engine
itself says before it runs (`EXPLAIN ESTIMATE`): whole granules, of which fewer matter the larger a table is. The same
on 50 million rows: `python -m benchmarks.dashboards`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from schemas.tables import VIEWS, create_view
from tests import grafana
from tests.clickhouse_server import ClickhouseServer, run_clickhouse
from tests.dashboard_tables import ASKED, SYMBOL_QUERIES, Size, create, estimate, fill, view

SIZE = Size(instruments=60, hours=20, rows_per_hour=16)
GRANULE = 16
SHARE, NEXT_TO_NOTHING = 0.02, 0.005
"""Without its filter by symbol, or by time, a question would read 1/20 or 1/60 of these tables."""
NOT_BY_TIME = ("gap_events",)
"""Sorted by gap within an instrument: few rows, whose changes of state belong together."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickhouseServer]:
    with run_clickhouse(tmp_path_factory.mktemp("reads")) as running:
        running.query("CREATE DATABASE IF NOT EXISTS tapeline")
        for table in ASKED:
            running.query(create(table, GRANULE))
            running.query(fill(table, SIZE))
        for declared in VIEWS:
            running.query(create_view(declared))
        yield running


@pytest.mark.parametrize("query", SYMBOL_QUERIES, ids=str)
def test_it_reads_one_symbol_and_hour(server: ClickhouseServer, query: grafana.Query) -> None:
    read = estimate(server, view(SIZE).sql(query.text))
    assert read
    for table, rows in read.items():
        most = SHARE if table in NOT_BY_TIME else NEXT_TO_NOTHING
        assert rows <= most * SIZE.rows, f"{query.panel} reads {rows} of {SIZE.rows} rows of {table}"
