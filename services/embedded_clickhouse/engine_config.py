"""The engine's own configuration files, written at each start into its folder.

The rights written here are the wall between HTTP users and this machine. The engine runs in process, where it would
read and write any file and open any connection; its one user is granted tables and nothing else. What is not granted
cannot be reached by any spelling of a statement: no file(), url(), s3(), remote(), executable(), no table engine,
database engine, dictionary or backup that goes outside.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from xml.sax.saxutils import escape

from services.embedded_clickhouse.settings import EmbeddedClickhouseSettings

GRANTS = (
    "SHOW, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE TEMPORARY TABLE, DROP, UNDROP "
    "TABLE, TRUNCATE, OPTIMIZE, CHECK, KILL QUERY, dictGet, SYSTEM MERGES, SYSTEM TTL MERGES, SYSTEM FLUSH ON *.*"
)
TABLE_ENGINES = ("Memory", "Null", "View", "MaterializedView", "Buffer", "Merge", "Set", "Join", "Log", "TinyLog")
"""Engines beside the MergeTree family (one grant covers it) that keep to the engine's own folder."""

FIXED_SETTINGS = (
    "allow_experimental_eval_table_function",
    "allow_introspection_functions",
    "allow_database_iceberg",
    "allow_database_unity_catalog",
    "allow_database_glue_catalog",
    "allow_experimental_database_hms_catalog",
    "allow_experimental_database_paimon_rest_catalog",
    "allow_experimental_database_materialized_postgresql",
)
"""Settings that no user may change: eval() would hide from this service what a statement holds, and catalogue databases
connect to any host without asking for a grant."""

_ENGINE_DATABASE = "_engine"
"""The database `default` of an embedded engine shows the file system as tables; under this name nobody meets it, and
`default` is an ordinary database."""


def write_config(folder: Path, settings: EmbeddedClickhouseSettings) -> Path:
    """Write config.xml and users.xml into `folder`, and return the path of config.xml."""
    users = folder / "users.xml"
    grants = [f"GRANT {GRANTS}"]
    grants += [f"GRANT TABLE ENGINE ON {name}" for name in ("MergeTree", *TABLE_ENGINES)]
    grants += ["REVOKE DROP DATABASE ON default.*"]  # the engine refuses every connection when it is gone
    const = "".join(f"<{name}><const/></{name}>" for name in FIXED_SETTINGS)
    users.write_text(
        "<clickhouse>\n"
        f"  <profiles><default><constraints>{const}</constraints></default></profiles>\n"
        "  <quotas><default/></quotas>\n"
        "  <users><default>\n"
        "    <password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>\n"
        f"    <grants>{''.join(f'<query>{grant}</query>' for grant in grants)}</grants>\n"
        "  </default></users>\n"
        "</clickhouse>\n"
    )
    megabyte = 1024 * 1024
    values = {
        "users_config": users,
        "default_database": _ENGINE_DATABASE,
        "user_files_path": folder / "user_files",
        "timezone": "UTC",
        "max_server_memory_usage": settings.memory_mb * megabyte,
        "mark_cache_size": settings.cache_mb * megabyte,
        "uncompressed_cache_size": 0,
        "index_mark_cache_size": 0,
        "mmap_cache_size": 0,
        "background_pool_size": settings.merge_threads,
        "background_schedule_pool_size": 2,
        "background_common_pool_size": 2,
        "background_move_pool_size": 1,
        "background_fetches_pool_size": 1,
    }
    config = folder / "config.xml"
    lines = "".join(f"  <{name}>{escape(str(value))}</{name}>\n" for name, value in values.items())
    config.write_text(f"<clickhouse>\n{lines}</clickhouse>\n")
    return config


def prepare_data(data: Path) -> None:
    """Make the engine's data folder ready to open, with an ordinary database `default`."""
    metadata = data / "metadata"
    metadata.mkdir(parents=True, exist_ok=True)
    declaration = metadata / "default.sql"
    if not declaration.exists():
        whole = metadata / "default.sql.new"
        whole.write_text(f"ATTACH DATABASE default UUID '{uuid.uuid4()}'\nENGINE = Atomic\n")
        whole.rename(declaration)
    # An embedded engine follows this link to the database that it puts beneath its file system view, which would be
    # the one declared above a second time. The engine writes the link anew.
    (metadata / "default").unlink(missing_ok=True)
