"""What a statement is, decided before the engine sees it. Pure: bytes in, a decision out.

The engine runs in this process as `clickhouse-local` does, so some things a ClickHouse server never allows over HTTP
must be refused here: several statements in one text; `INTO OUTFILE` and `FROM INFILE`, since the client's part of the
engine writes and reads those files without asking for a grant; and two calls that no grant covers, the table function
`python`, which looks into this process, and `disk(...)`, which describes storage elsewhere. Everything else is held by
the engine's own grants (engine_config.py).

Data after a statement never reaches the engine as text. `INSERT INTO t FORMAT F` is streamed into the table, and
`INSERT INTO t SELECT ... FROM input('S') FORMAT F` is streamed into a temporary table of structure S that then stands
in place of `input(...)`: inline data for `input()` is silently dropped by the embedded engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from services.embedded_clickhouse.errors import NOT_ALLOWED, SYNTAX_ERROR, QueryError
from services.embedded_clickhouse.tokens import Kind, Token, tokens, unquote

STAGE = "_http_body"
"""The temporary table that holds a body while `input()` reads it; it lives and dies with the request's connection."""

_LINE_END_ROOM = 64
"""Bytes that must be there after FORMAT's name before the start of the data is certain."""

_SESSION_WORDS = (b"SET", b"USE")
_REFUSED_CALLS = ("python", "disk")
_END_SETTINGS = (b"FORMAT", b"UNION", b"INTERSECT", b"EXCEPT")
_NEEDS_ADMIN = (b"SYSTEM", b"KILL")


@dataclass(frozen=True, slots=True)
class Query:
    """A statement that the engine runs as it stands.

    `fmt` is its FORMAT clause, if it has one; `settings` are the names that its SETTINGS clauses, or SET, may change.
    """

    text: bytes
    fmt: str | None
    changes_session: bool
    needs_admin: bool
    settings: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Insert:
    """An insert whose rows follow the statement, from byte `data_at` on, in format `fmt`.

    `target` is the statement up to FORMAT or VALUES. Where it reads `input(structure)`, `structure` is that text and
    `select` is the statement with the temporary table in its place; `settings` is the text of its SETTINGS clauses.
    """

    target: bytes
    fmt: str
    data_at: int
    structure: str | None = None
    select: bytes = b""
    settings: bytes = b""


def parse(text: bytes, *, complete: bool) -> Query | Insert | None:
    """Decide what a request is, from its text so far.

    Returns None when more of the body is needed; with `complete` there is no more, and the answer is final.
    Raises QueryError for what is not allowed over HTTP.
    """
    found: list[Token] = []
    insert = False
    depth = 0
    for token in tokens(text):
        if not complete and token.end == len(text):
            return None  # the last token may go on in the next chunk
        if token.kind is Kind.UNFINISHED:
            break
        found.append(token)
        insert = insert or (len(found) == 1 and token.is_word(b"INSERT"))
        _refuse_files(found)
        depth += token.is_sign(b"(") - token.is_sign(b")")
        if not insert or depth:
            continue
        if token.is_word(b"VALUES") and not found[-2].is_word(b"FORMAT") and not _has_word(found, b"SELECT"):
            return _insert_of(text, found[:-1], "Values", token.end)
        if len(found) > 1 and found[-2].is_word(b"FORMAT") and token.kind is Kind.WORD and _may_be_clause(found[:-1]):
            plain = not _has_word(found, b"SELECT", b"WITH")
            if plain or _input_call(found[:-2]) is not None:
                if not complete and len(text) - token.end < _LINE_END_ROOM:
                    return None
                return _insert_of(text, found[:-2], token.text.decode(), _skip_line_end(text, token.end))
    if not complete:
        return None
    return _query_of(text, found)


def _query_of(text: bytes, found: list[Token]) -> Query:
    for number, token in enumerate(found):
        if token.is_sign(b";"):
            if any(not later.is_sign(b";") for later in found[number + 1 :]):
                raise QueryError(SYNTAX_ERROR, "Syntax error: Multi-statements are not allowed")
            text, found = text[: token.start], found[:number]
            break
    if not found and not text.strip():
        raise QueryError(SYNTAX_ERROR, "Syntax error: Empty query")
    if found and found[0].is_word(b"INSERT"):
        if _input_call(found) is not None:
            raise QueryError(SYNTAX_ERROR, "Syntax error: INSERT with input() needs a FORMAT clause")
        if not _has_word(found, b"SELECT", b"FROM"):
            raise QueryError(SYNTAX_ERROR, "Syntax error: INSERT needs VALUES, FORMAT or SELECT")
    fmt = None
    for before, token in pairwise(found):
        if before.is_word(b"FORMAT") and token.kind is Kind.WORD:
            fmt = token.text.decode()
    return Query(
        text,
        fmt,
        changes_session=bool(found) and found[0].is_word(*_SESSION_WORDS),
        needs_admin=bool(found) and found[0].is_word(*_NEEDS_ADMIN),
        settings=_names_set(found),
    )


def _names_set(found: list[Token]) -> frozenset[str]:
    """Return every name before a `=` behind SETTINGS or SET: at least those that are set, at any depth."""
    names: set[str] = set()
    begun: int | None = None
    depth = 0
    for number, token in enumerate(found):
        depth += token.is_sign(b"(") - token.is_sign(b")")
        if token.is_word(b"SETTINGS") or (number == 0 and token.is_word(b"SET")):
            begun = depth
        elif begun is not None and (depth < begun or (depth == begun and token.is_word(*_END_SETTINGS))):
            begun = None
        elif begun is not None and token.is_sign(b"=") and (name := found[number - 1].name) is not None:
            names.add(name)
    return frozenset(names)


def _insert_of(text: bytes, head: list[Token], fmt: str, data_at: int) -> Insert:
    if any(token.is_sign(b";") for token in head):
        raise QueryError(SYNTAX_ERROR, "Syntax error: Multi-statements are not allowed")
    call = _input_call(head)
    target = text[: head[-1].end]
    if call is None:
        return Insert(target, fmt, data_at)
    first, last = call
    argument = head[first + 2 : last]
    if len(argument) != 1 or argument[0].kind is not Kind.STRING:
        raise QueryError(NOT_ALLOWED, "input() takes its structure as one string literal here")
    select = text[: head[first].start] + STAGE.encode() + text[head[last].end : head[-1].end]
    return Insert(target, fmt, data_at, unquote(argument[0].text), select, _settings_of(text, head))


def _settings_of(text: bytes, head: list[Token]) -> bytes:
    """Return `a=1, b=2` of every SETTINGS clause outside parentheses."""
    clauses: list[bytes] = []
    depth = 0
    start: int | None = None
    for token in head:
        if start is not None and depth == 0 and token.is_word(b"SELECT", b"WITH"):
            clauses.append(text[start : token.start])
            start = None
        if depth == 0 and token.is_word(b"SETTINGS"):
            start = token.end
        depth += token.is_sign(b"(") - token.is_sign(b")")
    if start is not None:
        clauses.append(text[start : head[-1].end])
    return b", ".join(clause.strip() for clause in clauses)


def _input_call(found: list[Token]) -> tuple[int, int] | None:
    """Return the positions of `input` and of its closing parenthesis, or None where it is not called."""
    for number, (token, after) in enumerate(pairwise(found)):
        if not (token.is_word(b"INPUT") and after.is_sign(b"(") and number and found[number - 1].is_word(b"FROM")):
            continue
        depth = 0
        for last in range(number + 1, len(found)):
            depth += found[last].is_sign(b"(") - found[last].is_sign(b")")
            if depth == 0:
                return number, last
    return None


def _may_be_clause(found: list[Token]) -> bool:
    """Tell whether the FORMAT at the end can begin a clause: it is not a name (`a.format`, `INTO format`)."""
    before = found[-2]
    return not (before.is_sign(b".") or before.is_sign(b",") or before.is_word(b"INTO", b"TABLE", b"AS", b"SELECT"))


def _refuse_files(found: list[Token]) -> None:
    token = found[-1]
    if token.is_word(b"OUTFILE", b"INFILE"):
        raise QueryError(NOT_ALLOWED, f"{token.text.decode().upper()} is not allowed over HTTP")
    if token.is_sign(b"(") and len(found) > 1 and (found[-2].name or "").lower() in _REFUSED_CALLS:
        raise QueryError(NOT_ALLOWED, f"{found[-2].name}() is not allowed over HTTP")


def _has_word(found: list[Token], *words: bytes) -> bool:
    return any(token.is_word(*words) for token in found)


def _skip_line_end(text: bytes, at: int) -> int:
    """Return where the data begins: after blanks and one line end, as in ClickHouse's ParserInsertQuery."""
    while text[at : at + 1] in (b" ", b"\t", b"\f"):
        at += 1
    at += text[at : at + 1] == b"\r"
    return at + (text[at : at + 1] == b"\n")
