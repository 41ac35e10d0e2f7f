"""The tables of a ClickHouse cluster: from the statements for one server, those for shards and replicas.

Each table becomes two. `tapeline_local.<table>` is replicated within its shard by Keeper and holds the shard's rows;
`tapeline.<table>` is Distributed over all shards by instrument, and is what everybody reads and inserts into, so that
nothing else needs to know that there is a cluster. The servers' macros `{shard}` and `{replica}` say which is which.
"""

from __future__ import annotations

import re

from schemas import tables
from schemas.errors import Broken

LOCAL = f"{tables.DATABASE}_local"
"""The database of the rows that a server holds itself."""

RECORD = f"{tables.DATABASE}.schema_migrations"
"""The table that says which migrations were applied."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_DATABASE = re.compile(r"CREATE DATABASE IF NOT EXISTS (\w+)")
_TABLE = re.compile(rf"CREATE TABLE IF NOT EXISTS {tables.DATABASE}\.(\w+)")
_VIEW = re.compile(rf"CREATE OR REPLACE VIEW {tables.DATABASE}\.(\w+)")
_ALTER = re.compile(rf"ALTER TABLE {tables.DATABASE}\.(\w+)")
_TTL = re.compile(r" (MODIFY|REMOVE) TTL\b")
_ENGINE = re.compile(r"ENGINE = MergeTree\b")
_WINDOW = "non_replicated_deduplication_window"

_SHARD_PATH = "/clickhouse/tables/{shard}/{database}/{table}"
_COMMON_PATH = "/clickhouse/tables/all/{database}/{table}"


def check_name(cluster: str) -> str:
    """Return a cluster's name as it is in the servers' configuration. Raises Broken when it cannot be one."""
    if not _NAME.fullmatch(cluster):
        raise Broken(f"{cluster!r} is no name of a cluster; allowed are letters, digits, '_' and '-'")
    return cluster


def on_cluster(statement: str, cluster: str) -> list[str]:
    """Return the statements that do on every server of `cluster` what `statement` does on one.

    Raises Broken for a statement of a form that migrations do not have yet.
    """
    text = statement.strip()
    everywhere = f"ON CLUSTER '{check_name(cluster)}'"
    if match := _DATABASE.match(text):
        return [f"CREATE DATABASE IF NOT EXISTS {name} {everywhere}" for name in (match[1], LOCAL)]
    if match := _TABLE.match(text):
        return _table(text, match, cluster, everywhere)
    if match := _VIEW.match(text):
        return [f"{match[0]} {everywhere}{text[match.end() :]}"]
    if match := _ALTER.match(text):
        change = text[match.end() :]
        # Retention is the rows' own, columns are everybody's.
        databases = (LOCAL,) if _TTL.match(change) else (LOCAL, tables.DATABASE)
        return [f"ALTER TABLE {database}.{match[1]} {everywhere}{change}" for database in databases]
    raise Broken(f"a migration has a statement that is not understood for a cluster: {text[:80]}")


def _table(text: str, match: re.Match[str], cluster: str, everywhere: str) -> list[str]:
    name = match[1]
    # What was migrated is known to every server alike; rows belong to their shard.
    common = f"{tables.DATABASE}.{name}" == RECORD
    path = _COMMON_PATH if common else _SHARD_PATH
    # A replica's name must be its own within the path: among all servers there, among those of the shard here.
    replica = "{shard}-{replica}" if common else "{replica}"
    body, found = _ENGINE.subn(f"ENGINE = ReplicatedMergeTree('{path}', '{replica}')", text[match.end() :])
    if found != 1:
        raise Broken(f"table {name} is not of the engine MergeTree, the only one that is understood for a cluster")
    body = body.replace(_WINDOW, "replicated_deduplication_window")
    if common:
        return [f"CREATE TABLE IF NOT EXISTS {tables.DATABASE}.{name} {everywhere}{body}"]
    return [
        f"CREATE TABLE IF NOT EXISTS {LOCAL}.{name} {everywhere}{body}",
        f"CREATE TABLE IF NOT EXISTS {tables.DATABASE}.{name} {everywhere} AS {LOCAL}.{name} "
        f"ENGINE = Distributed('{cluster}', '{LOCAL}', '{name}', cityHash64(exchange, market, symbol))",
    ]
