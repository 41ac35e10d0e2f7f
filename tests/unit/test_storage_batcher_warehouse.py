"""What each of ClickHouse's answers means, and the HTTP requests that are made; against a socket on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from schemas.errors import BadRecord, Broken, Busy, PipelineError, Then
from services.shared.runtime import warehouse
from services.shared.runtime.warehouse import CODE_HEADER, LONGEST_ERROR, Warehouse, classify


@pytest.mark.parametrize(
    ("code", "kind", "name"),
    [
        (27, BadRecord, "CANNOT_PARSE_INPUT_ASSERTION_FAILED"),
        (69, BadRecord, "ARGUMENT_OUT_OF_BOUND"),
        (349, BadRecord, "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN"),
        (60, Broken, "UNKNOWN_TABLE"),
        (16, Broken, "NO_SUCH_COLUMN_IN_TABLE"),
        (516, Broken, "AUTHENTICATION_FAILED"),
        (252, Busy, "TOO_MANY_PARTS"),
        (241, Busy, "MEMORY_LIMIT_EXCEEDED"),
        (31_337, Busy, "NOT_LISTED"),
        (None, Busy, "NO_CODE"),
    ],
)
def test_a_code_says_what_happens_next(code: int | None, kind: type[PipelineError], name: str) -> None:
    error = classify(code, f"Code: {code}. DB::Exception: why\n")
    assert type(error) is kind
    assert error.fields == {"code": code or 0, "name": name}
    assert str(error) == f"ClickHouse: Code: {code}. DB::Exception: why"


def test_a_code_is_in_one_list_only_and_long_texts_are_cut() -> None:
    lists = (warehouse.BAD_RECORD_CODES, warehouse.BROKEN_CODES, warehouse.BUSY_CODES)
    assert sum(map(len, lists)) == len(set().union(*lists))
    assert len(str(classify(27, "x" * 5_000))) == LONGEST_ERROR + len("ClickHouse: ")
    assert (BadRecord.then, Broken.then, Busy.then) == (Then.DEAD_LETTER, Then.STOP, Then.RETRY)


class Answers:
    """A server that notes what it is asked and answers what it was told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, str], str, bytes]] = []
        self.answer = web.Response(body=b"1\n")
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((dict(request.query), request.headers["X-ClickHouse-User"], await request.read()))
        return self.answer


@pytest.fixture
async def server() -> AsyncIterator[Answers]:
    answers = Answers()
    app = web.Application()
    app.router.add_post("/", answers.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    answers.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield answers
    await runner.cleanup()


async def test_an_insert_carries_its_token_and_one_block_holds_it(server: Answers) -> None:
    async with Warehouse(server.url, user="writer") as client:
        await client.insert("INSERT INTO t FORMAT JSONEachRow", b'{"a":1}', "t/all/1-2")
    ((query, user, body),) = server.asked
    assert (query["query"], query["insert_deduplication_token"]) == ("INSERT INTO t FORMAT JSONEachRow", "t/all/1-2")
    assert (query["max_insert_threads"], query["async_insert"], query["wait_end_of_query"]) == ("1", "0", "1")
    assert (user, body) == ("writer", b'{"a":1}')


async def test_a_question_carries_its_parameters_and_returns_bytes(server: Answers) -> None:
    async with Warehouse(server.url) as client:
        assert await client.query("SELECT {x:UInt8}", {"x": 1}) == b"1\n"
    ((query, user, body),) = server.asked
    assert (query["param_x"], user, body) == ("1", "default", b"SELECT {x:UInt8}")


async def test_a_failure_keeps_code_and_text(server: Answers) -> None:
    server.answer = web.Response(status=400, text="Code: 27. no\n", headers={CODE_HEADER: "27"})
    async with Warehouse(server.url) as client:
        with pytest.raises(BadRecord, match=r"^ClickHouse: Code: 27\. no$"):
            await client.execute("SELECT 1")


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_failure_without_a_code_is_busy(server: Answers, status: int) -> None:
    server.answer = web.Response(status=status)
    async with Warehouse(server.url) as client:
        with pytest.raises(Busy, match=f"HTTP status {status}"):
            await client.execute("SELECT 1")
