"""What the service decides about a statement before the engine sees it, and that both cut it into the same words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.embedded_clickhouse.errors import QueryError
from services.embedded_clickhouse.statements import Insert, Query, parse
from services.embedded_clickhouse.tokens import Kind, tokens, unquote
from tests.clickhouse_server import ClickhouseServer, run_clickhouse


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickhouseServer]:
    with run_clickhouse(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.mark.parametrize(
    ("text", "target", "fmt", "data"),
    [
        (b"INSERT INTO t FORMAT JSONEachRow {}", b"INSERT INTO t", "JSONEachRow", b"{}"),
        (b"insert into a.b (`x`, y)\nformat Native\r\n\n'\x00", b"insert into a.b (`x`, y)", "Native", b"\n'\x00"),
        (b"INSERT INTO t SETTINGS a=1, b='FORMAT x' FORMAT CSV\n1", b"INSERT INTO t SETTINGS a=1, b='FORMAT x'", "CSV",
         b"1"),
        (b"INSERT INTO t VALUES (1),(2)", b"INSERT INTO t", "Values", b" (1),(2)"),
        (b"INSERT INTO t FORMAT Values (1)", b"INSERT INTO t", "Values", b"(1)"),
        (b"INSERT INTO format FORMAT CSV\nFORMAT", b"INSERT INTO format", "CSV", b"FORMAT"),
        (b"/* FORMAT x */INSERT -- VALUES\nINTO t FORMAT CSV 1", b"/* FORMAT x */INSERT -- VALUES\nINTO t", "CSV",
         b"1"),
    ],
)  # fmt: skip
def test_inserts_with_data(text: bytes, target: bytes, fmt: str, data: bytes) -> None:
    found = parse(text, complete=True)
    assert isinstance(found, Insert)
    assert (found.target, found.fmt, text[found.data_at :]) == (target, fmt, data)
    assert found.structure is None


def test_input_gives_way_to_the_temporary_table() -> None:
    text = (
        b"INSERT INTO t SETTINGS a=1 SELECT * REPLACE (f(x) AS x) FROM input('x Int64, s Enum(\\'a\\')') "
        b"WHERE x IN (SELECT 1 SETTINGS z=1) SETTINGS c='d', e=2 FORMAT JSONEachRow\n{}"
    )
    found = parse(text, complete=True)
    assert isinstance(found, Insert)
    assert found.structure == "x Int64, s Enum('a')"
    assert found.select == (
        b"INSERT INTO t SETTINGS a=1 SELECT * REPLACE (f(x) AS x) FROM _http_body "
        b"WHERE x IN (SELECT 1 SETTINGS z=1) SETTINGS c='d', e=2"
    )
    assert found.settings == b"a=1, c='d', e=2"


@pytest.mark.parametrize(
    ("text", "fmt"),
    [
        (b"SELECT 1", None),
        (b"SELECT 1 FORMAT JSON;", "JSON"),
        (b"INSERT INTO t SELECT * FROM values('a UInt8', 1)", None),
        (b"INSERT INTO t SELECT 1 AS format", None),
        (b"SELECT 'INSERT INTO t FORMAT CSV'", None),
        (b"EXPLAIN SELECT 1 -- FORMAT x", None),
    ],
)
def test_statements_without_data(text: bytes, fmt: str | None) -> None:
    found = parse(text, complete=True)
    assert isinstance(found, Query)
    assert found.fmt == fmt


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", 62),
        (b";", 62),
        (b"SELECT 1; SELECT 2", 62),
        (b"INSERT INTO t", 62),
        (b"INSERT INTO t SELECT * FROM input('a UInt8')", 62),
        (b"INSERT INTO t SELECT * FROM input({s:String}) FORMAT CSV 1", 497),
        (b"INSERT INTO t FROM INFILE 'x' FORMAT CSV", 497),
        (b"SELECT 1 INTO/**/outfile 'x'", 497),
        (b'SELECT * FROM "Py\\x74hon" (x)', 497),
    ],
)
def test_what_is_refused(text: bytes, code: int) -> None:
    with pytest.raises(QueryError) as refused:
        parse(text, complete=True)
    assert refused.value.code == code


def test_a_statement_is_decided_the_same_however_it_arrives() -> None:
    text = b"INSERT INTO t (a, b) SETTINGS x='y' FORMAT Native\r\n" + b"\x01\x02'" * 50
    whole = parse(text, complete=True)
    early = [parse(text[:length], complete=False) for length in range(len(text))]
    assert {found for found in early if found is not None} == {whole}
    assert early[40] is None


@pytest.mark.parametrize(
    "literal",
    [
        "'a''b\\'c\\\\'",
        "$$it's$$",
        "$x$ $$ $x$",
        "\u2018it's \u201cx\u201d\u2019",
        "'\\x41\\t\\n'",
        "'-- /* # '",
        "'é'",
    ],
)
def test_literals_mean_what_the_engine_says(server: ClickhouseServer, literal: str) -> None:
    (token,) = tokens(literal.encode())
    assert token.kind is Kind.STRING
    assert server.query(f"SELECT hex({literal})") == unquote(token.text).encode().hex().upper()


@pytest.mark.parametrize("comment", ["-- ' x\n", "/* ' /* ' */ ' */", "# ' x\n", "#! ' x\n", "// ' x\n"])
def test_comments_end_where_the_engine_says(server: ClickhouseServer, comment: str) -> None:
    assert [token.text for token in tokens(f"SELECT {comment} 1 + 1".encode())] == [b"SELECT", b"1", b"+", b"1"]
    assert server.query(f"SELECT {comment} 1 + 1") == "2"


@given(st.binary(max_size=200))
def test_any_bytes_are_cut_in_order_and_to_the_end(text: bytes) -> None:
    at = 0
    for token in tokens(text):
        assert token.start >= at
        assert token.end > token.start
        at = token.end
    assert at <= len(text)


@given(st.text(alphabet="'\"`\\$/*-# \nINTOUTFILE\u2018\u2019\u201c\u201d;()a1", max_size=60))
def test_a_refused_word_is_never_hidden_by_what_stands_before(text: str) -> None:
    """Where everything before is closed, the words after it are seen."""
    before = text.encode()
    if any(token.kind is Kind.UNFINISHED for token in tokens(before + b"\n ")):
        return
    words = [token.text for token in tokens(before + b"\n OUTFILE")]
    assert words[-1] == b"OUTFILE"
