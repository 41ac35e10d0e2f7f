"""The embedded engine: one per process, a connection of its own for every request. The only place that imports it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chdb import _chdb as _untyped_chdb

from schemas.errors import Broken
from services.embedded_clickhouse.engine_config import prepare_data, write_config
from services.embedded_clickhouse.errors import NOT_ALLOWED, QueryError
from services.embedded_clickhouse.settings import EmbeddedClickhouseSettings

_chdb: Any = _untyped_chdb
_FILE_REFUSED = "function file is not allowed over HTTP"

_SERVER_MANNERS = {
    "implicit_select": "0",
    "session_timezone": "UTC",
}
"""Where the embedded engine's defaults differ from a server's, a server's are set."""


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to one statement: its bytes in the format asked for, and what it read and wrote."""

    data: bytes
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    elapsed_ns: int = 0


class Connection:
    """One connection: settings, current database and temporary tables of one request. Used by one thread at a time."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def close(self) -> None:
        """Give the connection back; a running insert must be finished or cancelled before."""
        self._raw.close()

    def run(self, statement: bytes, fmt: str = "TabSeparated") -> Result:
        """Run one statement to its end. Raises QueryError with the engine's code."""
        with _engine_errors():
            raw = self._raw.query(statement, fmt)
        return Result(
            raw.bytes(),  # a copy: the engine's own memory goes with `raw`
            read_rows=raw.storage_rows_read(),
            read_bytes=raw.storage_bytes_read(),
            written_rows=raw.rows_written(),
            written_bytes=raw.bytes_written(),
            result_rows=raw.rows_read(),
            elapsed_ns=int(raw.elapsed() * 1e9),
        )

    def begin_insert(self, target: bytes, fmt: str) -> InsertStream:
        """Begin an insert whose rows are appended in pieces. Raises QueryError."""
        with _engine_errors():
            return InsertStream(self._raw, self._raw.send_insert(target, fmt))


class InsertStream:
    """A running insert: bytes of one format go in, rows are stored when it is finished."""

    def __init__(self, raw: Any, handle: Any) -> None:
        self._raw = raw
        self._handle = handle

    def append(self, data: bytes) -> None:
        """Parse one more piece. Raises QueryError, and then the insert is over."""
        with _engine_errors():
            self._raw.insert_append(self._handle, data)

    def finish(self) -> Result:
        """Store what was appended. Raises QueryError."""
        with _engine_errors():
            done = self._raw.insert_done(self._handle)
        return Result(
            b"",
            written_rows=done.rows_written(),
            written_bytes=done.bytes_written(),
            elapsed_ns=int(done.elapsed() * 1e9),
        )

    def cancel(self) -> None:
        """Drop what was appended and is not stored yet."""
        with _engine_errors():
            self._raw.insert_cancel(self._handle)


class Engine:
    """The engine over one data folder, held by this process alone."""

    def __init__(self, folder: Path, settings: EmbeddedClickhouseSettings) -> None:
        """Open the engine in `folder`. Raises Broken when it is in use, cannot be written or cannot be opened."""
        self._lock = lock_folder(folder)
        try:
            prepare_data(folder / "data")
            self._address = f"{folder / 'data'}?config-file={write_config(folder, settings)}"
            # Held for the life of the process: the engine shuts down with its last connection.
            self._first = self._connect()
            _chdb.drop_function("file")  # functions belong to the process, which may have had an engine before
            _chdb.create_function("file", _no_file, arg_types=["String"], return_type="String")
        except (RuntimeError, OSError) as error:
            os.close(self._lock)
            raise Broken(f"the ClickHouse engine cannot be opened in {folder}: {error}", path=str(folder)) from error
        self._manners = _SERVER_MANNERS | {"max_threads": str(settings.query_threads)}

    def connect(self) -> Connection:
        """Return a connection with a server's default settings; about half a millisecond."""
        connection = Connection(self._connect())
        assignments = ", ".join(f"{name} = {value!r}" for name, value in self._manners.items())
        connection.run(f"SET {assignments}".encode())
        return connection

    def close(self) -> None:
        """Shut the engine down; every other connection must be closed before."""
        self._first.close()
        os.close(self._lock)

    def _connect(self) -> Any:
        return _chdb.connect(self._address)


def lock_folder(folder: Path) -> int:
    """Create `folder` where needed and lock it for this process; return the descriptor that holds the lock.

    The kernel lets go of the lock when the process ends, however it ends. Raises Broken.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise Broken(f"the data directory {folder} cannot be written: {error.strerror}", path=str(folder)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise Broken(f"the data directory {folder} is in use by another process", path=str(folder)) from error
    return descriptor


def quote_name(name: str) -> str:
    """Return a name as a quoted identifier."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def quote_text(text: str) -> str:
    """Return a text as a string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _no_file(path: str) -> str:
    """Stand in for the engine's function file(), which in an embedded engine reads any file of the machine."""
    raise PermissionError(_FILE_REFUSED, path)


@contextmanager
def _engine_errors() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        refused = QueryError(NOT_ALLOWED, _FILE_REFUSED) if _FILE_REFUSED in text else None
        raise refused or QueryError.of_engine(text) from None
