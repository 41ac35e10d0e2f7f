"""The statements for a ClickHouse cluster: the embedded engine cannot run them, so it is asked to parse them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from schemas import tables
from schemas.errors import Broken
from services.shared.runtime.cluster import on_cluster
from services.shared.runtime.migrations import _PREPARE, DIRECTORY, load
from tests.clickhouse_server import ClickhouseServer, run_clickhouse

CLUSTER = "tapeline"
STATEMENTS = [*_PREPARE, *(statement for migration in load(DIRECTORY) for statement in migration.statements)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickhouseServer]:
    with run_clickhouse(tmp_path_factory.mktemp("engine")) as running:
        yield running


def test_every_statement_of_the_migrations_is_understood_and_parsed(server: ClickhouseServer) -> None:
    made: list[str] = []
    for statement in STATEMENTS:
        for text in on_cluster(statement, CLUSTER):
            tree = server.query(f"EXPLAIN AST {text}")
            assert tree.startswith("Create"), text
            assert "ON CLUSTER 'tapeline'" in text
            made.append(text)
    replicated = [text for text in made if "ReplicatedMergeTree(" in text]
    distributed = [text for text in made if "ENGINE = Distributed(" in text]
    assert len(distributed) == len(tables.TABLES)
    assert len(replicated) == len(distributed) + 1, "and the record of the migrations, whole on each server"
    assert not [text for text in made if "ENGINE = MergeTree" in text or "non_replicated" in text]


def test_a_table_becomes_one_of_the_shard_and_one_over_all() -> None:
    local, over_all = on_cluster(
        "CREATE TABLE IF NOT EXISTS tapeline.t\n(\n    a Int8\n)\nENGINE = MergeTree\nORDER BY a\n"
        "SETTINGS non_replicated_deduplication_window = 10",
        CLUSTER,
    )
    assert local == (
        "CREATE TABLE IF NOT EXISTS tapeline_local.t ON CLUSTER 'tapeline'\n(\n    a Int8\n)\n"
        "ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')\nORDER BY a\n"
        "SETTINGS replicated_deduplication_window = 10"
    )
    assert over_all == (
        "CREATE TABLE IF NOT EXISTS tapeline.t ON CLUSTER 'tapeline' AS tapeline_local.t "
        "ENGINE = Distributed('tapeline', 'tapeline_local', 't', cityHash64(exchange, market, symbol))"
    )


def test_retention_is_of_the_shards_and_columns_are_of_all() -> None:
    assert on_cluster("ALTER TABLE tapeline.t MODIFY TTL x", CLUSTER) == [
        "ALTER TABLE tapeline_local.t ON CLUSTER 'tapeline' MODIFY TTL x"
    ]
    assert on_cluster("ALTER TABLE tapeline.t ADD COLUMN b Int8", CLUSTER) == [
        "ALTER TABLE tapeline_local.t ON CLUSTER 'tapeline' ADD COLUMN b Int8",
        "ALTER TABLE tapeline.t ON CLUSTER 'tapeline' ADD COLUMN b Int8",
    ]


@pytest.mark.parametrize(
    ("statement", "cluster", "reason"),
    [
        ("DROP TABLE tapeline.t", "c", "not understood for a cluster: DROP TABLE"),
        ("CREATE TABLE IF NOT EXISTS tapeline.t (a Int8) ENGINE = Log", "c", "not of the engine MergeTree"),
        ("CREATE DATABASE IF NOT EXISTS tapeline", "c' --", "is no name of a cluster"),
    ],
)
def test_what_cannot_be_made_is_named(statement: str, cluster: str, reason: str) -> None:
    with pytest.raises(Broken, match=reason):
        on_cluster(statement, cluster)
