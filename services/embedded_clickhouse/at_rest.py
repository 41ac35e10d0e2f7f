"""Questions to a data directory that no service has open, as `tapeline sql --data DIR` asks them."""

from __future__ import annotations

from pathlib import Path

from schemas.errors import Broken
from services.embedded_clickhouse.engine import Engine
from services.embedded_clickhouse.server import engine_folder
from services.embedded_clickhouse.settings import EmbeddedClickhouseSettings
from services.embedded_clickhouse.statements import Query, parse


def query_at_rest(data_dir: Path, sql: str, fmt: str = "TabSeparated") -> bytes:
    """Return the answer to one statement that reads, in `fmt` unless the statement has a FORMAT clause.

    The engine is opened in this process for the length of the call; merges and retention are held meanwhile, so that
    looking changes nothing. Raises Broken when the directory holds no tables or is in use, QueryError when the
    statement fails or would write. One call at a time in a process: an engine has one folder.
    """
    folder = engine_folder(data_dir)
    if not (folder / "data").is_dir():
        raise Broken(f"{data_dir} holds no ClickHouse data (there is no {folder / 'data'})", path=str(data_dir))
    statement = parse(sql.encode("utf-8", "surrogateescape"), complete=True)
    text = statement.text if isinstance(statement, Query) else sql.encode()
    engine = Engine(folder, EmbeddedClickhouseSettings.load(data_dir=data_dir))
    try:
        connection = engine.connect()
        try:
            connection.run(b"SYSTEM STOP MERGES")
            connection.run(b"SET readonly = 2")
            return connection.run(text, fmt).data
        finally:
            connection.close()
    finally:
        engine.close()
