"""The words of a ClickHouse statement, as the engine's own lexer cuts them.

Only what this service must know: where strings, quoted names, comments and heredocs begin and end, so that no keyword
is ever seen inside one of them or missed behind one. Source: ClickHouse `src/Parsers/Lexer.cpp` (26.9); the contract
test puts both side by side.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a token is."""

    WORD = "word"
    QUOTED_NAME = "quoted name"
    STRING = "string"
    NUMBER = "number"
    SIGN = "sign"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True)
class Token:
    """One token: `text` as written, at bytes `start` to `end` of the statement."""

    kind: Kind
    text: bytes
    start: int
    end: int

    def is_word(self, *words: bytes) -> bool:
        """Tell whether this is one of the given keywords (upper case), unquoted."""
        return self.kind is Kind.WORD and self.text.upper() in words

    def is_sign(self, sign: bytes) -> bool:
        """Tell whether this is the given punctuation."""
        return self.kind is Kind.SIGN and self.text == sign

    @property
    def name(self) -> str | None:
        """The name that an identifier spells, quotes and escapes taken away; None for everything else."""
        if self.kind is Kind.WORD:
            return self.text.decode()
        return unquote(self.text) if self.kind is Kind.QUOTED_NAME else None


_QUOTES = {b"'": Kind.STRING, b'"': Kind.QUOTED_NAME, b"`": Kind.QUOTED_NAME}
_CURLY = {
    b"\xe2\x80\x98": (b"\xe2\x80\x99", Kind.STRING),
    b"\xe2\x80\x9c": (b"\xe2\x80\x9d", Kind.QUOTED_NAME),
}
_TOKEN = re.compile(
    rb"""
      (?P<blank>   [ \t\n\r\v\f]+ | --[^\n]* | //[^\n]* | \#[ !][^\n]* )
    | (?P<comment> /\* )
    | (?P<string>  '[^'\\]*(?:(?:\\.|'')[^'\\]*)*' )
    | (?P<quoted>  "[^"\\]*(?:(?:\\.|"")[^"\\]*)*" | `[^`\\]*(?:(?:\\.|``)[^`\\]*)*` )
    | (?P<curly>   \xe2\x80[\x98\x9c] )
    | (?P<heredoc> \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
    | (?P<number>  [0-9]\w* )
    | (?P<word>    [A-Za-z_][\w$]* )
    | (?P<sign>    . )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(rb"/\*|\*/")
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"0": b"\0", b"b": b"\b", b"f": b"\f", b"a": b"\a", b"v": b"\v"}
_ESCAPE = re.compile(rb"\\x([0-9A-Fa-f]{2})|\\(.)|(''|\"\"|``)", re.DOTALL)


def tokens(statement: bytes) -> Iterator[Token]:
    """Yield the tokens without blanks and comments, lazily: bytes after the last one asked for are never looked at.

    A quote or comment that does not end yields one UNFINISHED token, up to the end of the text.
    """
    at = 0
    while at < len(statement):
        match = _TOKEN.match(statement, at)
        assert match is not None, "the last alternative takes any byte"
        group, end = match.lastgroup, match.end()
        if group == "blank":
            at = end
            continue
        if group == "comment":
            at = _end_of_comment(statement, end)
            if at < 0:
                yield Token(Kind.UNFINISHED, b"/*", end - 2, len(statement))
                return
            continue
        kind = _KINDS[group or "sign"]
        if group == "curly":
            closing, kind = _CURLY[match.group()]
            end = statement.find(closing, end) + len(closing)
            if end < len(closing):
                kind = Kind.UNFINISHED
        elif group == "sign" and match.group() in _QUOTES:
            kind = Kind.UNFINISHED
        if kind is Kind.UNFINISHED:
            end = len(statement)
        yield Token(kind, statement[at:end], at, end)
        at = end


_KINDS = {
    "string": Kind.STRING,
    "quoted": Kind.QUOTED_NAME,
    "curly": Kind.STRING,
    "heredoc": Kind.STRING,
    "tag": Kind.STRING,
    "number": Kind.NUMBER,
    "word": Kind.WORD,
    "sign": Kind.SIGN,
}


def _end_of_comment(statement: bytes, at: int) -> int:
    """Return where the comment opened before `at` ends (comments nest), or -1."""
    depth = 1
    while depth:
        edge = _COMMENT_EDGE.search(statement, at)
        if edge is None:
            return -1
        depth += 1 if edge.group() == b"/*" else -1
        at = edge.end()
    return at


def unquote(text: bytes) -> str:
    """Return what a string literal, heredoc or quoted name stands for."""
    if text[:3] in _CURLY:
        inner = text[3:-3]
    elif text[:1] == b"$":
        tag = text.index(b"$", 1) + 1
        inner = text[tag:-tag]
    else:
        inner = _ESCAPE.sub(_unescape, text[1:-1])
    return inner.decode("utf-8", "surrogateescape")


def _unescape(match: re.Match[bytes]) -> bytes:
    code, single, doubled = match.groups()
    if code is not None:
        return bytes((int(code, 16),))
    if single is not None:
        return _ESCAPES.get(single, single)
    return bytes(doubled[:1])
