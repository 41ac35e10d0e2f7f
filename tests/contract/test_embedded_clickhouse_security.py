"""Users, and the walls around the engine: no way from a statement to this machine's files or to other hosts."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from tests.clickhouse_server import ClickhouseServer, run_clickhouse

USERS = {
    "reader": {"password_env": "READER_PASSWORD", "readonly": True},
    "writer": {"password_env": "READER_PASSWORD", "ddl": False},
    "small": {"password_env": "READER_PASSWORD", "max_memory_usage": 10_000_000, "max_execution_time": 1},
}
SECRET = "the-secret-of-this-machine"


@pytest.fixture(scope="module")
def secret_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("machine") / "secret.csv"
    path.write_text(f"{SECRET}\n")
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickhouseServer]:
    users = {"TAPELINE_EMBEDDED_CLICKHOUSE_USERS": json.dumps(USERS), "READER_PASSWORD": "pa:ss"}
    with run_clickhouse(tmp_path_factory.mktemp("engine"), **users) as running:
        running.query("CREATE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
        running.query("INSERT INTO t VALUES (1, 'x')")
        yield running


def ask(server: ClickhouseServer, sql: str, **headers: str) -> tuple[int, str]:
    """Return the engine's error code (0: none) and the answer."""
    request = urllib.request.Request(
        f"{server.url}/", data=sql.encode(), headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return 0, answer.read().decode()
    except urllib.error.HTTPError as error:
        return int(error.headers["X-ClickHouse-Exception-Code"]), error.read().decode()


def as_reader(server: ClickhouseServer, sql: str) -> tuple[int, str]:
    return ask(server, sql, X_ClickHouse_User="reader", X_ClickHouse_Key="pa:ss")


def test_the_three_ways_to_say_who_one_is(server: ClickhouseServer) -> None:
    basic = "Basic " + base64.b64encode(b"reader:pa:ss").decode()
    assert ask(server, "SELECT 1", Authorization=basic) == (0, "1\n")
    assert as_reader(server, "SELECT 1") == (0, "1\n")
    query = urllib.parse.urlencode({"user": "reader", "password": "pa:ss", "query": "SELECT 1"})
    with urllib.request.urlopen(f"{server.url}/?{query}", timeout=60) as answer:
        assert answer.read() == b"1\n"


@pytest.mark.parametrize(("user", "password"), [("reader", "wrong"), ("reader", ""), ("nobody", ""), ("default", "x")])
def test_wrong_credentials(server: ClickhouseServer, user: str, password: str) -> None:
    code, text = ask(server, "SELECT 1", X_ClickHouse_User=user, X_ClickHouse_Key=password)
    assert (code, "Authentication failed" in text) == (516, True)
    with pytest.raises(DatabaseError) as refused:
        clickhouse_connect.get_client(host="127.0.0.1", port=server.port, username=user, password=password)
    assert refused.value.code == 516


def test_a_reader_reads_through_clickhouse_connect(server: ClickhouseServer) -> None:
    with clickhouse_connect.get_client(host="127.0.0.1", port=server.port, username="reader", password="pa:ss") as c:
        assert c.query("SELECT a, b FROM t WHERE a = {a:UInt32}", parameters={"a": 1}).result_rows == [(1, "x")]
        with pytest.raises(DatabaseError) as refused:
            c.insert("t", [[2, "y"]], column_names=["a", "b"])
        assert refused.value.code == 164


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("INSERT INTO t VALUES (2, 'y')", 164),
        ("INSERT INTO t SELECT 2, 'y'", 164),
        ("INSERT INTO t SELECT * FROM input('a UInt32, b String') FORMAT CSV\n2,y", 164),
        ("CREATE TABLE u (a UInt32) ENGINE = Memory", 164),
        ("DROP TABLE t", 164),
        ("ALTER TABLE t DELETE WHERE 1", 164),
        ("SET max_threads = 1", 164),
        ("SET readonly = 0", 164),
        ("SELECT 1 SETTINGS max_threads = 1", 164),
        ("SELECT 1 SETTINGS output_format_json_quote_decimals = 1, `max_memory_usage` = 0", 164),
        ("SELECT * FROM (SELECT 1 SETTINGS max_execution_time = 0)", 164),
        ("SET output_format_json_quote_decimals = 1, profile = 'default'", 164),
        ("SYSTEM STOP MERGES", 497),
        ("KILL QUERY WHERE 1", 497),
        ("/* */ (SELECT 1) INTO OUTFILE '/tmp/x'", 497),
    ],
)
def test_a_reader_changes_nothing(server: ClickhouseServer, statement: str, code: int) -> None:
    assert as_reader(server, statement)[0] == code
    assert server.query("SELECT * FROM t") == "1\tx"


def test_a_reader_says_how_an_answer_is_written(server: ClickhouseServer) -> None:
    statement = "SELECT toDecimal64(1, 1) AS x FORMAT JSONEachRow SETTINGS output_format_json_quote_decimals = {}"
    assert as_reader(server, statement.format(1)) == (0, '{"x":"1"}\n')
    assert as_reader(server, statement.format(0)) == (0, '{"x":1}\n')


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("INSERT INTO t VALUES (2, 'y')", 0),
        ("INSERT INTO t SELECT * FROM input('a UInt32, b String') FORMAT CSV\n3,z", 0),
        ("DROP TABLE t", 392),
        ("ALTER TABLE t DELETE WHERE 1", 392),
        ("CREATE TABLE u (a UInt32) ENGINE = Memory", 392),
        ("SET allow_ddl = 1", 392),
        ("DROP TABLE t SETTINGS allow_ddl = 1", 392),
        ("SYSTEM STOP MERGES", 497),
    ],
)
def test_a_writer_brings_rows_and_changes_no_table(server: ClickhouseServer, statement: str, code: int) -> None:
    assert ask(server, statement, X_ClickHouse_User="writer", X_ClickHouse_Key="pa:ss")[0] == code
    server.query("DELETE FROM t WHERE a > 1")


def test_a_readers_settings_in_the_url_are_refused(server: ClickhouseServer) -> None:
    query = urllib.parse.urlencode({"user": "reader", "password": "pa:ss", "query": "SELECT 1", "max_threads": "1"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{server.url}/?{query}", timeout=60)
    assert refused.value.headers["X-ClickHouse-Exception-Code"] == "164"


def test_limits_of_a_user(server: ClickhouseServer) -> None:
    who = {"X_ClickHouse_User": "small", "X_ClickHouse_Key": "pa:ss"}
    assert ask(server, "SELECT length(groupArray(number)) FROM numbers(10000000)", **who)[0] == 241
    assert ask(server, "SELECT sleepEachRow(0.5) FROM numbers(10) SETTINGS max_block_size = 1", **who)[0] == 159
    assert ask(server, "SELECT count() FROM numbers(1000)", **who) == (0, "1000\n")


FILE_ROADS = [
    "SELECT * FROM file('{path}', LineAsString)",
    "SELECT * FROM `file`('{path}', LineAsString)",
    "SELECT file('{path}')",
    "SELECT `fi\\x6ce`('{path}')",
    "SELECT arrayMap(file, ['{path}'])",
    "SELECT * APPLY (file) FROM (SELECT '{path}')",
    "SELECT * FROM format(JSONEachRow, 'a UInt8, b String DEFAULT file(\\'{path}\\')', '{{\"a\":1}}')",
    "INSERT INTO t VALUES (5, file('{path}'))",
    "INSERT INTO t FORMAT Values\n(5, file('{path}'))",
    "SELECT * FROM '{path}'",
    "SELECT * FROM default.`{path}`",
    "SELECT * FROM _engine.`{path}`",
    "SELECT * FROM icebergLocal('{path}')",
    "SELECT * FROM filesystem('{path}')",
    "SELECT * FROM sqlite('{path}', 'x')",
    "INSERT INTO t (b) FROM INFILE '{path}' FORMAT LineAsString",
    "SELECT * FROM eval('SELECT * FROM file(\\'{path}\\')') SETTINGS allow_experimental_eval_table_function = 1",
    "CREATE TABLE f (a String) ENGINE = File(LineAsString, '{path}')",
    "CREATE DATABASE f ENGINE = Filesystem('{path}')",
    "CREATE DICTIONARY f (a String, b String) PRIMARY KEY a SOURCE(FILE(PATH '{path}' FORMAT 'CSV')) LAYOUT(FLAT())",
    "ATTACH TABLE f FROM '{path}' (a UInt8) ENGINE = MergeTree ORDER BY a",
    "INSERT INTO t SELECT 5, a FROM input('a String DEFAULT file(\\'{path}\\')') FORMAT JSONEachRow\n{{}}",
]


@pytest.mark.parametrize("statement", FILE_ROADS)
def test_no_statement_reads_a_file(server: ClickhouseServer, secret_file: Path, statement: str) -> None:
    _, text = ask(server, statement.format(path=secret_file))
    assert SECRET not in text
    stored = server.query("SELECT * FROM t")
    server.query("TRUNCATE TABLE t")
    server.query("INSERT INTO t VALUES (1, 'x')")
    assert SECRET not in stored


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 INTO OUTFILE '{path}'",
        "SELECT 1 /* /* */ ' */ INTO\u00a0OUTFILE '{path}' -- '",
        "SELECT 1 AS “ ' ” INTO OUTFILE '{path}' -- '",
        "SELECT $a$ ' $a$ INTO OUTFILE '{path}' -- '",
        "SELECT 'a\\\\' INTO OUTFILE '{path}' -- '",
        "INSERT INTO FUNCTION file('{path}', 'CSV', 'a UInt8') VALUES (1)",
        "INSERT INTO FUNCTION file('{path}', 'CSV', 'a UInt8') SELECT 1",
        "BACKUP TABLE t TO File('{path}')",
        "CREATE DATABASE s ENGINE = SQLite('{path}')",
        "CREATE TABLE f (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS disk = `di\\x73k`(type=local, path='{path}/')",
    ],
)
def test_no_statement_writes_a_file(server: ClickhouseServer, tmp_path: Path, statement: str) -> None:
    target = tmp_path / "written"
    code, _ = ask(server, statement.format(path=target))
    assert code != 0
    assert not target.exists()


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("SELECT * FROM url('http://127.0.0.1:1/', CSV, 'a UInt8')", 497),
        ("SELECT * FROM s3('http://127.0.0.1:1/bucket/key', CSV, 'a UInt8')", 497),
        ("SELECT * FROM remote('127.0.0.1:1', system.one)", 497),
        ("SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')", 497),
        ("SELECT * FROM postgresql('127.0.0.1:1', 'a', 'b', 'c', 'd')", 497),
        ("SELECT * FROM executable('../../../bin/ls', CSV, 'a UInt8')", 1),
        ("SELECT * FROM python(self)", 497),
        ("SELECT * FROM `pyth\\x6fn`(self)", 497),
        ("CREATE TABLE u (a UInt8) ENGINE = URL('http://127.0.0.1:1/', CSV)", 497),
        ("CREATE FUNCTION f AS x -> x", 497),
        ("CREATE USER u", 497),
        ("SYSTEM SHUTDOWN", 497),
        ("DROP DATABASE default", 497),
        ("RENAME DATABASE default TO gone", 497),
        ("SELECT 1; DROP TABLE t", 62),
        ("INSERT INTO t SETTINGS max_threads = 1; DROP TABLE t; INSERT INTO t FORMAT CSV\n1,x", 62),
        ("INSERT INTO t SELECT * FROM input('a UInt8) ENGINE = Memory --') FORMAT CSV\n1", 62),
    ],
)
def test_no_statement_leaves_the_engine(server: ClickhouseServer, statement: str, code: int) -> None:
    assert ask(server, statement)[0] == code
    assert server.query("SELECT count() FROM t") == "1"


@pytest.mark.parametrize(
    "setting", ["allow_experimental_database_iceberg", "allow_database_iceberg", "allow_database_glue_catalog"]
)
def test_no_setting_opens_a_catalogue_elsewhere(server: ClickhouseServer, setting: str) -> None:
    create = (
        "CREATE DATABASE d ENGINE = DataLakeCatalog('http://127.0.0.1:1') SETTINGS warehouse='w', catalog_type='rest'"
    )
    request = urllib.request.Request(f"{server.url}/?{setting}=1", data=create.encode())
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    assert refused.value.headers["X-ClickHouse-Exception-Code"] == "452"
