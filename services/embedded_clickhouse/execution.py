"""One request on the engine: a connection of its own, the user's limits on it, then the statement. Runs in a thread."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from services.embedded_clickhouse.engine import Connection, Engine, InsertStream, Result, quote_name, quote_text
from services.embedded_clickhouse.errors import NOT_ALLOWED, READONLY, QueryError
from services.embedded_clickhouse.requests import Ask
from services.embedded_clickhouse.statements import STAGE, Insert, Query

_LIMITS = ("max_", "memory_", "timeout_", "allow_", "readonly", "profile")
"""Beginnings of what a read-only user may not set. The engine's own `readonly = 1` allows nothing at all, and clients
that want their numbers quoted cannot work with that; its `readonly = 2` would let go of the limits too."""


def open_connection(engine: Engine, ask: Ask, session: Sequence[bytes]) -> Connection:
    """Return a connection with the user's limits, the session and the request's settings. Raises QueryError."""
    connection = engine.connect()
    try:
        limits = {f"param_{name}": value for name, value in ask.parameters.items()}
        if ask.user.max_memory_usage is not None:
            limits["max_memory_usage"] = str(ask.user.max_memory_usage)
        if ask.user.max_execution_time is not None:
            limits["max_execution_time"] = str(ask.user.max_execution_time)
        if not ask.user.ddl:
            limits["allow_ddl"] = "0"  # cannot be set back on the same connection
        if ask.user.readonly or not ask.may_write:
            limits["readonly"] = "2"
        _set_all(connection, limits)
        for statement in session:
            connection.run(statement)
        _set_all(connection, ask.settings)
        if ask.database is not None:
            connection.run(f"USE {quote_name(ask.database)}".encode())
    except QueryError:
        connection.close()
        raise
    return connection


def _set_all(connection: Connection, values: Mapping[str, str]) -> None:
    if values:
        assignments = ", ".join(f"{quote_name(name)} = {quote_text(value)}" for name, value in values.items())
        connection.run(f"SET {assignments}".encode())


def _check_settings(ask: Ask, query: Query) -> None:
    """Refuse a read-only user's statement that would move its limits. Raises QueryError 164."""
    if not ask.user.readonly:
        return
    for name in sorted({*ask.settings, *query.settings}):
        if name.lower().startswith(_LIMITS):
            raise QueryError(READONLY, f"Cannot modify '{name}' setting in readonly mode")


def run_query(engine: Engine, ask: Ask, session: Sequence[bytes], query: Query) -> Result:
    """Run a statement that brings no data. Raises QueryError."""
    if query.needs_admin and (ask.user.readonly or not ask.user.ddl):
        raise QueryError(NOT_ALLOWED, f"{ask.user.name}: Not enough privileges")
    _check_settings(ask, query)
    connection = open_connection(engine, ask, session)
    try:
        return connection.run(query.text, ask.default_format)
    finally:
        connection.close()


class InsertRun:
    """One insert whose data arrives in pieces: begin, append as often as needed, finish; or abandon at any moment."""

    def __init__(self, engine: Engine, ask: Ask, session: Sequence[bytes], insert: Insert) -> None:
        self._engine = engine
        self._ask = ask
        self._session = session
        self._insert = insert
        self._connection: Connection | None = None
        self._stream: InsertStream | None = None

    def begin(self) -> None:
        """Open the connection and the insert. Raises QueryError."""
        insert = self._insert
        self._connection = connection = open_connection(self._engine, self._ask, self._session)
        target = insert.target
        if insert.structure is not None:
            structure = quote_text(insert.structure)
            connection.run(
                f"CREATE TEMPORARY TABLE {STAGE} ENGINE = Memory EMPTY AS SELECT * FROM null({structure})".encode()
            )
            target = f"INSERT INTO {STAGE}".encode()
            if insert.settings:
                target += b" SETTINGS " + insert.settings
        self._stream = connection.begin_insert(target, insert.fmt)

    def append(self, data: bytes) -> None:
        """Parse one more piece of the body. Raises QueryError."""
        assert self._stream is not None
        self._stream.append(data)

    def finish(self) -> Result:
        """Store the rows, and close the connection. Raises QueryError."""
        assert self._stream is not None
        assert self._connection is not None
        stream, self._stream = self._stream, None
        result = stream.finish()
        if self._insert.structure is not None:
            result = self._connection.run(self._insert.select)
        self.abandon()
        return result

    def abandon(self) -> None:
        """Drop what is not stored, and close the connection; harmless when all is done."""
        if self._stream is not None:
            with contextlib.suppress(QueryError):  # the insert may be over already, by the error that led here
                self._stream.cancel()
            self._stream = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
