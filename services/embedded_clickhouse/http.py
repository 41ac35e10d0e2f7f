"""ClickHouse's HTTP interface: one request in, one statement on the engine, one answer out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import orjson
from aiohttp import web

from services.embedded_clickhouse import compression
from services.embedded_clickhouse.bodies import Body, form_fields
from services.embedded_clickhouse.engine import Engine, Result
from services.embedded_clickhouse.errors import NOT_ALLOWED, QUERY_IS_TOO_LARGE, READONLY, QueryError
from services.embedded_clickhouse.execution import InsertRun, run_query
from services.embedded_clickhouse.requests import Ask, ask_of, content_type
from services.embedded_clickhouse.sessions import Sessions
from services.embedded_clickhouse.statements import Insert, Query, parse
from services.embedded_clickhouse.users import User, authenticate

MOST_STATEMENT_BYTES = 16 * 1024 * 1024
_PIECE_BYTES = 1024 * 1024
_LONGEST_URL = 1024 * 1024
_GOODBYE_S = 1.0
"""What open connections get after everything was answered."""
_OK = "Ok.\n"

P = ParamSpec("P")
R = TypeVar("R")


class Interface:
    """The handlers. Statements run in `threads` threads; more wait their turn."""

    def __init__(self, engine: Engine, users: dict[str, User], threads: int) -> None:
        self._engine = engine
        self._users = users
        self._threads = ThreadPoolExecutor(threads, "statement")
        self._sessions = Sessions()
        self._running = 0
        self._idle = asyncio.Event()
        self._draining = False

    def runner(self) -> web.AppRunner:
        """Return the runner of these handlers."""
        app = web.Application(client_max_size=MOST_STATEMENT_BYTES)
        for path in ("/ping", "/replicas_status"):
            app.router.add_get(path, _ok)
        app.router.add_route("*", "/", self._answer)
        return web.AppRunner(
            app,
            access_log=None,
            auto_decompress=False,
            shutdown_timeout=_GOODBYE_S,
            max_line_size=_LONGEST_URL,
            max_field_size=_LONGEST_URL,
        )

    async def drain(self, timeout_s: float) -> None:
        """Refuse new requests and wait for the running ones, those whose body is still on its way too."""
        self._draining = True
        if self._running:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), timeout_s)

    def close(self) -> None:
        """Wait for the threads to end."""
        self._threads.shutdown()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self._draining:
            return web.Response(status=503, text="The service is stopping\n", headers={"Connection": "close"})
        self._running += 1
        self._idle.clear()
        try:
            return await self._answer_now(request)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def _answer_now(self, request: web.Request) -> web.StreamResponse:
        if request.method in ("GET", "HEAD") and "query" not in request.query:
            return await _ok(request)
        try:
            if "Origin" in request.headers:
                raise QueryError(NOT_ALLOWED, "Requests of web pages are not allowed")
            user = authenticate(self._users, request.headers, request.query)
            fields = dict(request.query) | await form_fields(request)
            ask = ask_of(user, request.method, request.headers, fields)
            return await self._run(ask, Body(request))
        except QueryError as error:
            return _failure(error)

    async def _run(self, ask: Ask, body: Body) -> web.Response:
        text = ask.statement.rstrip().encode("utf-8", "surrogateescape")
        text += b"\n" if text else b""
        statement: Query | Insert | None = None
        wanted = _PIECE_BYTES
        while statement is None:
            text += await body.read(wanted)
            if len(text) > MOST_STATEMENT_BYTES and not isinstance(statement, Insert):
                statement = parse(text, complete=body.ended)
                if not isinstance(statement, Insert):
                    raise QueryError(QUERY_IS_TOO_LARGE, f"A statement may have {MOST_STATEMENT_BYTES} bytes")
            else:
                statement = parse(text, complete=body.ended)
            wanted = len(text)
        session = self._sessions.statements(ask.user.name, ask.session)
        if isinstance(statement, Query):
            result = await self._in_thread(run_query, self._engine, ask, session, statement)
            if statement.changes_session:
                self._sessions.remember(ask.user.name, ask.session, statement.text, ask.session_timeout_s)
            return await self._success(ask, result, statement.fmt or ask.default_format)
        if not ask.may_write:
            raise QueryError(
                READONLY,
                "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. "
                "You should use method POST for modifying queries",
            )
        pieces = body.pieces(text[statement.data_at :], _PIECE_BYTES)
        result = await self._insert(InsertRun(self._engine, ask, session, statement), pieces)
        return await self._success(ask, result, ask.default_format)

    async def _insert(self, insert: InsertRun, pieces: AsyncIterator[bytes]) -> Result:
        try:
            await self._in_thread(insert.begin)
            async for piece in pieces:
                await self._in_thread(insert.append, piece)
            return await self._in_thread(insert.finish)
        finally:
            await self._in_thread(insert.abandon)

    async def _success(self, ask: Ask, result: Result, fmt: str) -> web.Response:
        headers = {
            "X-ClickHouse-Summary": _summary(result),
            "X-ClickHouse-Query-Id": ask.query_id,
            "X-ClickHouse-Format": fmt,
            "X-ClickHouse-Timezone": "UTC",
            "X-ClickHouse-Server-Display-Name": "tapeline",
            "Content-Type": content_type(fmt),
        }
        data = result.data
        encoding = compression.choose(ask.accept_encoding) if data else None
        if encoding is not None:
            data = await self._in_thread(compression.encode, encoding, data)
            headers["Content-Encoding"] = encoding
        return web.Response(body=data, headers=headers)

    async def _in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: function(*args, **kwargs))


async def _ok(_: web.Request) -> web.Response:
    return web.Response(text=_OK)


def _summary(result: Result) -> str:
    counts = {
        "read_rows": result.read_rows,
        "read_bytes": result.read_bytes,
        "written_rows": result.written_rows,
        "written_bytes": result.written_bytes,
        "total_rows_to_read": result.read_rows,
        "result_rows": result.result_rows,
        "result_bytes": len(result.data),
        "elapsed_ns": result.elapsed_ns,
    }
    return orjson.dumps({name: str(count) for name, count in counts.items()}).decode()


def _failure(error: QueryError) -> web.Response:
    headers = {"X-ClickHouse-Exception-Code": str(error.code)}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
    return web.Response(status=error.status, text=f"{error.text}\n", headers=headers)
