"""What becomes of a frame: bytes changed, cut, taken out or doubled, values of another type or size, nests, noise."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

_VALUE = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null|\[\]|\{\}')
_OTHERS = (
    b'""', b"null", b"true", b"0", b"-1", b'"-1"', b"1.5", b'"1e5"', b'"NaN"', b'"Infinity"', b"[]", b"{}", b"[[]]",
    b'[{"x":1}]', b"1e400", b"-0", b'"0"', b'"0.0"', b'"\\ud800"', b'"\\u0000"', b'" 1"', b'"1_0"', b"1e-30",
    "\"\u0661\"".encode(), "\"\uff11.5\"".encode(),
    b'"' + b"9" * 40 + b'"', b"9" * 40, b"9" * 19, b'"0.' + b"1" * 30 + b'"',
    b"9" * 5_000, b'"' + b"9" * 5_000 + b'"', b"99999999999999", b"-99999999999999999999", b"18446744073709551616",
    b'"' + b"x" * 300 + b'"', b'"a b"', b'"*"', b'">"', b'"a.b"', b'[["1","2"],["1"]]', b'[["1",2,3,4]]',
)  # fmt: skip

Mutation = Callable[[bytes, random.Random], bytes]


def _flip(body: bytes, source: random.Random) -> bytes:
    raw = bytearray(body)
    for _ in range(source.randint(1, 4)):
        raw[source.randrange(len(raw))] ^= 1 << source.randrange(8)
    return bytes(raw)


def _cut(body: bytes, source: random.Random) -> bytes:
    return body[: source.randrange(len(body))]


def _take_out(body: bytes, source: random.Random) -> bytes:
    at = source.randrange(len(body))
    return body[:at] + body[at + source.randint(1, 40) :]


def _double(body: bytes, source: random.Random) -> bytes:
    at = source.randrange(len(body))
    piece = body[at : at + source.randint(1, 60)]
    return body[:at] + piece * source.randint(2, 20) + body[at + len(piece) :]


def _put_in(body: bytes, source: random.Random) -> bytes:
    at = source.randrange(len(body) + 1)
    return body[:at] + source.randbytes(source.randint(1, 12)) + body[at:]


def _replace(body: bytes, source: random.Random) -> bytes:
    """Put other values in the place of some."""
    for _ in range(source.choice((1, 1, 1, 2, 4))):
        found = _place(body, source)
        if found is None:
            return _flip(body, source) if body else b"{"
        body = body[: found.start()] + source.choice(_OTHERS) + body[found.end() :]
    return body


def _exchange(body: bytes, source: random.Random) -> bytes:
    """Put one value of the frame in the place of another."""
    found, other = _place(body, source), _place(body, source)
    if found is None or other is None:
        return _flip(body, source)
    return body[: found.start()] + other.group() + body[found.end() :]


def _nest(body: bytes, source: random.Random) -> bytes:
    found = _place(body, source)
    start, end = (found.start(), found.end()) if found else (0, 0)
    deep = source.choice((20, 300, 3_000, 30_000))
    opening, closing = source.choice(((b"[", b"]"), (b'{"x":', b"}")))
    closed = closing * deep if source.random() < 0.5 else b""
    return body[:start] + opening * deep + b"1" + closed + body[end:]


def _noise(body: bytes, source: random.Random) -> bytes:
    return source.randbytes(source.randint(0, 200))


def _place(body: bytes, source: random.Random) -> re.Match[bytes] | None:
    """Return one of the frame's values, near a place chosen at random."""
    at = source.randrange(len(body) + 1)
    return _VALUE.search(body, at) or _VALUE.search(body)


_USUAL: tuple[Mutation, ...] = (_flip, _cut, _take_out, _double, _put_in, *[_replace] * 6, _exchange)
_SELDOM: tuple[Mutation, ...] = (_nest, _noise)


def mutated(body: bytes, source: random.Random) -> bytes:
    """Return a frame to which one or two things have happened; one in seven is as it was."""
    if source.random() < 0.15:
        return body
    for _ in range(source.choice((1, 1, 2))):
        if body:
            body = source.choice(_SELDOM if source.random() < 0.01 else _USUAL)(body, source)
    return body
