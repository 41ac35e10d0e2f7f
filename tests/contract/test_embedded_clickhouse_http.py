"""The HTTP interface itself: what curl, a script or a load balancer sees."""

from __future__ import annotations

import asyncio
import json
import threading
import zlib
from collections.abc import AsyncIterator, Iterator

import aiohttp
import lz4.frame
import pytest
import zstandard

from tests.clickhouse_server import ClickhouseServer, run_clickhouse

BIG_ROWS = 200_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickhouseServer]:
    with run_clickhouse(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture
async def http(server: ClickhouseServer) -> AsyncIterator[aiohttp.ClientSession]:
    server.query("CREATE OR REPLACE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
    async with aiohttp.ClientSession(
        server.url, auto_decompress=False, headers={"Accept-Encoding": "identity"}
    ) as session:
        yield session


async def test_signs_of_life(http: aiohttp.ClientSession) -> None:
    for path in ("/", "/ping", "/replicas_status"):
        async with http.get(path) as answer:
            assert (answer.status, await answer.text()) == (200, "Ok.\n")


async def test_a_query_in_the_url_and_the_headers_of_its_answer(http: aiohttp.ClientSession) -> None:
    async with http.get("/?query=SELECT+number+FROM+numbers(2)&query_id=mine&default_format=JSONEachRow") as answer:
        assert (answer.status, await answer.text()) == (200, '{"number":0}\n{"number":1}\n')
        summary = json.loads(answer.headers["X-ClickHouse-Summary"])
        assert (summary["read_rows"], summary["result_rows"]) == ("2", "2")
        assert answer.headers["X-ClickHouse-Query-Id"] == "mine"
        assert answer.headers["X-ClickHouse-Format"] == "JSONEachRow"
        assert answer.headers["X-ClickHouse-Timezone"] == "UTC"
        assert answer.headers["X-ClickHouse-Server-Display-Name"]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT 1", "1\n"),
        ("SELECT 1 ;; -- done", "1\n"),
        ("-- first\n/* then /* nested */ */\nSELECT\n  'a;b -- c'", "a;b -- c\n"),
        ("SELECT 1 AS a FORMAT JSONEachRow", '{"a":1}\n'),
        ("SELECT $tag$ it's; FORMAT $tag$", " it\\'s; FORMAT \n"),
        ("WITH x AS (SELECT 5 AS y) SELECT y FROM x", "5\n"),
        ("SELECT currentDatabase()", "default\n"),
    ],
)
async def test_statements_in_the_body(http: aiohttp.ClientSession, statement: str, expected: str) -> None:
    async with http.post("/", data=statement) as answer:
        assert (answer.status, await answer.text()) == (200, expected)


async def test_database_parameter_and_settings(http: aiohttp.ClientSession) -> None:
    query = "SELECT currentDatabase(), getSetting('max_block_size'), {x:String}"
    params = {"database": "system", "max_block_size": "4321", "param_x": "a b", "query": query}
    async with http.get("/", params=params) as answer:
        assert await answer.text() == "system\t4321\ta b\n"


@pytest.mark.parametrize(
    ("method", "params", "body", "status", "code"),
    [
        ("GET", {"query": "SELECT * FROM nowhere"}, b"", 404, 60),
        ("GET", {"query": "SELECT"}, b"", 400, 62),
        ("POST", {}, b"", 400, 62),
        ("POST", {}, b"INSERT INTO t", 400, 62),
        ("GET", {"query": "SELECT 1", "no_such_setting": "1"}, b"", 404, 115),
        ("GET", {"query": "INSERT INTO t VALUES (1, 'a')"}, b"", 500, 164),
        ("GET", {"query": "DROP TABLE t"}, b"", 500, 164),
        ("POST", {"query": "INSERT INTO t FORMAT CSV"}, b"one,a\n", 400, 27),
        ("POST", {"query": "SELECT sleep(3)", "max_execution_time": "1", "function_sleep_max_microseconds_per_block":
            "9000000"}, b"", 408, 159),
        ("POST", {"decompress": "1", "query": "SELECT 1"}, b"", 501, 48),
    ],
)  # fmt: skip
async def test_failures_have_clickhouses_status_and_code(
    http: aiohttp.ClientSession, method: str, params: dict[str, str], body: bytes, status: int, code: int
) -> None:
    async with http.request(method, "/", params=params, data=body) as answer:
        text = await answer.text()
        assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
        assert text.startswith(f"Code: {code}. DB::Exception: ")


@pytest.mark.parametrize(
    ("statement", "data"),
    [("INSERT INTO t FORMAT CSV", b"1,a\n2,b\n"), ("INSERT INTO t VALUES", b"(1,'a'),(2,'b')")],
)
async def test_data_in_the_body_with_the_statement_anywhere(
    http: aiohttp.ClientSession, server: ClickhouseServer, statement: str, data: bytes
) -> None:
    async with http.post("/", params={"query": statement}, data=data) as answer:
        assert answer.status == 200
    async with http.post("/", data=statement.encode() + b"\n" + data) as answer:
        assert answer.status == 200
    assert server.query("SELECT a, b, count() FROM t GROUP BY a, b ORDER BY a") == "1\ta\t2\n2\tb\t2"


async def test_an_insert_without_rows_stores_none(http: aiohttp.ClientSession, server: ClickhouseServer) -> None:
    async with http.post("/", params={"query": "INSERT INTO t FORMAT JSONEachRow"}) as answer:
        assert answer.status == 200
    assert server.query("SELECT count() FROM t") == "0"


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("gzip", lambda data: zlib.compress(data, wbits=31)),
        ("deflate", zlib.compress),
        ("lz4", lz4.frame.compress),
        ("zstd", zstandard.compress),
        ("zstd", lambda data: b"".join(zstandard.compress(data[at : at + 65536]) for at in range(0, len(data), 65536))),
    ],
)
async def test_large_compressed_bodies_in_chunks(
    http: aiohttp.ClientSession, server: ClickhouseServer, encoding: str, encode: object
) -> None:
    data = b"".join(b"%d,text %d\n" % (number, number) for number in range(BIG_ROWS))
    compressed = encode(data)  # type: ignore[operator]

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(compressed), 10_000):
            yield compressed[at : at + 10_000]

    params = {"query": "INSERT INTO t FORMAT CSV"}
    async with http.post("/", params=params, data=chunks(), headers={"Content-Encoding": encoding}) as answer:
        assert answer.status == 200, await answer.text()
    total = BIG_ROWS * (BIG_ROWS - 1) // 2
    assert server.query("SELECT count(), sum(a), countIf(b = concat('text ', a)) FROM t") == (
        f"{BIG_ROWS}\t{total}\t{BIG_ROWS}"
    )


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "lz4"])
async def test_a_cut_compressed_body_stores_nothing(
    http: aiohttp.ClientSession, server: ClickhouseServer, encoding: str
) -> None:
    whole = {
        "gzip": zlib.compress(b"1,a\n" * 1000, wbits=31),
        "zstd": zstandard.compress(b"1,a\n" * 1000),
        "lz4": lz4.frame.compress(b"1,a\n" * 1000),
    }[encoding]
    params = {"query": "INSERT INTO t FORMAT CSV"}
    async with http.post("/", params=params, data=whole[:-6], headers={"Content-Encoding": encoding}) as answer:
        assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (500, "271")
    assert server.query("SELECT count() FROM t") == "0"


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [("gzip", "gzip"), ("lz4", "lz4"), ("zstd;q=0, gzip", "gzip"), ("br", None), ("", None)],
)
async def test_answers_are_compressed_as_asked(http: aiohttp.ClientSession, accept: str, encoding: str | None) -> None:
    params = {"query": "SELECT repeat('a', 1000)"}
    async with http.get("/", params=params, headers={"Accept-Encoding": accept}) as answer:
        data = await answer.read()
        assert answer.headers.get("Content-Encoding") == encoding
    plain = {"gzip": lambda: zlib.decompress(data, wbits=31), "lz4": lambda: lz4.frame.decompress(data)}
    assert (plain[encoding]() if encoding else data) == b"a" * 1000 + b"\n"
    async with http.get("/", params=params | {"enable_http_compression": "0"}, headers={"Accept-Encoding": accept}) as (
        answer
    ):
        assert "Content-Encoding" not in answer.headers


async def test_a_long_statement_in_small_chunks(http: aiohttp.ClientSession) -> None:
    text = "SELECT length('" + "é" * 1_000_000 + "')"

    async def chunks() -> AsyncIterator[bytes]:
        encoded = text.encode()
        for at in range(0, len(encoded), 50_001):
            yield encoded[at : at + 50_001]

    async with http.post("/", params={"max_query_size": "4000000"}, data=chunks()) as answer:
        assert await answer.text() == "2000000\n"


async def test_a_client_that_leaves_stores_nothing_and_harms_nobody(
    http: aiohttp.ClientSession, server: ClickhouseServer
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"POST /?query=INSERT+INTO+t+FORMAT+CSV HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n")
    writer.write(b"1,a\n" * 600_000)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with http.post("/", data="SELECT count() FROM t") as answer:
        assert await answer.text() == "0\n"
    async with http.post("/", data="INSERT INTO t VALUES (1, 'after')") as answer:
        assert answer.status == 200
    assert server.query("SELECT * FROM t") == "1\tafter"
    assert "Traceback" not in server.log.read_text()


async def test_queries_are_answered_while_an_insert_runs(http: aiohttp.ClientSession, server: ClickhouseServer) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"1,a\n" * 400_000
        begun.set()
        await go_on.wait()
        yield b"2,b\n"

    async def insert() -> int:
        async with http.post("/", params={"query": "INSERT INTO t FORMAT CSV"}, data=slow()) as answer:
            return answer.status

    running = asyncio.create_task(insert())
    await begun.wait()
    for number in range(20):
        async with http.post("/", data=f"SELECT {number}") as answer:
            assert await answer.text() == f"{number}\n"
    assert not running.done()
    go_on.set()
    assert await running == 200
    assert server.query("SELECT count() FROM t") == "400001"


def test_many_clients_at_once_each_get_their_own_answer(server: ClickhouseServer) -> None:
    server.query("CREATE OR REPLACE TABLE many (a UInt32) ENGINE = MergeTree ORDER BY a")
    wrong: list[str] = []

    def work(number: int) -> None:
        for turn in range(10):
            server.query(f"INSERT INTO many VALUES ({number * 100 + turn})")
            answer = server.query(f"SELECT {number}, '{'x' * number}'")
            if answer != f"{number}\t{'x' * number}":
                wrong.append(answer)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert server.query("SELECT count(), uniqExact(a) FROM many") == "160\t160"


async def test_a_web_page_cannot_use_it(http: aiohttp.ClientSession) -> None:
    async with http.post("/", data="SELECT 1", headers={"Origin": "https://example.com"}) as answer:
        assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (403, "497")
