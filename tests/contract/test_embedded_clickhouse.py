"""What clickhouse-connect, with its defaults, finds at the embedded ClickHouse."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from tests.clickhouse_server import ClickhouseServer, run_clickhouse

TRADES = """
CREATE TABLE trades (symbol LowCardinality(String), timestamp DateTime64(6, 'UTC'), trade_id UInt64,
    price Decimal(38, 18), side Nullable(String))
ENGINE = MergeTree PARTITION BY toDate(timestamp) ORDER BY (symbol, timestamp, trade_id)
SETTINGS non_replicated_deduplication_window = 1000
"""
INPUT = "symbol String, timestamp Int64, trade_id UInt64, price Decimal(38, 18), side Nullable(String)"
FROM_INPUT = (
    "INSERT INTO trades SELECT * REPLACE (fromUnixTimestamp64Micro(timestamp, 'UTC') AS timestamp) "
    f"FROM input('{INPUT}') SETTINGS input_format_null_as_default=0{{more}} FORMAT JSONEachRow\n"
)
MIDNIGHT_US = 1_700_006_400_000_000  # 2023-11-15 00:00:00 UTC


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickhouseServer]:
    with run_clickhouse(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture
def client(server: ClickhouseServer) -> Iterator[Client]:
    with clickhouse_connect.get_client(host="127.0.0.1", port=server.port) as connected:
        connected.command("CREATE OR REPLACE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
        connected.command("DROP TABLE IF EXISTS trades")
        connected.command(TRADES)
        yield connected


def row(trade_id: int, timestamp: int, price: str = '"61234.10"', side: str = '"buy"') -> str:
    return f'{{"symbol":"BTC-USDT","timestamp":{timestamp},"trade_id":{trade_id},"price":{price},"side":{side}}}\n'


def insert_input(client: Client, rows: str, more: str = "") -> None:
    client.raw_query(FROM_INPUT.format(more=more) + rows)


def test_values_come_back_exactly(client: Client) -> None:
    values = client.query(
        "SELECT toUInt64(18446744073709551615), toDecimal128('61234.100000000000000001', 18), 'ü\\n', "
        "toDateTime64('2026-11-21 00:00:00.000001', 6, 'UTC'), NULL::Nullable(Int8), ['a', 'b'], toLowCardinality('x')"
    ).result_rows[0]
    assert values == (
        18446744073709551615,
        Decimal("61234.100000000000000001"),
        "ü\n",
        datetime.fromisoformat("2026-11-21 00:00:00.000001"),
        None,
        ["a", "b"],
        "x",
    )


def test_native_insert_and_its_summary(client: Client) -> None:
    summary = client.insert("t", [[1, "a"], [2, "b"]], column_names=["a", "b"])
    assert summary.written_rows == 2
    assert client.query("SELECT * FROM t ORDER BY a").result_rows == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("compression", ["lz4", "zstd", "gzip", False])
def test_compressed_both_ways(server: ClickhouseServer, client: Client, compression: str | bool) -> None:
    rows = [[number, "x" * 100] for number in range(20_000)]
    with clickhouse_connect.get_client(host="127.0.0.1", port=server.port, compress=compression) as compressing:
        compressing.insert("t", rows, column_names=["a", "b"])
        assert compressing.query("SELECT * FROM t ORDER BY a").result_rows == [tuple(row) for row in rows]


def test_bound_parameters_are_values_not_text(client: Client) -> None:
    found = client.query(
        "SELECT {text:String}, {numbers:Array(UInt32)}, {name:Identifier} FROM (SELECT 5 AS a)",
        parameters={"text": "'; DROP TABLE t -- \\ \n\t", "numbers": [1, 2], "name": "a"},
    )
    assert found.result_rows == [("'; DROP TABLE t -- \\ \n\t", [1, 2], 5)]


def test_bound_parameter_of_a_wrong_type_is_refused(client: Client) -> None:
    with pytest.raises(DatabaseError) as refused:
        client.query("SELECT {x:UInt32}", parameters={"x": "five"})
    assert refused.value.code == 457


def test_parameters_in_a_form(server: ClickhouseServer) -> None:
    with clickhouse_connect.get_client(host="127.0.0.1", port=server.port, form_encode_query_params=True) as client:
        assert client.query("SELECT {x:UInt32} + 1", parameters={"x": 4}).result_rows == [(5,)]


@pytest.mark.parametrize(
    ("statement", "code", "name"),
    [
        ("SELECT * FROM nowhere", 60, "UNKNOWN_TABLE"),
        ("SELECT nothing", 47, "UNKNOWN_IDENTIFIER"),
        ("SELEC 1", 62, "SYNTAX_ERROR"),
        ("SELECT 1; SELECT 2", 62, "SYNTAX_ERROR"),
        ("SELECT 1 SETTINGS no_such_setting = 1", 115, "UNKNOWN_SETTING"),
        ("SELECT 1 FORMAT NoSuchFormat", 73, "UNKNOWN_FORMAT"),
        ("SELECT throwIf(1, 'as told')", 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ('INSERT INTO t FORMAT JSONEachRow\n{"a":"x"}', 27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED"),
    ],
)
def test_errors_carry_the_engines_code(client: Client, statement: str, code: int, name: str) -> None:
    with pytest.raises(DatabaseError) as refused:
        client.command(statement)
    assert (refused.value.code, refused.value.name) == (code, name)


def test_unknown_database(server: ClickhouseServer) -> None:
    with pytest.raises(DatabaseError) as refused:
        clickhouse_connect.get_client(host="127.0.0.1", port=server.port, database="nowhere").query("SELECT 1")
    assert refused.value.code == 81


@pytest.mark.parametrize(
    ("fmt", "data"),
    [
        ("JSONEachRow", b'{"a":1,"b":"it\'s"}\n{"a":2,"b":"y"}\n'),
        ("CSV", b'1,it\'s\n2,"y"\n'),
        ("TabSeparated", b"1\tit's\n2\ty\n"),
        ("RowBinary", b"\x01\0\0\0\x04it's\x02\0\0\0\x01y"),
        ("Values", b"(1, 'it\\'s'), (2, 'y')"),
    ],
)
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_raw_inserts(client: Client, fmt: str, data: bytes, compression: str | None) -> None:
    data = gzip.compress(data) if compression is not None else data
    client.raw_insert("t", ["a", "b"], data, fmt=fmt, compression=compression)
    assert client.query("SELECT * FROM t ORDER BY a").result_rows == [(1, "it's"), (2, "y")]


def test_parquet_there_and_back(client: Client) -> None:
    client.insert("t", [[1, "x"], [2, "y"]], column_names=["a", "b"])
    parquet = client.raw_query("SELECT a + 10 AS a, b FROM t ORDER BY a", fmt="Parquet")
    client.raw_insert("t", ["a", "b"], parquet, fmt="Parquet")
    assert client.query("SELECT * FROM t ORDER BY a").result_rows == [(1, "x"), (2, "y"), (11, "x"), (12, "y")]


def test_inline_values_and_insert_select(client: Client) -> None:
    client.command("INSERT INTO t (a, b) VALUES (1, 'VALUES; FORMAT CSV'), (2, concat('a', 'b'))")
    client.command("INSERT INTO t SELECT a + 10, b FROM t")
    assert client.query("SELECT * FROM t ORDER BY a").result_rows == [
        (1, "VALUES; FORMAT CSV"),
        (2, "ab"),
        (11, "VALUES; FORMAT CSV"),
        (12, "ab"),
    ]


def test_input_converts_exact_values(client: Client) -> None:
    insert_input(client, row(1, MIDNIGHT_US + 123_456, '"0.000000000000000001"', "null") + row(2, MIDNIGHT_US))
    assert client.query("SELECT trade_id, timestamp, price, side FROM trades ORDER BY trade_id").result_rows == [
        (1, datetime.fromisoformat("2023-11-15 00:00:00.123456"), Decimal("1E-18"), None),
        (2, datetime.fromisoformat("2023-11-15 00:00:00"), Decimal("61234.10"), "buy"),
    ]


@pytest.mark.parametrize(
    "bad",
    [row(2, MIDNIGHT_US, '"cheap"'), row(2, MIDNIGHT_US, "null"), "not json\n", row(2, MIDNIGHT_US)[:20]],
    ids=["letters for a price", "no price", "no JSON", "cut short"],
)
def test_one_bad_row_stores_nothing(client: Client, bad: str) -> None:
    with pytest.raises(DatabaseError) as refused:
        insert_input(client, row(1, MIDNIGHT_US) + bad)
    assert refused.value.code in (6, 26, 27, 33, 117)
    assert client.query("SELECT count() FROM trades").result_rows == [(0,)]


def test_settings_in_the_statement_and_in_the_url_take_effect(client: Client) -> None:
    lenient = FROM_INPUT.replace("SETTINGS input_format_null_as_default=0{more} ", "")
    client.raw_query(lenient + row(1, MIDNIGHT_US, "null"))
    assert client.query("SELECT trade_id, price FROM trades").result_rows == [(1, Decimal(0))]
    with pytest.raises(DatabaseError):
        client.raw_query(lenient + row(2, MIDNIGHT_US, "null"), settings={"input_format_null_as_default": 0})


def test_a_token_is_stored_once_also_over_midnight(client: Client) -> None:
    rows = "".join(row(number, MIDNIGHT_US - 5 + number) for number in range(10))
    for _ in range(3):
        insert_input(client, rows, ", insert_deduplication_token='trades/0/1-10'")
    insert_input(client, rows, ", insert_deduplication_token='trades/0/11-20'")
    counts = client.query("SELECT toDate(timestamp), count(), uniqExact(trade_id) FROM trades GROUP BY 1 ORDER BY 1")
    assert [(str(day), *rest) for day, *rest in counts.result_rows] == [("2023-11-14", 10, 5), ("2023-11-15", 10, 5)]


def test_a_token_in_the_url_of_a_plain_insert(client: Client) -> None:
    client.command("ALTER TABLE t MODIFY SETTING non_replicated_deduplication_window = 100")
    for token in ("one", "one", "two"):
        client.raw_insert("t", ["a", "b"], b"1,x\n", fmt="CSV", settings={"insert_deduplication_token": token})
    assert client.query("SELECT count() FROM t").result_rows == [(2,)]


def test_a_session_keeps_its_settings_and_other_sessions_do_not(server: ClickhouseServer, client: Client) -> None:
    client.command("SET max_block_size = 1234")
    assert client.command("SELECT getSetting('max_block_size')") == 1234
    with clickhouse_connect.get_client(host="127.0.0.1", port=server.port) as other:
        assert other.command("SELECT getSetting('max_block_size')") != 1234


def test_retention_works_by_itself_and_on_demand(client: Client) -> None:
    client.command("CREATE OR REPLACE TABLE kept (a UInt32, at DateTime) ENGINE = MergeTree ORDER BY a")
    client.command("INSERT INTO kept VALUES (1, now() - INTERVAL 2 DAY), (2, now())")
    client.command("ALTER TABLE kept MODIFY TTL at + INTERVAL 1 DAY SETTINGS materialize_ttl_after_modify = 0")
    client.command("OPTIMIZE TABLE kept FINAL")
    assert client.query("SELECT a FROM kept").result_rows == [(2,)]


def test_times_are_utc_whatever_the_machine_says(client: Client) -> None:
    assert client.query("SELECT toDateTime(0)::String, timezone()").result_rows == [("1970-01-01 00:00:00", "UTC")]


def test_a_large_answer_streams_through_the_client(client: Client) -> None:
    with client.query_row_block_stream("SELECT number FROM numbers(300000)") as blocks:
        assert sum(number for block in blocks for (number,) in block) == 300_000 * 299_999 // 2
